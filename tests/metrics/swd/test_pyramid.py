from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError
from pgtools.metrics.swd.pyramid import down, laplacian_levels, laplacian_levels_of, pyramid_levels, up
from tests.metrics.sets import photographs
from tests.pictures import noise_images
from tests.reference import swd as reference


def test_a_flat_image_has_only_its_low_pass():
    levels = dict(laplacian_levels(torch.full((1, 3, 64, 64), 17.0)))
    assert not levels[64].any() and not levels[32].any()
    assert (levels[16] == 17).all()


def test_levels_go_down_to_16():
    assert pyramid_levels(1024) == (1024, 512, 256, 128, 64, 32, 16)
    assert pyramid_levels(16) == (16,)
    with pytest.raises(InputError, match="8² pixels"):
        pyramid_levels(8)


@settings(max_examples=10, deadline=None)
@given(side=st.sampled_from([16, 32, 64]), count=st.integers(1, 3), seed=st.integers(0, 99))
def test_the_levels_are_the_reference(side: int, count: int, seed: int):
    images = noise_images(count, side, seed)
    levels = dict(laplacian_levels(torch.from_numpy(images).float()))
    for i, image in enumerate(images):
        # float32 keeps 24 bits of values up to 255: 3e-5 a step, a few steps.
        for level, expected in reference.laplacian(image.astype(np.float64)).items():
            np.testing.assert_allclose(levels[level][i].numpy(), expected, rtol=0, atol=2e-4)


def test_convention_down_is_opencv():
    image = photographs(1, 64)[0].astype(np.float32)
    ours = down(torch.from_numpy(image)[None])[0].numpy()
    np.testing.assert_allclose(ours, cv2.pyrDown(image.transpose(1, 2, 0)).transpose(2, 0, 1), atol=1e-4)


def test_the_pyramid_adds_up_to_the_image():
    images = torch.from_numpy(noise_images(2, 64)).float()
    levels = dict(laplacian_levels(images))
    total = levels[16]
    for side in (32, 64):
        total = up(total) + levels[side]
    torch.testing.assert_close(total, images, rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_one_image_on_the_cpu_has_the_levels_of_the_batch(channels: int):
    image = noise_images(2, 64).reshape(-1, 64, 64)[:channels].astype(np.float32)
    whole = dict(laplacian_levels(torch.from_numpy(image)[None]))
    single = dict(laplacian_levels_of(np.ascontiguousarray(image.transpose(1, 2, 0))))
    assert list(single) == list(whole) == [64, 32, 16]
    for level, band in single.items():
        assert band.shape == (level, level, channels)
        np.testing.assert_allclose(band.transpose(2, 0, 1), whole[level][0].numpy(), rtol=0, atol=1e-4)
