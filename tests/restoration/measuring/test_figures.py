from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from pgtools.errors import InputError
from pgtools.imaging import ssim as building_blocks
from pgtools.restoration.degrade import jpeg
from pgtools.restoration.measuring import figures
from pgtools.restoration.measuring.figures import blockiness, luminance, psnr, ssim
from tests.pictures import astronaut, noise_images, smooth_images
from tests.reference.blockiness import blocking_effect_factor

QUALITIES = (95, 75, 50, 30, 10)


def photo() -> np.ndarray:
    """The astronaut's face, 120×100, away from the borders."""
    return np.ascontiguousarray(astronaut()[40:160, 170:270])


def pair(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A picture (H, W, 3) and the same with noise."""
    side = max(height, width, 4)
    a = np.ascontiguousarray(smooth_images(1, side, seed)[0].transpose(1, 2, 0)[:height, :width])
    noise = np.random.default_rng(seed).normal(0, 12, a.shape)
    return a, np.clip(np.rint(a + noise), 0, 255).astype(np.uint8)


class TestLuminance:
    @pytest.mark.parametrize(
        ("colour", "expected"),
        [
            ((0, 0, 0), 16.0),
            ((255, 255, 255), 235.0),
            ((255, 0, 0), 81.481),
            ((0, 255, 0), 144.553),
            ((0, 0, 255), 40.966),
        ],
    )
    def test_the_corners_of_the_colour_cube(self, colour: tuple[int, int, int], expected: float) -> None:
        assert luminance(np.full((2, 3, 3), colour, np.uint8)) == pytest.approx(expected)


class TestPsnr:
    def test_known_answers(self) -> None:
        a = np.full((4, 5, 3), 100, np.uint8)
        assert psnr(a, a) == math.inf
        assert psnr(a, a + 1) == pytest.approx(20 * math.log10(255))
        assert psnr(a, a - 2) == pytest.approx(20 * math.log10(255 / 2))
        # uint8 must not wrap: 0 and 255 are as far apart as can be.
        assert psnr(np.zeros_like(a), np.full_like(a, 255)) == 0

    @settings(max_examples=20, deadline=None)
    @given(height=st.integers(1, 30), width=st.integers(1, 30), seed=st.integers(0, 99))
    def test_it_is_scikit_images(self, height: int, width: int, seed: int) -> None:
        a, b = noise_images(2, 30, seed).transpose(0, 2, 3, 1)[:, :height, :width]
        assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), rel=1e-12)
        assert psnr(a, b) == psnr(b, a)

    def test_planes_are_measured_too(self) -> None:
        a, b = (luminance(image) for image in pair(20, 30))
        assert psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b, data_range=255), rel=1e-12)

    def test_a_coarser_jpeg_is_further_away(self) -> None:
        found = [psnr(photo(), jpeg(photo(), quality)) for quality in QUALITIES]
        assert found == sorted(found, reverse=True)

    @pytest.mark.parametrize(("a", "b"), [((4, 4, 3), (4, 5, 3)), ((4, 4, 3), (4, 4)), ((0, 4, 3), (0, 4, 3))])
    def test_other_shapes_are_refused(self, a: tuple[int, ...], b: tuple[int, ...]) -> None:
        with pytest.raises(InputError, match="expected the same"):
            psnr(np.zeros(a, np.uint8), np.zeros(b, np.uint8))


def scikit_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """scikit-image's map, without the five pixels along the border that it computes from reflected ones."""
    planes = (luminance(a), luminance(b))
    how = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "full": True}
    _, found = structural_similarity(*planes, **how)
    return float(found[5:-5, 5:-5].mean())


