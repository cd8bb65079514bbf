"""A ZIP of image files: the same as a folder of them (StyleGAN2-ADA and StyleGAN3 data sets among them)."""

from __future__ import annotations

import threading
import zipfile
from pathlib import Path

from pgtools.errors import InputError
from pgtools.imaging.photo import SUFFIXES
from pgtools.stores.folder import EncodedImages, is_image_name

# An encoded image larger than this is no image of a data set; a ZIP can announce any size.
MAX_MEMBER_BYTES = 1 << 28


class ImageArchive(EncodedImages):
    """Image files inside a ZIP, ordered by name; read in place, nothing is extracted."""

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path)
        self._lock = threading.Lock()
        infos = self._zip.infolist()
        members = sorted(i.filename for i in infos if is_image_name(i.filename) and not i.is_dir())
        if not members:
            raise InputError(f"{path} holds no image files ({', '.join(sorted(SUFFIXES))}).")
        described = "dataset.json" in self._zip.NameToInfo
        super().__init__(str(path), members, self._read("dataset.json") if described else None)

    def read_bytes(self, index: int) -> bytes:
        """Return the encoded bytes of one image."""
        return self._read(self.members[index])

    def _read(self, member: str) -> bytes:
        if self._zip.getinfo(member).file_size > MAX_MEMBER_BYTES:
            raise InputError(f"{self.name}/{member} announces more than {MAX_MEMBER_BYTES >> 20} MiB.")
        with self._lock:
            try:
                return self._zip.read(member)
            except (
                zipfile.BadZipFile,
                OSError,
                EOFError,
                RuntimeError,
                NotImplementedError,
                ValueError,
            ) as error:
                raise InputError(f"{self.name}/{member} is damaged ({error}).") from None


def recognises(path: Path) -> bool:
    """Return whether `path` is a ZIP file."""
    return path.is_file() and zipfile.is_zipfile(path)
