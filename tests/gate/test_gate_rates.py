"""Whether the gate's levels hold on images: false alarms over re-draws of equal sets, and what of a mild blur it sees.

Each re-draw accepts the figures of one set of generated images and checks those of another, independent one, while the
real images and the seed stay: what two runs of CI do. Without a relative term, so that only the noise counts.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pgtools.gate.baseline import Accepted
from pgtools.gate.compare import compare
from pgtools.gate.tolerance import Tolerance
from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.measure import Measure
from pgtools.metrics.msssim.measure import MsssimMeasure
from pgtools.metrics.settings import MsssimSettings, SwdSettings
from pgtools.metrics.swd.measure import SwdMeasure
from pgtools.runtime.results import MetricResult
from pgtools.runtime.seeds import stream
from tests.metrics.sets import ArraySource

Images = NDArray[np.uint8]
LEVELS = {1.645: 0.05, 3.0: 0.00135}
REDRAWS = 200


def fields(count: int, side: int, *names: str | int, steepness: float = 1.6) -> Images:
    """Random fields with a spectrum like that of photographs, uint8 (count, 3, side, side), independent of each other.

    Every image has its own steepness, contrast, brightness and colour, so that its patches have much in common: an
    error that took patches for independent would be far too small.
    """
    rng = stream(0, "fields", *names)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequency[0, 0] = 1
    fall = rng.uniform(steepness - 0.3, steepness + 0.3, (count, 1, 1, 1))
    waves = np.fft.rfft2(rng.standard_normal((count, 3, side, side))) / frequency**fall
    waves[..., 0, 0] = 0
    grey = np.fft.irfft2(waves, (side, side))
    grey /= grey.std((1, 2, 3), keepdims=True)
    mixed = 0.8 * grey[:, :1] + 0.4 * grey
    contrast, light = rng.uniform(20, 60, (count, 1, 1, 1)), rng.normal(128, 25, (count, 3, 1, 1))
    return (light + contrast * mixed).clip(0, 255).astype(np.uint8)


def mildly_blurred(images: Images) -> Images:
    """Half of each image, half of its 3×3 binomial blur."""
    kernel = np.array([1, 2, 1]) / 4
    planes = images.reshape(-1, *images.shape[2:])
    blurred = [
        cv2.sepFilter2D(plane, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT_101) for plane in planes
    ]
    return np.rint((planes + np.stack(blurred)) / 2).astype(np.uint8).reshape(images.shape)


def measured(measures: Sequence[Measure], real: Images | None, sets: Sequence[Images]) -> list[list[MetricResult]]:
    source = None if real is None else ArraySource(real)
    with Evaluator(measures, source, Reading(), torch.device("cpu")) as evaluator:
        return [evaluator.score(ArraySource(images)) for images in sets]


def share_of_worse(before: Sequence[MetricResult], after: Sequence[MetricResult], sigma: float) -> dict[str, float]:
    """Return part → how often it is worse."""
    tolerance = dict.fromkeys(before[0].values, Tolerance(sigma=sigma))
    worse = Counter(dict.fromkeys(before[0].values, 0))
    for old, new in zip(before, after, strict=True):
        moves = compare({old.metric: Accepted(old, tolerance)}, [new])
        worse.update(move.part for move in moves if move.verdict == "worse")
    return {part: count / len(before) for part, count in worse.items()}


def at_most(rate: float, draws: int) -> float:
    """Return the share that a rate stays under in 999 of 1000 such experiments, about."""
    return rate + 3.1 * math.sqrt(rate * (1 - rate) / draws) + 0.5 / draws


def test_msssim_fails_by_chance_as_often_as_its_level_says() -> None:
    draws, count = REDRAWS, 64
    sets = [fields(count, 16, "msssim", number) for number in range(2 * draws)]
    results = [only for (only,) in measured([MsssimMeasure(MsssimSettings())], None, sets)]
    found = share_of_worse(results[:draws], results[draws:], 1.645)["value"]
    assert abs(found - 0.05) <= at_most(0.05, draws) - 0.05
    errors = np.array([result.spread["value"] for result in results])
    scatter = np.std([result.values["value"] for result in results], ddof=1)
    assert np.sqrt((errors**2).mean()) == pytest.approx(scatter, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("generator", ["perfect", "imperfect"])
def test_swd_fails_by_chance_at_most_as_often_as_its_level_says_and_sees_a_mild_blur(generator: str) -> None:
    side, count = 32, 128
    steepness = 1.6 if generator == "perfect" else 1.8
    real = fields(count, side, "real")
    sets = [fields(count, side, generator, number, steepness=steepness) for number in range(2 * REDRAWS)]
    quick = [SwdMeasure(SwdSettings(neighbourhoods=32, repeats=1, directions=32, replicates=0))]
    accepting = [SwdMeasure(dataclasses.replace(quick[0].settings, replicates=200))]
    accepted = [only for (only,) in measured(accepting, real, sets[:REDRAWS])]
    again = [only for (only,) in measured(quick, real, sets[REDRAWS:])]
    blurred = [only for (only,) in measured(quick, real, [mildly_blurred(images) for images in sets[REDRAWS:]])]
    shown = [f"{generator} generator, {count} images of {side}², {REDRAWS} re-draws"]
    shown.append(f"{'level':>8}{'sigma':>7}{'false alarms':>14}{'said':>9}{'blur noticed':>14}{'error/scatter':>15}")
    too_often = []
    for part in accepted[0].values:
        scatter = np.std([result.values[part] for result in accepted + again], ddof=1)
        ratio = math.sqrt(np.mean([result.spread[part] ** 2 for result in accepted])) / scatter
        for sigma, rate in LEVELS.items():
            alarms = share_of_worse(accepted, again, sigma)[part]
            noticed = share_of_worse(accepted, blurred, sigma)[part]
            shown.append(f"{part:>8}{sigma:>7}{alarms:>14.3f}{rate:>9.3f}{noticed:>14.3f}{ratio:>15.2f}")
            if alarms > at_most(rate, REDRAWS):
                too_often.append((part, sigma, alarms))
    print("\n" + "\n".join(shown))
    assert not too_often
    assert share_of_worse(accepted, blurred, 1.645)["32"] > 0.5