class TestSsim:
    def test_equal_images_score_1(self) -> None:
        assert ssim(photo(), photo()) == pytest.approx(1, abs=1e-12)

    def test_flat_images_differ_by_luminance_alone(self) -> None:
        a, b = np.full((16, 16, 3), 60, np.uint8), np.full((16, 16, 3), 120, np.uint8)
        p, q = 16 + 60 * 219 / 255, 16 + 120 * 219 / 255
        assert ssim(a, b) == pytest.approx((2 * p * q + 2.55**2) / (p * p + q * q + 2.55**2), rel=1e-12)

    @pytest.mark.parametrize("size", [(11, 11), (11, 40), (64, 33)])
    def test_it_is_scikit_images(self, size: tuple[int, int]) -> None:
        a, b = pair(*size)
        # Both float64; scikit-image's window ends at the same 3.5 sigma.
        assert ssim(a, b) == pytest.approx(scikit_ssim(a, b), abs=1e-9)
        assert ssim(a, b) < 0.99

    def test_it_is_symmetric(self) -> None:
        a, b = pair(30, 40)
        assert ssim(a, b) == pytest.approx(ssim(b, a), rel=1e-12)

    def test_a_coarser_jpeg_is_less_alike(self) -> None:
        found = [ssim(photo(), jpeg(photo(), quality)) for quality in QUALITIES]
        assert found == sorted(found, reverse=True)

    def test_images_smaller_than_the_window_are_refused(self) -> None:
        with pytest.raises(InputError, match="10×30 pixels; SSIM takes 11"):
            ssim(*pair(30, 10))


class TestBlockiness:
    def test_one_step_at_a_border(self) -> None:
        image = np.zeros((16, 16, 3), np.uint8)
        image[:, 8:] = 255
        # Of 32 neighbours across a border half (those left and right) differ by 219 levels, none of the others.
        assert blockiness(image) == pytest.approx(219**2 / 2 * 3 / 4)

    def test_a_step_elsewhere_is_no_block(self) -> None:
        image = np.zeros((16, 16, 3), np.uint8)
        image[:, 7:] = 255
        assert blockiness(image) == 0

    @settings(max_examples=20, deadline=None)
    @given(height=st.integers(1, 40), width=st.integers(9, 40), quality=st.integers(3, 95))
    def test_it_is_the_reference(self, height: int, width: int, quality: int) -> None:
        image = jpeg(np.ascontiguousarray(astronaut()[60 : 60 + height, 180 : 180 + width]), quality)
        found = blockiness(image)
        if height == 1:  # log2 of the shorter side would be 0: it counts as 2
            assert found >= 0
            return
        assert found == pytest.approx(blocking_effect_factor(luminance(image)), rel=1e-9, abs=1e-9)

    def test_a_coarser_jpeg_shows_more_blocks(self) -> None:
        found = [blockiness(jpeg(photo(), quality)) for quality in QUALITIES]
        assert found == sorted(found)
        assert found[-1] > 20 * max(1, blockiness(photo()))

    def test_the_grid_begins_at_the_first_pixel(self) -> None:
        image = jpeg(photo(), 10)
        assert blockiness(image) > 10 * blockiness(np.ascontiguousarray(image[3:, 4:]))

    def test_an_image_without_a_border_is_refused(self) -> None:
        with pytest.raises(InputError, match="8×5 pixels"):
            blockiness(np.zeros((5, 8, 3), np.uint8))


MISTAKES = {
    "full-swing luminance": (figures.conventions, "luminance", lambda image: image.astype(float) @ [0.3, 0.59, 0.11]),
    "another window": (figures, "SIGMA", 1.2),
    "no luminance term": (figures, "luminance_term", lambda blurred: 1.0),
    "constants of another range": (building_blocks, "C2", 0.03**2),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_goes_wrong_in_the_field_is_noticed(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*MISTAKES[mistake])
    with pytest.raises(AssertionError):
        TestLuminance().test_the_corners_of_the_colour_cube((0, 0, 255), 40.966)
        TestSsim().test_flat_images_differ_by_luminance_alone()
        TestSsim().test_it_is_scikit_images((64, 33))
