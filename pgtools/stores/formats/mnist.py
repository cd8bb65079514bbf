"""MNIST and its likes (IDX files, plain or .gz), and stacked MNIST: three digits as red, green and blue."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.stores.format import ALL_SPLITS, Format
from pgtools.stores.formats.loaded import LoadedImages, Part, chosen_splits, is_file, joined
from pgtools.stores.layout import Record
from pgtools.stores.source import ImageSource, check_index

SPLITS = ("train", "test")
STEMS = {"train": "train", "test": "t10k"}
# Where torchvision puts the files below the folder that it is given.
FOLDERS = (".", "raw", "MNIST/raw")
DIGIT_SIDE, SIDE = 28, 32
DIGITS = 10

UNSIGNED_BYTES = 8
MAX_BYTES = 1 << 30
# Deflate makes nothing smaller than by this factor: a file that announces more does not hold it.
MAX_DEFLATE_RATIO = 1032

STACKED_COUNT, STACKED_SEED, STACKED_CLASSES = 1_000_000, 123, 1000


class MnistDigits(LoadedImages):
    """MNIST's 28² digits with a black rim to 32², grey, of one split or both; a record has `split`.

    Fashion-MNIST and others whose files have the same names are read as well.

    Args:
        path: a folder of the IDX files, or torchvision's folder above it.
        split: "train", "test" or "all"; train if not given.

    Raises:
        InputError: a file of the split is missing, or there is no such split.
    """

    colour = "grey"

    def __init__(self, path: Path, split: str | None = None) -> None:
        super().__init__(str(path), resolution=SIDE, class_count=DIGITS)
        self._files = {name: _files(path, name) for name in chosen_splits(split, SPLITS, path=path)}

    def load(self) -> Part:
        """Return the digits of the split, uint8 (N, 1, 28, 28)."""
        return joined([_read_split(split, *files) for split, files in self._files.items()])


class StackedMnist(ImageSource):
    """A million images of three MNIST digits as red, green and blue: the usual count of modes, 1,000 classes.

    Image i is made of the digits `RandomState(123).randint(number_of_digits, size=(1000000, 3))[i]`, in the order of
    the split; its label is 100·r + 10·g + b.

    Args:
        path: as of `MnistDigits`.
        split: as of `MnistDigits`; the field draws from train.
    """

    resolution = SIDE

    def __init__(self, path: Path, split: str | None = None) -> None:
        self.name, self._digits = f"{path} (stacked)", MnistDigits(path, split)
        self._drawn: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return STACKED_COUNT

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_drawn": None}

    @property
    def classes(self) -> int | None:
        """One class for each three digits."""
        return STACKED_CLASSES

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read 100·r + 10·g + b of each image."""
        labels: NDArray[np.int64] = self._digits.loaded().labels[self._triples()] @ np.array([100, 10, 1])
        return labels

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return, as the name, which digits an image is made of."""
        wanted = self._triples()[[check_index(i, self) for i in indices]].reshape(-1, 3)
        return [Record("-".join(f"{digit:05d}" for digit in triple)) for triple in wanted]

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images at full resolution."""
        wanted = self._triples()[[check_index(i, self) for i in indices]].reshape(-1)
        grey = self._digits.read_top(wanted.tolist())[:, 0]  # (3N, 32, 32)
        return grey.reshape(len(indices), 3, SIDE, SIDE)

    def _triples(self) -> NDArray[np.int64]:
        if self._drawn is None:
            state = np.random.RandomState(STACKED_SEED)
            self._drawn = state.randint(len(self._digits), size=(STACKED_COUNT, 3)).astype(np.int64)
        return self._drawn


def recognises(path: Path) -> bool:
    """Return whether `path` is a folder with MNIST's files of images."""
    return any(_find(path, split, "images-idx3-ubyte") is not None for split in SPLITS)


def read_idx(file: Path, *, axes: int) -> NDArray[np.uint8]:
    """Return the array of an IDX file, plain or .gz.

    Args:
        file: the file.
        axes: the number of axes that it has to have.

    Raises:
        InputError: it is no such file, or its length is not the one that its header announces.
    """
    opener = gzip.open if file.suffix == ".gz" else open
    try:
        packed = file.stat().st_size
        with opener(file, "rb") as stream:
            header = stream.read(4 + 4 * axes)
            shape = _announced(header, axes, file)
            count = math.prod(shape)
            if count > min(MAX_BYTES, packed * (MAX_DEFLATE_RATIO if file.suffix == ".gz" else 1)):
                raise InputError(f"{file} announces {shape} bytes; it is cut short, or damaged.", hint="Get it again.")
            data = stream.read(count + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{file}: cannot be read ({error}).", hint="Get it again.") from None
    if len(data) != count:
        found = f"{len(data)} bytes follow" if len(data) < count else "more bytes follow"
        raise InputError(f"{file} announces {shape}, {count} bytes; {found}.", hint="Get it again.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _announced(header: bytes, axes: int, file: Path) -> tuple[int, ...]:
    """Return the shape that a header gives: two zeros, type, number of axes, each axis (uint32, big end first)."""
    if header[:4] != bytes((0, 0, UNSIGNED_BYTES, axes)) or len(header) < 4 + 4 * axes:
        raise InputError(f"{file} starts with {header[:4].hex(' ')}; expected an IDX file of bytes with {axes} axes.")
    return tuple(int(side) for side in np.frombuffer(header, ">u4", offset=4))


def _read_split(split: str, image_file: Path, label_file: Path) -> Part:
    images, labels = read_idx(image_file, axes=3), read_idx(label_file, axes=1)
    if images.shape[1:] != (DIGIT_SIDE, DIGIT_SIDE):
        raise InputError(f"{image_file} holds images of {images.shape[1:]}; expected {(DIGIT_SIDE, DIGIT_SIDE)}.")
    if len(images) != len(labels):
        raise InputError(f"{image_file} holds {len(images)} images, {label_file.name} {len(labels)} labels.")
    names = [f"{split}/{i:05d}" for i in range(len(images))]
    return Part(images[:, None], labels.astype(np.int64), names, {"split": [split] * len(images)})


def _files(path: Path, split: str) -> tuple[Path, Path]:
    images, labels = (_find(path, split, kind) for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
    if images is None or labels is None:
        raise InputError(
            f"{path} lacks {STEMS[split]}-images-idx3-ubyte or {STEMS[split]}-labels-idx1-ubyte, plain or .gz.",
            hint="Name the folder that holds MNIST's files.",
        )
    return images, labels


def _find(path: Path, split: str, kind: str) -> Path | None:
    """Return the file of a split; unpackers have written `-idx3` as `.idx3`."""
    names = (f"{STEMS[split]}-{kind}", f"{STEMS[split]}-{kind.replace('-idx', '.idx')}")
    found = (path / folder / f"{name}{suffix}" for folder in FOLDERS for name in names for suffix in ("", ".gz"))
    return next((file for file in found if is_file(file)), None)


FORMAT = Format(
    name="mnist",
    title="MNIST or Fashion-MNIST: a folder of IDX files, padded to 32²",
    open=lambda path, reading: MnistDigits(path, reading.split),
    recognises=recognises,
    splits=(*SPLITS, ALL_SPLITS),
)
STACKED_FORMAT = Format(
    name="stacked-mnist",
    title="stacked MNIST: three digits of MNIST's IDX files as red, green and blue, 1,000 classes",
    open=lambda path, reading: StackedMnist(path, reading.split),
    recognises=lambda _: False,
    splits=(*SPLITS, ALL_SPLITS),
)
