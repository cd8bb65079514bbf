import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pgtools.celebahq.quality import quality_score
from tests.pictures import astronaut, jpeg, smooth_images


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return astronaut()


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def upsampled(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray(image).resize((128, 128), Image.Resampling.LANCZOS)
    return np.asarray(small.resize((512, 512), Image.Resampling.LANCZOS))


def motion_blurred(image: np.ndarray) -> np.ndarray:
    kernel = np.zeros((15, 15), np.float32)
    kernel[7] = 1 / 15
    return cv2.filter2D(image, -1, kernel)


def mirrored_border(image: np.ndarray) -> np.ndarray:
    bad = image.copy()
    bad[:, :150] = blurred(np.ascontiguousarray(image[:, 150:300][:, ::-1]), 8)
    return bad


def blocky(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg(image, 10))))


def test_order_sharp_upsampled_blurred(photo) -> None:
    assert quality_score(photo) > quality_score(upsampled(photo)) > quality_score(blurred(photo, 6))


@pytest.mark.parametrize("spoil", [motion_blurred, mirrored_border, blocky])
def test_a_spoilt_photo_scores_less(photo, spoil) -> None:
    assert quality_score(photo) > quality_score(spoil(photo))


def test_more_blur_scores_less(photo) -> None:
    scores = [quality_score(photo), *(quality_score(blurred(photo, sigma)) for sigma in (1, 2, 4, 8))]
    assert scores == sorted(scores, reverse=True)


def test_one_direction_scores_little_however_broad_its_spectrum() -> None:
    rng = np.random.default_rng(0)
    everywhere = rng.integers(0, 256, (128, 128, 1), dtype=np.uint8).repeat(3, axis=2)
    stripes = everywhere[:1].repeat(128, axis=0)
    assert quality_score(stripes) < 0.2 * quality_score(everywhere)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 99), st.sampled_from([16, 32, 64]))
def test_mirroring_changes_nothing(seed: int, side: int) -> None:
    image = smooth_images(1, side, seed)[0].transpose(1, 2, 0)
    score = quality_score(image)
    for mirrored in (image[:, ::-1], image[::-1]):
        assert quality_score(np.ascontiguousarray(mirrored)) == pytest.approx(score, rel=1e-5)


def test_brightness_changes_nothing(photo) -> None:
    dark = photo // 3 * 1
    assert quality_score(dark * 2) == pytest.approx(quality_score(dark), rel=1e-6)
    assert quality_score(dark + 50) == pytest.approx(quality_score(dark), rel=1e-6)


def test_one_colour_scores_zero() -> None:
    assert quality_score(np.full((64, 64, 3), 99, np.uint8)) == 0


@pytest.mark.parametrize("side", [4, 8, 16, 1024])
def test_every_size_gives_a_score(side: int) -> None:
    rng = np.random.default_rng(0)
    assert 0 <= quality_score(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) <= 1
