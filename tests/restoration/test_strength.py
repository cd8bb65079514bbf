"""The trace of JPEG in pixels: found where it is, at its strength, and nowhere else."""

import io

import numpy as np
import pytest
from PIL import Image

from pgtools.imaging.conventions import luminance
from pgtools.restoration.degrade import jpeg
from pgtools.restoration.strength import STANDARD, found_steps, grid_of, jpeg_strength, usual_error
from tests.pictures import astronaut, noise_images, photo_like, smooth_images


@pytest.fixture(scope="module")
def photo():
    return astronaut()


def tables_of(image, **how):
    """The luma table that Pillow wrote, and the pixels that come back."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", **how)
    with Image.open(buffer) as opened:
        return np.array(opened.quantization[0]).reshape(8, 8), np.asarray(opened.convert("RGB"))


@pytest.mark.parametrize("quality", [5, 10, 20, 30, 50, 60, 75, 85, 90, 95])
@pytest.mark.parametrize("subsampling", ["4:2:0", "4:4:4"])
def test_a_jpeg_of_libjpeg_is_found_at_its_quality(photo, quality, subsampling):
    found = jpeg_strength(jpeg(photo, quality, subsampling=subsampling))
    assert found == pytest.approx(usual_error(quality), rel=0.02)


@pytest.mark.parametrize("quality", [10, 50, 90])
def test_the_steps_are_those_of_the_files_table(photo, quality):
    table, image = tables_of(photo, quality=quality)
    whole = ((image > 0) & (image < 255)).all(axis=2)
    steps = found_steps(luminance(image), whole, (0, 0))
    found = {place: step for place, step in steps.items() if step}
    right = [place for place, step in found.items() if step == table[place]]
    # A few of the twenty are too faint; their median is what counts.
    assert len(right) >= 15 and len(found) - len(right) <= 3


def test_other_programs_tables_are_found_too(photo):
    table = [3 + 2 * (i // 8 + i % 8) for i in range(64)]
    written, image = tables_of(photo, qtables=[table, table], subsampling=0)
    steps = [written[place] / STANDARD[place] for place in [(0, 1), (1, 0), (1, 1), (0, 2), (2, 0)]]
    expected = 0.55 * np.sqrt(100 * np.median(steps))
    assert jpeg_strength(image) == pytest.approx(expected, rel=0.25)


def test_a_photo_without_jpeg_shows_nothing(photo):
    noisy = np.clip(photo + np.random.default_rng(0).normal(0, 3, photo.shape), 0, 255).astype(np.uint8)
    for image in (photo, noisy, photo_like(240, 320), *(i.transpose(1, 2, 0) for i in noise_images(1, 128))):
        assert jpeg_strength(image) == 0
    flat = np.full((64, 64, 3), 90, dtype=np.uint8)
    assert jpeg_strength(flat) == 0
    assert jpeg_strength(np.ascontiguousarray(smooth_images(1, 256)[0].transpose(1, 2, 0))) == 0


@pytest.mark.parametrize("side", [1, 2, 3, 4, 5, 8, 16, 24, 32])
def test_patterns_that_repeat_are_no_jpegs(side):
    board = (np.indices((256, 320)) // side).sum(axis=0) % 2 * 180 + 30
    assert jpeg_strength(board.astype(np.uint8)[:, :, None].repeat(3, axis=2)) == 0


@pytest.mark.parametrize("bits", [1, 2, 3, 5])
def test_graphics_are_no_jpegs(photo, bits):
    assert jpeg_strength(photo >> bits << bits) == 0
    assert jpeg_strength(photo[100:180, 160:240].repeat(4, axis=0).repeat(4, axis=1)) == 0
    ramp = np.linspace(0, 254, 512).astype(np.uint8)
    slope = ramp[:, None] // 2 + ramp[None] // 2
    assert jpeg_strength(slope[:, :, None].repeat(3, axis=2)) == 0


@pytest.mark.parametrize("row, column", [(0, 1), (3, 5), (7, 7), (4, 0)])
def test_a_jpeg_that_was_cut_is_found_by_its_grid(photo, row, column):
    image = jpeg(photo, 40)[row:, column:]
    assert grid_of(luminance(image)) == ((8 - row) % 8, (8 - column) % 8)
    assert jpeg_strength(image) == pytest.approx(usual_error(40), rel=0.02)


def test_of_a_large_photo_the_middle_decides_on_the_same_grid(photo, monkeypatch):
    monkeypatch.setattr("pgtools.restoration.strength._LARGEST", 200)
    image = jpeg(photo, 40).copy()
    assert jpeg_strength(image) == pytest.approx(usual_error(40), rel=0.05)
    image[150:360, 150:360] = photo[150:360, 150:360]
    assert jpeg_strength(image) == 0


def test_a_grey_jpeg_is_found(photo):
    grey = luminance(photo).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    assert jpeg_strength(jpeg(grey, 30)) == pytest.approx(usual_error(30), rel=0.02)


def test_a_scaled_jpeg_shows_no_steps(photo):
    image = Image.fromarray(jpeg(photo, 30)).resize((460, 460), Image.Resampling.BICUBIC)
    assert jpeg_strength(np.asarray(image)) == 0


def test_the_last_of_two_jpegs_is_the_one_that_is_found(photo):
    twice = jpeg(jpeg(photo, 20)[4:, 4:], 60)
    assert jpeg_strength(twice) == pytest.approx(usual_error(60), rel=0.02)


@pytest.mark.parametrize("level", [0, 7, 255])
@pytest.mark.parametrize("shape", [(1, 1), (8, 300), (15, 15), (16, 16), (17, 23), (64, 64)])
def test_small_and_flat_images_are_no_error(shape, level):
    assert jpeg_strength(np.full((*shape, 3), level, dtype=np.uint8)) == 0.0


def test_turning_and_mirroring_change_nothing(photo):
    image = jpeg(photo, 35)
    for other in (image[:, ::-1], image[::-1], np.rot90(image)):
        assert jpeg_strength(np.ascontiguousarray(other)) == pytest.approx(jpeg_strength(image), rel=0.1)


def test_the_usual_error_grows_as_quality_falls():
    errors = [usual_error(quality) for quality in range(100, 0, -1)]
    assert errors[0] == 0 and all(np.diff(errors) > 0)
    photo = photo_like(256, 256)
    for quality in (10, 30, 60, 85):
        real = np.sqrt(np.square(jpeg(photo, quality).astype(float) - photo).mean())
        assert real / 2.5 < usual_error(quality) < real * 2.5
