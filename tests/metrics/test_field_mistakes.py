"""What is known to go wrong in the field, mistake by mistake: a version with it is seen to fail, ours to pass.

One check holds for all versions: the definition's figure (the float64 twin), given the same draws. Three right
versions pass it: pgtools, the plain NumPy and SciPy route, and the parts below put together without a mistake. Each
wrong version is those parts with one of them replaced.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch

from pgtools.metrics.benchmark.plain import msssim as plain_msssim
from pgtools.metrics.benchmark.plain import swd as plain_swd
from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.msssim import ms_ssim
from pgtools.metrics.settings import SwdSettings
from pgtools.metrics.swd.draws import draw_directions, draw_positions
from pgtools.metrics.swd.measure import SwdMeasure
from tests.metrics.sets import ArraySource, photographs
from tests.pictures import smooth_images
from tests.reference import msssim as twin_msssim
from tests.reference import swd as twin

Array = np.ndarray
Swd = Callable[[Array, Array], dict[int, float]]
SETTINGS = SwdSettings(neighbourhoods=16, repeats=2, directions=32)
COUNT, SIDE = 4, 256
LEVELS = (256, 128, 64, 32, 16)


@pytest.fixture(scope="module")
def sets() -> tuple[Array, Array]:
    return photographs(COUNT, SIDE, 1), photographs(COUNT, SIDE, 2)


@dataclass(frozen=True)
class Parts:
    """The definition in exchangeable parts, float64."""

    prepare: Callable[[Array], Array] = lambda images: images.astype(np.float64)
    down: Callable[[Array], Array] = twin.down
    up: Callable[[Array], Array] = twin.up
    between_levels: Callable[[Array], Array] = lambda image: image
    levels: tuple[int, ...] = LEVELS
    centres: Callable[[int, str], Array] = lambda level, role: draw_positions(level, COUNT, SETTINGS, role)  # type: ignore[arg-type]
    image_of: Callable[[int], int] = lambda number: number
    normalise: Callable[[Array, Array], Array] = lambda own, _: _normalised(own)
    directions: Callable[[int, int], Array] = lambda level, repeat: draw_directions(level, repeat, SETTINGS)
    sort: Callable[[Array], Array] = lambda lines: np.sort(lines, axis=0)
    gap: Callable[[Array], Array] = np.abs

    def __call__(self, real: Array, fake: Array) -> dict[int, float]:
        bands = [[self._pyramid(image) for image in self.prepare(images)] for images in (real, fake)]
        found = {}
        for level in self.levels:
            raw = [self._cut(bands[i], level, role) for i, role in enumerate(("real", "fake"))]
            sets = [self.normalise(raw[0], raw[1]), self.normalise(raw[1], raw[0])]
            found[level] = float(np.mean([self._distance(sets, level, repeat) for repeat in range(SETTINGS.repeats)]))
        return found

    def _pyramid(self, image: Array) -> dict[int, Array]:
        levels = {}
        while image.shape[-1] > self.levels[-1]:
            smaller = self.between_levels(np.stack([self.down(channel) for channel in image]))
            levels[image.shape[-1]] = image - np.stack([self.up(channel) for channel in smaller])
            image = smaller
        levels[self.levels[-1]] = image
        return levels

    def _cut(self, bands: list[dict[int, Array]], level: int, role: str) -> Array:
        return np.stack(
            [
                bands[self.image_of(number)][level][:, y - 3 : y + 4, x - 3 : x + 4]
                for number, places in enumerate(self.centres(level, role))
                for y, x in places
            ]
        )

    def _distance(self, sets: list[Array], level: int, repeat: int) -> float:
        directions = self.directions(level, repeat)
        lines = [self.sort(each.reshape(len(each), -1) @ directions.T) for each in sets]
        return 1000 * float(self.gap(lines[0] - lines[1]).mean())


def _normalised(own: Array, axes: tuple[int, ...] = (0, 2, 3), ddof: int = 0) -> Array:
    return (own - own.mean(axes, keepdims=True)) / own.std(axes, ddof=ddof, keepdims=True)


def _jointly(own: Array, other: Array) -> Array:
    both = np.concatenate((own, other))
    return (own - both.mean((0, 2, 3), keepdims=True)) / both.std((0, 2, 3), keepdims=True)


def _down_with(mode: str) -> Callable[[Array], Array]:
    return lambda image: scipy.ndimage.convolve(image, twin.BINOMIAL, mode=mode)[::2, ::2]


def by_pgtools(real: Array, fake: Array) -> dict[int, float]:
    with Evaluator([SwdMeasure(SETTINGS)], ArraySource(real), Reading(), torch.device("cpu")) as evaluator:
        (found,) = evaluator.score(ArraySource(fake))
    return {level: found.values[str(level)] for level in LEVELS}


def by_the_plain_route(real: Array, fake: Array) -> dict[int, float]:
    described = []
    for role, images in (("real", real), ("fake", fake)):
        centres = {level: draw_positions(level, COUNT, SETTINGS, role) for level in LEVELS}  # type: ignore[arg-type]
        described.append(plain_swd.describe([images], centres, SETTINGS.size))
    directions = {level: [draw_directions(level, repeat, SETTINGS) for repeat in range(2)] for level in LEVELS}
    return plain_swd.compare(described[0], described[1], directions)


@pytest.fixture(scope="module")
def expected(sets: tuple[Array, Array]) -> dict[int, float]:
    """The definition's figures, by the twin."""
    found = {}
    for level in LEVELS:
        described = [
            twin.describe(images, draw_positions(level, COUNT, SETTINGS, role), level, SETTINGS.size)  # type: ignore[arg-type]
            for role, images in zip(("real", "fake"), sets, strict=True)
        ]
        lines = [draw_directions(level, repeat, SETTINGS) for repeat in range(SETTINGS.repeats)]
        found[level] = 1000 * float(np.mean([twin.distance(described[0], described[1], each) for each in lines]))
    return found


