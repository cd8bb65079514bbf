"""A path becomes an `ImageSource`, by what the path holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pgtools.errors import InputError, UsageError
from pgtools.runtime import run_format
from pgtools.stores.format import ALL_SPLITS, Format, Reading
from pgtools.stores.formats import (
    archive,
    celeba,
    cifar,
    folder,
    hdf5,
    libraries,
    lmdb,
    lsun,
    mnist,
    stylegan,
    svhn,
    tfrecord,
    webdataset,
)
from pgtools.stores.formats.libraries import open_torchvision
from pgtools.stores.source import ImageSource
from pgtools.stores.views import of_split

# In the order in which a path is asked what it holds: a folder of images is what is left.
FORMATS: tuple[Format, ...] = (
    lsun.FORMAT,
    lmdb.FORMAT,
    hdf5.FORMAT,
    archive.FORMAT,
    tfrecord.FORMAT,
    stylegan.FORMAT,
    webdataset.FORMAT,
    cifar.FORMAT,
    mnist.FORMAT,
    mnist.STACKED_FORMAT,
    svhn.FORMAT,
    celeba.FORMAT,
    libraries.HUGGINGFACE_FORMAT,
    folder.FORMAT,
)

TORCHVISION = "torchvision:"


def open_source(path: Path, *, format: str | None = None, reading: Reading | None = None) -> ImageSource:
    """Open images on disk by what the path holds.

    Args:
        path: a store, an archive, a folder, a data set's own files.
        format: one of the names in `FORMATS`, or "torchvision:CLASS"; told by the path if not given.
        reading: crop, resize and split, where the format leaves a choice.

    Raises:
        InputError: nothing is there, or it holds no images that pgtools reads.
        UsageError: there is no format of that name, or the choices are not the format's.
    """
    reading = reading or Reading()
    if not path.exists():
        raise InputError(f"{path} does not exist.", hint="Name a folder, a ZIP, an LMDB or an HDF5 file of images.")
    _check_no_run(path)
    if format and format.startswith(TORCHVISION):
        return open_torchvision(format.removeprefix(TORCHVISION), path, reading)
    found = _named(format) if format else next((known for known in FORMATS if known.recognises(path)), None)
    if found is None:
        if path.name == lmdb.DATA_FILE:
            raise InputError(f"{path} is the inside of an LMDB.", hint=f"Name its folder, {path.parent}.")
        raise InputError(
            f"{path} is no image source.",
            hint="pgtools reads stores, folders and ZIPs of images, TFRecords and the data sets in docs/stores.md.",
        )
    _check_choices(found, reading)
    if found.splits == () and reading.split not in (None, ALL_SPLITS):
        return of_split(found.open(path, replace(reading, split=None)), str(reading.split))
    return found.open(path, reading)


def _check_no_run(path: Path) -> None:
    """A run's only pictures are its contact sheets, which are no images of a set."""
    latest = path / run_format.CHECKPOINTS / run_format.LATEST
    if latest.is_file() or (path / run_format.SNAPSHOTS).is_dir():
        raise InputError(
            f"{path} is the folder of a training run, and no set of images.",
            hint=f"`pgtools generate {path} FOLDER` writes its images; metrics take the run itself.",
        )


def _named(name: str) -> Format:
    for known in FORMATS:
        if known.name == name:
            return known
    raise UsageError(f"There is no format {name!r}; there are {', '.join(known.name for known in FORMATS)}.")


def _check_choices(format: Format, reading: Reading) -> None:
    if reading.fit is not None and not format.fits:
        raise UsageError(
            f"--crop and --resize are for images of any size; {format.name} has one size.",
            hint="--level takes one of its lower levels for the top.",
        )
    if format.splits and reading.split not in (None, ALL_SPLITS, *format.splits):
        known = ", ".join(dict.fromkeys((*format.splits, ALL_SPLITS)))
        raise UsageError(f"{format.name} has no split {reading.split!r}; it has {known}.")
