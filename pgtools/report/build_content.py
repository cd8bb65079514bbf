"""A build becomes the content of its page: which figures, which crops, which words."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools import __version__
from pgtools.errors import InputError
from pgtools.report.build_figures import KEPT, OTHERS, histogram
from pgtools.report.build_page import BuildPage, Count, NetworkRow, Step
from pgtools.report.build_pictures import marked
from pgtools.report.build_rows import Crop, Crops, cut_of, gather
from pgtools.report.content import duration
from pgtools.report.page import Chart, Fact, Key, Row
from pgtools.report.pictures import CROP, Picture, picture
from pgtools.report.provenance import option, shown, split_settings
from pgtools.runtime.build_format import BuildRecord

ROW = 8
PAIRS = 12
_ROLES = {"detector": "landmarks", "restore": "JPEG artifacts", "superres": "super-resolution"}

CropOf = Callable[[int], "NDArray[np.uint8] | None"]
PhotoOf = Callable[[str], "NDArray[np.uint8] | None"]


@dataclass
class _Images:
    """Where the page's images come from; what cannot be had is counted, and the first fault kept."""

    crop_of: CropOf
    photo_of: PhotoOf
    lost: dict[str, int] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def crop(self, crop: Crop, caption: str) -> Picture | None:
        """Return a crop for the page, or None where the store does not give it."""
        image = self._read("crops", lambda: self.crop_of(crop.index))
        return None if image is None else _small(image, f"Crop of {_called(crop)}.", caption)

    def photo(self, crop: Crop) -> Picture | None:
        """Return a crop's photo with the square drawn, or None where it is not there any more."""
        image = self._read("photos", lambda: self.photo_of(crop.file))
        if image is None:
            return None
        return _small(marked(image, crop.quad, crop.points), f"{crop.file} with the square of its crop.", "")

    def notes(self) -> list[str]:
        """Return a sentence for each kind of image that could not be had."""
        return [
            f"{count} of the {what} to show could not be read{self.faults.get(what, '')}."
            for what, count in self.lost.items()
        ]

    def _read(self, what: str, read: Callable[[], NDArray[np.uint8] | None]) -> NDArray[np.uint8] | None:
        try:
            image = read()
        except (InputError, OSError) as error:
            image = None
            self.faults.setdefault(what, f" ({str(error).rstrip('.')})")
        if image is None:
            self.lost[what] = self.lost.get(what, 0) + 1
        return image


def compose_build(
    record: BuildRecord,
    rows: Iterable[Mapping[str, Any]],
    crop_of: CropOf,
    photo_of: PhotoOf,
    defaults: Mapping[str, Any],
    *,
    title: str = "",
    notes: Sequence[str] = (),
) -> BuildPage:
    """Return the content of a build's page.

    Args:
        record: what the build told of itself.
        rows: the lines of its manifest, typed; see `gather` for the columns that are read.
        crop_of: index in the store → uint8 RGB (R, R, 3). None, InputError or OSError where it cannot be had; the
            page then does without it and says so. The same holds for `photo_of`.
        photo_of: file → uint8 RGB (H, W, 3), in the orientation that the manifest's coordinates are meant in.
        defaults: the settings that the build's are told apart from.
        title: heading; the store's name if not given.
        notes: what is known to be missing already.
    """
    crops, images = gather(rows), _Images(crop_of, photo_of)
    differing, same = split_settings(_texts(record.settings), _texts(defaults))
    chart, quantiles, best, worst = _scores(crops, record, images)
    pairs = _pairs(crops, images)
    lost_scores = crops.names and not crops.are_scored and not _is_unscored(record)
    missing = ["The crops in the manifest have no scores: there is no histogram."] if lost_scores else []
    return BuildPage(
        title=title or (Path(record.stores[0]).stem if record.stores else "A CelebA-HQ build"),
        lead=_lead(record),
        facts=_facts(record, crops),
        counts=_counts(record, crops),
        scores=chart,
        quantiles=quantiles,
        best=best,
        worst=worst,
        pairs=pairs,
        steps=_steps(record),
        steps_caption=_steps_caption(record),
        networks=[NetworkRow(_ROLES.get(role, role), one.name, one.sha256) for role, one in record.networks.items()],
        differing=differing,
        settings=same,
        reference="pgtools' own" if defaults else "",
        commands=_commands(record, defaults),
        origins=_origins(record),
        notes=[*notes, *missing, *images.notes()],
    )


def _lead(record: BuildRecord) -> str:
    resolution = record.settings.get("resolution")
    size = f" of {resolution}² pixels" if resolution else ""
    return f"Crops of faces{size}" + (f", built from {Path(record.source).name}." if record.source else ".")


