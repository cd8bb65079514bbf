"""How fast photos become crops: each step, the three ways to crop, and the whole build, in one interleaved run.

The plain route is the released builder's own: Pillow and SciPy, one photo after another. Ways take turns within a
round, so that whatever else the machine does hits all of them; ratios are formed within a round and their median told.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.cropping.crop import Engine, crop, crop_quad, frame, steps_of
from pgtools.celebahq.cropping.released import released_crop
from pgtools.celebahq.quality import quality_score
from pgtools.errors import InputError
from pgtools.imaging.photo import decode
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.runtime.progress import bar
from pgtools.stores.codecs import codec_for, encode

T = TypeVar("T")
ENGINES: tuple[Engine, ...] = ("fast", "exact")
PLAIN = "plain"


@dataclass(frozen=True)
class Shot:
    """A photo to measure on: its encoded bytes and its five points, float64 (5, 2)."""

    data: bytes
    landmarks: NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """How fast one step was done in one way.

    Attributes:
        step: "decode", "crop", "crop, padded", "score", "encode", "levels", "whole", "network, crop, score".
        way: "fast", "exact", "plain"; for the whole how many workers; of a step that is done in one way, by what.
        photos: a round did.
        photos_per_second: in the best round.
        ratio: median over the rounds of this way's speed against the plain way's; None without one.
        ratio_low: the least of a round.
        ratio_high: the greatest.
        busy: share of the time in which the card computed, for networks on CUDA.
    """

    step: str
    way: str
    photos: int
    photos_per_second: float
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    busy: float | None = None


def bench_steps(shots: Sequence[Shot], *, resolution: int, repeats: int) -> list[Row]:
    """Return the speed of every step on one core.

    Args:
        shots: one or more; crops that need padding are measured apart.
        resolution: side of the crops.
        repeats: rounds, after one that is not counted.

    Raises:
        InputError: a photo cannot be decoded, or a square does not touch it.
    """
    photos = [decode(shot.data, where=f"photo {place}", upright=False) for place, shot in enumerate(shots)]
    pairs = list(zip(photos, (shot.landmarks for shot in shots), strict=True))
    padded = [_needs_padding(photo, points, resolution) for photo, points in pairs]
    groups = {
        "crop": [pair for pair, needs in zip(pairs, padded, strict=True) if not needs],
        "crop, padded": [pair for pair, needs in zip(pairs, padded, strict=True) if needs],
    }
    crops = [crop(photo, crop_quad(points), resolution=resolution) for photo, points in pairs]
    with one_core():
        rows = _alone("decode", lambda shot: decode(shot.data, where="a photo", upright=False), shots, repeats)
        for step, group in groups.items():
            if group:
                rows += timed(step, crop_ways(group, resolution), len(group), repeats)
        rows += _alone("score", quality_score, crops, repeats)
        rows += _alone("encode", _encoded, crops, repeats)
        rows += _alone("levels", _levels, crops, repeats)
    return rows


def crop_ways(pairs: Sequence[tuple[Any, Any]], resolution: int) -> dict[str, Callable[[], object]]:
    """Return way → what crops all photos in that way; `pairs` are (photo, landmarks)."""

    def engine(name: Engine) -> Callable[[], object]:
        return lambda: _each(lambda p: crop(p[0], crop_quad(p[1]), resolution=resolution, engine=name), pairs)

    plain: dict[str, Callable[[], object]] = {
        PLAIN: lambda: _each(lambda p: released_crop(p[0], p[1], resolution=resolution), pairs)
    }
    return {name: engine(name) for name in ENGINES} | plain


def timed(step: str, ways: dict[str, Callable[[], object]], photos: int, repeats: int) -> list[Row]:
    """Return a row for every way of doing a step; the ways take turns.

    Args:
        step: its name.
        ways: name → what does the step for all photos; the one named "plain" is what the others are compared with.
        photos: how many each does.
        repeats: rounds, after one that is not counted.
    """
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    with bar(f"Measuring: {step}", total=(repeats + 1) * len(ways)) as advance:
        for counted in [False, *[True] * repeats]:
            for way, do in ways.items():
                begun = time.perf_counter()
                do()
                if counted:
                    seconds[way].append(time.perf_counter() - begun)
                advance(1)
    rows = []
    for way, own in seconds.items():
        ratios = [plain / one for plain, one in zip(seconds.get(PLAIN, []), own, strict=False)]
        spread = (median(ratios), min(ratios), max(ratios)) if ratios else (None, None, None)
        rows.append(Row(step, way, photos, photos / min(own), *spread))
    return rows


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """Let OpenCV compute on one core; the rest of a crop does so anyway."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _needs_padding(photo: NDArray[np.uint8], landmarks: NDArray[np.float64], resolution: int) -> bool:
    try:
        return "padding" in steps_of(frame(photo, crop_quad(landmarks), resolution=resolution))
    except InputError as error:
        raise InputError(f"One of the photos gives no crop: {error.message}", hint="Leave it out.") from None


def _encoded(image: NDArray[np.uint8]) -> bytes:
    return encode(_planes(image), codec_for(image.shape[0], image.shape[0], "auto", 0))


def _levels(image: NDArray[np.uint8]) -> list[bytes]:
    """Every level, encoded as a store keeps it."""
    pyramid = mean_pyramid(_planes(image))
    return [encode(level, codec_for(side, image.shape[0], "auto", 0)) for side, level in pyramid.items()]


def _planes(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def _alone(step: str, do: Callable[[T], object], items: Sequence[T], repeats: int) -> list[Row]:
    """A step that is done in one way."""
    return timed(step, {"pgtools": lambda: _each(do, items)}, len(items), repeats)


def _each(do: Callable[[T], object], items: Sequence[T]) -> None:
    for item in items:
        do(item)
