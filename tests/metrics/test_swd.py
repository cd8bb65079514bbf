from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from pgtools.errors import InputError, UsageError
from pgtools.imaging.photo import decode
from pgtools.metrics import pyramid, swd
from pgtools.metrics.settings import SwdSettings
from tests.metrics.sets import ArraySource, photographs
from tests.pictures import jpeg, noise_images
from tests.reference import swd as reference

CPU = torch.device("cpu")
SMALL = SwdSettings(neighbourhoods=16, repeats=2, directions=32)


def measure(real: np.ndarray, fake: np.ndarray, settings: SwdSettings = SMALL) -> dict[int, list[float]]:
    """SWD × 1000 of every level and repeat."""
    levels = pyramid.pyramid_levels(real.shape[-1])
    described = [
        swd.describe(ArraySource(images), levels, settings, role=role, device=CPU, advance=lambda _: None)
        for role, images in (("real", real), ("fake", fake))
    ]
    return {level: swd.compare(described[0][level], described[1][level], level, settings, CPU) for level in levels}


def means(real: np.ndarray, fake: np.ndarray, settings: SwdSettings = SMALL) -> dict[int, float]:
    return {level: float(np.mean(found)) for level, found in measure(real, fake, settings).items()}


class TestSlicedWasserstein:
    def test_a_shift_moves_the_distance_by_its_part_along_the_direction(self):
        a, shift = torch.randn(500, 12), torch.linspace(-1, 1, 12)
        direction = torch.eye(12, dtype=torch.float64)[3:4]
        found = swd.sliced_wasserstein(a, a + shift, direction, CPU)
        assert found == pytest.approx(abs(float(shift[3])), rel=1e-6)

    def test_a_doubled_normal_set_is_its_mean_absolute_value_away(self):
        # E|2x − x| = E|x| = √(2/π) for normal x; 200,000 draws leave 0.2 % of scatter.
        a = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
        found = swd.sliced_wasserstein(a, 2 * a, torch.ones(1, 1, dtype=torch.float64), CPU)
        assert found == pytest.approx((2 / np.pi) ** 0.5, rel=0.01)

    @hypothesis_settings(max_examples=20, deadline=None)
    @given(n=st.integers(1, 60), d=st.integers(1, 20), k=st.integers(1, 9), seed=st.integers(0, 1000))
    def test_it_is_a_symmetric_distance_of_sets(self, n: int, d: int, k: int, seed: int):
        rng = np.random.default_rng(seed)
        a, b, c = (torch.from_numpy(rng.standard_normal((n, d)).astype(np.float32)) for _ in range(3))
        directions = torch.from_numpy(rng.standard_normal((k, d)))

        def between(p: Tensor, q: Tensor) -> float:
            return swd.sliced_wasserstein(p, q, directions, CPU)

        assert between(a, a[rng.permutation(n)]) == 0
        assert between(a, b) == between(b, a)
        assert between(a, c) <= between(a, b) + between(b, c) + 1e-5

    @hypothesis_settings(max_examples=10, deadline=None)
    @given(n=st.integers(1, 200), k=st.integers(1, 9), seed=st.integers(0, 1000))
    def test_it_is_the_reference(self, n: int, k: int, seed: int):
        rng = np.random.default_rng(seed)
        a, b = rng.standard_normal((2, n, 147)).astype(np.float32)
        directions = rng.standard_normal((k, 147))
        found = swd.sliced_wasserstein(*map(torch.from_numpy, (a, b, directions)), CPU)
        assert found == pytest.approx(reference.distance(a, b, directions), rel=1e-5)

    def test_unequal_and_empty_sets_are_refused(self):
        directions = torch.ones(1, 3, dtype=torch.float64)
        for rows in ((4, 5), (0, 0)):
            with pytest.raises(InputError, match="expected equal, not empty"):
                swd.sliced_wasserstein(torch.ones(rows[0], 3), torch.ones(rows[1], 3), directions, CPU)