def check(version: Swd, sets: tuple[Array, Array], expected: dict[int, float]) -> None:
    """What the spec asks for: every level, to 1e-5 of the definition."""
    found = version(*sets)
    assert list(found) == list(expected)
    np.testing.assert_allclose([*found.values()], [*expected.values()], rtol=1e-5)


RIGHT: dict[str, Swd] = {"pgtools": by_pgtools, "the plain route": by_the_plain_route, "the parts": Parts()}
WRONG: dict[str, Swd] = {
    "patches of image 0 only": Parts(image_of=lambda _: 0),
    "zero padding": Parts(down=_down_with("constant")),
    "a border that repeats its edge": Parts(down=_down_with("reflect")),
    "nearest upsampling": Parts(up=lambda image: image.repeat(2, 0).repeat(2, 1)),
    "bilinear upsampling": Parts(up=lambda image: scipy.ndimage.zoom(image, 2, order=1)),
    "doubling without the factor 4": Parts(up=lambda image: twin.up(image) / 4),
    "no blur before halving": Parts(down=lambda image: image[::2, ::2]),
    "levels rounded to bytes": Parts(between_levels=np.rint),
    "one place for all images": Parts(
        centres=lambda level, role: np.repeat(draw_positions(level, 1, SETTINGS, role), COUNT, 0)  # type: ignore[arg-type]
    ),
    "both sets cut at one place": Parts(centres=lambda level, _: draw_positions(level, COUNT, SETTINGS, "real")),
    "four levels": Parts(levels=LEVELS[:4]),
    "not normalised": Parts(normalise=lambda own, _: own),
    "sample deviation": Parts(normalise=lambda own, _: _normalised(own, ddof=1)),
    "both sets normalised together": Parts(normalise=_jointly),
    "every pixel of a patch normalised apart": Parts(normalise=lambda own, _: _normalised(own, (0,))),
    "channels normalised together": Parts(normalise=lambda own, _: _normalised(own, (0, 1, 2, 3))),
    "directions of any length": Parts(directions=lambda *a: 12 * draw_directions(*a, SETTINGS)),
    "sorted along the wrong axis": Parts(sort=lambda lines: np.sort(lines, axis=1)),
    "not sorted": Parts(sort=lambda lines: lines),
    "squared gap": Parts(gap=np.square),
    "bytes that run over": Parts(prepare=lambda images: (images.astype(np.int16) * 2).astype(np.uint8).astype(float)),
}


