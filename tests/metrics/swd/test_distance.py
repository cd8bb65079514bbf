"""The distance of descriptor sets, and what is drawn for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor

from pgtools.errors import InputError, UsageError
from pgtools.metrics.settings import SwdSettings
from pgtools.metrics.swd.descriptors import cut_patches
from pgtools.metrics.swd.distance import normalise, sliced_wasserstein
from pgtools.metrics.swd.draws import draw_directions, draw_positions
from tests.pictures import noise_images
from tests.reference import swd as reference

SMALL = SwdSettings(neighbourhoods=16, repeats=2, directions=32)


class TestSlicedWasserstein:
    def test_a_shift_moves_the_distance_by_its_part_along_the_direction(self):
        a, shift = torch.randn(500, 12), torch.linspace(-1, 1, 12)
        direction = torch.eye(12, dtype=torch.float64)[3:4]
        found = sliced_wasserstein(a, a + shift, direction)
        assert found == pytest.approx(abs(float(shift[3])), rel=1e-6)

    def test_a_doubled_normal_set_is_its_mean_absolute_value_away(self):
        # E|2x − x| = E|x| = √(2/π) for normal x; 200,000 draws leave 0.2 % of scatter.
        a = torch.randn(200_000, 1, generator=torch.Generator().manual_seed(0))
        found = sliced_wasserstein(a, 2 * a, torch.ones(1, 1, dtype=torch.float64))
        assert found == pytest.approx((2 / np.pi) ** 0.5, rel=0.01)

    @hypothesis_settings(max_examples=20, deadline=None)
    @given(n=st.integers(1, 60), d=st.integers(1, 20), k=st.integers(1, 9), seed=st.integers(0, 1000))
    def test_it_is_a_symmetric_distance_of_sets(self, n: int, d: int, k: int, seed: int):
        rng = np.random.default_rng(seed)
        a, b, c = (torch.from_numpy(rng.standard_normal((n, d)).astype(np.float32)) for _ in range(3))
        directions = torch.from_numpy(rng.standard_normal((k, d)))

        def between(p: Tensor, q: Tensor) -> float:
            return sliced_wasserstein(p, q, directions)

        assert between(a, a) == 0
        # A float32 product rounds by where a row stands in it.
        assert between(a, a[rng.permutation(n)]) < 1e-6
        assert between(a, b) == between(b, a)
        assert between(a, c) <= between(a, b) + between(b, c) + 1e-5

    @hypothesis_settings(max_examples=10, deadline=None)
    @given(n=st.integers(1, 200), k=st.integers(1, 9), seed=st.integers(0, 1000))
    def test_it_is_the_reference(self, n: int, k: int, seed: int):
        rng = np.random.default_rng(seed)
        a, b = rng.standard_normal((2, n, 147)).astype(np.float32)
        directions = rng.standard_normal((k, 147))
        found = sliced_wasserstein(*map(torch.from_numpy, (a, b, directions)))
        assert found == pytest.approx(reference.distance(a, b, directions), rel=1e-5)

    def test_unequal_and_empty_sets_are_refused(self):
        directions = torch.ones(1, 3, dtype=torch.float64)
        for rows in ((4, 5), (0, 0)):
            with pytest.raises(InputError, match="expected equal, not empty"):
                sliced_wasserstein(torch.ones(rows[0], 3), torch.ones(rows[1], 3), directions)


class TestDraws:
    def test_centres_leave_out_the_border_and_the_upper_end(self):
        centres = draw_positions(16, 200, SwdSettings(), "real")
        assert centres.shape == (200, 128, 2)
        assert np.unique(centres).tolist() == list(range(3, 13))
        # 51,200 draws over ten places: 5,120 each, standard deviation 68.
        assert np.abs(np.bincount(centres.ravel())[3:] - 5120).max() < 5 * 68

    def test_every_image_set_and_level_has_centres_of_its_own(self):
        real, fake = (draw_positions(32, 2, SMALL, role) for role in ("real", "fake"))
        assert not np.array_equal(real, fake)
        assert not np.array_equal(real[0], real[1])
        assert not np.array_equal(real, draw_positions(64, 2, SMALL, "real"))

    def test_directions_are_unit_vectors_of_their_repeat(self):
        first, second = (draw_directions(16, repeat, SMALL) for repeat in range(2))
        np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-12)
        assert not np.array_equal(first, second)

    def test_patches_are_the_pixels_around_their_centres(self):
        images = torch.from_numpy(noise_images(3, 16)).float()
        centres = torch.tensor([[[3, 3], [12, 12]], [[4, 9], [3, 12]], [[7, 7], [8, 5]]])
        patches = cut_patches(images, centres, 7)
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
        found = normalise(torch.from_numpy(raw).flatten(1)).view(700, 3, 49).double()
        torch.testing.assert_close(found.mean((0, 2)), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-7)
        deviation = found.std((0, 2), correction=0)
        torch.testing.assert_close(deviation, torch.ones(3, dtype=torch.float64), rtol=1e-6, atol=0)

    def test_a_constant_channel_becomes_0(self):
        descriptors = torch.randn(10, 147)
        descriptors[:, :49] = 17.3
        found = normalise(descriptors)
        assert not found[:, :49].any()
        assert found.isfinite().all()
