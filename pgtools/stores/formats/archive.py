"""A ZIP of image files: the same as a folder of them (StyleGAN2-ADA and StyleGAN3 data sets among them)."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

from pgtools.errors import InputError
from pgtools.imaging.fit import Fit
from pgtools.imaging.photo import SUFFIXES
from pgtools.runtime.slices import SlicedFile
from pgtools.stores.format import Format
from pgtools.stores.formats.file_names import check_member
from pgtools.stores.formats.folder import DATASET_JSON, NamedImages, is_image_name
from pgtools.stores.formats.stylegan import StyleganZipWriter

# An encoded image larger than this is no image of a data set; a ZIP can announce any size.
MAX_MEMBER_BYTES = 1 << 28
# Of a member's local header: where the lengths of its name and its extra field stand.
LOCAL_HEADER = struct.Struct("<4s22xHH")
ENCRYPTED = 1


class ImageArchive(NamedImages):
    """Image files inside a ZIP, ordered by name; read in place, nothing is extracted.

    The directory is read once; members are read by position, so threads and forked processes do not wait for one
    another. A name that leads out of the archive refuses the whole.
    """

    def __init__(self, path: Path, fit: Fit | None = None) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                infos = archive.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise InputError(f"{path} is not a readable ZIP ({error}).") from None
        self._file = SlicedFile(path)
        for info in infos:
            check_member(info.filename, path)
        self._infos = {i.filename: i for i in infos if i.filename == DATASET_JSON or is_image_name(i.filename)}
        members = sorted(name for name, info in self._infos.items() if name != DATASET_JSON and not info.is_dir())
        if not members:
            raise InputError(f"{path} holds no image files ({', '.join(sorted(SUFFIXES))}).")
        super().__init__(str(path), members, fit)

    def read_bytes(self, index: int) -> bytes:
        """Return the encoded bytes of one image."""
        return self._read(self.members[index])

    def read_description(self) -> bytes | None:
        """Return the bytes of `dataset.json`, None if it is not there."""
        return self._read(DATASET_JSON) if DATASET_JSON in self._infos else None

    def _read(self, member: str) -> bytes:
        info = self._infos[member]
        where = f"{self.name}/{member}"
        if max(info.file_size, info.compress_size) > MAX_MEMBER_BYTES:
            raise InputError(f"{where} announces more than {MAX_MEMBER_BYTES >> 20} MiB.")
        if info.flag_bits & ENCRYPTED or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"{where} is encrypted or packed in a way pgtools does not read.", hint="Pack it anew.")
        signature, name, extra = LOCAL_HEADER.unpack(self._file.read(info.header_offset, LOCAL_HEADER.size))
        if signature != b"PK\3\4":
            raise InputError(f"{where} is damaged (no header).")
        data = self._file.read(info.header_offset + LOCAL_HEADER.size + name + extra, info.compress_size)
        if info.compress_type == zipfile.ZIP_DEFLATED:
            data = _inflated(data, info.file_size, where)
        if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
            raise InputError(f"{where} is damaged (its checksum differs).")
        return data


def recognises(path: Path) -> bool:
    """Return whether `path` is a ZIP file."""
    return path.is_file() and zipfile.is_zipfile(path)


def _inflated(data: bytes, size: int, where: str) -> bytes:
    """Return at most one byte more than `size`, whatever the data would unpack to."""
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    except zlib.error as error:
        raise InputError(f"{where} is damaged ({error}).") from None


FORMAT = Format(
    name="zip",
    title="ZIP of image files, labels from dataset.json or the first sub-folder",
    open=lambda path, reading: ImageArchive(path, reading.fit),
    recognises=recognises,
    fits=True,
    writer=StyleganZipWriter,
    writes="file",
    suffixes=(".zip",),
)
