"""The plain route is the definition too: it agrees with the float64 twins, and ours agrees with it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pgtools.metrics.benchmark.images import DrawnImages
from pgtools.metrics.benchmark.plain import msssim as plain_msssim
from pgtools.metrics.benchmark.plain import swd as plain_swd
from pgtools.metrics.msssim import ms_ssim
from pgtools.metrics.phases import measured
from pgtools.metrics.settings import SwdSettings
from pgtools.metrics.swd.draws import draw_directions, draw_positions
from tests.metrics.sets import photographs
from tests.pictures import noise_images, smooth_images
from tests.reference import msssim as twin_msssim
from tests.reference import swd as twin_swd

SMALL = SwdSettings(neighbourhoods=16, repeats=2, directions=32)


def batches(images: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (images[start : start + size] for start in range(0, len(images), size))


class TestSwd:
    @pytest.mark.parametrize("side", [16, 64, 128])
    def test_the_pyramid_is_the_twins(self, side: int):
        images = noise_images(2, side)
        found = plain_swd.laplacian_pyramid(images)
        for image, number in zip(images, range(2), strict=True):
            for level, expected in twin_swd.laplacian(image.astype(np.float64)).items():
                np.testing.assert_allclose(found[level][number], expected, rtol=0, atol=2e-4)
        assert {level.dtype for level in found.values()} == {np.dtype(np.float32)}

    @hypothesis_settings(max_examples=10, deadline=None)
    @given(batch=st.integers(1, 6), side=st.sampled_from([16, 32]), seed=st.integers(0, 99))
    def test_the_figure_is_the_twins_in_any_batches(self, batch: int, side: int, seed: int):
        sets = {"real": photographs(5, side, seed), "fake": photographs(5, side, seed + 100)}
        levels = list(plain_swd.laplacian_pyramid(sets["real"][:1]))
        described, expected = [], []
        for role, images in sets.items():
            centres = {level: draw_positions(level, 5, SMALL, role) for level in levels}
            described.append(plain_swd.describe(batches(images, batch), centres, 7))
            expected.append({level: twin_swd.describe(images, centres[level], level, 7) for level in levels})
        directions = {level: [draw_directions(level, repeat, SMALL) for repeat in range(2)] for level in levels}
        for level, found in plain_swd.compare(described[0], described[1], directions).items():
            twin = [twin_swd.distance(expected[0][level], expected[1][level], each) for each in directions[level]]
            assert found == pytest.approx(1000 * np.mean(twin), rel=1e-5)

    def test_it_tells_its_phases(self):
        images, centres = photographs(2, 16), {16: draw_positions(16, 2, SMALL, "real")}
        with measured() as seconds:
            described = plain_swd.describe([images], centres, 7)
            plain_swd.compare(described, described, {16: [draw_directions(16, 0, SMALL)]})
        assert list(seconds) == ["pyramid", "patches", "normalise", "project", "sort", "compare"]
        assert min(seconds.values()) > 0


class TestMsssim:
    @pytest.mark.parametrize("side", [16, 32, 64, 128, 256])
    def test_it_is_the_twin_and_ours(self, side: int):
        a, b = smooth_images(3, side, 1), smooth_images(3, side, 2)
        b = (0.6 * a + 0.4 * b).astype(np.uint8)
        found = plain_msssim.ms_ssim(a, b)
        assert found.min() > 0.1
        np.testing.assert_allclose(found, [twin_msssim.ms_ssim(p, q) for p, q in zip(a, b, strict=True)], atol=1e-9)
        np.testing.assert_allclose(ms_ssim(torch.from_numpy(a), torch.from_numpy(b)).numpy(), found, rtol=0, atol=1e-5)

    def test_it_tells_its_phases(self):
        with measured() as seconds:
            plain_msssim.ms_ssim(noise_images(1, 32), noise_images(1, 32, 1))
        assert list(seconds) == ["blur", "terms", "halve"]


class TestDrawnImages:
    def test_they_do_not_depend_on_how_they_are_read(self):
        images = DrawnImages(16, 600, "real", torch.device("cpu"))
        together = images.read(range(600))
        apart = torch.cat([images.read([number]) for number in range(600)])
        assert torch.equal(together, apart)
        assert torch.equal(DrawnImages(16, 301, "real", torch.device("cpu")).read([7, 300]), together[[7, 300]])
        assert torch.equal(DrawnImages(16, 8, "real", torch.device("cpu")).read([7]), together[[7]])
        assert together.unique(dim=0).shape[0] == 600

    def test_both_sets_have_a_photographs_detail_and_differ(self):
        for role in ("real", "fake"):
            found = DrawnImages(64, 32, role, torch.device("cpu")).read(range(32)).double()
            assert found.std() == pytest.approx(60, abs=15)
            # White noise has √2; photographs of this size about 0.1 to 0.5.
            assert 0.05 < (found[..., 1:] - found[..., :-1]).std() / found.std() < 0.7
        real, fake = (DrawnImages(16, 1, role, torch.device("cpu")).read([0]) for role in ("real", "fake"))
        assert not torch.equal(real, fake)
