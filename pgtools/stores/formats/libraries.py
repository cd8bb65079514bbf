"""Data sets opened through the package that wrote them: Hugging Face's saved folders, torchvision's by their names."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgtools.errors import InputError, PgtoolsError
from pgtools.imaging.fit import Fit
from pgtools.stores.format import ALL_SPLITS, Format, Reading
from pgtools.stores.formats.loaded import chosen_splits, is_file
from pgtools.stores.formats.objects import ObjectImages, find_columns, first_line, from_dataset
from pgtools.stores.source import ImageSource
from pgtools.stores.views import Joined

# Files of `Dataset.save_to_disk` and of `DatasetDict.save_to_disk`.
SAVED, SAVED_SPLITS = ("state.json", "dataset_info.json"), "dataset_dict.json"


def open_saved(path: Path, reading: Reading) -> ImageSource:
    """Open what `Dataset.save_to_disk` or `DatasetDict.save_to_disk` of Hugging Face's `datasets` wrote.

    Only images that are in the files themselves are read: a path or an address in the place of one is refused.

    Args:
        path: the folder.
        reading: crop and resize, none if not given; the split of a `DatasetDict`, its first if not given.

    Raises:
        InputError: `datasets` is not installed, the files are damaged, or there is no such split.
    """
    if not is_file(path / SAVED_SPLITS):
        if reading.split not in (None, ALL_SPLITS):
            raise InputError(f"{path} is one data set without splits; {reading.split!r} was asked for.")
        return _saved(path, reading.fit, None)
    try:
        splits = json.loads((path / SAVED_SPLITS).read_bytes())["splits"]
        plain = [split for split in splits if isinstance(split, str) and Path(split).name == split]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{path / SAVED_SPLITS} is damaged ({error!r}).") from None
    if not plain or len(plain) != len(splits):
        raise InputError(f"{path / SAVED_SPLITS} is damaged: its splits are no list of names.")
    sources = [_saved(path / name, reading.fit, name) for name in chosen_splits(reading.split, plain, path=path)]
    return sources[0] if len(sources) == 1 else Joined(sources)


def open_torchvision(name: str, root: Path, reading: Reading) -> ImageSource:
    """Open one of torchvision's data sets by its name, e.g. CIFAR10; nothing is downloaded.

    Args:
        name: a class of `torchvision.datasets`.
        root: the folder that torchvision downloaded to.
        reading: crop and resize, none if not given; the split, its own default if not given.

    Raises:
        InputError: there is no such data set, or it is not there.
    """
    known = importlib.import_module("torchvision.datasets")
    kind: Any = getattr(known, name, None) if name in known.__all__ else None
    is_class = inspect.isclass(kind)
    if not is_class:
        raise InputError(f"torchvision has no data set {name!r}.", hint="Names are as in torchvision, e.g. CIFAR10.")
    words = inspect.signature(kind).parameters
    if "train" in words and reading.split == ALL_SPLITS:
        return Joined([open_torchvision(name, root, Reading(reading.fit, split)) for split in ("train", "test")])
    chosen = {"download": False} if "download" in words else {}
    try:
        dataset = kind(root, **chosen, **_split_words(words, reading.split, name))
    except PgtoolsError:
        raise
    except Exception as error:  # missing files are RuntimeError, FileNotFoundError, ValueError, …
        raise InputError(
            f"torchvision's {name} cannot be opened in {root} ({first_line(error)}).",
            hint=f"pgtools downloads no data sets: torchvision.datasets.{name}({str(root)!r}, download=True) does.",
        ) from None
    return from_dataset(dataset, f"torchvision:{name}:{root}", reading.fit)


def recognises(path: Path) -> bool:
    """Return whether `path` is a folder that `save_to_disk` wrote."""
    return is_file(path / SAVED_SPLITS) or all(is_file(path / name) for name in SAVED)


def _saved(path: Path, fit: Fit | None, split: str | None) -> ImageSource:
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise InputError(f"{path} needs the package datasets.", hint="pip install datasets") from None
    try:
        dataset = datasets.load_from_disk(str(path.absolute()), keep_in_memory=False)
        dataset.data.validate(full=True)  # the offsets of a damaged file are followed without a look
        columns = find_columns(dataset.features, str(path))
        if type(dataset.features[columns.image]).__name__ == "Image":
            dataset = dataset.cast_column(columns.image, datasets.Image(decode=False))
    except (PgtoolsError, MemoryError):
        raise
    except Exception as error:  # it is other people's code, and pyarrow's errors are many
        raise InputError(f"{path} cannot be opened ({first_line(error)}).", hint="Save the data set again.") from None
    if not len(dataset):
        raise InputError(f"{path} holds no images.")
    return ObjectImages(dataset, name=str(path), columns=columns, fit=fit, split=split)


def _split_words(words: Mapping[str, Any], split: str | None, name: str) -> dict[str, Any]:
    """Return the arguments that name a split to one of torchvision's classes."""
    if split is None:
        return {}
    if "split" in words:
        return {"split": split}
    if "train" in words and split in ("train", "test"):
        return {"train": split == "train"}
    if "train" not in words and split == ALL_SPLITS:
        return {}
    expected = "train, test or all" if "train" in words else "all"
    raise InputError(f"torchvision's {name} has no split {split!r}; expected {expected}.")


HUGGINGFACE_FORMAT = Format(
    name="huggingface",
    title="a folder that Hugging Face's save_to_disk wrote",
    open=open_saved,
    recognises=recognises,
    fits=True,
    splits=None,
)
