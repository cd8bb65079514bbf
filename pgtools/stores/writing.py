"""Writing one set of images into one or more new stores at once, each whole or absent."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError, OutputError, UsageError
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.runtime.files import check_writable, path_lock, remove_stale, written_aside
from pgtools.runtime.workers import map_ahead
from pgtools.stores.codecs import codec_for, encode
from pgtools.stores.format import Format
from pgtools.stores.formats import hdf5
from pgtools.stores.formats.file_names import valid_text
from pgtools.stores.formats.labels import label_bytes, labels_path
from pgtools.stores.layout import Attribute, Record, checked_attributes
from pgtools.stores.opening import FORMATS
from pgtools.stores.source import ImageSource
from pgtools.stores.writer import Plan, Pyramid, Writer

# Images of a source that are encoded once to tell what the whole will take.
SAMPLE = 8
# What a record, the pages around small values and their keys take, an image and level.
OVERHEAD_BYTES = 1200


@dataclass(frozen=True)
class Item:
    """One image on its way into a store.

    Attributes:
        image: uint8 (3, R, R).
        record: what is known of it.
        label: its class, if the set has classes.
        packed: the image as `codecs.encode` gives it in the codec that "auto" chooses for the top level, where the
            maker has that already.
    """

    image: NDArray[np.uint8]
    record: Record
    label: int | None = None
    packed: bytes | None = None


@dataclass(frozen=True)
class Output:
    """A path and the format that is to stand there."""

    path: Path
    format: Format


def output(path: Path, format: str | None = None) -> Output:
    """Return where and in which format to write, by the name of the format or else by the path's suffix.

    Raises:
        UsageError: neither tells a format that pgtools writes, or the path ends in no name.
    """
    if path.name in ("", ".."):
        raise UsageError(
            f"{path}: expected the name of a file or folder to be written.",
            hint=f"Name it from the folder above, e.g. {path.resolve().parent / (path.resolve().name or 'NAME')}.",
        )
    written = [known for known in FORMATS if known.writer]
    names = ", ".join(known.name for known in written)
    if format is not None:
        found = [known for known in written if known.name == format]
        if not found:
            raise UsageError(f"The format to write is {format!r}; expected one of {names}.")
        return Output(path, found[0])
    found = [known for known in written if path.suffix.lower() in known.suffixes]
    if not found:
        suffixes = ", ".join(f"NAME{suffix}" for known in written for suffix in known.suffixes[:1])
        raise UsageError(
            f"{path}: its name does not tell its format; expected {suffixes}.", hint=f"Or pass --to, one of {names}."
        )
    return Output(path, found[0])


def store_outputs(paths: Sequence[Path]) -> list[Output]:
    """Return the outputs of a command that writes pgtools' own stores, LMDB and HDF5.

    Raises:
        UsageError: a path ends in neither .lmdb nor .h5 nor .hdf5, or is named twice.
    """
    for path in paths:
        if path.suffix.lower() not in (".lmdb", ".h5", ".hdf5"):
            raise UsageError(f"{path}: a store is named NAME.lmdb or NAME.h5, by the format it is to have.")
    check_distinct(paths)
    return [output(path) for path in paths]


def check_distinct(paths: Sequence[Path]) -> None:
    """Raise UsageError if the same path is named twice."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("The same store is named twice.")


def check_outputs(outputs: Sequence[Output], *, overwrite: bool) -> None:
    """Raise OutputError now if new stores could not be written later.

    Raises:
        OutputError: one exists (and `overwrite` is off, or it is not of the format that is to replace it), cannot be
            written, or would share a file of labels with another store.
    """
    for one in outputs:
        path, format = one.path, one.format
        check_writable(path, overwrite=overwrite, what=format.writes)
        if path.is_dir() and any(path.iterdir()) and not format.recognises(path):
            raise OutputError(f"{path} is a folder, but no {format.name}; it is not replaced.", hint="Name another.")
        if path.is_dir() and format.name == "lmdb" and not {f.name for f in path.iterdir()} <= {"data.mdb", "lock.mdb"}:
            raise OutputError(f"{path} holds more than an LMDB; it is not replaced.", hint="Name another.")
        if format.name == "hdf5":
            written = [other.path for other in outputs if other.format.name == "hdf5" and other.path != path]
            _check_labels(path, written, overwrite=overwrite)


def _check_labels(path: Path, written: Sequence[Path], *, overwrite: bool) -> None:
    """What stands beside an HDF5 store as its labels must be its alone: NAME.h5 and NAME.hdf5 read the same file."""
    beside = labels_path(path)
    for other in (*_hdf5_beside(path), *written):
        if labels_path(other).resolve() == beside.resolve():
            raise OutputError(f"{other} and {path} would share their labels, {beside}.", hint="Name another output.")
    if beside.exists() and not (overwrite and path.exists()):
        raise OutputError(f"{beside} would be taken for the labels of {path}.", hint="Remove it, or name another.")


def _hdf5_beside(path: Path) -> list[Path]:
    """Return the HDF5 files that differ from `path` in the suffix alone; a link to `path` is none."""
    alike = path.parent.glob(f"{glob.escape(path.stem)}.*")
    return [file for file in alike if file.resolve() != path.resolve() and hdf5.recognises(file)]


