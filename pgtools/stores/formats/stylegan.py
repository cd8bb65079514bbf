"""Data sets as StyleGAN2-ADA and StyleGAN3 read them: `00000/img00000000.png` and `dataset.json`, in a ZIP or a folder.

They are read as every ZIP and every folder of images; names and attributes of the images have no place in them.
"""

from __future__ import annotations

import re
import zipfile
from abc import abstractmethod
from pathlib import Path

from pgtools.stores.codecs import encode
from pgtools.stores.format import Format
from pgtools.stores.formats import exports
from pgtools.stores.formats.file_names import stylegan_name
from pgtools.stores.formats.folder import DATASET_JSON, ImageFolder
from pgtools.stores.layout import Record
from pgtools.stores.writer import Plan, Pyramid, Writer

# The earliest time a ZIP can tell: equal images give equal bytes, whenever and wherever they are written.
EPOCH = (1980, 1, 1, 0, 0, 0)
UNIX, MODE = 3, 0o100644
MEMBER = re.compile(r"\d{5,}/img\d{8,}\.png", re.ASCII)


class StyleganWriter(Writer[bytes]):
    """Writes the images as PNG and then `dataset.json`; a sub-class says where a member goes."""

    def __init__(self, path: Path, plan: Plan) -> None:
        super().__init__(path, plan)
        self._labels, self._count = exports.Labels(plan), 0

    @abstractmethod
    def put(self, member: str, data: bytes) -> None:
        """Write one member."""

    def encode(self, pyramid: Pyramid) -> bytes:
        """Return the top level as PNG."""
        return encode(pyramid[self.plan.resolution], "png")

    def append(self, encoded: bytes, record: Record, label: int | None) -> None:
        """Add the next image."""
        self._labels.add(label, record)
        self.put(stylegan_name(self._count), encoded)
        self._count += 1

    def finish(self) -> None:
        """Add `dataset.json`."""
        members = [stylegan_name(index) for index in range(self._count)]
        self.put(DATASET_JSON, exports.dataset_json(members, self._labels.numbers))


class StyleganZipWriter(StyleganWriter):
    """Writes a new ZIP. Its members are stored, not deflated: PNG is packed already, and they are read in place."""

    def __init__(self, path: Path, plan: Plan) -> None:
        super().__init__(path, plan)
        self._archive = zipfile.ZipFile(path, "x", zipfile.ZIP_STORED, allowZip64=True)

    def put(self, member: str, data: bytes) -> None:
        """Write one member."""
        info = zipfile.ZipInfo(member, EPOCH)
        info.create_system, info.external_attr = UNIX, MODE << 16
        self._archive.writestr(info, data)

    def close(self) -> None:
        """Write the directory and close the file."""
        self._archive.close()


class StyleganFolderWriter(StyleganWriter):
    """Writes a new folder."""

    def __init__(self, path: Path, plan: Plan) -> None:
        super().__init__(path, plan)
        self._folder = exports.NewFolder(path, plan, ours=_is_ours, what="a StyleGAN data set")

    def put(self, member: str, data: bytes) -> None:
        """Write one member."""
        file = self.path / member
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)

    def finish(self) -> None:
        """Add `dataset.json`."""
        super().finish()
        self._folder.check()


def recognises(path: Path) -> bool:
    """Return whether `path` is a folder with the first image of a StyleGAN data set."""
    return path.is_dir() and (path / stylegan_name(0)).is_file()


def _is_ours(member: str) -> bool:
    return member == DATASET_JSON or MEMBER.fullmatch(member) is not None


FORMAT = Format(
    name="stylegan",
    title="folder as StyleGAN2-ADA and StyleGAN3 read it",
    open=lambda path, reading: ImageFolder(path, reading.fit),
    recognises=recognises,
    fits=True,
    writer=StyleganFolderWriter,
)
