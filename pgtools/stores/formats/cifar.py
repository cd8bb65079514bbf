"""CIFAR-10 and CIFAR-100: a folder of Python pickles, read without running anything from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.runtime.pickles import array_of, read_pickle
from pgtools.stores.format import ALL_SPLITS, Format
from pgtools.stores.formats.loaded import LoadedImages, Part, chosen_splits, is_file, joined
from pgtools.stores.layout import Attribute

SPLITS = ("train", "test")
SIDE = 32


@dataclass(frozen=True)
class Edition:
    """What one of the two data sets calls its parts.

    Attributes:
        files: split → files.
        meta: file of the class names.
        labels, label_names: of the classes, in a batch and in `meta`.
        coarse, coarse_names: of the classes above them, if there are any.
        classes: number of classes.
    """

    files: dict[str, tuple[str, ...]]
    meta: str
    labels: str
    label_names: str
    classes: int
    coarse: str = ""
    coarse_names: str = ""


CIFAR10 = Edition(
    {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)},
    "batches.meta",
    "labels",
    "label_names",
    10,
)
CIFAR100 = Edition(
    {"train": ("train",), "test": ("test",)},
    "meta",
    "fine_labels",
    "fine_label_names",
    100,
    "coarse_labels",
    "coarse_label_names",
)


class CifarBatches(LoadedImages):
    """CIFAR's 32² images of one split or both; a record has `split`, `class` and, in CIFAR-100, `coarse`.

    Args:
        path: the folder of the batches.
        split: "train", "test" or "all"; train if not given.

    Raises:
        InputError: a file of the split is missing, or there is no such split.
    """

    def __init__(self, path: Path, split: str | None = None) -> None:
        self.path = path
        edition = _edition(path)
        if edition is None:
            raise InputError(f"{path} holds no Python batches of CIFAR-10 or CIFAR-100.")
        self._edition, self._splits = edition, chosen_splits(split, SPLITS, path=path)
        super().__init__(str(path), resolution=SIDE, class_count=edition.classes)
        missing = [file for _, file in self._files() if not is_file(path / file)]
        if missing:
            raise InputError(f"{path} lacks {', '.join(missing)}.", hint="Unpack the data set again, or pass --split.")

    def load(self) -> Part:
        """Return the images of all batches of the split."""
        meta_file = self.path / self._edition.meta
        meta = read_pickle(meta_file, what="description of CIFAR") if is_file(meta_file) else {}
        if not isinstance(meta, dict):
            raise InputError(f"{meta_file} holds {type(meta).__name__}; expected a dictionary.")
        return joined([self._read(split, self.path / file, meta) for split, file in self._files()])

    def _files(self) -> list[tuple[str, str]]:
        return [(split, file) for split in self._splits for file in self._edition.files[split]]

    def _read(self, split: str, file: Path, meta: dict[Any, Any]) -> Part:
        edition = self._edition
        batch = read_pickle(file, what="CIFAR batch")
        if not isinstance(batch, dict) or not {"data", edition.labels, "filenames"} <= set(batch):
            raise InputError(f"{file} is no CIFAR batch; expected data, {edition.labels} and filenames.")
        images = _images(batch["data"], file)
        labels = _numbers(batch[edition.labels], len(images), edition.labels, file)
        attributes: dict[str, Sequence[Attribute]] = {"split": [split] * len(images)}
        if edition.label_names in meta:
            attributes["class"] = _names(labels, meta[edition.label_names], edition.label_names, file)
        if edition.coarse in batch:
            coarse = _numbers(batch[edition.coarse], len(images), edition.coarse, file)
            told = edition.coarse_names in meta
            names = _names(coarse, meta[edition.coarse_names], edition.coarse_names, file) if told else coarse.tolist()
            attributes["coarse"] = names
        filenames = batch["filenames"]
        if not isinstance(filenames, list) or not all(isinstance(name, str) for name in filenames):
            raise InputError(f"{file}: its filenames are no list of texts.")
        return Part(images, labels, filenames, attributes)


def recognises(path: Path) -> bool:
    """Return whether `path` is a folder with CIFAR's batches."""
    return _edition(path) is not None


def _edition(path: Path) -> Edition | None:
    if any(is_file(path / file) for files in CIFAR10.files.values() for file in files):
        return CIFAR10
    # "train" and "test" are common names, so the third file has to be there too.
    named = any(is_file(path / file) for files in CIFAR100.files.values() for file in files)
    return CIFAR100 if named and is_file(path / CIFAR100.meta) else None


def _images(data: Any, file: Path) -> NDArray[np.uint8]:
    try:
        pixels = array_of(data)
    except ValueError as error:
        raise InputError(f"{file}: its data is damaged ({error}).") from None
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3 * SIDE * SIDE:
        raise InputError(f"{file}: its data is {pixels.dtype} {pixels.shape}; expected uint8 (N, {3 * SIDE * SIDE}).")
    return pixels.reshape(-1, 3, SIDE, SIDE)


def _numbers(values: Any, count: int, key: str, file: Path) -> NDArray[np.int64]:
    try:
        numbers = array_of(values)
    except (ValueError, TypeError, OverflowError):
        numbers = np.zeros(0, object)
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu":
        raise InputError(f"{file}: its {key} are no {count} whole numbers.")
    return numbers.astype(np.int64)


def _names(numbers: NDArray[np.int64], names: Any, key: str, file: Path) -> list[str]:
    listed = list(names) if isinstance(names, (list, tuple)) else []
    if not all(isinstance(name, str) for name in listed) or not ((numbers >= 0) & (numbers < len(listed))).all():
        raise InputError(f"{file}: has a class that {key} ({len(listed)} names) does not name.")
    return [listed[number] for number in numbers]


FORMAT = Format(
    name="cifar",
    title="CIFAR-10 or CIFAR-100: a folder of Python batches",
    open=lambda path, reading: CifarBatches(path, reading.split),
    recognises=recognises,
    splits=(*SPLITS, ALL_SPLITS),
)
