"""Files that are whole or absent: written aside, flushed to disk, then renamed."""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pgtools.errors import OutputError


@contextlib.contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a path beside `path`; on success what stands there becomes `path`, on any failure it is removed.

    Works for a file and for a folder (an LMDB).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of this machine, process and thread: on a file system that machines share, two may write the same file at once.
    aside = path.with_name(f".{path.name}.{os.getpid()}.{_machine()}-{threading.get_ident():x}.partial")
    remove(aside)
    try:
        yield aside
        _flush(aside)
        _swap_in(aside, path)
        _flush_folder(path.parent)
    except BaseException:
        remove(aside)
        raise


def remove_stale(path: Path) -> None:
    """Remove what killed processes of this machine left beside `path`; put back what they had moved away."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.(\d+)(\.{_machine()}-[0-9a-f]+)?\.(partial|old)")
    for left in path.absolute().parent.glob(f".{glob.escape(path.name)}.*"):
        found = ours.fullmatch(left.name)
        if found is None or _is_running(int(found[1])):
            continue
        if left.suffix == ".old" and not path.exists():
            left.rename(path)  # killed between the two renames of a swap
        else:
            remove(left)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_writable(path: Path, *, overwrite: bool, what: Literal["file", "folder"]) -> None:
    """Raise OutputError now if a file or folder could not be written to `path` later.

    Raises:
        OutputError: `path` exists and `overwrite` is off, a folder stands where a file is to go or the other way
            round, or the parent is no writable folder.
    """
    if path.is_symlink() and not path.exists():
        raise OutputError(f"{path} is a link to nothing.", hint=f"Name another {what}.")
    if path.exists() and path.is_dir() != (what == "folder"):
        found = "folder" if path.is_dir() else "file"
        raise OutputError(f"{path} is a {found}; a {what} is to be written.", hint=f"Name another {what}.")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} already exists.", hint=f"Name another {what}, or pass --overwrite.")
    parent = path.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir():
        raise OutputError(f"{parent} is not a folder, so {path} cannot be made.", hint=f"Name another {what}.")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"{parent} is not writable.", hint=f"Name another {what}, or change its permissions.")


def check_free_space(folder: Path, needed: int) -> None:
    """Raise OutputError if the disk under `folder` has less than `needed` bytes free."""
    free = free_space(folder)
    if free < needed:
        raise OutputError(
            f"{folder} has {human_bytes(free)} free; about {human_bytes(needed)} are needed.",
            hint="Free some space, write to another disk, or ask for fewer or smaller images.",
        )


def free_space(folder: Path) -> int:
    """Return how many bytes are free on the disk under `folder`, which need not exist yet."""
    while not folder.exists():
        folder = folder.absolute().parent
    return shutil.disk_usage(folder).free


def human_bytes(count: float) -> str:
    """Return a byte count as people read it, e.g. '1.4 GB' (decimal units)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone; the lock goes with the process, even when it is killed.

    Raises:
        OutputError: another process holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder / ".lock", folder):
        yield


@contextlib.contextmanager
def path_lock(path: Path) -> Iterator[None]:
    """Let no other process write `path` meanwhile; the lock is a file beside it, gone in the end.

    Raises:
        OutputError: another process, or another thread of this one, writes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with _held(lock, path):
        try:
            yield
        finally:
            if os.name != "nt":  # where an open file cannot be removed
                lock.unlink(missing_ok=True)


@contextlib.contextmanager
def _held(lock: Path, what: Path) -> Iterator[None]:
    while True:
        with lock.open("a+b") as handle:
            if not _try_lock(handle.fileno()):
                raise OutputError(f"{what} is in use by another pgtools.", hint="Wait for it, or name another.")
            if not _is_same_file(lock, handle.fileno()):
                continue  # whoever held it has removed it between our opening and our locking
            yield
            return


def _is_same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@functools.cache
def _machine() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _is_running(process: int) -> bool:
    if os.name == "nt":  # where signal 0 is Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _try_lock(descriptor: int) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Where the file system has no locks at all, nobody is kept out, and nobody is kept from working.
        return error.errno in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
    return True


def _swap_in(aside: Path, path: Path) -> None:
    """Rename `aside` to `path`; what stands there is replaced in one step wherever the system has such a step."""
    if not (aside.is_dir() and path.is_dir()):
        aside.replace(path)  # refuses to put a file in place of a folder
        return
    if [file.name for file in aside.iterdir()] == ["data.mdb"] and (path / "data.mdb").is_file():
        # Other people's readers, who lock, would look up the old store's last transaction in the new one.
        (path / "lock.mdb").unlink(missing_ok=True)
        (aside / "data.mdb").replace(path / "data.mdb")  # an LMDB is one file: no reader ever finds none
        remove(aside)
        return
    # One folder cannot replace another in one step, so the old one steps aside first.
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    remove(old)
    path.rename(old)
    try:
        aside.rename(path)
    except BaseException:
        old.rename(path)
        raise
    remove(old)


def _flush(path: Path) -> None:
    if path.is_dir() and hasattr(os, "sync"):
        os.sync()  # thousands of files at once; one call each costs milliseconds each
        return
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        with file.open("rb+") as handle:
            os.fsync(handle.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems do not know how to flush a folder; the files in it are flushed already.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