def _facts(record: BuildRecord, crops: Crops) -> list[Fact]:
    facts = [
        Fact("Photos", f"{crops.photos or record.photos:,}"),
        Fact("Crops in the store", f"{len(crops.names) or record.kept:,}"),
        Fact("Photos without a crop", f"{crops.empty:,}"),
    ]
    if record.seconds > 0:
        rate = max(0, record.photos - record.resumed) / record.seconds
        facts.append(Fact("Wall time", duration(record.seconds)))
        facts.append(Fact("Speed", f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}", "photos/s"))
    return facts


def _counts(record: BuildRecord, crops: Crops) -> list[Count]:
    dropped, skipped = sum(crops.dropped.values()), sum(record.reasons.values())
    counts = [Count("Crops in the store", f"{len(crops.names) or record.kept:,}")]
    if record.inexact:
        counts.append(Count("Nearest images, not the authors' own", f"{sum(record.inexact.values()):,}"))
        counts += [Count(reason, f"{count:,}", level=1) for reason, count in _falling(record.inexact)]
    if dropped:
        counts.append(Count("Crops not kept", f"{dropped:,}"))
        counts += [Count(reason, f"{count:,}", level=1) for reason, count in _falling(crops.dropped)]
    counts.append(Count("Photos and faces without a crop", f"{skipped:,}"))
    counts += [Count(reason, f"{count:,}", level=1) for reason, count in _falling(record.reasons)]
    if record.resumed:
        counts.append(Count("Photos done by an earlier, interrupted run", f"{record.resumed:,}"))
    if _is_unscored(record):
        counts.append(Count("Quality scores", "none"))
    return counts


def _is_unscored(record: BuildRecord) -> bool:
    """Whether the build was asked for crops without scores."""
    return record.settings.get("rank") == "none" or bool(record.settings.get("deltas"))


def _falling(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _scores(
    crops: Crops, record: BuildRecord, images: _Images
) -> tuple[Chart | None, list[Picture], list[Picture], list[Picture]]:
    """Return the histogram, and the crops at its quantiles, the best and the worst."""
    if not crops.are_scored:
        return None, [], [], []
    cut, scores = cut_of(crops, record.settings), crops.scores
    keys = [Key("in the store", KEPT)]
    if len(crops.others):
        keys.append(Key("not kept", OTHERS))
    if cut is not None:
        keys.append(Key(cut.label, "series-1", dashed=True))
    middle = float(np.median(scores))
    chart = Chart(
        histogram("scores", crops, cut=cut),
        "Quality scores",
        "From 0 to 1: how broad and how even in all directions a crop's power spectrum is. "
        "Marks on top are the quantiles of the crops in the store.",
        f"Histogram of {len(scores) + len(crops.others):,} quality scores; those in the store are from "
        f"{scores.min():.3f} to {scores.max():.3f}, half of them above {middle:.3f}.",
        keys,
    )
    quantiles = [images.crop(crop, f"{percent} %: {crop.score:.3f}") for percent, crop in crops.quantiles()]
    best, worst = (
        [images.crop(crop, f"{crop.score:.3f}") for crop in row] for row in (crops.best(ROW), crops.worst(ROW))
    )
    return chart, _found(quantiles), _found(best), _found(worst)


def _pairs(crops: Crops, images: _Images) -> list[tuple[Picture, Picture]]:
    pairs = []
    for crop in crops.spread(PAIRS):
        score = f", {crop.score:.3f}" if math.isfinite(crop.score) else ""
        before, after = images.photo(crop), images.crop(crop, f"{_called(crop)}{score}")
        if before and after:
            pairs.append((before, after))
    return pairs


def _found(pictures: Iterable[Picture | None]) -> list[Picture]:
    return [one for one in pictures if one is not None]


def _small(image: NDArray[np.uint8], alt: str, caption: str) -> Picture:
    return picture(image, budget=CROP, alt=alt, caption=caption)


def _called(crop: Crop) -> str:
    return crop.file if crop.face == 1 else f"{crop.file}, face {crop.face}"


def _steps(record: BuildRecord) -> list[Step]:
    total = sum(step.seconds for step in record.steps.values())
    return [
        Step(
            name,
            _seconds(step.seconds / step.photos) if step.photos else "—",
            f"{step.photos:,}",
            100 * step.seconds / total if total else 0.0,
        )
        for name, step in record.steps.items()
    ]


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else f"{seconds:,.3g} s"


def _steps_caption(record: BuildRecord) -> str:
    total = sum(step.seconds for step in record.steps.values())
    text = f"All steps of all photos took {duration(total)} of computing"
    if record.seconds > 0 and record.workers and not record.resumed:
        workers = "1 worker" if record.workers == 1 else f"{record.workers} workers"
        text += f"; with {workers} the build, storing included, took {duration(record.seconds)}"
    return f"{text}."


def _commands(record: BuildRecord, defaults: Mapping[str, Any]) -> list[list[str]]:
    if not (record.source and record.stores):
        return []
    usual = _texts(defaults)
    options = [
        word
        for name, value in _texts(record.settings).items()
        if name not in usual or value != usual[name]
        for word in option(name, value)
    ]
    return [["pgtools", "build-celebahq", *map(shlex.quote, (record.source, *record.stores)), *options]]


def _origins(record: BuildRecord) -> list[Row]:
    rows = [Row("built by", f"pgtools {record.pgtools}")] if record.pgtools else []
    rows.append(Row("report by", f"pgtools {__version__}"))
    if record.workers:
        rows.append(Row("workers", str(record.workers)))
    times = {"started": record.started, "finished": record.finished}
    rows += [Row(name, text.replace("T", " ").replace("Z", " UTC")) for name, text in times.items() if text]
    return rows + [Row(name, shown(value)) for name, value in record.facts.items()]


def _texts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them, so that a path equals the text that it was written as."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
