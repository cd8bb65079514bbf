import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtools.imaging.pyramid import levels_below, mean_level, mean_pyramid
from tests.pictures import noise_images


def test_levels_run_down_to_four() -> None:
    assert levels_below(32) == (32, 16, 8, 4)


@given(st.integers(2, 7), st.integers(0, 100))
def test_every_level_is_the_mean_of_the_top_in_float64(log_side: int, seed: int) -> None:
    side = 2**log_side
    images = noise_images(2, side, seed)
    for level, got in mean_pyramid(images).items():
        block = side // level
        exact = images.astype(np.float64).reshape(2, 3, level, block, level, block).mean(axis=(3, 5))
        np.testing.assert_array_equal(got, np.rint(exact).astype(np.uint8))
        np.testing.assert_array_equal(mean_level(images, level), got)


def test_levels_are_not_rounded_in_between() -> None:
    # Each 2×2 block of the middle level is 0.5 before rounding; rounding there would give 0 below.
    image = np.zeros((1, 3, 16, 16), np.uint8)
    image[..., ::2, ::2] = 2
    image[..., 0::4, 0::4] = 3
    levels = mean_pyramid(image)
    assert levels[8].min() == 0
    assert levels[4].max() == 1
    np.testing.assert_array_equal(mean_level(image, 4), levels[4])


@pytest.mark.parametrize("side", [1024, 2048])
def test_the_last_bit_of_a_large_mean_counts(side: int) -> None:
    """A mean one pixel above 126.5: 25 bits at 2048², which float32 would round to 126.5 and then to 126."""
    image = np.full((1, side, side), 126, np.uint8)
    image[:, ::2] = 127
    image[0, 1, 0] = 127
    level = mean_pyramid(image)[4][0]
    assert (level[0, 0], level[3, 3]) == (127, 126)
    assert mean_level(image, 4)[0, 0, 0] == 127


@pytest.mark.shared
def test_pyramid_is_the_authors(shared) -> None:
    """Golden: TFRecords written by the authors' exporter, 2026-11-21; exact."""
    folder = shared / "golden" / "tfrecords"
    images = np.load(folder / "tiny-source.npz")["images"]
    for level, got in mean_pyramid(images).items():
        side_log = int(np.log2(level))
        raw = (folder / "tiny" / f"tiny-r{side_log:02d}.tfrecords").read_bytes()
        # Each payload ends with the CHW bytes of one image or holds them before the shape: search is enough here.
        for image in got:
            assert image.tobytes() in raw
