"""Images of a generator onto the disk: a folder of numbered PNGs, any store that pgtools writes, one grid."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import OutputError, UsageError
from pgtools.imaging.grid import tile
from pgtools.imaging.photo import encode_png
from pgtools.progan.sampling.source import GeneratorSource, images_at_once
from pgtools.runtime.files import check_free_space, check_writable, written_aside
from pgtools.runtime.progress import bar, track
from pgtools.stores.codecs import encode
from pgtools.stores.formats import exports, folder
from pgtools.stores.layout import Record
from pgtools.stores.opening import FORMATS
from pgtools.stores.source import ImageSource
from pgtools.stores.views import Joined
from pgtools.stores.writer import Plan, Pyramid, Writer
from pgtools.stores.writing import Output, check_outputs, estimated_bytes, items_of, output, write_stores

IMAGE = re.compile(r"\d{6,}\.png", re.ASCII)
# Of a grid: 2.4 GB while it is packed. More pixels are no picture that anyone opens.
MOST_GRID_PIXELS = 1 << 28


class NumberedFolder(Writer[bytes]):
    """Writes PNGs flat into a new folder, each named by its image's number; classes go into `dataset.json`."""

    def __init__(self, path: Path, plan: Plan) -> None:
        super().__init__(path, plan)
        self._folder = exports.NewFolder(path, plan, ours=_is_ours, what="a folder of generated images")
        self._labels, self._names = exports.Labels(plan), list[str]()

    def encode(self, pyramid: Pyramid) -> bytes:
        """Return the top level as PNG."""
        return encode(pyramid[self.plan.resolution], "png")

    def append(self, encoded: bytes, record: Record, label: int | None) -> None:
        """Add the next image."""
        self._labels.add(label, record)
        (self.path / record.name).write_bytes(encoded)
        self._names.append(record.name)

    def finish(self) -> None:
        """Add `dataset.json` where there are classes."""
        if (labels := self._labels.numbers) is not None:
            (self.path / folder.DATASET_JSON).write_bytes(exports.dataset_json(self._names, labels))
        self._folder.check()


FOLDER = replace(folder.FORMAT, writer=NumberedFolder)


def target(out: Path) -> Output:
    """Return what `out` is to become: the store that its suffix names, else a folder of PNGs."""
    stores = [suffix for known in FORMATS if known.writer for suffix in known.suffixes]
    return output(out) if out.suffix.lower() in stores else Output(out, FOLDER)


def check_target(out: Output, numbers: Sequence[int], *, overwrite: bool) -> None:
    """Raise OutputError now if images of these numbers could not be written later.

    Raises:
        OutputError: something stands there and `overwrite` is off, or it is no such set of images, or it cannot be
            written.
    """
    if out.format is FOLDER:
        check_folder(out.path, numbers, overwrite=overwrite)
    else:
        check_outputs([out], overwrite=overwrite)


def check_folder(path: Path, numbers: Sequence[int], *, overwrite: bool) -> None:
    """Raise OutputError unless images can be written as the folder `path`: new, empty, or of such images.

    Raises:
        OutputError: it holds something and `overwrite` is off, or holds other files, or cannot be written.
    """
    if path.is_dir():
        held = sorted({file.name for file in path.iterdir()})
        if foreign := _foreign(set(held) - {folder.DATASET_JSON}, numbers):
            raise OutputError(
                f"{path} holds {foreign}, which is none of the images to be written; it will not be replaced.",
                hint="Name another folder.",
            )
        overwrite = overwrite or not held
    elif path.exists():
        raise OutputError(
            f"{path} is a file; the images go into a folder.", hint="Name another folder, or NAME.zip, .lmdb or .h5."
        )
    check_writable(path, overwrite=overwrite, what="folder")


def check_space(out: Output, source: GeneratorSource) -> None:
    """Raise OutputError if the disk has less room than the images will take, as far as that can be told before.

    Raises:
        OutputError: it has.
    """
    check_free_space(out.path.absolute().parent, estimated_bytes(out.format.name, plan_of(source)))


def plan_of(source: GeneratorSource) -> Plan:
    """Return what a store of the source's images is to hold."""
    return Plan(len(source), source.resolution, colour=source.colour, classes=source.classes, origin=source.origin())


def write_images(source: GeneratorSource, out: Output) -> None:
    """Write every image, a few at a time in memory; what stood there is replaced when the new set is whole."""
    items = items_of(source, range(len(source)))
    write_stores([out], track(items, f"Writing {out.path}", len(source)), plan_of(source))


def by_class(source: GeneratorSource, classes: Sequence[int], columns: int) -> ImageSource:
    """Return the first `columns` images as each of some classes, class after class: the rows of a grid."""
    return Joined([source.picked(source.numbers[:columns], classes=(number,)) for number in classes])


def check_grid(count: int, resolution: int) -> None:
    """Raise UsageError if so many images are no picture any more.

    Raises:
        UsageError: they are more than 268 million pixels.
    """
    if count * resolution**2 > MOST_GRID_PIXELS:
        most = MOST_GRID_PIXELS // resolution**2
        raise UsageError(f"A grid of {count} images of {resolution}² is too large; {most} fit.", hint="Choose fewer.")


def write_grid(source: ImageSource, file: Path, columns: int | None = None) -> None:
    """Write all images into one PNG, row by row.

    Args:
        source: of the images.
        file: the PNG.
        columns: images in a row; as square as their number allows if not given.
    """
    with written_aside(file) as aside:
        aside.write_bytes(encode_png(tile(_all(source, file), columns)))


def _all(source: ImageSource, file: Path) -> NDArray[np.uint8]:
    size, resolution = images_at_once(source.resolution), source.resolution
    images = np.empty((len(source), 3, resolution, resolution), np.uint8)
    with bar(f"Making {file}", len(source)) as advance:
        for start in range(0, len(source), size):
            chunk = range(start, min(start + size, len(source)))
            images[chunk.start : chunk.stop] = source.read(chunk)
            advance(len(chunk))
    return images


def _foreign(held: set[str], numbers: Sequence[int]) -> str:
    """Return a name in a folder that shows that it is none of generated images, "" if there is none.

    Generated images count from 000000 without a gap, or are just those that would be written now: CelebA's own PNGs
    begin at 000001, and none but the files that are asked for is lost.
    """
    first = {f"{i:06d}.png" for i in range(len(held))}
    if held <= first:
        return ""
    asked = numbers if isinstance(numbers, range) else set(numbers)
    numbered = {name: int(name[:-4]) for name in held if IMAGE.fullmatch(name)}
    wanted = {name for name, number in numbered.items() if number in asked and name == f"{number:06d}.png"}
    return min(held - wanted, default="")


def _is_ours(member: str) -> bool:
    return member == folder.DATASET_JSON or IMAGE.fullmatch(member) is not None
