"""The lines of a build's manifest, gathered for its report: counts, scores, and which crops to show."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

_POINTS = tuple(
    f"{point}_{axis}" for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
)
_QUAD = tuple(f"quad_{corner}_{axis}" for corner in ("tl", "bl", "br", "tr") for axis in "xy")
# What a report needs of a manifest's columns.
COLUMNS = ("index", "file", "face", "kept", "score", "reason", *_POINTS, *_QUAD)
# Per cent of the crops in the store that score less.
QUANTILES = (1, 10, 25, 50, 75, 90, 99)


@dataclass(frozen=True)
class Crop:
    """A crop in the store.

    Attributes:
        index: its place in the store.
        file: its photo.
        face: which face of the photo, from 1.
        score: its quality; NaN if crops were not scored.
        points: float64 (5, 2), the landmarks in the photo.
        quad: float64 (4, 2), the crop's square in the photo: TL, BL, BR, TR.
    """

    index: int
    file: str
    face: int
    score: float
    points: NDArray[np.float64]
    quad: NDArray[np.float64]


@dataclass(frozen=True)
class Crops:
    """What a manifest says, without a dict for each of 202,599 lines.

    Attributes:
        photos: how many there are.
        empty: how many of them gave no crop.
        others: scores of the crops that are not in the store, float64 (M,).
        dropped: reason → how many crops are not in the store for it.
        names: (file, face) of the crops in the store, N of them.
        table: float64 (N, 20): index, score, ten coordinates of the points, eight of the square.
    """

    photos: int
    empty: int
    others: NDArray[np.float64]
    dropped: dict[str, int]
    names: list[tuple[str, int]]
    table: NDArray[np.float64]
    _order: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        scores = self.scores
        by_score = np.argsort(scores, kind="stable") if np.isfinite(scores).all() else np.arange(len(scores))
        object.__setattr__(self, "_order", by_score)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores of the crops in the store, float64 (N,); NaN where they were not scored."""
        return self.table[:, 1]

    @property
    def are_scored(self) -> bool:
        """Whether there are crops and each has a score."""
        return bool(len(self.table) and np.isfinite(self.scores).all())

    def quantiles(self) -> list[tuple[int, Crop]]:
        """Return (per cent, crop) at the quantiles of the scores in the store, each crop once; ascending."""
        places = {round(percent / 100 * (len(self.table) - 1)): percent for percent in reversed(QUANTILES)}
        return [(percent, self._at(place)) for place, percent in sorted(places.items())] if self.are_scored else []

    def worst(self, count: int) -> list[Crop]:
        """Return the crops with the least scores, the least first; never one that is among as many best."""
        return [self._at(place) for place in range(min(count, len(self.table) // 2))] if self.are_scored else []

    def best(self, count: int) -> list[Crop]:
        """Return the crops with the highest scores, the highest first."""
        last = len(self.table) - 1
        return [self._at(last - i) for i in range(min(count, (last + 2) // 2))] if self.are_scored else []

    def spread(self, count: int) -> list[Crop]:
        """Return crops evenly spread over the ranks, the best first; over the store where there are no scores."""
        count = min(count, len(self.table))
        places = np.linspace(len(self.table) - 1, 0, count).round().astype(int).tolist()
        return [self._at(place) for place in (places if self.are_scored else reversed(places))]

    def _at(self, place: int) -> Crop:
        row = int(self._order[place])
        values = self.table[row]
        file, face = self.names[row]
        return Crop(
            int(values[0]), file, face, float(values[1]), values[2:12].reshape(5, 2), values[12:20].reshape(4, 2)
        )


def gather(rows: Iterable[Mapping[str, Any]]) -> Crops:
    """Return what the report needs of a manifest's lines; each is column → value, with the columns COLUMNS.

    A line is a crop if it has a square; lines of one photo follow each other.
    """
    names: list[tuple[str, int]] = []
    table, others = array("d"), array("d")
    dropped: dict[str, int] = {}
    photos = empty = 0
    last: str | None = None
    has_crop = False
    for row in rows:
        file, is_crop = str(row["file"]), row.get(_QUAD[0]) is not None
        if file != last:
            photos, empty, last, has_crop = photos + 1, empty + 1, file, False
        if is_crop and not has_crop:
            empty, has_crop = empty - 1, True
        if is_crop and row.get("kept") and row.get("index") is not None:
            names.append((file, row.get("face") or 1))
            table.extend(_number(row.get(column)) for column in ("index", "score", *_POINTS, *_QUAD))
        elif is_crop:
            others.append(_number(row.get("score")))
            reason = row.get("reason") or "not kept"
            dropped[reason] = dropped.get(reason, 0) + 1
    below = np.array(others)
    return Crops(photos, empty, below[np.isfinite(below)], dropped, names, np.array(table).reshape(-1, 20))


@dataclass(frozen=True)
class Cut:
    """The score that parts the crops in the store from the others.

    Attributes:
        score: it, 0 to 1.
        is_asked: whether it is the user's own, --min-score, and not that of the last crop that was kept.
    """

    score: float
    is_asked: bool

    @property
    def label(self) -> str:
        """What a legend calls it."""
        return f"{'--min-score' if self.is_asked else 'least score kept'}, {self.score:.3f}"


def cut_of(crops: Crops, settings: Mapping[str, Any]) -> Cut | None:
    """Return the score that parts the crops in the store from the others, or None where the score does not decide.

    Args:
        crops: see `gather`.
        settings: the build's; of them "rank", "keep" and "min_score" matter.
    """
    if settings.get("rank") == "none":
        return None
    floor = settings.get("min_score")
    if isinstance(floor, int | float) and not settings.get("keep"):
        return Cut(float(floor), is_asked=True)
    apart = crops.are_scored and len(crops.others) and crops.others.max() <= crops.scores.min()
    return Cut(float(crops.scores.min()), is_asked=False) if apart else None


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def bin_edges(scores: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the edges of a histogram's bins: round numbers, more of them for more scores.

    Args:
        scores: float64 arrays, at least one score in all.
    """
    values = np.concatenate(scores)
    low, high = float(values.min()), float(values.max())
    wanted = min(50, max(15, round(2.5 * len(values) ** (1 / 3))))
    steps = (digit * 10.0**power for power in range(-3, 1) for digit in (1, 2, 5))
    step = next((step for step in steps if (high - low) / step <= wanted), 1.0)
    # The margin is for 0.35, say: it holds 0.005 70 times, and yet 70 * 0.005 is more than 0.35.
    first, last = math.floor(low / step - 1e-9), math.floor(high / step + 1e-9) + 1
    edges: NDArray[np.float64] = np.arange(first, last + 1, dtype=np.float64) * step
    return edges
