"""Worse images, worse figures: through the measures, on features that are random projections of pixels and edges."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.inception.measure import FidMeasure, KidMeasure, PrecisionRecallMeasure
from pgtools.metrics.inception.network import NetworkFile
from pgtools.metrics.settings import FidSettings, KidSettings, PrecisionRecallSettings
from tests.metrics.sets import ArraySource, photographs

NETWORK = NetworkFile(Path("weights.pth"), "12" * 32)
MEASURES = [
    FidMeasure(FidSettings(layer="64"), NETWORK),
    KidMeasure(KidSettings(subsets=10, subset_size=100, layer="64"), NETWORK),
    PrecisionRecallMeasure(PrecisionRecallSettings(layer="64"), NETWORK),
]


def spoiled(images: np.ndarray, how: str) -> np.ndarray:
    numbers = np.random.default_rng(0)
    if how == "blur":
        return np.stack([[cv2.GaussianBlur(channel, (0, 0), 3) for channel in image] for image in images])
    if how == "noise":
        return (images + numbers.normal(0, 60, images.shape)).clip(0, 255).astype(np.uint8)
    if how == "colour":
        return (images * np.array([1, 0.7, 0.7])[:, None, None]).astype(np.uint8)
    assert how == "dropped modes"
    return images[np.argsort(images.mean((1, 2, 3)))[: len(images) // 3]].repeat(3, axis=0)


@pytest.mark.parametrize("how", ["blur", "noise", "colour", "dropped modes"])
def test_a_worse_set_has_worse_figures(how: str, runs: list[int]):
    real, fake = ArraySource(photographs(400, 32, 1)), photographs(400, 32, 2)
    with Evaluator(MEASURES, real, Reading(), torch.device("cpu")) as evaluator:
        good = evaluator.score(ArraySource(fake))
        bad = evaluator.score(ArraySource(spoiled(fake, how)[:400]))
    for before, after in zip(good[:2], bad[:2], strict=True):
        noise = np.hypot(before.spread["value"], after.spread["value"])
        assert after.values["value"] > before.values["value"] + 3 * noise
    for before, after in zip(good[:2], bad[:2], strict=True):
        assert before.verdict == {"value": "indistinguishable from real at this N"}
        assert re.fullmatch(r"not like real: \d+\.\d × the (limit of the )?floor", after.verdict["value"])
    if how != "dropped modes":  # of one photograph's squares, a third are everywhere; see test_scores for recall
        assert bad[2].values["f1"] < good[2].values["f1"] - 3 * good[2].spread["f1"]
    assert all(type(value) is float for result in (*good, *bad) for value in result.values.values())
