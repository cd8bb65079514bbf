from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pgtools.errors import InputError
from pgtools.metrics.msssim import ms_ssim, on_cpu, on_device, scales, score
from tests.metrics.sets import photographs
from tests.pictures import noise_images, smooth_images
from tests.reference import msssim as reference

Images = np.ndarray
Engine = Callable[[Tensor, Tensor], Tensor]
# Both are float64; where a mean contrast is nearly 0 its small power enlarges the rounding of the reference's FFT.
EXACT = 1e-9


def on_torch(a: Images, b: Images) -> np.ndarray:
    """The scores of the way that a GPU takes, here on the CPU."""
    count, channels = a.shape[:2]
    planes = [torch.from_numpy(images).flatten(0, 1) for images in (a, b)]
    return score.combine(on_device.similarities(*planes).view(count, channels, 5)).numpy()


def scored(a: Images, b: Images) -> np.ndarray:
    return ms_ssim(torch.from_numpy(a), torch.from_numpy(b)).numpy()


WAYS = {"opencv": scored, "torch": on_torch}


def expected(a: Images, b: Images) -> np.ndarray:
    return np.array([reference.ms_ssim(p, q) for p, q in zip(a, b, strict=True)])


def alike(side: int) -> tuple[Images, Images]:
    """Three pairs of which the first is nearly equal, the second alike, the third unlike."""
    a, others = smooth_images(3, side, 1), smooth_images(3, side, 2)
    share = np.array([0.1, 0.5, 1.0])[:, None, None, None]
    mixed = a * (1 - share) + others * share + np.random.default_rng(0).normal(0, 5, a.shape)
    return a, np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


class TestDefinition:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("side", [16, 32, 64, 128, 256, 512])
    def test_it_is_the_reference(self, side: int, way: str):
        pairs, channels = (3, 3) if side < 256 else (1, 1)
        a, b = (images[:pairs, :channels] for images in alike(side))
        wanted = expected(a, b)
        assert max(wanted) > 0.3
        np.testing.assert_allclose(WAYS[way](a, b), wanted, rtol=0, atol=EXACT)

    def test_it_is_the_reference_at_1024(self):
        a, b = (images[1:2, :1] for images in alike(1024))
        wanted = expected(a, b)
        assert 0.1 < wanted < 0.9
        np.testing.assert_allclose(scored(a, b), wanted, rtol=0, atol=EXACT)

    @settings(max_examples=10, deadline=None)
    @given(
        seed=st.integers(0, 1000),
        side=st.sampled_from([16, 32]),
        channels=st.integers(1, 5),
        share=st.floats(0, 1),
    )
    def test_it_is_the_reference_for_any_channels(self, seed: int, side: int, channels: int, share: float):
        a, b = np.random.default_rng(seed).integers(0, 256, (2, 2, channels, side, side), dtype=np.uint8)
        b = np.rint(share * a + (1 - share) * b).astype(np.uint8)
        for way in WAYS.values():
            np.testing.assert_allclose(way(a, b), expected(a, b), rtol=0, atol=1e-6)

    @pytest.mark.parametrize("side", [16, 32, 128])
    def test_bright_flat_images_keep_their_digits(self, side: int):
        # In float32 the variance of what is all but white drowns in the rounding of 255².
        rng = np.random.default_rng(0)
        a, b = rng.integers(252, 256, (2, 2, 3, side, side), dtype=np.uint8)
        for way in WAYS.values():
            np.testing.assert_allclose(way(a, b), expected(a, b), rtol=0, atol=EXACT)

    def test_pairs_whose_contrast_all_but_cancels(self):
        # The slope of x^0.0448 is 1e11 where x is 1e-13: unlike pairs are searched for the mean nearest to 0.
        a, b = noise_images(64, 64, 1), noise_images(64, 64, 2)
        first = on_cpu.similarities(a.reshape(-1, 64, 64), b.reshape(-1, 64, 64)).reshape(64, 3, 5).mean(1)[:, 0]
        hardest = np.argsort(np.abs(first))[:4]
        assert np.abs(first[hardest]).max() < 1e-3
        for way in WAYS.values():
            np.testing.assert_allclose(way(a[hardest], b[hardest]), expected(a[hardest], b[hardest]), rtol=0, atol=1e-6)

    def test_floats_are_taken_as_they_are(self):
        a, b = alike(32)
        wanted = scored(a, b)
        for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.int32):
            found = ms_ssim(torch.from_numpy(a).to(dtype), torch.from_numpy(b).to(dtype))
            np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-12)
        between = np.float64(a) * 0.999
        np.testing.assert_allclose(scored(between, np.float64(b)), expected(between, np.float64(b)), atol=EXACT)

    def test_planes_that_lie_apart_in_memory(self):
        a, b = (torch.from_numpy(images) for images in alike(32))
        strided = torch.stack((a, a), dim=-1)[..., 0]
        assert not strided.is_contiguous()
        assert torch.equal(ms_ssim(strided, b), ms_ssim(a, b))
        assert torch.equal(ms_ssim(a[:, :1].expand(-1, 3, -1, -1), b), ms_ssim(a[:, [0, 0, 0]], b))


