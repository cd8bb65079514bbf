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
from pgtools.runtime.progress import track
from pgtools.stores.format import ALL_SPLITS, Format, Reading
from pgtools.stores.jobs.select import Selection
from pgtools.stores.jobs.settings import JPEG_QUALITY, ConvertSettings, SelectionSettings
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


@dataclass(frozen=True)
class Converted:
    """What a conversion did.

    Attributes:
        outputs: what was written.
        images: how many images each holds.
        resolution: their side.
        seconds: from the first read to the last rename.
    """

    outputs: tuple[Output, ...]
    images: int
    resolution: int
    seconds: float


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
    _check_apart(sources, outputs)
    check_outputs(targets, overwrite=overwrite)
    begun = time.monotonic()
    chosen, origin = _chosen(sources, settings)
    plan = _plan(chosen, origin, settings)
    _check_space(targets, chosen, plan, settings)
    items = items_of(chosen, range(len(chosen)), labelled=plan.classes is not None)
    if settings.grey and chosen.colour != "grey":
        items = _checked_grey(items, chosen)
    write_stores(targets, track(items, "Storing", total=plan.count), plan)
    return Converted(targets, plan.count, plan.resolution, time.monotonic() - begun)


def bytes_of(path: Path) -> int:
    """Return how many bytes a file takes, or a folder with all that is in it."""
    if not path.is_dir():
        return path.stat().st_size
    return sum(Path(folder, name).stat().st_size for folder, _, names in os.walk(path) for name in names)


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
    official = all((found := format_of(path, settings.format)) and found.splits for path in sources)
    by_attribute = None if official or settings.split == ALL_SPLITS else settings.split
    selection = Selection(settings, split=by_attribute)
    fit = Fit(settings.crop, settings.resize, settings.filter)
    reading = Reading(None if fit == Fit(filter=settings.filter) else fit, settings.split if official else None)
    opened = [open_source(path, format=settings.format, reading=reading) for path in sources]
    source = opened[0] if len(opened) == 1 else Joined(opened, labelled=settings.labels)
    if settings.level is not None:
        source = Lowered(source, settings.level)
    indices = selection.indices(source)
    if settings.shuffle:
        indices = indices[authors_order(len(indices))]
    whole = len(indices) == len(source) and not settings.shuffle
    return source if whole else Subset(source, indices.tolist()), _origin(sources, reading, settings)


def _origin(sources: Sequence[Path], reading: Reading, settings: ConvertSettings) -> dict[str, Any]:
    """What the header tells of where the images come from: names without their folders, and what was not default."""
    origin: dict[str, Any] = {"name": " + ".join(path.resolve().name for path in sources), "made": "store convert"}
    formats = [found.name for path in sources if (found := format_of(path, settings.format))]
    origin["format"] = formats[0] if len(set(formats)) == 1 else formats
    if reading.fit:
        origin["fit"] = reading.fit.as_dict()
    selection = {name: getattr(settings, name) for name in SelectionSettings.__dataclass_fields__}
    selection = {k: v.name if isinstance(v, Path) else v for k, v in selection.items() if v is not None}
    told = {"split": settings.split, "level": settings.level, "selection": selection, "shuffle": settings.shuffle}
    return origin | {name: value for name, value in told.items() if value}


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


def _check_apart(sources: Sequence[Path], outputs: Sequence[Path]) -> None:
    """What is read must not be replaced, nor grow by what is written."""
    for path in outputs:
        for source in sources:
            into, read = path.resolve(), source.resolve()
            if into == read:
                raise UsageError(f"{path} is the source itself.", hint="Write beside it.")
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
