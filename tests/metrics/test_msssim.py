from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pgtools.errors import InputError
from pgtools.metrics import msssim
from pgtools.metrics.msssim import draw_pairs, ms_ssim, score_pairs, standard_error
from tests.metrics.sets import ArraySource, photographs
from tests.pictures import noise_images, smooth_images
from tests.reference import msssim as reference


def score(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return ms_ssim(torch.from_numpy(a), torch.from_numpy(b)).numpy()


def alike(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Three pairs of which the first is nearly equal, the second alike, the third unlike."""
    a, others = smooth_images(3, side, 1), smooth_images(3, side, 2)
    share = np.array([0.1, 0.5, 1.0])[:, None, None, None]
    mixed = a * (1 - share) + others * share + np.random.default_rng(0).normal(0, 5, a.shape)
    return a, np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


class TestMsssim:
    def test_equal_images_score_1(self):
        images = photographs(2, 32)
        np.testing.assert_allclose(score(images, images), 1, rtol=1e-12)

    def test_flat_images_differ_by_luminance_alone(self):
        a, b = np.full((1, 3, 32, 32), 60, np.uint8), np.full((1, 3, 32, 32), 120, np.uint8)
        luminance = (2 * 60 * 120 + 2.55**2) / (60**2 + 120**2 + 2.55**2)
        np.testing.assert_allclose(score(a, b), luminance**0.1333, rtol=1e-12)

    def test_negatives_score_0(self):
        a = photographs(1, 64)
        assert score(a, 255 - a) == 0

    @pytest.mark.parametrize("side", [16, 32, 64, 128, 256, 512, 1024])
    def test_it_is_the_reference(self, side: int):
        pairs = 3 if side < 512 else 1
        a, b = (images[:pairs] for images in alike(side))
        # Both are float64; the reference convolves by FFT, whose rounding the small powers enlarge.
        expected = [reference.ms_ssim(p, q) for p, q in zip(a, b, strict=True)]
        assert max(expected) > 0.3
        np.testing.assert_allclose(score(a, b), expected, rtol=0, atol=1e-9)

    @settings(max_examples=15, deadline=None)
    @given(seed=st.integers(0, 1000), side=st.sampled_from([16, 32, 64]))
    def test_it_is_symmetric_and_between_0_and_1(self, seed: int, side: int):
        a, b = smooth_images(2, side, seed), noise_images(2, side, seed)
        b = (0.7 * a + 0.3 * b).astype(np.uint8)
        found = score(a, b)
        np.testing.assert_allclose(found, score(b, a), rtol=1e-12)
        assert (found >= 0).all() and (found <= 1).all()
        np.testing.assert_array_equal(found, [score(a[i : i + 1], b[i : i + 1])[0] for i in range(2)])

    def test_more_noise_is_less_alike(self):
        a, rng = photographs(1, 64), np.random.default_rng(0)
        noise = rng.normal(0, 1, a.shape)
        found = [score(a, np.clip(a + s * noise, 0, 255).astype(np.uint8))[0] for s in (0, 5, 15, 45)]
        assert found == sorted(found, reverse=True)

    @pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 3, 24, 24), (1, 3, 32, 16)])
    def test_other_sizes_are_refused(self, shape: tuple[int, ...]):
        with pytest.raises(InputError):
            score(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))


@pytest.mark.gpu
def test_the_device_does_not_change_the_score():
    a, b = (torch.from_numpy(images) for images in alike(64))
    torch.testing.assert_close(ms_ssim(a.cuda(), b.cuda()).cpu(), ms_ssim(a, b), rtol=0, atol=1e-9)


def keep_sigma(size: int, _sigma: float, real: Callable[..., list[float]] = msssim._gaussian) -> list[float]:
    return real(size, 1.5)


def pad_the_borders(images: Tensor, window: list[float], real: Callable[..., Tensor] = msssim._blur) -> Tensor:
    before, after = (len(window) - 1) // 2, len(window) // 2
    return real(F.pad(images, (before, after, before, after)), window)


MISTAKES = {
    "a window that does not shrink with sigma": ("_gaussian", keep_sigma),
    "padded borders": ("_blur", pad_the_borders),
    "four scales": ("WEIGHTS", msssim.WEIGHTS[:4]),
    "even weights": ("WEIGHTS", (0.2,) * 5),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_goes_wrong_in_the_field_is_noticed(mistake: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(msssim, *MISTAKES[mistake])
    with pytest.raises(AssertionError):
        TestMsssim().test_it_is_the_reference(64)


class TestPairs:
    @settings(max_examples=30, deadline=None)
    @given(images=st.integers(2, 50), pairs=st.integers(1, 120), seed=st.integers(0, 99))
    def test_images_are_used_up_before_they_are_shuffled_again(self, images: int, pairs: int, seed: int):
        found = draw_pairs(images, pairs, seed)
        assert found.shape == (pairs, 2)
        assert (found[:, 0] != found[:, 1]).all()
        for start in range(0, pairs, images // 2):
            used = found[start : start + images // 2].ravel()
            assert len(set(used.tolist())) == len(used)
            assert set(used.tolist()) <= set(range(images))
        np.testing.assert_array_equal(found, draw_pairs(images, pairs + 7, seed)[:pairs])

    def test_the_seed_names_them(self):
        assert not np.array_equal(draw_pairs(50, 25, 0), draw_pairs(50, 25, 1))

    def test_one_image_is_refused(self):
        with pytest.raises(InputError, match="1 image; a pair takes two"):
            draw_pairs(1, 1, 0)

    @pytest.mark.parametrize("batch", [1, 3, 100])
    def test_scores_belong_to_their_pairs_whatever_the_batch(self, batch: int):
        images = smooth_images(6, 16)
        pairs = np.array([[0, 1], [2, 2], [5, 3], [1, 0]])
        told: list[int] = []
        found = score_pairs(ArraySource(images), pairs, batch=batch, device=torch.device("cpu"), advance=told.append)
        np.testing.assert_array_equal(found, score(images[pairs[:, 0]], images[pairs[:, 1]]))
        assert found[1] == pytest.approx(1)
        assert sum(told) == 4


class TestStandardError:
    def test_without_shared_images_it_is_the_usual_one(self):
        scores = np.random.default_rng(0).random(30)
        found = standard_error(scores, draw_pairs(60, 30, 0))
        assert found == pytest.approx(scores.std(ddof=1) / 30**0.5)

    def test_it_is_the_scatter_of_the_mean_where_images_are_shared(self):
        # A pair's score is the sum of its images' own parts: 60 images tell no more however they are paired.
        rng, pairs = np.random.default_rng(0), draw_pairs(60, 600, 0)
        trials = rng.normal(size=(1000, 60))[:, pairs].sum(-1)
        told = np.mean([standard_error(scores, pairs) for scores in trials])
        scatter = trials.mean(1).std()
        # 2.2 % of scatter from 1,000 trials, and about 2 % too low because the mean is the sample's own.
        assert told == pytest.approx(scatter, rel=0.08)
        # The mistake it keeps out: pairs taken for independent.
        assert trials[0].std(ddof=1) / 600**0.5 < 0.4 * scatter
