"""Data set objects of other packages: torchvision's, Hugging Face's, any with a length and images by number."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgtools.errors import InputError, PgtoolsError
from pgtools.imaging.fit import Fit
from pgtools.imaging.photo import decode
from pgtools.runtime.locks import ProcessLock
from pgtools.stores.formats.encoded import DecodedImages
from pgtools.stores.formats.labels import MAX_CLASS
from pgtools.stores.layout import Attribute, Record
from pgtools.stores.source import ImageSource, check_index

IMAGE_NAMES, LABEL_NAMES = ("image", "img"), ("label", "labels", "fine_label")


@dataclass(frozen=True)
class Columns:
    """Which columns of a Hugging Face data set are which.

    Attributes:
        image: the images.
        label: the class numbers, if there are any.
        class_names: of the classes, if they are told.
    """

    image: str
    label: str | None = None
    class_names: tuple[str, ...] = ()


class ObjectImages(DecodedImages):
    """The images of a data set object; it is asked by one thread at a time.

    It travels to other processes if the object does.

    Args:
        dataset: with `len(dataset)` and `dataset[i]`.
        name: what the source is called.
        columns: of a Hugging Face data set.
        fit: crop and resize of each image.
        split: told as the attribute `split` of each record.
    """

    def __init__(
        self, dataset: Any, *, name: str, columns: Columns | None, fit: Fit | None = None, split: str | None = None
    ) -> None:
        super().__init__(name, fit)
        self._dataset, self._columns, self._split = dataset, columns, split
        self._images = dataset.select_columns([columns.image]) if columns else dataset
        self._class_names = columns.class_names if columns else _class_names(dataset)
        self._reading = ProcessLock()

    def __len__(self) -> int:
        return len(self._dataset)

    @property
    def classes(self) -> int | None:
        """Number of classes: of their names where the object tells these."""
        return super().classes if self.labels is None or not self._class_names else len(self._class_names)

    def read_labels(self) -> NDArray[np.int64] | None:
        """Read the class numbers without decoding an image; None where the object does not tell them so."""
        with self._reading:
            if self._columns is None:
                found = _targets(self._dataset)
            elif self._columns.label is None:
                found = None
            else:
                found = list(self._dataset.with_format(None)[self._columns.label])
        return None if found is None else _checked_labels(found, len(self), len(self._class_names), self.name)

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return numbers as names, and the names of the classes and of the split where they are told."""
        records = []
        for index in (check_index(i, self) for i in indices):
            attributes: dict[str, Attribute] = {} if self._split is None else {"split": self._split}
            if self.labels is not None and self._class_names:
                attributes["class"] = self._class_names[self.labels[index]]
            records.append(Record(f"{index:08d}" if self._split is None else f"{self._split}/{index:08d}", attributes))
        return records

    def decode(self, index: int) -> NDArray[np.uint8]:
        """Return one image before it is made to fit."""
        where = self.where(index)
        with self._reading:
            try:
                item = self._images[index]
                return _pixels(_image_of(item, self._columns, where), where)
            except (PgtoolsError, MemoryError):
                raise
            except Exception as error:  # it is other people's code
                raise InputError(f"{where} cannot be read ({first_line(error)}).") from None

    def where(self, index: int) -> str:
        """Return the source and the image's number."""
        return f"{self.name}, image {index}"


def from_dataset(dataset: Any, name: str | None = None, fit: Fit | None = None) -> ImageSource:
    """Return the images of a data set object as a source.

    Args:
        dataset: a map-style data set: torchvision's, whose items are (image, label), or Hugging Face's, whose items
            are dictionaries; any other with `len(dataset)` and such items. An image is a Pillow image, a uint8 array
            (H, W) or (H, W, C), or a uint8 tensor (H, W) or (C, H, W); grey is repeated, alpha is dropped.
        name: what the source is called; the object's class if not given.
        fit: crop and resize; none if not given.

    Raises:
        InputError: it is no map-style data set, is empty, or its columns are ambiguous.
    """
    if isinstance(dataset, Mapping):
        raise InputError(
            f"A dictionary of {', '.join(map(repr, list(dataset)[:8]))} is no data set of images.",
            hint="Pass one of its parts, e.g. dataset['train'].",
        )
    name = name or type(dataset).__qualname__
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise InputError(f"{name} has no length and no items by number.", hint="Pass a map-style data set.")
    if not len(dataset):
        raise InputError(f"{name} holds no images.")
    features = getattr(dataset, "features", None)
    columns = find_columns(features, name) if isinstance(features, Mapping) else None
    return ObjectImages(dataset, name=name, columns=columns, fit=fit)


def find_columns(features: Mapping[str, Any], name: str) -> Columns:
    """Return the columns of images and labels, by their types, else by their names.

    Args:
        features: column → its type, as `datasets` gives them.
        name: named in errors.

    Raises:
        InputError: there is no column of images, or several of one kind.
    """
    kinds = {column: type(feature).__name__ for column, feature in features.items()}
    image = _one(features, [c for c, kind in kinds.items() if kind == "Image"], IMAGE_NAMES, "images", name)
    label = _one(features, [c for c, kind in kinds.items() if kind == "ClassLabel"], LABEL_NAMES, "labels", name)
    if image is None:
        raise InputError(f"{name} has no column of images; it has {', '.join(features)}.", hint="Name it image.")
    names = getattr(features[label], "names", None) if label is not None else None
    return Columns(image, label, tuple(names or ()))


