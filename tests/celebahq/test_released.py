"""The released builder's steps, and the two engines against them."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
from PIL import Image

from pgtools.celebahq.cropping import sampling
from pgtools.celebahq.cropping.crop import crop, crop_quad, frame, steps_of
from pgtools.celebahq.cropping.released import released_crop
from pgtools.errors import InputError
from pgtools.imaging.photo import read_photo
from tests.pictures import ASTRONAUT_POINTS, astronaut, photo_like

GRAPHICS = ("stripes1", "stripes2", "stripes3", "checks1", "checks3", "halves", "lines")
UPRIGHT = np.array([[-0.25, -0.125], [0.25, -0.125], [0, 0.1], [-0.2, 0.375], [0.2, 0.375]])
# Levels: the mean and the most. Measured worst over the sweep: exact 0.0057 and 1 (but for seed 25), fast 0.18 and 3.
BOUNDS = {"exact": (0.01, 1), "fast": (0.3, 3)}
PADDED_BOUNDS = {"exact": (0.05, 2), "fast": (0.3, 3)}


def picture(kind: str, height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "photo":
        return photo_like(height, width, seed)
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "white":
        return np.full((height, width, 3), 255, np.uint8)
    if kind in GRAPHICS:
        return graphic(kind, height, width)
    dots = np.zeros((height, width, 3), np.uint8)  # the smallest detail there is, far apart, and a thin line
    dots[::11, ::13] = 255
    dots[:, width // 2] = 255
    return dots


def graphic(kind: str, height: int, width: int) -> np.ndarray:
    """Pictures of few colours, whose blur lies at a half nearly everywhere or whose median lies between two colours."""
    rows, columns = np.indices((height, width))
    image = np.zeros((height, width, 3), np.uint8)
    if kind.startswith("stripes"):
        image[(rows + columns) // int(kind[-1]) % 2 > 0] = 255
    elif kind.startswith("checks"):
        image[(rows // int(kind[-1]) + columns // int(kind[-1])) % 2 > 0] = 255
    elif kind == "halves":
        image[:] = 40
        image[:, width // 2 :] = (201, 90, 240)
    else:
        image[:, :: max(3, width // 9)] = 255
        image[:: max(3, height // 9)] = (255, 40, 0)
    return image


def face(centre: tuple[float, float], side: float, turn: float) -> np.ndarray:
    """Five points whose crop square has about this centre and side."""
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return UPRIGHT * side / 2 @ rotation + centre


@functools.lru_cache(maxsize=1)  # each engine in turn is compared with it
def released(photo: bytes, shape: tuple[int, ...], landmarks: bytes, resolution: int) -> np.ndarray:
    pixels, points = np.frombuffer(photo, np.uint8).reshape(shape), np.frombuffer(landmarks).reshape(5, 2)
    return released_crop(pixels, points, resolution=resolution).astype(int)


def differences(photo: np.ndarray, landmarks: np.ndarray, resolution: int, engine: str) -> tuple[float, int, bool]:
    quad = crop_quad(landmarks)
    found = crop(photo, quad, resolution=resolution, engine=engine)
    apart = np.abs(found.astype(int) - released(photo.tobytes(), photo.shape, landmarks.tobytes(), resolution))
    is_padded = "padding" in steps_of(frame(photo, quad, resolution=resolution))
    return float(apart.mean()), int(apart.max()), is_padded


def check(photo: np.ndarray, landmarks: np.ndarray, resolution: int, engine: str) -> None:
    mean, most, is_padded = differences(photo, landmarks, resolution, engine)
    bounds = (PADDED_BOUNDS if is_padded else BOUNDS)[engine]
    assert mean <= bounds[0], (mean, is_padded)
    assert most <= bounds[1], (most, is_padded)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["000001", "000004", "000010"])
def test_the_released_crop_is_the_golden_one(shared, name: str) -> None:
    """The authors' geometry, run 2026-11-21 with today's Pillow, SciPy and NumPy 2: the same bytes.

    NumPy 1 computes the slopes that Pillow is given in float64, which moves single pixels by one level.
    """
    landmarks = json.loads((shared / "golden/crop/landmarks.json").read_text())[f"{name}.jpg"]
    photo = read_photo(shared / f"data/celeba-real/img_celeba/{name}.jpg")
    apart = np.abs(
        released_crop(photo, np.reshape(landmarks, (5, 2)).astype(float)).astype(int)
        - read_photo(shared / f"golden/crop/{name}.png")
    )
    assert apart.max() <= (1 if np.__version__ < "2" else 0)
    assert np.count_nonzero(apart) <= 2000


@pytest.mark.shared
@pytest.mark.parametrize("engine", ["exact", "fast"])
@pytest.mark.parametrize("name", ["000002", "000007"])
def test_real_photos(shared, name: str, engine: str) -> None:
    lines = (shared / "data/celeba-real/Anno/list_landmarks_celeba.txt").read_text().splitlines()
    numbers = next(line.split()[1:] for line in lines if line.startswith(name))
    photo = read_photo(shared / f"data/celeba-real/img_celeba/{name}.jpg")
    check(photo, np.reshape(numbers, (5, 2)).astype(float), 256, engine)


@pytest.mark.parametrize("engine", ["exact", "fast"])
@pytest.mark.parametrize("kind", ["photo", "noise", "white", "dots"])
@pytest.mark.parametrize(
    ("size", "side", "turn"),
    [
        ((55, 43), 21, 0.1),  # enlarged 16 times
        ((150, 140), 70, -0.5),  # 4 times
        ((300, 260), 200, 0.0),  # 2 times, upright: samples fall on few positions within a pixel
        ((400, 420), 290, 1.2),  # as it is
        ((900, 1000), 640, 2.8),  # as it is, detail finer than the samples of a 2-fold grid
        ((1500, 1700), 1300, -0.2),  # reduced first
    ],
)
def test_engines_agree_with_the_released_crop(engine: str, kind: str, size, side: float, turn: float) -> None:
    height, width = size
    photo = picture(kind, height, width, seed=side)
    check(photo, face((width / 2, height / 2), side, turn), 256, engine)


@pytest.mark.parametrize("engine", ["exact", "fast"])
@pytest.mark.parametrize("kind", ["photo", "noise", "white"])
@pytest.mark.parametrize(
    ("size", "centre", "side", "turn"),
    [
        ((43, 55), (27, 20), 40, 0.2),  # a large face on a small photo
        ((43, 55), (2, 2), 60, 0.4),  # pads larger than the picture: it is reflected again and again
        ((200, 300), (290, 100), 120, -0.7),  # half beyond the border
        ((500, 400), (200, 480), 300, 0.0),
    ],
)
def test_engines_agree_beyond_the_border(engine: str, kind: str, size, centre, side: float, turn: float) -> None:
    photo = picture(kind, *size, seed=int(side))
    mean, most, is_padded = differences(photo, face(centre, side, turn), 256, engine)
    assert is_padded
    assert mean <= PADDED_BOUNDS[engine][0]
    assert most <= PADDED_BOUNDS[engine][1]


@pytest.mark.parametrize("engine", ["exact", "fast"])
@pytest.mark.parametrize("kind", [*GRAPHICS, "photo", "dots"])
@pytest.mark.parametrize(
    ("size", "side", "turn"),
    [
        ((60, 70), 500, 0.2),  # a square far larger than the photo: nearly all of the crop is padding
        ((40, 21), 900, 1.0),  # and of a photo narrower than the blur
        ((90, 100), 400, 0.3),
        ((300, 200), 250, 0.4),  # the border only
        ((80, 60), 70, 1.3),  # enlarged 4 times
    ],
)
def test_small_photos_of_few_colours(engine: str, kind: str, size, side: float, turn: float) -> None:
    """Ties and beats: a blur of stripes is 127.5 all over, and lines one reduced pixel apart must not beat with it."""
    height, width = size
    check(picture(kind, height, width, seed=1), face((width / 2, height / 2), side, turn), 256, engine)


@pytest.mark.parametrize("engine", ["exact", "fast"])
@pytest.mark.parametrize(
    ("kind", "size", "side", "turn"),
    [("lines", (80, 60), 1350, 1.26), ("stripes3", (45, 517), 900, 5.9), ("checks1", (70, 60), 500, 0.2)],
)
def test_small_photos_at_a_larger_resolution(engine: str, kind: str, size, side: float, turn: float) -> None:
    """There the fast blur is reduced."""
    height, width = size
    check(picture(kind, height, width, seed=1), face((width / 2, height / 2), side, turn), 512, engine)


@pytest.mark.parametrize("warps_exactly", [True, False])
@pytest.mark.parametrize("engine", ["exact", "fast"])
def test_white_stays_white(engine: str, warps_exactly: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flat 255 is 255 however it is sampled: fractions are dropped, so a sum of 254.9999 would lose a level."""
    if not warps_exactly:
        monkeypatch.setattr(sampling, "warps_exactly", lambda: False)
    photo = picture("white", 90, 80, 0)
    for side, turn in ((31, 0.3), (200, 0.1), (77, 1.0)):
        assert crop(photo, crop_quad(face((40, 45), side, turn)), resolution=128, engine=engine).min() == 255