class TestDraws:
    def test_centres_leave_out_the_border_and_the_upper_end(self):
        centres = swd.draw_positions(16, 200, SwdSettings(), "real")
        assert centres.shape == (200, 128, 2)
        assert centres.unique().tolist() == list(range(3, 13))
        # 51,200 draws over ten places: 5,120 each, standard deviation 68.
        assert (centres.flatten().bincount()[3:] - 5120).abs().max() < 5 * 68

    def test_every_image_set_and_level_has_centres_of_its_own(self):
        real, fake = (swd.draw_positions(32, 2, SMALL, role) for role in ("real", "fake"))
        assert not torch.equal(real, fake)
        assert not torch.equal(real[0], real[1])
        assert not torch.equal(real, swd.draw_positions(64, 2, SMALL, "real"))

    def test_directions_are_unit_vectors_of_their_repeat(self):
        first, second = (swd.draw_directions(16, repeat, SMALL) for repeat in range(2))
        torch.testing.assert_close(first.norm(dim=1), torch.ones(32, dtype=torch.float64), rtol=1e-12, atol=0)
        assert not torch.equal(first, second)

    def test_patches_are_the_pixels_around_their_centres(self):
        images = torch.from_numpy(noise_images(3, 16)).float()
        centres = torch.tensor([[[3, 3], [12, 12]], [[4, 9], [3, 12]], [[7, 7], [8, 5]]])
        patches = swd.cut_patches(images, centres, 7)
        for i in range(3):
            for j, (y, x) in enumerate(centres[i]):
                assert torch.equal(patches[i, j], images[i, :, y - 3 : y + 4, x - 3 : x + 4].flatten())

    def test_an_even_patch_is_refused(self):
        with pytest.raises(UsageError, match="odd"):
            SwdSettings(size=6)


class TestNormalise:
    def test_each_channel_gets_mean_0_and_deviation_1(self):
        rng = np.random.default_rng(0)
        raw = rng.normal([[[100], [5], [-3]]], [[[50], [2], [0.01]]], (700, 3, 49)).astype(np.float32)
        found = swd.normalise(torch.from_numpy(raw).flatten(1)).view(700, 3, 49).double()
        torch.testing.assert_close(found.mean((0, 2)), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-7)
        deviation = found.std((0, 2), correction=0)
        torch.testing.assert_close(deviation, torch.ones(3, dtype=torch.float64), rtol=1e-6, atol=0)

    def test_a_constant_channel_becomes_0(self):
        descriptors = torch.randn(10, 147)
        descriptors[:, :49] = 17.3
        found = swd.normalise(descriptors)
        assert not found[:, :49].any()
        assert found.isfinite().all()


def check_against_reference() -> None:
    """Same draws, same figure, to 1e-5: what the spec asks for."""
    real, fake = photographs(6, 64, 1), photographs(6, 64, 2)
    for level, repeats in measure(real, fake).items():
        sets = [
            reference.describe(images, swd.draw_positions(level, 6, SMALL, role).numpy(), level, 7)
            for role, images in (("real", real), ("fake", fake))
        ]
        for repeat, found in enumerate(repeats):
            directions = swd.draw_directions(level, repeat, SMALL).numpy()
            np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
            np.testing.assert_allclose(found, 1000 * reference.distance(*sets, directions), rtol=1e-5)


def test_the_figure_is_the_reference():
    check_against_reference()


def pad_with_zeros(images: Tensor) -> Tensor:
    weights = torch.from_numpy(reference.BINOMIAL).float().expand(3, 1, 5, 5)
    return F.conv2d(images, weights, stride=2, padding=2, groups=3)


def enlarge_to_nearest(images: Tensor) -> Tensor:
    return F.interpolate(images, scale_factor=2, mode="nearest")