@pytest.mark.parametrize("version", RIGHT)
def test_a_right_swd_passes(version: str, sets: tuple[Array, Array], expected: dict[int, float]):
    check(RIGHT[version], sets, expected)


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_swd_fails(mistake: str, sets: tuple[Array, Array], expected: dict[int, float]):
    with pytest.raises(AssertionError):
        check(WRONG[mistake], sets, expected)


def test_convention_the_range_of_the_input_does_not_matter_to_swd(
    sets: tuple[Array, Array], expected: dict[int, float]
):
    # Images in −1..1 are a mistake elsewhere. Here each set's own deviation takes the scale out, and a level its mean.
    check(Parts(prepare=lambda images: images / 127.5 - 1), sets, expected)


def check_centres(draw: Callable[[int], Array]) -> None:
    """Uniform over [3, level − 3), the upper end excluded, so that every patch is inside."""
    for level in (16, 64):
        found = draw(level)
        places = np.bincount(found.ravel(), minlength=level)
        assert set(np.flatnonzero(places)) == set(range(3, level - 3))
        each = found.size / (level - 6)
        assert np.abs(places[3 : level - 3] - each).max() < 5 * each**0.5


def _between(low: int, margin: int, level: int) -> Array:
    return np.random.default_rng(0).integers(low, level - margin, (60, 128, 2))


def test_centres_leave_out_the_upper_end():
    check_centres(lambda level: draw_positions(level, 60, SwdSettings(), "real"))
    check_centres(lambda level: _between(3, 3, level))
    for low, margin in ((3, 2), (3, 4), (4, 3), (0, 0)):
        with pytest.raises(AssertionError):
            check_centres(lambda level, low=low, margin=margin: _between(low, margin, level))


