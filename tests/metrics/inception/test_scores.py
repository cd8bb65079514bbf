"""Known answers, equality with torch-fidelity's functions, and which way each figure goes, on features alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_fidelity.metric_prc import prc_features_to_metric

from pgtools.errors import ComputeError, InputError
from pgtools.metrics.inception import manifold
from pgtools.metrics.inception.manifold import precision_recall
from pgtools.metrics.inception.scores import (
    Statistics,
    feature_statistics,
    frechet_distance,
    inception_score,
    kernel_distance,
)
from pgtools.metrics.settings import InceptionSettings, KidSettings

SMALL = KidSettings(subsets=10, subset_size=100)


def draw(count: int, seed: int, *, width: int = 8, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, width)) * scale + shift
    return rows.astype(np.float32)


def test_the_shuffle_is_by_the_seed():
    logits = np.random.default_rng(0).standard_normal((30, 1008)).astype(np.float32)
    settings = [InceptionSettings(splits=3, seed=seed) for seed in (2020, 2020, 1)]
    found = [inception_score(logits, each) for each in (*settings, InceptionSettings(splits=3, shuffle=False))]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_sure_and_evenly_varied_images_score_their_number_of_classes():
    logits = np.tile(100 * np.eye(1008, dtype=np.float32)[:7], (4, 1))
    settings = InceptionSettings(splits=2, shuffle=False)
    assert inception_score(logits, settings) == pytest.approx((7, 0), abs=1e-6)
    assert inception_score(np.zeros((10, 1008), np.float32), settings) == pytest.approx((1, 0), abs=1e-6)


def test_the_frechet_distance_of_known_gaussians():
    one = Statistics(np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    other = Statistics(np.array([3.0, 0.0, 4.0]), np.diag([4.0, 4.0, 1.0]))
    # |μ1 − μ2|² + Σ (σ1 − σ2)² for covariances that commute.
    assert frechet_distance(one, other) == pytest.approx(25 + 1 + 0 + 4)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)
    turned = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    pair = [Statistics(turned @ each.mu, turned @ each.sigma @ turned.T) for each in (one, other)]
    assert frechet_distance(*pair) == pytest.approx(30)


def test_equal_sets():
    rows = draw(200, 0)
    same = feature_statistics(rows)
    assert frechet_distance(same, same) == pytest.approx(0, abs=1e-6)
    assert precision_recall(rows, rows) == (1, 1)
    others = [kernel_distance(draw(200, seed), draw(200, 100 + seed), SMALL)[0] for seed in range(10)]
    assert np.mean(others) == pytest.approx(0, abs=3 * np.std(others) / np.sqrt(10))
    assert min(others) < 0 < max(others)


def test_the_kernel_distance_of_whole_sets_is_its_definition():
    a, b = draw(40, 1).astype(np.float64), draw(40, 2, shift=0.3).astype(np.float64)
    kernels = [(x @ y.T / 8 + 1) ** 3 for x, y in ((a, a), (b, b), (a, b))]
    off = [(kernel.sum() - np.trace(kernel)) / (40 * 39) for kernel in kernels[:2]]
    settings = KidSettings(subsets=2, subset_size=40)
    value, deviation = kernel_distance(a.astype(np.float32), b.astype(np.float32), settings)
    assert value == pytest.approx(off[0] + off[1] - 2 * kernels[2].mean(), rel=1e-4)
    assert deviation == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("fakes", "reals", "k"), [(300, 170, 3), (64, 64, 1), (70, 200, 5)])
def test_precision_and_recall_are_torch_fidelitys_in_blocks(
    fakes: int, reals: int, k: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(manifold, "BLOCK", 64)
    fake, real = draw(fakes, 3, width=64, scale=0.9), draw(reals, 4, width=64)
    expected = prc_features_to_metric(
        torch.from_numpy(fake), torch.from_numpy(real), prc_neighborhood=k, prc_batch_size=64, verbose=False
    )
    assert precision_recall(fake, real, neighbourhood=k) == (expected["precision"], expected["recall"])
    assert 0 < expected["precision"] < 1, "nothing to tell apart"


class TestDirection:
    def test_a_shift_and_a_wider_scatter_raise_both_distances(self):
        real = draw(1000, 0)
        sets = [draw(1000, 1), draw(1000, 1, shift=0.2), draw(1000, 1, shift=0.2, scale=1.3)]
        distances = [frechet_distance(feature_statistics(each), feature_statistics(real)) for each in sets]
        kernels = [kernel_distance(each, real, SMALL)[0] for each in sets]
        assert distances == sorted(distances) and kernels == sorted(kernels)
        assert distances[0] < 0.2 * distances[1]

    def test_dropped_modes_cost_recall_and_no_precision(self):
        modes = 20 * np.eye(8, dtype=np.float32)
        real, fake = (np.repeat(modes, 50, axis=0) + draw(400, seed, scale=0.5) for seed in (0, 1))
        whole, half = precision_recall(fake, real), precision_recall(fake[:200], real)
        assert half[0] == pytest.approx(whole[0], abs=0.05)
        assert half[1] < whole[1] / 2 + 0.05

    def test_images_beside_the_real_ones_cost_precision_and_no_recall(self):
        real, fake = draw(400, 0), draw(400, 1)
        beside = np.concatenate([fake, draw(400, 2, shift=8)])
        assert precision_recall(beside, real)[0] == pytest.approx(precision_recall(fake, real)[0] / 2, abs=0.01)
        assert precision_recall(beside, real)[1] == pytest.approx(precision_recall(fake, real)[1], abs=0.02)

    def test_unsure_images_score_lower(self):
        logits = np.tile(4 * np.eye(50, dtype=np.float32), (4, 1))
        sure, unsure = (inception_score(scale * logits, InceptionSettings(splits=2))[0] for scale in (1, 0.5))
        assert sure > unsure > 1


def test_what_gives_no_figure_is_said():
    with pytest.raises(InputError, match="9 images for 10 splits"):
        inception_score(draw(9, 0))
    with pytest.raises(InputError, match="99 images; a subset") as caught:
        kernel_distance(draw(99, 0), draw(200, 0), SMALL)
    assert "--subset-size 99" in caught.value.hint
    with pytest.raises(InputError, match="a neighbourhood of 3 takes at least 4"):
        precision_recall(draw(3, 0), draw(9, 0))
    with pytest.raises(InputError, match="at least 2"):
        feature_statistics(draw(1, 0))
    with pytest.raises(InputError, match="have 4 features, the generated ones 8"):
        frechet_distance(feature_statistics(draw(9, 0)), feature_statistics(draw(9, 0, width=4)))
    with pytest.raises(ComputeError, match="the features are too large"), np.errstate(all="ignore"):
        kernel_distance(draw(100, 0, scale=1e30), draw(100, 1), SMALL)
