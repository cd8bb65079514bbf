"""One set of images becomes another: `pgtools store convert`, `subset`, `merge` and `extract` are this one job."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError, PgtoolsError, UsageError
from pgtools.imaging.fit import Fit
from pgtools.runtime.files import check_free_space, human_bytes
from pgtools.runtime.progress import bar, track
from pgtools.stores.format import Format, Reading
from pgtools.stores.formats.labels import labels_path
from pgtools.stores.jobs.origin import origin_of
from pgtools.stores.jobs.select import Selection
from pgtools.stores.jobs.settings import JPEG_QUALITY, ConvertSettings
from pgtools.stores.opening import FORMATS, open_source
from pgtools.stores.source import ImageSource
from pgtools.stores.views import Joined, Lowered, Subset, authors_order
from pgtools.stores.writer import Plan
from pgtools.stores.writing import (
    SAMPLE,
    Item,
    Output,
    check_distinct,
    check_outputs,
    estimated_bytes,
    items_of,
    output,
    write_stores,
)

# Images read at once while looking for damage, and faults told in one message.
LOOKED_AT_ONCE, TOLD = 32, 3


@dataclass(frozen=True)
class Converted:
    """What a conversion did.

    Attributes:
        outputs: what was written.
        images: how many images each holds.
        resolution: their side.
        seconds: from the first read to the last rename.
        skipped: why each image that was left out cannot be read.
    """

    outputs: tuple[Output, ...]
    images: int
    resolution: int
    seconds: float
    skipped: tuple[str, ...] = ()


def convert(
    sources: Sequence[Path], outputs: Sequence[Path], settings: ConvertSettings, *, overwrite: bool = False
) -> Converted:
    """Write the chosen images of one source, or of several end to end, into new stores.

    Everything that can be told before the first image is written is told then: wrong options, outputs that cannot be
    written, sources that cannot be read, a disk that is too small.

    Args:
        sources: what to read.
        outputs: where to write, any number of formats at once.
        settings: see `ConvertSettings`.
        overwrite: replace outputs that exist; they stay until the new ones are whole.

    Raises:
        UsageError: an option is not for this source or these outputs.
        InputError: a source cannot be read, or does not hold what was asked for.
        OutputError: an output exists, cannot be written, or will not fit on the disk.
    """
    targets = tuple(output(path, settings.to) for path in outputs)
    check_distinct(outputs)
    _check_options(targets, settings)
    _check_apart(sources, outputs)
    check_outputs(targets, overwrite=overwrite)
    begun = time.monotonic()
    chosen, origin = _chosen(sources, settings)
    skipped: list[str] = []
    if settings.skip_damaged:
        good, skipped = _readable(chosen)
        chosen, origin = Subset(chosen, good), {**origin, "skipped": len(skipped)}
    try:
        plan = _plan(chosen, origin, settings)
        _write(targets, chosen, plan, settings)
    except InputError as error:
        raise error if settings.skip_damaged else _all_faults(chosen, error) from None
    return Converted(targets, plan.count, plan.resolution, time.monotonic() - begun, tuple(skipped))


def _write(outputs: Sequence[Output], source: ImageSource, plan: Plan, settings: ConvertSettings) -> None:
    _check_space(outputs, source, plan, settings)
    items = items_of(source, range(len(source)), labelled=plan.classes is not None)
    if settings.grey and source.colour != "grey":
        items = _checked_grey(items, source)
    write_stores(outputs, track(items, "Storing", total=plan.count), plan)


def _readable(source: ImageSource) -> tuple[list[int], list[str]]:
    """Return the numbers of the images that can be read, and why each of the others cannot.

    Raises:
        InputError: none can.
    """
    good: list[int] = []
    faults: list[str] = []

    def look(indices: Sequence[int]) -> None:
        try:
            source.read(indices)
            source.records(indices)
            good.extend(indices)
        except InputError as error:
            if len(indices) == 1:
                faults.append(error.message)
                return
            for index in indices:
                look([index])

    with bar("Looking for damage", len(source)) as advance:
        for start in range(0, len(source), LOOKED_AT_ONCE):
            chunk = range(start, min(start + LOOKED_AT_ONCE, len(source)))
            look(chunk)
            advance(len(chunk))
    if not good:
        raise InputError(f"{source.name}: no image can be read; the first: {faults[0]}")
    return good, faults


def _all_faults(source: ImageSource, error: InputError) -> InputError:
    """Return an error that tells of every image that cannot be read, or the error itself if that is all."""
    try:
        faults = _readable(source)[1]
    except InputError as none:
        return none if len(source) > 1 else error
    if len(faults) < 2:
        hint = "; ".join(filter(None, [error.hint.rstrip("."), "--skip-damaged leaves the image out"])) + "."
        return InputError(error.message, hint=hint) if faults else error
    told = " ".join(faults[:TOLD]) + (f" And {len(faults) - TOLD} more." if len(faults) > TOLD else "")
    return InputError(
        f"{len(faults)} of {len(source)} images of {source.name} cannot be read: {told}",
        hint="--skip-damaged leaves them out, and names each.",
    )


def bytes_of(path: Path) -> int:
    """Return how many bytes a file takes, or a folder with all that is in it."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(_size(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)