@dataclass(frozen=True)
class Scales:
    """MS-SSIM in exchangeable parts, float64."""

    weights: tuple[float, ...] = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    window: Callable[[int], Array] = twin_msssim.window_of
    blur: Callable[[Array, Array], Array] = lambda plane, window: scipy.signal.convolve(plane, window, mode="valid")
    halve: Callable[[Array], Array] = lambda x: (
        (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4
    )
    prepare: Callable[[Array], Array] = lambda image: image.astype(np.float64)
    spread: Callable[[Array, Array], float] = lambda a, b: 255.0
    luminance_at: Callable[[int, int], bool] = lambda scale, last: scale == last
    clip: Callable[[float], float] = lambda term: max(0.0, term)
    smallest: int = 16

    def __call__(self, a: Array, b: Array) -> Array:
        return np.array([self.pair(self.prepare(p), self.prepare(q)) for p, q in zip(a, b, strict=True)])

    def pair(self, a: Array, b: Array) -> float:
        assert a.shape[-1] >= self.smallest
        score = 1.0
        for scale, weight in enumerate(self.weights):
            full, contrast = self._terms(a, b)
            term = full if self.luminance_at(scale, len(self.weights) - 1) else contrast
            score *= self.clip(float(term.mean())) ** weight
            a, b = self.halve(a), self.halve(b)
        return score

    def _terms(self, a: Array, b: Array) -> tuple[Array, Array]:
        window, c1, c2 = self.window(a.shape[-1]), (0.01 * self.spread(a, b)) ** 2, (0.03 * self.spread(a, b)) ** 2

        def blurred(planes: Array) -> Array:
            return np.stack([self.blur(plane, window) for plane in planes])

        mean_a, mean_b = blurred(a), blurred(b)
        variances = blurred(a * a) - mean_a**2 + blurred(b * b) - mean_b**2
        contrast = (2 * (blurred(a * b) - mean_a * mean_b) + c2) / (variances + c2)
        return (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1) * contrast, contrast


def _window(size: int, sigma: float) -> Array:
    line = np.exp(-np.square(np.arange(size) - (size - 1) / 2) / (2 * sigma**2))
    return np.outer(line, line) / line.sum() ** 2


def _channel_by_channel(a: Array, b: Array) -> Array:
    return np.mean([Scales()(a[:, c : c + 1], b[:, c : c + 1]) for c in range(3)], axis=0)


def _grey(image: Array) -> Array:
    return np.tensordot([[0.299, 0.587, 0.114]], image.astype(np.float64), 1)


Msssim = Callable[[Array, Array], Array]
RIGHT_MSSSIM: dict[str, Msssim] = {
    "pgtools": lambda a, b: ms_ssim(torch.from_numpy(a), torch.from_numpy(b)).numpy(),
    "the plain route": plain_msssim.ms_ssim,
    "the parts": Scales(),
}
WRONG_MSSSIM: dict[str, Msssim] = {
    "refuses images under 161 pixels": Scales(smallest=161),
    "a window that keeps its sigma": Scales(window=lambda side: _window(min(11, side), 1.5)),
    "a window of odd size where 11 is too large": Scales(
        window=lambda side: _window(min(11, side - 1 + side % 2), 1.5)
    ),
    "a flat window": Scales(window=lambda side: np.full((min(11, side),) * 2, min(11, side) ** -2.0)),
    "zeros around the border": Scales(blur=lambda plane, window: scipy.signal.convolve(plane, window, mode="same")),
    "a mirrored border": Scales(blur=lambda plane, window: scipy.ndimage.convolve(plane, window, mode="mirror")),
    "every second pixel instead of means": Scales(halve=lambda x: x[:, ::2, ::2]),
    "four scales": Scales(weights=(0.0448, 0.2856, 0.3001, 0.2363)),
    "even weights": Scales(weights=(0.2,) * 5),
    "weights in turned order": Scales(weights=(0.1333, 0.2363, 0.3001, 0.2856, 0.0448)),
    "luminance at every scale": Scales(luminance_at=lambda scale, last: True),
    "no luminance": Scales(luminance_at=lambda scale, last: False),
    "images in −1..1": Scales(prepare=lambda image: image / 127.5 - 1),
    "a range read off the images": Scales(spread=lambda a, b: max(np.ptp(a), np.ptp(b))),
    "grey images": Scales(prepare=_grey),
    "a product for each channel": _channel_by_channel,
    "negative terms taken positive": Scales(clip=abs),
}


@pytest.fixture(scope="module")
def pairs() -> dict[int, tuple[Array, Array, Array]]:
    """Side → two sets and their scores by the twin; the last pair's contrast is negative."""
    found = {}
    for side in (32, 128):
        a, others = smooth_images(3, side, 1), smooth_images(3, side, 2)
        b = (0.6 * a + 0.4 * others).astype(np.uint8)
        b[-1] = 255 - a[-1]
        found[side] = a, b, np.array([twin_msssim.ms_ssim(p, q) for p, q in zip(a, b, strict=True)])
    return found


def check_msssim(version: Msssim, pairs: dict[int, tuple[Array, Array, Array]]) -> None:
    """What the spec asks for: every pair, to 1e-4 of the definition, also where the window must shrink."""
    for a, b, expected in pairs.values():
        np.testing.assert_allclose(version(a, b), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("version", RIGHT_MSSSIM)
def test_a_right_msssim_passes(version: str, pairs: dict[int, tuple[Array, Array, Array]]):
    assert all(0.2 < expected[0] < 0.95 and expected[-1] == 0 for _, _, expected in pairs.values())
    check_msssim(RIGHT_MSSSIM[version], pairs)


@pytest.mark.parametrize("mistake", WRONG_MSSSIM)
def test_a_wrong_msssim_fails(mistake: str, pairs: dict[int, tuple[Array, Array, Array]]):
    with pytest.raises(AssertionError):
        check_msssim(WRONG_MSSSIM[mistake], pairs)