class TestKnownAnswers:
    def test_equal_images_score_1(self):
        images = photographs(2, 32)
        np.testing.assert_array_equal(scored(images, images), 1)

    def test_flat_images_differ_by_luminance_alone(self):
        a, b = np.full((1, 3, 32, 32), 60, np.uint8), np.full((1, 3, 32, 32), 120, np.uint8)
        luminance = (2 * 60 * 120 + 2.55**2) / (60**2 + 120**2 + 2.55**2)
        np.testing.assert_allclose(scored(a, b), luminance**0.1333, rtol=1e-12)

    def test_negatives_score_0(self):
        a = photographs(1, 64)
        assert scored(a, 255 - a) == 0

    def test_images_the_field_refuses_have_a_score(self):
        for side in (16, 32, 64, 128):
            assert 0 < scored(*alike(side))[1] < 1

    def test_no_pairs_no_scores(self):
        assert scored(np.zeros((0, 3, 16, 16), np.uint8), np.zeros((0, 3, 16, 16), np.uint8)).shape == (0,)


class TestProperties:
    @settings(max_examples=15, deadline=None)
    @given(seed=st.integers(0, 1000), side=st.sampled_from([16, 32, 64]))
    def test_it_is_symmetric_and_between_0_and_1(self, seed: int, side: int):
        a, b = smooth_images(2, side, seed), noise_images(2, side, seed)
        b = (0.7 * a + 0.3 * b).astype(np.uint8)
        found = scored(a, b)
        np.testing.assert_allclose(found, scored(b, a), rtol=1e-12)
        assert (found >= 0).all() and (found <= 1).all()

    @settings(max_examples=15, deadline=None)
    @given(seed=st.integers(0, 1000), side=st.sampled_from([16, 64, 256]))
    def test_mirrored_and_turned_images_score_the_same(self, seed: int, side: int):
        a, b = smooth_images(1, side, seed), smooth_images(1, side, seed + 1)
        b = (0.7 * a + 0.3 * b).astype(np.uint8)
        for change in (lambda x: x[..., ::-1], lambda x: x.swapaxes(-1, -2), lambda x: x[:, ::-1]):
            np.testing.assert_allclose(scored(change(a).copy(), change(b).copy()), scored(a, b), rtol=1e-9)

    @pytest.mark.parametrize(
        ("side", "way"), [(16, "opencv"), (16, "torch"), (64, "opencv"), (64, "torch"), (256, "opencv")]
    )
    def test_no_score_depends_on_the_batch(self, side: int, way: str, monkeypatch: pytest.MonkeyPatch):
        # Some pieces are full, the last is not; the torch way takes two planes at a time.
        monkeypatch.setattr(on_device, "AT_ONCE", 2 * side**2)
        a, b = (np.tile(images, (3, 1, 1, 1)) for images in alike(side))
        together, alone = WAYS[way](a, b), [WAYS[way](a[i : i + 1], b[i : i + 1])[0] for i in range(3)]
        if way == "opencv":
            np.testing.assert_array_equal(together, np.tile(alone, 3))
        # The blocks of a matrix product depend on its size, and with them the last digit.
        np.testing.assert_allclose(together, np.tile(alone, 3), rtol=1e-12)

    @pytest.mark.parametrize("workers", [1, 2, 5])
    def test_no_score_depends_on_the_workers(self, workers: int, monkeypatch: pytest.MonkeyPatch):
        a, b = alike(128)
        wanted = scored(a, b)
        monkeypatch.setattr(on_cpu, "cpu_count", lambda: workers)
        np.testing.assert_array_equal(scored(a, b), wanted)

    def test_pieces_meet_without_a_seam(self, monkeypatch: pytest.MonkeyPatch):
        a, b = alike(128)
        wanted = scored(a, b)
        monkeypatch.setattr(on_cpu, "PIECE", 32)
        np.testing.assert_allclose(scored(a, b), wanted, rtol=1e-12)

    def test_more_noise_is_less_alike(self):
        a, rng = photographs(1, 64), np.random.default_rng(0)
        noise = rng.normal(0, 1, a.shape)
        found = [scored(a, np.clip(a + s * noise, 0, 255).astype(np.uint8))[0] for s in (0, 5, 15, 45)]
        assert found == sorted(found, reverse=True)