def described(path: Path) -> str:
    """Return a path with what it holds, e.g. "celeba.lmdb (30,000 images, 46.0 GB)"."""
    try:
        held = f"{len(open_source(path)):,} images"
    except PgtoolsError:
        held = "no readable images"
    return f"{path} ({held}, {human_bytes(bytes_of(path))})"


def format_of(path: Path, name: str | None = None) -> Format | None:
    """Return the format of what stands at a path, or the one of that name; None if there is none."""
    if name is not None:
        return next((known for known in FORMATS if known.name == name), None)
    return next((known for known in FORMATS if known.recognises(path)), None)


def _chosen(sources: Sequence[Path], settings: ConvertSettings) -> tuple[ImageSource, dict[str, Any]]:
    """Open the sources and return the images to write, in the order to write them, and what the header tells of it."""
    selection = Selection(settings)
    fit = Fit(settings.crop, settings.resize, settings.filter)
    reading = Reading(None if fit == Fit(filter=settings.filter) else fit, settings.split)
    opened = [open_source(path, format=settings.format, reading=reading) for path in sources]
    source = opened[0] if len(opened) == 1 else Joined(opened, labelled=settings.labels)
    if settings.level is not None:
        source = Lowered(source, settings.level)
    indices = selection.indices(source)
    if settings.shuffle:
        indices = indices[authors_order(len(indices))]
    whole = len(indices) == len(source) and not settings.shuffle
    known = (settings.format or (found.name if (found := format_of(path)) else "") for path in sources)
    origin = origin_of([path.resolve().name for path in sources], list(known), opened, reading, settings)
    return source if whole else Subset(source, indices.tolist()), origin


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:  # a link to nothing is there, and no reason to stop
        return file.lstat().st_size


def _plan(source: ImageSource, origin: dict[str, Any], settings: ConvertSettings) -> Plan:
    grey = source.colour == "grey" if settings.grey is None else settings.grey
    labelled = settings.labels and source.labels is not None
    return Plan(
        len(source),
        source.resolution,
        colour="grey" if grey else "rgb",
        classes=source.classes if labelled else None,
        codec=settings.codec,
        quality=settings.quality or JPEG_QUALITY,
        origin=origin,
    )


def _check_options(outputs: Sequence[Output], settings: ConvertSettings) -> None:
    """An option that would do nothing is a misunderstanding."""
    if settings.codec != "auto" and all(one.format.name != "lmdb" for one in outputs):
        raise UsageError(
            f"--codec is for LMDB; {outputs[0].path} is {outputs[0].format.name}, which has one codec.",
            hint="Leave --codec out, or write NAME.lmdb.",
        )
    if settings.filter != "lanczos" and settings.resize is None:
        raise UsageError(f"--filter {settings.filter} is for --resize, which is not given.")


def _check_apart(sources: Sequence[Path], outputs: Sequence[Path]) -> None:
    """What is read must not be replaced, nor grow by what is written."""
    for path in outputs:
        for source in sources:
            into, read = path.resolve(), source.resolve()
            if into == read:
                raise UsageError(f"{path} is the source itself.", hint="Write beside it.")
            if source.name and into == labels_path(source).resolve():
                raise UsageError(f"{path} is the labels of the source, {source}.", hint="Name another output.")
            if read in into.parents:
                raise UsageError(f"{path} lies in the source, {source}.", hint="Write beside it.")
            if into in read.parents:
                raise UsageError(f"The source, {source}, lies in {path}.", hint="Name another output.")


def _check_space(outputs: Sequence[Output], source: ImageSource, plan: Plan, settings: ConvertSettings) -> None:
    """Look at a few images from all over the source: what they take tells what all will take."""
    places = np.unique(np.linspace(0, plan.count - 1, min(SAMPLE, plan.count)).astype(int)).tolist()
    sample = list(source.read(places))
    if settings.grey:
        for place, image in zip(places, sample, strict=True):
            _check_grey(image, place, source)
    needed: dict[int, tuple[Path, int]] = {}
    for one in outputs:
        folder = _existing_parent(one.path)
        disk = folder.stat().st_dev
        before = needed[disk][1] if disk in needed else 0
        needed[disk] = folder, before + estimated_bytes(one.format.name, plan, sample)
    for folder, size in needed.values():
        check_free_space(folder, size)


def _existing_parent(path: Path) -> Path:
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    return folder


def _checked_grey(items: Iterator[Item], source: ImageSource) -> Iterator[Item]:
    for place, item in enumerate(items):
        _check_grey(item.image, place, source)
        yield item


def _check_grey(image: NDArray[np.uint8], place: int, source: ImageSource) -> None:
    if not ((image[0] == image[1]).all() and (image[0] == image[2]).all()):
        name = source.records([place])[0].name
        raise InputError(f"{source.name}: {name} is no grey image; its channels differ.", hint="Leave --grey out.")