@pytest.mark.parametrize("engine", ["exact", "fast"])
def test_without_opencvs_exact_warp_pytorch_samples(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV before 5 rounds positions to a 32nd of a pixel."""
    monkeypatch.setattr(sampling, "warps_exactly", lambda: False)
    check(picture("noise", 150, 130, 1), face((65, 75), 75, 0.3), 128, engine)


def test_a_zoom_at_a_power_of_two_is_that_power() -> None:
    """Level eyes 32 pixels apart give a side of 128, and float32 corners a zoom that is a hair above or below 1."""
    rng = np.random.default_rng(0)
    photo = picture("photo", 300, 300, 3)
    for _ in range(8):
        offsets = np.array([[0, 0], [32, 0], [16, 16], [6, 30], [26, 30]], float)
        offsets[3] += rng.integers(-3, 4, 2)
        points = offsets + rng.integers(60, 150, 2)
        mean, most, _ = differences(photo, points, 128, "exact")
        assert (mean <= 0.05) and (most <= 2)


def test_a_smaller_released_crop_is_the_same_crop() -> None:
    large = Image.fromarray(released_crop(astronaut(), ASTRONAUT_POINTS, resolution=256))
    small = released_crop(astronaut(), ASTRONAUT_POINTS, resolution=64)
    assert np.abs(np.asarray(large.resize((64, 64), Image.Resampling.LANCZOS)).astype(int) - small).mean() < 2


@pytest.mark.parametrize(
    ("points", "message"), [(np.full((5, 2), 7.0), "coincide"), (ASTRONAUT_POINTS + 5000, "outside")]
)
def test_what_no_square_is_cut_from(points: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        released_crop(astronaut(), points)


# One value of 3 million, of noise enlarged 64 times: there many samples lie exactly on a level, and which side of it
# they are truncated to is decided by Pillow's last bits.
BY_LAST_BITS = pytest.mark.xfail(strict=True, reason="exact is 2 levels off in one value of this picture")


@pytest.mark.slow
@pytest.mark.parametrize("seed", [pytest.param(n, marks=BY_LAST_BITS if n == 25 else ()) for n in range(40)])
def test_sweep(seed: int) -> None:
    """Random squares at 1024² in photographs, noise and dots of 43×55 to 6732×8984 pixels."""
    rng = np.random.default_rng(seed)
    height, width = (int(43 * (8984 / 43) ** rng.uniform()) for _ in range(2))
    height, width = min(height, 40 * width), min(width, 40 * height)
    if height * width > 10_000_000 and seed % 8:
        height, width = height // 3 + 43, width // 3 + 43
    kind = ("photo", "noise", "dots")[seed % 3]
    side = min(height, width) * rng.uniform(0.2, 1.1)
    centre = rng.uniform(0.1, 0.9, 2) * (width, height)
    photo, points = picture(kind, height, width, seed), face(tuple(centre), side, rng.uniform(-3.1, 3.1))
    for engine in ("exact", "fast"):
        print(seed, kind, (height, width), round(side), engine, *differences(photo, points, 1024, engine))
        check(photo, points, 1024, engine)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["exact", "fast"])
def test_the_largest_photo(engine: str) -> None:
    photo = picture("noise", 8984, 6732, 0)
    check(photo, face((3300, 4400), 3000, 0.2), 1024, engine)