real_cut, real_directions = swd.cut_patches, swd.draw_directions
MISTAKES: dict[str, tuple[object, str, Callable[..., object]]] = {
    "patches of image 0 only": (swd, "cut_patches", lambda i, c, s: real_cut(i[:1].expand_as(i), c, s)),
    "zero padding": (pyramid, "down", pad_with_zeros),
    "nearest upsampling": (pyramid, "up", enlarge_to_nearest),
    "shared positions": (swd, "cut_patches", lambda i, c, s: real_cut(i, c[:1].expand_as(c), s)),
    "directions of any length": (swd, "draw_directions", lambda *a: 12 * real_directions(*a)),
    "not normalised": (swd, "normalise", lambda descriptors: descriptors),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_goes_wrong_in_the_field_is_noticed(mistake: str, monkeypatch: pytest.MonkeyPatch):
    # Each of these stands in some published implementation.
    monkeypatch.setattr(*MISTAKES[mistake])
    with pytest.raises(AssertionError):
        check_against_reference()


@hypothesis_settings(max_examples=6, deadline=None)
@given(batch=st.integers(1, 8))
def test_the_batch_size_changes_no_bit(batch: int):
    real, fake = photographs(7, 32, 1), photographs(7, 32, 2)
    assert measure(real, fake, replace(SMALL, batch=batch)) == measure(real, fake, replace(SMALL, batch=7))


def test_the_seed_changes_the_figure_but_little():
    real, fake = photographs(64, 32, 1), photographs(64, 32, 2)
    averages = [np.mean(list(means(real, fake, replace(SMALL, seed=seed)).values())) for seed in range(6)]
    assert len(set(averages)) == 6
    assert np.std(averages) < 0.1 * np.mean(averages)


@pytest.mark.gpu
def test_the_device_changes_the_figure_by_less_than_1e_5():
    real, fake = ArraySource(photographs(32, 64, 1)), ArraySource(photographs(32, 64, 2))
    found = []
    for name in ("cpu", "cuda"):
        device = torch.device(name)
        sets = [
            swd.describe(s, (64, 32, 16), SMALL, role=role, device=device, advance=lambda _: None)
            for role, s in (("real", real), ("fake", fake))
        ]
        found.append([swd.compare(sets[0][level], sets[1][level], level, SMALL, device) for level in (64, 32, 16)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)


COUNT = 384
PATCHES = SwdSettings(neighbourhoods=32, repeats=2, directions=64)


def blur(images: np.ndarray) -> np.ndarray:
    soft = images.astype(np.float32)
    for axis in (2, 3, 2, 3):
        soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    return np.rint(soft).astype(np.uint8)


def add_noise(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 20, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def compress(images: np.ndarray) -> np.ndarray:
    encoded = [jpeg(image.transpose(1, 2, 0), quality=10) for image in images]
    return np.stack([decode(data, where="test").transpose(2, 0, 1) for data in encoded])


def lose_colour(images: np.ndarray) -> np.ndarray:
    return images.mean(1, keepdims=True).astype(np.uint8).repeat(3, axis=1)


def swap_colours(images: np.ndarray) -> np.ndarray:
    return images[:, ::-1]


def lose_modes(images: np.ndarray) -> np.ndarray:
    return np.tile(images[: COUNT // 8], (8, 1, 1, 1))


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    return photographs(COUNT, 64, 1)


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    return photographs(COUNT, 64, 2)


@pytest.fixture(scope="module")
def floor(real: np.ndarray, other: np.ndarray) -> dict[int, float]:
    return means(real, other, PATCHES)


class TestDirection:
    """A worse set scores worse, and on the level where its fault is; the floor is real against other real."""

    @pytest.mark.parametrize(
        ("spoil", "level", "times", "untouched"),
        [
            (blur, 64, 2.5, 16),
            (add_noise, 64, 8, 16),
            (compress, 64, 1.3, 16),
            (lose_colour, 16, 3, None),
            (swap_colours, 16, 4, 64),
            (lose_modes, 16, 1.5, None),
        ],
    )
    def test_each_fault_shows_on_its_level(
        self,
        real: np.ndarray,
        other: np.ndarray,
        floor: dict[int, float],
        spoil: Callable[[np.ndarray], np.ndarray],
        level: int,
        times: float,
        untouched: int | None,
    ):
        found = means(real, spoil(other), PATCHES)
        assert found[level] > times * floor[level]
        if untouched is not None:
            assert found[untouched] < 1.15 * floor[untouched]

    def test_more_of_a_fault_is_worse(self, real: np.ndarray, other: np.ndarray):
        once, twice = blur(other), blur(blur(other))
        found = [means(real, images, PATCHES)[64] for images in (other, once, twice)]
        assert found == sorted(found)

    def test_convention_a_cast_that_all_images_share_is_not_seen(
        self, real: np.ndarray, other: np.ndarray, floor: dict[int, float]
    ):
        # Each set is normalised by its own mean and deviation of every channel.
        cast = (0.7 * other.astype(np.float32) + np.array([[[[60]], [[0]], [[20]]]])).astype(np.uint8)
        found = means(real, cast, PATCHES)
        assert found[16] == pytest.approx(floor[16], rel=0.02)

    def test_the_floor_falls_with_the_root_of_the_number(
        self, real: np.ndarray, other: np.ndarray, floor: dict[int, float]
    ):
        few = np.mean([means(real[i : i + 24], other[i : i + 24], PATCHES)[16] for i in range(0, 384, 48)])
        # A sixteenth of the images: four times the floor, were crops of one photograph independent.
        assert 3 < few / floor[16] < 5
