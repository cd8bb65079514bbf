import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from pgtools.celebahq.crop import Framing, _padded, crop, crop_quad, side_of
from pgtools.errors import InputError
from pgtools.imaging.photo import read_photo
from tests.pictures import ASTRONAUT_POINTS, astronaut, smooth_images
from tests.reference import crop as twin

points = st.lists(
    st.tuples(st.floats(0, 500, allow_nan=False), st.floats(0, 500, allow_nan=False)), min_size=5, max_size=5
)


@given(points)
def test_quad_is_the_papers_square(five) -> None:
    landmarks = np.array(five)
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    along = landmarks[1] - landmarks[0] + [mouth[1] - eyes[1], eyes[0] - mouth[0]]
    assume(np.hypot(*along) > 1e-3)
    quad = crop_quad(landmarks)
    np.testing.assert_allclose(quad, twin.quad_of(landmarks), atol=1e-6)
    sides = np.hypot(*(quad - np.roll(quad, 1, axis=0)).T)
    np.testing.assert_allclose(sides, side_of(quad), rtol=1e-9)


def test_quad_of_an_upright_face_is_upright() -> None:
    """Known answer: eyes 40 apart, mouth 40 below them: half side max(80, 72), centre a tenth of the way down."""
    quad = crop_quad(np.array([[80, 100], [120, 100], [100, 120], [85, 140], [115, 140]]))
    np.testing.assert_allclose(quad[0], [100.5 - 80, 104.5 - 80])
    np.testing.assert_allclose(quad[2], [100.5 + 80, 104.5 + 80])


def test_landmarks_in_one_point_are_refused() -> None:
    with pytest.raises(InputError, match="coincide"):
        crop_quad(np.full((5, 2), 7.0))


def test_a_square_outside_the_photo_is_refused() -> None:
    quad = crop_quad(ASTRONAUT_POINTS + 5000)
    with pytest.raises(InputError, match="outside"):
        crop(astronaut(), quad, resolution=64)


def test_a_turned_photo_gives_the_same_crop() -> None:
    """The crop is oriented: turning photo and square by 90° changes nothing but resampling.

    The released builder adds half a pixel to the quad when it resamples, so it is quad + 0.5 that turns.
    """
    photo, quad = astronaut(), crop_quad(ASTRONAUT_POINTS)
    x, y = (quad + 0.5).T
    turned_quad = np.stack([photo.shape[0] - y, x], axis=1) - 0.5
    upright = crop(photo, quad, resolution=128)
    turned = crop(np.ascontiguousarray(np.rot90(photo, -1)), turned_quad, resolution=128)
    assert np.abs(upright.astype(int) - turned).mean() < 0.5


def test_a_smaller_resolution_is_the_same_crop_smaller() -> None:
    quad = crop_quad(ASTRONAUT_POINTS)
    large = Image.fromarray(crop(astronaut(), quad, resolution=256))
    reduced = np.asarray(large.resize((64, 64), Image.Resampling.LANCZOS))
    direct = crop(astronaut(), quad, resolution=64)
    assert np.abs(reduced.astype(int) - direct).mean() < 2.0


@settings(max_examples=8, deadline=None)
@given(st.integers(20, 60), st.integers(20, 60), st.integers(0, 50))
def test_padding_is_the_float64_twin(width: int, height: int, seed: int) -> None:
    image = np.ascontiguousarray(smooth_images(1, 64, seed)[0].transpose(1, 2, 0)[:height, :width])
    quad = np.array([[-9.0, -5.0], [-9.0, height + 3.0], [width + 3.0, height + 3.0], [width + 3.0, -5.0]])
    resolution, border = 32, 6
    got = _padded(Framing(image, quad, zoom=1.0), border, resolution)
    least = round(resolution * 0.3)
    pads = tuple(max(p, least) for p in (9 + border, 5 + border, 3 + border, 3 + border))
    expected = twin.pad(image, pads, sigma=resolution * 0.02)
    difference = np.abs(got.image.astype(int) - expected)
    # float32 against float64: a value on the edge of rounding may differ by one level.
    assert difference.max() <= 1
    assert difference.mean() < 0.01
    np.testing.assert_allclose(got.quad, quad + pads[:2])


def test_inside_the_photo_nothing_is_padded() -> None:
    framing = Framing(astronaut(), np.array([[200.0, 200], [200, 300], [300, 300], [300, 200]]), zoom=1.0)
    assert _padded(framing, 10, 100) is framing


def test_the_network_runs_once_and_lanczos_does_the_rest() -> None:
    calls = []

    def enlarge(image):
        calls.append(image.shape)
        return image.repeat(4, axis=0).repeat(4, axis=1), 4

    photo = np.ascontiguousarray(astronaut()[::4, ::4])
    quad = crop_quad(ASTRONAUT_POINTS / 4)
    enlarged = crop(photo, quad, resolution=512, enlarge=enlarge)  # zoom is about 11: 4 by the network, 4 by Lanczos
    assert len(calls) == 1
    assert np.abs(enlarged.astype(int) - crop(photo, quad, resolution=512)).mean() < 8
    crop(astronaut(), crop_quad(ASTRONAUT_POINTS), resolution=64, enlarge=enlarge)
    assert len(calls) == 1, "a photo larger than the crop needs no super-resolution"


@pytest.mark.shared
@pytest.mark.parametrize("name", ["000001", "000004", "000010"])
def test_golden_crop(shared, name: str) -> None:
    """The authors' geometry, run 2026-11-21 with today's Pillow and SciPy.

    The spec allows 0.5 levels in the mean and 8 at most; measured here 0.0003 and 1 (their Gaussian is SciPy's,
    ours OpenCV's), so the test holds us to 0.01 and 2.
    """
    landmarks = json.loads((shared / "golden/crop/landmarks.json").read_text())[f"{name}.jpg"]
    photo = read_photo(shared / f"data/celeba-real/img_celeba/{name}.jpg")
    got = crop(photo, crop_quad(np.reshape(landmarks, (5, 2)).astype(float)), resolution=1024)
    difference = np.abs(got.astype(int) - read_photo(shared / f"golden/crop/{name}.png"))
    assert difference.mean() < 0.01
    assert difference.max() <= 2