class TestRefusals:
    @pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 3, 24, 24), (1, 3, 32, 16), (3, 32, 32), (1, 0, 32, 32)])
    def test_other_sizes_are_refused(self, shape: tuple[int, ...]):
        with pytest.raises(InputError):
            scored(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))

    def test_unequal_shapes_are_refused(self):
        with pytest.raises(InputError, match="expected equal"):
            scored(np.zeros((2, 3, 16, 16), np.uint8), np.zeros((1, 3, 16, 16), np.uint8))

    @pytest.mark.parametrize("value", [-1.0, 255.5, float("nan"), float("inf")])
    def test_pixels_of_another_range_are_refused(self, value: float):
        a, b = np.zeros((2, 1, 1, 16, 16), np.float32)
        b[0, 0, 3, 4] = value
        with pytest.raises(InputError, match="expected 0 to 255"):
            scored(a, b)


@pytest.mark.gpu
@pytest.mark.parametrize("side", [16, 64, 256])
def test_the_device_does_not_change_the_score(side: int):
    a, b = (torch.from_numpy(images) for images in alike(side))
    torch.testing.assert_close(ms_ssim(a.cuda(), b.cuda()).cpu(), ms_ssim(a, b), rtol=0, atol=EXACT)


def other_window(side: int) -> list[float]:
    return scales.gaussian(min(11, side), 1.5)


def pad_the_borders(planes: Tensor, window: list[float], real: Callable[..., Tensor] = on_device.blur) -> Tensor:
    before, after = (len(window) - 1) // 2, len(window) // 2
    return real(F.pad(planes, (before, after, before, after)), window)


def luminance_everywhere(
    level: Tensor, window: list[float], *, with_luminance: bool, real: Callable[..., Tensor] = on_device.term
) -> Tensor:
    return real(level, window, with_luminance=True)


def channels_last(similarities: Tensor, real: Callable[[Tensor], Tensor] = score.combine) -> Tensor:
    """The mean over channels of each channel's product."""
    return torch.stack([real(channel) for channel in similarities.split(1, dim=1)]).mean(0)


def batch_first(similarities: Tensor, real: Callable[[Tensor], Tensor] = score.combine) -> Tensor:
    """The product over scales of the mean over pairs."""
    return real(similarities.mean(0, keepdim=True)).expand(len(similarities))


TOTAL = sum(scales.WEIGHTS)
MISTAKES: dict[str, tuple[object, str, Any]] = {
    "a window whose sigma does not shrink": (on_device, "window_at", other_window),
    "borders padded with zeros": (on_device, "blur", pad_the_borders),
    "every second pixel instead of the 2×2 mean": (on_device, "halve", lambda planes: planes[..., ::2, ::2]),
    "luminance at every scale": (on_device, "term", luminance_everywhere),
    "constants of a range of 1": (on_device, "C2", 0.03**2),
    "even weights": (score, "WEIGHTS", (0.2,) * 5),
    "weights normalised to 1": (score, "WEIGHTS", tuple(weight / TOTAL for weight in scales.WEIGHTS)),
    "four scales": (score, "WEIGHTS", (*scales.WEIGHTS[:4], 0.0)),
    "scales multiplied before channels are averaged": (score, "combine", channels_last),
    "pairs averaged before scales are multiplied": (score, "combine", batch_first),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_goes_wrong_in_the_field_is_noticed(mistake: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(*MISTAKES[mistake])
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        TestDefinition().test_it_is_the_reference(64, "torch")


def test_refusing_small_images_is_noticed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(score, "SMALLEST", 161)
    with pytest.raises(InputError):
        TestKnownAnswers().test_images_the_field_refuses_have_a_score()
