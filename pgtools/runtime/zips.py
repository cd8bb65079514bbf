"""Members of a ZIP, read in place: nothing is extracted, no thread or process waits for another."""

from __future__ import annotations

import functools
import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from pgtools.errors import InputError
from pgtools.runtime.slices import SlicedFile, State

# Of a member's local header: where the lengths of its name and its extra field stand.
LOCAL_HEADER = struct.Struct("<4s22xHH")
ENCRYPTED = 1


class Member(NamedTuple):
    """Where a member stands in its archive and what the directory says of it; small, so that it travels in numbers.

    Attributes:
        offset: of its local header.
        packed: bytes it takes in the archive.
        size: bytes it announces when unpacked.
        crc32: of the unpacked bytes.
        method: of packing, as ZIP numbers it.
        flags: the directory's; bit 0 is encryption.
    """

    offset: int
    packed: int
    size: int
    crc32: int
    method: int
    flags: int


class ZipArchive:
    """An open ZIP whose members are read by position.

    Args:
        path: the file; it is opened anew wherever the archive is unpickled.

    Raises:
        InputError: it cannot be opened; its cause is the OSError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = SlicedFile(path)

    @property
    def state(self) -> State:
        """What tells the file that is open from one that replaces it; see `state_of`."""
        return self._file.state

    @functools.cached_property
    def entries(self) -> list[tuple[str, Member]]:
        """Name and place of every member, folders left out, in the order of the directory; read when first asked for.

        Raises:
            InputError: the file is no ZIP, its directory is damaged, or it cannot be read: then the OSError is its
                cause.
        """
        stream = self._file.stream()
        try:
            # Of the file that is open, as another may stand at its path by now, whose members stand elsewhere.
            with zipfile.ZipFile(io.BufferedReader(stream)) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
            if stream.fault is not None:  # zipfile says of it that the file is no ZIP
                raise InputError(f"{self.path}: cannot be read ({stream.fault.strerror}).") from stream.fault
            raise InputError(f"{self.path} is not a readable ZIP ({error}).") from None
        return [(info.filename, _member(info)) for info in infos if not info.filename.endswith("/")]

    def read(self, member: Member, *, where: str, limit: int) -> bytes:
        """Return a member's bytes.

        Args:
            member: from `entries`.
            where: named in errors.
            limit: most bytes it may announce; whatever it would unpack to, no more than announced is unpacked.

        Raises:
            InputError: it announces more, is encrypted, packed in another way than deflate, or damaged; or the archive
                cannot be read: then the OSError is its cause.
        """
        if max(member.size, member.packed) > limit:
            raise InputError(f"{where}: announces more than {limit >> 20} MiB.")
        if member.flags & ENCRYPTED or member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{where}: is encrypted or packed in a way pgtools does not read.", hint="Pack it anew.")
        signature, name, extra = LOCAL_HEADER.unpack(self._slice(member.offset, LOCAL_HEADER.size, where))
        if signature != b"PK\3\4":
            raise InputError(f"{where}: is damaged (no header).")
        data = self._slice(member.offset + LOCAL_HEADER.size + name + extra, member.packed, where)
        if member.method == zipfile.ZIP_DEFLATED:
            data = _inflated(data, member.size, where)
        if len(data) != member.size or zlib.crc32(data) != member.crc32:
            raise InputError(f"{where}: is damaged (its checksum differs).")
        return data

    def _slice(self, offset: int, size: int, where: str) -> bytes:
        try:
            return self._file.read(offset, size)
        except InputError as error:
            if isinstance(error.__cause__, OSError):
                raise
            raise InputError(f"{where}: is damaged ({error.message.rstrip('.')}).") from None

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "entries"}


def _member(info: zipfile.ZipInfo) -> Member:
    return Member(info.header_offset, info.compress_size, info.file_size, info.CRC, info.compress_type, info.flag_bits)


def _inflated(data: bytes, size: int, where: str) -> bytes:
    """Return at most one byte more than `size`, whatever the data would unpack to."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error as error:
        raise InputError(f"{where}: is damaged ({error}).") from None
