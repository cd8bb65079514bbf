"""A worse set scores worse: on the level where its fault is, not where it is not, and the more of it the more.

The real images are crops of a photograph at 128², halved to 64² with a proper filter; the generated ones are other
such crops with a fault. The floor is real against other real images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from pgtools.imaging.photo import decode
from pgtools.imaging.pyramid import mean_level
from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.msssim.measure import MsssimMeasure
from pgtools.metrics.settings import MsssimSettings, SwdSettings
from pgtools.metrics.swd.measure import SwdMeasure
from tests.metrics.sets import ArraySource, photographs
from tests.pictures import jpeg

Images = np.ndarray
COUNT, SIDE = 192, 64
SETTINGS = SwdSettings(neighbourhoods=32, repeats=1, directions=64, replicates=0)
FINE, MIDDLE, COARSE = "64", "32", "16"


@pytest.fixture(scope="module")
def swd() -> Callable[[Images], dict[str, float]]:
    """Images → SWD × 1000 of each level, against the real ones."""
    real = mean_level(photographs(COUNT, 2 * SIDE, 1), SIDE)
    evaluator = Evaluator([SwdMeasure(SETTINGS)], ArraySource(real), Reading(), torch.device("cpu"))
    return lambda images: evaluator.score(ArraySource(images))[0].values


@pytest.fixture(scope="module")
def large() -> Images:
    return photographs(COUNT, 2 * SIDE, 2)


@pytest.fixture(scope="module")
def good(large: Images) -> Images:
    return mean_level(large, SIDE)


@pytest.fixture(scope="module")
def floor(swd: Callable[[Images], dict[str, float]], good: Images) -> dict[str, float]:
    return swd(good)


def each(images: Images, change: Callable[[Images], Images]) -> Images:
    """Change every image as (H, W, 3)."""
    changed = [change(np.ascontiguousarray(image.transpose(1, 2, 0))) for image in images]
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in changed])


def clipped(images: Any) -> Images:
    return np.clip(np.rint(images), 0, 255).astype(np.uint8)


def blur(images: Images, sigma: float) -> Images:
    return each(images, lambda image: cv2.GaussianBlur(image, (0, 0), sigma))


def add_noise(images: Images, deviation: float) -> Images:
    return clipped(images + np.random.default_rng(0).normal(0, deviation, images.shape))


def fade_colours(images: Images, share: float) -> Images:
    return clipped(images * (1 - share) + images.mean(1, keepdims=True) * share)


def turn_colours(images: Images, share: float) -> Images:
    """Each channel takes a share of the next one's place."""
    return clipped(images * (1 - share) + np.roll(images, 1, axis=1) * share)


def fade_contrast(images: Images, share: float) -> Images:
    """Bring pixels nearer to the mean of all images: they get to be one."""
    return clipped(images * (1 - share) + images.mean(0) * share)


def drop_modes(images: Images, times: float) -> Images:
    return np.tile(images[: int(COUNT / times)], (int(times), 1, 1, 1))


def compress(images: Images, harm: float) -> Images:
    return each(images, lambda image: decode(jpeg(image, quality=int(100 - harm)), where="test"))


# Fault, three strengths, the level that notices most and by how many floors, the levels that do not.
FAULTS: dict[str, tuple[Callable[[Images, float], Images], tuple[float, ...], str, float, tuple[str, ...]]] = {
    "blur": (blur, (0.4, 0.7, 1.2), FINE, 2.5, (COARSE,)),
    "noise": (add_noise, (5, 10, 20), FINE, 6, (COARSE,)),
    "faded colours": (fade_colours, (0.3, 0.6, 1.0), COARSE, 2.2, ()),
    "turned colours": (turn_colours, (0.3, 0.6, 1.0), COARSE, 2.2, ()),
    "dropped modes": (drop_modes, (4, 16, 64), COARSE, 3, ()),
    "JPEG": (compress, (50, 70, 90), FINE, 1.4, (COARSE,)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_more_of_a_fault_is_a_larger_swd_where_the_fault_is(
    fault: str, swd: Callable[[Images], dict[str, float]], good: Images, floor: dict[str, float]
):
    spoil, strengths, level, times, untouched = FAULTS[fault]
    found = [swd(spoil(good, strength)) for strength in strengths]
    line = [floor[level], *(values[level] for values in found)]
    assert line == sorted(line)
    assert line[-1] > times * floor[level]
    assert all(found[-1]["average"] > values["average"] for values in (floor, *found[:-1]))
    for other in untouched:
        assert found[0][other] < 1.1 * floor[other]
        assert found[-1][other] / floor[other] < 0.7 * line[-1] / floor[level]


def sharpen(images: Images) -> Images:
    """Halve by OpenCV's bicubic, which does not widen its kernel, and sharpen."""
    small = each(images, lambda image: cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
    return clipped(2.0 * small - blur(small, 1.0).astype(np.float64))


RESIZES: dict[str, tuple[Callable[[Images], Images], float]] = {
    "every second pixel": (lambda images: images[:, :, ::2, ::2], 1.1),
    "bicubic, sharpened": (sharpen, 1.3),
    "a smaller image enlarged": (
        lambda images: each(mean_level(images, SIDE // 2), lambda image: cv2.resize(image, (SIDE, SIDE))), 2.2
    ),
}  # fmt: skip


@pytest.mark.parametrize("resize", RESIZES)
def test_another_resize_shows_on_the_finest_level(
    resize: str, swd: Callable[[Images], dict[str, float]], large: Images, floor: dict[str, float]
):
    change, times = RESIZES[resize]
    found = swd(change(large))
    assert found[FINE] > times * floor[FINE]
    assert found[COARSE] / floor[COARSE] < 0.95 * found[FINE] / floor[FINE]


def test_convention_a_cast_that_all_images_share_is_not_seen_by_swd(
    swd: Callable[[Images], dict[str, float]], good: Images, floor: dict[str, float]
):
    # Each set is normalised by its own mean and deviation of every channel.
    cast = clipped(0.7 * good + np.array([60, 0, 20])[:, None, None])
    assert swd(cast)[COARSE] == pytest.approx(floor[COARSE], rel=0.05)


def msssim(images: Images) -> float:
    """The mean over pairs of images of one set; lower is more varied."""
    measure = MsssimMeasure(MsssimSettings(pairs=COUNT))
    with Evaluator([measure], None, Reading(), torch.device("cpu")) as evaluator:
        return evaluator.score(ArraySource(images))[0].values["value"]


@pytest.mark.parametrize(
    ("spoil", "strengths"),
    [(drop_modes, (4, 16, 64)), (blur, (0.7, 1.5, 3.0)), (fade_contrast, (0.3, 0.6, 0.9))],
    ids=["dropped modes", "blur", "faint contrast"],
)
def test_less_varied_images_have_a_larger_msssim(
    spoil: Callable[[Images, float], Images], strengths: tuple[float, ...], good: Images
):
    line = [msssim(good), *(msssim(spoil(good, strength)) for strength in strengths)]
    assert line == sorted(line)


@pytest.mark.parametrize(
    ("spoil", "strengths"), [(add_noise, (10, 20, 40)), (compress, (70, 90, 97))], ids=["noise", "JPEG"]
)
def test_convention_noise_and_blocks_are_variety_to_msssim(
    spoil: Callable[[Images, float], Images], strengths: tuple[float, ...], good: Images
):
    # It says how varied images are, not how good: why nobody should read it without SWD beside it.
    line = [msssim(good), *(msssim(spoil(good, strength)) for strength in strengths)]
    assert line == sorted(line, reverse=True)
