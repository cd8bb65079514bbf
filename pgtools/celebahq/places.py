"""Where everything of a build stands, and whether it may be put there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pgtools.celebahq.manifest import is_manifest, manifest_path, parquet_path
from pgtools.errors import InputError, OutputError, UsageError
from pgtools.runtime.build_format import is_record, record_path
from pgtools.runtime.files import check_writable, remove_stale
from pgtools.stores.opening import open_source
from pgtools.stores.writing import check_outputs, store_outputs

JOURNAL = "journal.sqlite"
STORING = "storing"


def work_folder(store: Path) -> Path:
    """Return where a build of this first store keeps what is in the making."""
    return store.absolute().with_name(f"{store.name}.build")


def papers_of(store: Path) -> list[Path]:
    """Return what a build writes beside its stores: the manifest, as CSV and Parquet, and the record."""
    manifest = manifest_path(store)
    return [manifest, parquet_path(manifest), record_path(store)]


def check_places(outputs: Sequence[Path], also: Sequence[Path] = (), *, overwrite: bool) -> None:
    """Raise if the build could not write what it is to write.

    What stands there because a build was killed while storing is its own; nothing else is replaced.

    Args:
        outputs: the stores.
        also: what else will be written in the end.
        overwrite: replace what is there.

    Raises:
        OutputError: something stands there, cannot be written, or another build's papers would.
        UsageError: two of them are one.
    """
    stores, work, papers = store_outputs(outputs), work_folder(outputs[0]), papers_of(outputs[0])
    for path in also:
        if path.resolve() in {other.resolve() for other in (*outputs, *papers)} or work in path.absolute().parents:
            raise UsageError(f"{path} is where the build itself writes.", hint="Name another file.")
    remove_stale(work)
    # What is removed in the end must be a build's and nothing else.
    if work.exists() and not (work / JOURNAL).is_file() and _holds_more_than_a_lock(work):
        raise OutputError(
            f"{work} is where the build would work, and is no interrupted build.", hint="Name another output."
        )
    begun = _begun(work)
    for one in stores:
        check_outputs([one], overwrite=overwrite or (one.path.resolve() in begun and _is_ours(one.path)))
    check_outputs(stores, overwrite=True)
    for path in (*papers, *also):
        check_writable(path, overwrite=overwrite or (path.resolve() in begun and _is_ours(path)), what="file")
    _check_alone(outputs[0], work)


def _begun(work: Path) -> set[Path]:
    """Return what a build that was killed while storing may have put in place."""
    storing = work / STORING
    return {Path(path) for path in json.loads(storing.read_text("utf-8"))} if storing.is_file() else set()


def _is_ours(path: Path) -> bool:
    """Return whether a file is of the kind that a build writes; someone may have put another there since."""
    if path.suffix == ".csv":
        return is_manifest(path)
    if path.suffix == ".json":
        return is_record(path)
    if path.suffix in (".parquet", ".html"):
        start = path.read_bytes()[:15] if path.is_file() else b""
        return start.startswith((b"PAR1", b"<!doctype html>"))
    try:
        header = getattr(open_source(path), "header", None)
    except InputError:
        return False
    return header is not None and header.origin.get("made") == "build-celebahq"


def _check_alone(store: Path, work: Path) -> None:
    """Two builds into a.lmdb and a.h5 would both write a-manifest.csv."""
    others = [f"{store.with_suffix(suffix).name}.build" for suffix in (".lmdb", ".h5", ".hdf5")]
    for other in (work.with_name(name) for name in others):
        if other != work and (other / JOURNAL).is_file():
            raise OutputError(
                f"{other} is a build that writes {manifest_path(store).name} too.",
                hint="Name another output, finish that build, or delete its folder.",
            )


def check_apart(paths: Sequence[Path], root: Path) -> None:
    """Nothing of ours may be taken for a photo when the build is run again.

    Raises:
        UsageError: one of `paths` lies in the folder of the photos, `root`.
    """
    for path in paths:
        if root.resolve() in path.resolve().parents or path.resolve() == root.resolve():
            raise UsageError(f"{path} lies in the folder of the photos, {root}.", hint="Write beside it.")


def _holds_more_than_a_lock(folder: Path) -> bool:
    return not folder.is_dir() or bool({file.name for file in folder.iterdir()} - {".lock"})
