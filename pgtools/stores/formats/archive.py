"""A ZIP of image files: the same as a folder of them (StyleGAN2-ADA and StyleGAN3 data sets among them)."""

from __future__ import annotations

import zipfile
from pathlib import Path

from pgtools.errors import InputError
from pgtools.imaging.fit import Fit
from pgtools.imaging.photo import SUFFIXES
from pgtools.runtime.zips import ZipArchive
from pgtools.stores.format import Format
from pgtools.stores.formats.file_names import check_member
from pgtools.stores.formats.folder import DATASET_JSON, NamedImages, is_image_name
from pgtools.stores.formats.stylegan import StyleganZipWriter

# An encoded image larger than this is no image of a data set; a ZIP can announce any size.
MAX_MEMBER_BYTES = 1 << 28


class ImageArchive(NamedImages):
    """Image files inside a ZIP, ordered by name; read in place, nothing is extracted.

    The directory is read once; members are read by position, so threads and forked processes do not wait for one
    another. A name that leads out of the archive refuses the whole.
    """

    def __init__(self, path: Path, fit: Fit | None = None) -> None:
        self._archive = ZipArchive(path)
        entries = self._archive.entries
        for name, _ in entries:
            check_member(name, path)
        self._entries = {name: entry for name, entry in entries if name == DATASET_JSON or is_image_name(name)}
        members = sorted(name for name in self._entries if name != DATASET_JSON)
        if not members:
            raise InputError(f"{path} holds no image files ({', '.join(sorted(SUFFIXES))}).")
        super().__init__(str(path), members, fit)

    def read_bytes(self, index: int) -> bytes:
        """Return the encoded bytes of one image."""
        return self._read(self.members[index])

    def read_description(self) -> bytes | None:
        """Return the bytes of `dataset.json`, None if it is not there."""
        return self._read(DATASET_JSON) if DATASET_JSON in self._entries else None

    def _read(self, member: str) -> bytes:
        where = f"{self.name}/{member}"
        return self._archive.read(self._entries[member], where=where, limit=MAX_MEMBER_BYTES)


def recognises(path: Path) -> bool:
    """Return whether `path` is a ZIP file."""
    return path.is_file() and zipfile.is_zipfile(path)


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
