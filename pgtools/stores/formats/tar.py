"""Where the regular files of a TAR stand in it: its headers are read once, nothing is extracted."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from pgtools.errors import InputError
from pgtools.runtime.slices import SlicedFile
from pgtools.stores.formats.file_names import check_member

BLOCK = tarfile.BLOCKSIZE
# Long names and extended headers are texts of a few hundred bytes; a damaged header can announce any size.
MAX_TEXT_BYTES = 1 << 20
SPARSE_KEY = b"GNU.sparse."
# What some archivers note a size for, without any bytes that follow.
WITHOUT_DATA = (
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.DIRTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.FIFOTYPE,
)
# Headers beside the two that tell a file's name: a long link's target, what holds for the whole archive.
ABOUT_OTHERS = (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


@dataclass(frozen=True)
class Member:
    """One regular file inside a TAR: its name, and where its bytes stand."""

    name: str
    offset: int
    size: int


def members(file: SlicedFile) -> Iterator[Member]:
    """Yield the regular files of a TAR in their order; links, folders and devices are passed over.

    Names come from the headers of ustar, GNU tar and pax. An archive whose end is missing was cut short.

    Args:
        file: the archive, not compressed.

    Raises:
        InputError: a header is damaged, a name leads out of the archive, a file is sparse, or the end is missing.
    """
    offset, name, size = 0, "", -1
    while True:
        header = _header(file, offset)
        if header is None:
            return
        offset += BLOCK
        announced = 0 if header.type in WITHOUT_DATA else header.size if size < 0 else size
        if announced < 0 or announced > file.size - offset:
            raise InputError(f"{file.path} is damaged or cut short: a file of {announced} bytes at {offset}.")
        if header.type in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
            text = _text(file, offset, announced)
            if header.type == tarfile.GNUTYPE_LONGNAME:
                name = text.rstrip(b"\0").decode("utf-8", "replace")
            else:
                name, size = _extended(text, name, where=f"{file.path} at {offset}")
        elif header.type not in ABOUT_OTHERS:
            if header.isreg():
                member = Member(name or header.name, offset, announced)
                check_member(member.name, file.path)
                yield member
            name, size = "", -1
        offset += -(-announced // BLOCK) * BLOCK


def _header(file: SlicedFile, offset: int) -> tarfile.TarInfo | None:
    """Return the header at `offset`; None for the zeros that end an archive."""
    block = file.read(offset, BLOCK) if offset + BLOCK <= file.size else b""
    if block == bytes(BLOCK):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except (tarfile.HeaderError, ValueError) as error:
        raise InputError(f"{file.path} is no TAR, damaged or cut short at {offset} ({error}).") from None
    if header.type == tarfile.GNUTYPE_SPARSE:
        raise InputError(f"{file.path}: {header.name!r} is a sparse file.", hint="Pack it without --sparse.")
    return header


def _text(file: SlicedFile, offset: int, size: int) -> bytes:
    if size > MAX_TEXT_BYTES:
        raise InputError(f"{file.path} is damaged: a name of {size} bytes at {offset}.")
    return file.read(offset, size)


def _extended(text: bytes, name: str, *, where: str) -> tuple[str, int]:
    """Return name and size out of a pax header's `LENGTH KEY=VALUE\\n`; the name given and −1 where it has none."""
    size, position = -1, 0
    while position < len(text) and text[position]:
        digits, _, _ = text[position : position + 8].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        key, equals, value = text[position + len(digits) + 1 : position + length].partition(b"=")
        if not equals or not value.endswith(b"\n") or position + length > len(text):
            raise InputError(f"{where} is damaged (its extended header).")
        if key.startswith(SPARSE_KEY):
            raise InputError(f"{where} is a sparse file.", hint="Pack it without --sparse.")
        if key == b"path":
            name = value[:-1].decode("utf-8", "replace")
        elif key == b"size":
            size = int(value) if value[:-1].isdigit() and len(value) <= 20 else 1 << 63
        position += length
    return name, size
