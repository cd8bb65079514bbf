"""SVHN's cropped 32² digits: MATLAB files `train_32x32.mat`, `test_32x32.mat`, `extra_32x32.mat`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import scipy.io

from pgtools.errors import InputError
from pgtools.stores.format import ALL_SPLITS, Format
from pgtools.stores.formats.loaded import LoadedImages, Part, chosen_splits, is_file, joined

SPLITS = ("train", "test", "extra")
SUFFIX = "_32x32.mat"
SIDE, CHANNELS, DIGITS = 32, 3, 10
IMAGE_BYTES = SIDE * SIDE * CHANNELS

MAGIC = b"MATLAB 5.0 MAT-file"
MAX_IMAGES = 600_000
MAX_DEFLATE_RATIO = 1032  # of packed variables


class SvhnDigits(LoadedImages):
    """SVHN's cropped digits of one split or of all that are there; a record has `split`.

    The files call the digit 0 class 10; here its label is 0.

    Args:
        path: one of the files, or a folder of them.
        split: "train", "test", "extra", or "all" for each file that is in the folder; train if not given, and for a
            file its own.

    Raises:
        InputError: the file of the split is missing, or there is no such split.
    """

    def __init__(self, path: Path, split: str | None = None) -> None:
        super().__init__(str(path), resolution=SIDE, class_count=DIGITS)
        if is_file(path):
            own = path.name.removesuffix(SUFFIX)
            if split not in (None, ALL_SPLITS, own):
                raise InputError(f"{path} is not the split {split!r}.", hint="Name the folder of the files.")
            self._files = {own: path}
            return
        wanted = chosen_splits(split, SPLITS, path=path)
        files = {name: path / f"{name}{SUFFIX}" for name in wanted}
        self._files = {name: file for name, file in files.items() if is_file(file)}
        if not self._files or (split != ALL_SPLITS and len(self._files) < len(files)):
            raise InputError(f"{path} lacks {', '.join(file.name for file in files.values())}.", hint="Pass --split.")

    def load(self) -> Part:
        """Return the images of the split."""
        return joined([_read(split, file) for split, file in self._files.items()])


def recognises(path: Path) -> bool:
    """Return whether `path` is one of SVHN's files, or a folder with one of them."""
    if is_file(path):
        return path.name.endswith(SUFFIX) and _is_matlab(path)
    return any(is_file(path / f"{split}{SUFFIX}") for split in SPLITS)


def _is_matlab(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def _read(split: str, file: Path) -> Part:
    if not _is_matlab(file):
        raise InputError(f"{file} is no MATLAB 5 file.", hint="Get it again.")
    try:
        with file.open("rb") as stream:
            bounded = _Bounded(stream, file.stat().st_size)
            count = _announced(scipy.io.whosmat(bounded), bounded.size, file)
            bounded.seek(0)
            found = scipy.io.loadmat(bounded, variable_names=("X", "y"))
        pixels, classes = found["X"], found["y"].reshape(-1)
    except InputError:
        raise
    except Exception as error:  # scipy raises TypeError, ValueError, OSError, zlib.error, … for damage
        raise InputError(f"{file} is damaged ({error}).", hint="Get it again.") from None
    if pixels.shape != (SIDE, SIDE, CHANNELS, count) or pixels.dtype != np.uint8 or classes.dtype.kind not in "uif":
        raise InputError(f"{file}: X is {pixels.dtype} {pixels.shape}, y {classes.dtype}; expected numbers.")
    if not np.isin(classes, np.arange(1, DIGITS + 1)).all():
        raise InputError(f"{file}: y is not a class from 1 to {DIGITS} for each image.")
    labels = classes.astype(np.int64) % DIGITS
    names = [f"{split}/{i:06d}" for i in range(count)]
    # (H, W, C, N) -> (N, C, H, W), a view: extra is 1.6 GB
    return Part(pixels.transpose(3, 2, 0, 1), labels, names, {"split": [split] * count})


def _announced(variables: Iterable[tuple[str, tuple[int, ...], str]], size: int, file: Path) -> int:
    """Return the number of images, if X and y are what they should be and the file can hold them."""
    told = [(name, shape, kind) for name, shape, kind in variables if name in ("X", "y")]
    by_name = {name: (shape, kind) for name, shape, kind in told}
    if len(told) != 2 or set(by_name) != {"X", "y"}:
        raise InputError(f"{file} holds no X and y; expected SVHN's cropped digits (format 2).")
    (shape, kind), (labels_shape, labels_kind) = by_name["X"], by_name["y"]
    if len(shape) != 4 or shape[:3] != (SIDE, SIDE, CHANNELS) or kind != "uint8":
        raise InputError(f"{file}: X is {kind} {shape}; expected uint8 ({SIDE}, {SIDE}, {CHANNELS}, N).")
    count = shape[3]
    if labels_shape not in ((count, 1), (1, count)) or labels_kind not in ("uint8", "double"):
        raise InputError(f"{file}: y is {labels_kind} {labels_shape}; expected one class for each of {count} images.")
    if not 0 < count <= min(MAX_IMAGES, size * MAX_DEFLATE_RATIO // IMAGE_BYTES):
        raise InputError(f"{file} announces {count} images; its {size} bytes do not hold them.", hint="Get it again.")
    return count


class _Bounded:
    """A file for a reader that reserves what it asks for: to ask for more than the file has is an error."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self.size = stream, size
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes."""
        if count > self.size:
            raise ValueError("a part of it is longer than the file")
        return self._stream.read(count)


FORMAT = Format(
    name="svhn",
    title="SVHN's cropped digits: a .mat file, or a folder of them",
    open=lambda path, reading: SvhnDigits(path, reading.split),
    recognises=recognises,
    splits=(*SPLITS, ALL_SPLITS),
)
