"""SWD from images to figures: the definition, whatever computes it, and its uncertainty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.settings import SwdSettings
from pgtools.metrics.swd import distance, projection, transport
from pgtools.metrics.swd.descriptors import DescriptorSet
from pgtools.metrics.swd.draws import draw_directions, draw_positions
from pgtools.metrics.swd.measure import SwdMeasure
from pgtools.metrics.swd.projection import Normalised
from pgtools.runtime.results import MetricResult
from tests.metrics.sets import ArraySource, fields, photographs
from tests.reference import swd as reference

CPU = torch.device("cpu")
SMALL = SwdSettings(neighbourhoods=16, repeats=2, directions=32, replicates=0)


def score(
    real: np.ndarray, fake: np.ndarray, settings: SwdSettings = SMALL, *, device: torch.device = CPU, batch: int = 3
) -> MetricResult:
    with Evaluator([SwdMeasure(settings)], ArraySource(real), Reading(batch=batch), device) as evaluator:
        (result,) = evaluator.score(ArraySource(fake))
    return result


def definition(real: np.ndarray, fake: np.ndarray, level: int, settings: SwdSettings) -> float:
    sets = [
        reference.describe(images, draw_positions(level, len(images), settings, role), level, settings.size)
        for role, images in (("real", real), ("fake", fake))
    ]
    repeats = [draw_directions(level, repeat, settings) for repeat in range(settings.repeats)]
    return 1000 * float(np.mean([reference.distance(*sets, directions) for directions in repeats]))


@pytest.mark.parametrize(
    ("side", "count", "settings"),
    [
        (16, 9, SMALL),
        (32, 7, replace(SMALL, size=5, neighbourhoods=40, directions=9, repeats=3, seed=5)),
        (128, 4, SMALL),
        (256, 3, replace(SMALL, size=3)),
        (1024, 2, replace(SMALL, directions=8)),
        # Enough descriptors that distances are found in cells.
        (32, 64, replace(SMALL, neighbourhoods=128, directions=4)),
    ],
)
def test_every_level_is_the_definition(side: int, count: int, settings: SwdSettings):
    real, fake = (
        (photographs(count, side, 1), photographs(count, side, 2)) if side < 512 else np.split(fields(4, side), 2)
    )
    found = score(real, fake, settings).values
    levels = [int(part) for part in found if part != "average"]
    assert levels == [side >> k for k in range(len(levels))] and levels[-1] == 16
    for level in levels:
        assert found[str(level)] == pytest.approx(definition(real, fake, level, settings), rel=1e-5), level
    assert found["average"] == pytest.approx(np.mean([found[str(level)] for level in levels]))


def test_neither_batch_nor_disk_change_a_bit():
    real, fake = photographs(20, 32, 1), photographs(20, 32, 2)
    settings = replace(SMALL, replicates=20)
    expected = score(real, fake, settings, batch=20)
    for batch, memory in ((1, None), (7, None), (7, 0.0)):
        found = score(real, fake, replace(settings, memory=memory), batch=batch)
        assert found.values == expected.values and found.spread == expected.spread and found.floor == expected.floor


def test_grey_images_are_measured_as_three_equal_channels():
    grey = [photographs(12, 32, seed)[:, :1] for seed in (1, 2)]
    repeated = [images.repeat(3, axis=1) for images in grey]
    found = score(*repeated).values["32"]
    assert found == pytest.approx(definition(*repeated, 32, SMALL), rel=1e-5)


def test_seeds_are_averaged_and_their_scatter_told():
    real, fake = photographs(20, 32, 1), photographs(20, 32, 2)
    single = [score(real, fake, replace(SMALL, seed=seed)).values for seed in (4, 5, 6)]
    found = score(real, fake, replace(SMALL, seed=4, seeds=3))
    assert found.values["16"] == pytest.approx(np.mean([each["16"] for each in single]))
    assert found.scatter["over seeds"]["16"] == pytest.approx(np.std([each["16"] for each in single], ddof=1))
    assert found.protocol["seeds"] == 3


def test_repeats_scatter_and_a_single_one_does_not():
    real, fake = photographs(20, 32, 1), photographs(20, 32, 2)
    assert set(score(real, fake).scatter) == {"over repeats"}
    single = score(real, fake, replace(SMALL, repeats=1))
    assert single.scatter == {} and single.spread == {} and single.verdict == {}


def test_one_image_a_set_has_a_distance_and_no_error():
    found = score(photographs(1, 32, 1), photographs(1, 32, 2), replace(SMALL, replicates=10))
    assert found.values["32"] > 0 and found.spread == {}


def test_sets_without_any_scatter_have_a_verdict():
    flat, noise = np.zeros((20, 3, 16, 16), np.uint8), photographs(20, 16)
    settings = replace(SMALL, replicates=20)
    assert score(flat, noise, settings).verdict["16"] == "not like real"
    assert score(flat, flat, settings).verdict["16"] == "indistinguishable from real at this N"
    assert score(flat[:5], noise[:5], settings).verdict["16"].startswith("too few images to tell")


@pytest.mark.parametrize("replicates", [0, 1])
def test_a_single_resampling_tells_no_error(replicates: int):
    found = score(photographs(20, 16, 1), photographs(20, 16, 2), replace(SMALL, replicates=replicates))
    assert found.spread == found.floor == found.verdict == {}


@pytest.mark.parametrize("size", [1, 7, 15])
def test_images_without_contrast_are_the_definition_too(size: int):
    rng = np.random.default_rng(0)
    real, fake = (rng.integers(128, 130, (6, 3, 64, 64)).astype(np.uint8) for _ in range(2))
    settings = replace(SMALL, size=size)
    for level in (64, 32, 16):
        assert score(real, fake, settings).values[str(level)] == pytest.approx(
            definition(real, fake, level, settings), rel=1e-5
        )


def test_unequal_counts_are_refused_with_the_remedy():
    with pytest.raises(InputError, match="has 8 images, array 6; swd compares equal numbers") as caught:
        score(photographs(8, 32), photographs(6, 32))
    assert caught.value.hint == "Pass --num-images 6."


def test_what_runs_on_a_gpu_gives_the_same_on_the_cpu(monkeypatch: pytest.MonkeyPatch):
    # There is no GPU to every test run; its code is torch's, which runs anywhere.
    real, fake = photographs(40, 64, 1), photographs(40, 64, 2)
    settings = replace(SMALL, replicates=20, neighbourhoods=64)
    expected = score(real, fake, settings)

    def by_torch(descriptors: Normalised, directions: np.ndarray, _: torch.device, *, out: torch.Tensor) -> None:
        projection.project_by_torch(descriptors, directions, out)

    monkeypatch.setattr(DescriptorSet, "update", lambda self, images, numbers: self._cut_on_device(images, numbers))
    monkeypatch.setattr(distance, "mean_gaps", transport.sorted_gaps)
    monkeypatch.setattr(distance, "project", by_torch)
    found = score(real, fake, settings)
    for part, value in expected.values.items():
        assert found.values[part] == pytest.approx(value, rel=1e-6)
        assert found.spread[part] == pytest.approx(expected.spread[part], rel=1e-3)


@pytest.mark.gpu
def test_the_device_changes_the_figure_by_less_than_1e_5():
    real, fake = photographs(64, 64, 1), photographs(64, 64, 2)
    there, here = (score(real, fake, device=torch.device(name)).values for name in ("cuda", "cpu"))
    for part, value in here.items():
        assert there[part] == pytest.approx(value, rel=1e-5)