def _one(features: Mapping[str, Any], typed: Sequence[str], names: Sequence[str], what: str, where: str) -> str | None:
    if len(typed) == 1:
        return typed[0]
    found = [column for column in names if column in (typed or features)]
    if len(found) == 1:
        return found[0]
    if not typed and not found:
        return None
    raise InputError(
        f"{where} has several columns of {what}: {', '.join(found or typed)}.",
        hint="Keep one of them: dataset.select_columns([...]).",
    )


def _image_of(item: Any, columns: Columns | None, where: str) -> Any:
    if columns is not None:
        return item[columns.image]
    if isinstance(item, Mapping):
        found = [name for name in IMAGE_NAMES if name in item]
        if len(found) != 1:
            raise InputError(f"{where} has {', '.join(map(str, item))}; expected one of {', '.join(IMAGE_NAMES)}.")
        return item[found[0]]
    return item[0] if isinstance(item, (tuple, list)) else item


def _pixels(image: Any, where: str) -> NDArray[np.uint8]:
    """Return an image of any of the kinds that data sets hold as uint8 RGB (H, W, 3)."""
    if isinstance(image, Mapping):
        if not isinstance(image.get("bytes"), bytes):
            raise InputError(f"{where} is not in the data set itself ({image.get('path')!r}).", hint="Save it again.")
        return decode(image["bytes"], where=where)
    if isinstance(image, Image.Image):
        return _pillow_pixels(image, where)
    is_tensor = hasattr(image, "detach")
    values = image.detach().cpu().numpy() if is_tensor else image
    if not isinstance(values, np.ndarray) or values.dtype != np.uint8 or values.ndim not in (2, 3):
        kind = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(image).__name__
        raise InputError(
            f"{where} is {kind}; expected a Pillow image or uint8 (H, W, C), or as a tensor (C, H, W).",
            hint="Open the data set without a transform to floats (ToTensor, Normalize).",
        )
    if values.ndim == 2:
        values = values[:, :, None]
    elif is_tensor:
        values = values.transpose(1, 2, 0)
    channels = values.shape[2]
    if channels not in (1, 2, 3, 4):
        raise InputError(f"{where} has {channels} channels; expected an array (H, W, C) or a tensor (C, H, W).")
    return np.ascontiguousarray(values[:, :, :3] if channels > 2 else values[:, :, :1].repeat(3, axis=2))


def _pillow_pixels(image: Image.Image, where: str) -> NDArray[np.uint8]:
    if not image.mode.startswith("I"):
        return np.asarray(image.convert("RGB"))
    # 16 bits: by way of a PNG, so that they become 8 as they do in a folder
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return decode(buffer.getvalue(), where=where, upright=False)


def _targets(dataset: Any) -> Any:
    """Return the class numbers that a data set of torchvision's kind keeps, through torch's Subset; None if none."""
    if _is_subset(dataset):
        found = _targets(dataset.dataset)
        return None if found is None else [found[int(i)] for i in dataset.indices]
    found = getattr(dataset, "targets", None)
    found = getattr(dataset, "labels", None) if found is None else found
    if found is None or isinstance(found, str) or not hasattr(found, "__len__"):
        return None
    change = getattr(dataset, "target_transform", None)
    found = found.tolist() if hasattr(found, "tolist") else list(found)
    return [change(target) for target in found] if change else found


def _class_names(dataset: Any) -> tuple[str, ...]:
    if _is_subset(dataset):
        return _class_names(dataset.dataset)
    found = getattr(dataset, "classes", None)
    is_names = isinstance(found, (list, tuple)) and all(isinstance(name, str) for name in found)
    # A changed target is no place in the list.
    return tuple(found) if is_names and found and not getattr(dataset, "target_transform", None) else ()


def _is_subset(dataset: Any) -> bool:
    return hasattr(dataset, "dataset") and hasattr(dataset, "indices")


def _checked_labels(found: Sequence[Any], count: int, classes: int, name: str) -> NDArray[np.int64]:
    numbers = np.array(found) if all(isinstance(one, (int, np.integer)) for one in found) else np.zeros(0)
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu":
        raise InputError(
            f"{name} has labels that are not one class number an image ({str(found[0])[:40]!r} is the first).",
            hint="Pass --no-labels; for texts, dataset.class_encode_column('label') makes class numbers.",
        )
    low, high = int(numbers.min()), int(numbers.max())
    largest = classes - 1 if classes else MAX_CLASS
    if low < 0 or high > largest:
        raise InputError(
            f"{name} has class numbers from {low} to {high}; expected 0 to {largest}.",
            hint="-1 stands for no label: leave these images out, or pass --no-labels.",
        )
    return numbers.astype(np.int64)


def first_line(error: Exception) -> str:
    """Return the first line of an error, short enough to be part of another."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