def estimated_bytes(format: str, plan: Plan, sample: Sequence[NDArray[np.uint8]] = ()) -> int:
    """Return about how many bytes a store takes, every level included.

    Args:
        format: its name.
        plan: what it is to hold.
        sample: some of the images, uint8 (3, R, R), encoded to find out; without, photographs are assumed.
    """
    per_image = OVERHEAD_BYTES * len(plan.levels)
    channels = 1 if plan.colour == "grey" else 3
    for level in plan.levels:
        raw = channels * level * level
        codec = codec_for(level, plan.resolution, plan.codec, plan.quality) if format == "lmdb" else "raw"
        if codec == "raw":
            per_image += raw
        elif not sample:
            per_image += raw // 2
        elif level == plan.resolution:
            packed = sum(len(encode(image[:channels], codec)) for image in sample) / len(sample)
            per_image += int(packed * (1.4 if plan.codec != "auto" else 1.5))
    return int(per_image * plan.count) + _label_bytes(format, plan)


def _label_bytes(format: str, plan: Plan) -> int:
    if plan.classes is None:
        return 0
    inside = 0 if format == "tfrecord" else 8 * plan.count
    return inside + (label_bytes(plan.count, plan.classes) if format in ("hdf5", "tfrecord") else 0)


def write_stores(outputs: Sequence[Output], items: Iterable[Item], plan: Plan) -> None:
    """Write images, with every lower level, into new stores.

    Each store is written aside and renamed when it is whole; what stood at its path is replaced only then. The images
    are encoded in threads, a few ahead.

    Args:
        outputs: paths and formats, any number of them.
        items: the images in index order, `plan.count` of them.
        plan: what they are.

    Raises:
        InputError: the items are more or fewer than planned, or the attributes of one cannot be kept.
        OutputError: another process writes at one of the paths, something that was not there before came to stand
            there, or the disk is full.
    """
    channels = 1 if plan.colour == "grey" else 3
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(_writing(one, plan)) for one in outputs]

        def encode_all(item: Item) -> tuple[Item, list[Any]]:
            pyramid: Pyramid = mean_pyramid(np.ascontiguousarray(item.image[:channels]))
            return item, [writer.encode_packed(pyramid, item.packed) for writer in writers]

        for item, encoded in map_ahead(encode_all, _checked(items, plan.count)):
            for writer, one in zip(writers, encoded, strict=True):
                writer.append(one, item.record, item.label)


@contextlib.contextmanager
def _writing(output: Output, plan: Plan) -> Iterator[Writer[Any]]:
    """Yield a writer of a path that no other process writes; on success its store stands there."""
    path, make = output.path, output.format.writer
    if make is None:
        raise UsageError(f"pgtools reads {output.format.name}; it does not write it.")
    with path_lock(path):
        remove_stale(path)
        free = [part for part in _parts(output) if _is_free(part)]
        with written_aside(path) as aside:
            with make(aside, replace(plan, stem=path.name)) as writer:
                yield writer
            for part in free:
                if not _is_free(part):
                    raise OutputError(f"{part} was not there before; it is not replaced.", hint="Write to another.")
        writer.stands_at(path)


def _parts(output: Output) -> list[Path]:
    """Return what a store puts in place: itself, and an HDF5 store its labels."""
    return [output.path, labels_path(output.path)] if output.format.name == "hdf5" else [output.path]


def _is_free(path: Path) -> bool:
    """Return whether nothing is lost if something is put at `path`."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def _checked(items: Iterable[Item], count: int) -> Iterator[Item]:
    """Yield the items as every format can keep them.

    Raises:
        InputError: they are not `count`, or the attributes of one cannot be kept.
    """
    came = 0
    for item in items:
        came += 1
        if came > count:
            raise InputError(f"{item.record.name}: more images came than the {count} that were to be written.")
        yield replace(item, record=_plain(item.record))
    if came < count:
        raise InputError(f"Only {came} images came of the {count} that were to be written.")


def _plain(record: Record) -> Record:
    """Return a record whose texts are Unicode and whose attributes can be read again."""
    name = valid_text(record.name)
    try:
        attributes = checked_attributes(dict(record.attributes))
    except ValueError as error:
        message = f"{name}: its attribute {error}; expected a text, a finite number or a truth value."
        raise InputError(message) from None
    return Record(name, {valid_text(key): _plain_value(value) for key, value in attributes.items()})


def _plain_value(value: Attribute) -> Attribute:
    return valid_text(value) if isinstance(value, str) else value


def items_of(source: ImageSource, indices: Sequence[int], *, labelled: bool = True) -> Iterator[Item]:
    """Yield the chosen images of a source, read a few at a time.

    Raises:
        InputError: an image or its record is damaged.
    """
    at_once = max(1, min(64, (16 << 20) // (3 * source.resolution**2)))
    labels = source.labels if labelled else None
    for start in range(0, len(indices), at_once):
        chunk = indices[start : start + at_once]
        for index, image, record in zip(chunk, source.read(chunk), source.records(chunk), strict=True):
            yield Item(image, record, None if labels is None else int(labels[index]))
