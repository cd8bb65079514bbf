"""What is collected of a set does not depend on how its images come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pgtools.errors import InputError
from pgtools.metrics import measure
from pgtools.metrics.held import Budget
from pgtools.metrics.measure import SetOfImages
from pgtools.metrics.settings import SwdSettings
from pgtools.metrics.swd.descriptors import Descriptors, DescriptorSet
from tests.metrics.sets import photographs
from tests.pictures import noise_images
from tests.reference import swd as reference

CPU = torch.device("cpu")
SMALL = SwdSettings(neighbourhoods=8, seeds=2)
COUNT = 9


def begin(count: int = COUNT, side: int = 32, channels: int = 3, settings: SwdSettings = SMALL) -> DescriptorSet:
    return Descriptors(settings).begin(SetOfImages("some", "fake", count, side, channels=channels), CPU)


def fed(images: np.ndarray, order: list[int], batch: int, settings: SwdSettings = SMALL) -> DescriptorSet:
    found = begin(len(images), images.shape[-1], images.shape[1], settings)
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        found.update(torch.from_numpy(images[some]), some)
    return found


def assert_same(found: DescriptorSet, expected: DescriptorSet) -> None:
    for (_, _, a), (_, _, b) in zip(found._all(), expected._all(), strict=True):
        np.testing.assert_array_equal(a.patches.array, b.patches.array)
        np.testing.assert_array_equal(a.sums, b.sums)


@hypothesis_settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(COUNT)), batch=st.integers(1, COUNT))
def test_neither_order_nor_batch_change_a_bit(order: list[int], batch: int):
    images = photographs(COUNT, 32)
    assert_same(fed(images, order, batch), fed(images, list(range(COUNT)), COUNT))


def test_what_lies_on_disk_is_the_same(tmp_path, monkeypatch: pytest.MonkeyPatch):
    images, order = photographs(COUNT, 32), list(range(COUNT))
    inside = fed(images, order, 4)
    outside = fed(images, order, 4, replace(SMALL, memory=0.0))
    assert not any(drawn.patches.spilled for _, _, drawn in inside._all())
    assert all(drawn.patches.spilled for _, _, drawn in outside._all())
    assert_same(outside, inside)
    outside.close()


def test_what_two_processes_saw_adds_up(monkeypatch: pytest.MonkeyPatch):
    images = photographs(COUNT, 32)
    first, second = begin(), begin()
    for rank, part in enumerate((first, second)):
        numbers = list(range(rank, COUNT, 2))
        part.update(torch.from_numpy(images[numbers]), numbers)
    # An image a piece: 2 seeds of 2 levels, 8 patches of 147 floats.
    monkeypatch.setattr(measure, "PIECE_BYTES", 2 * 2 * 8 * 147 * 4)
    pieces = list(second.parts())
    assert [len(piece["images"][0]) for piece in pieces] == [1] * (COUNT // 2)
    for piece in pieces:
        first.absorb(piece)
    assert_same(first, fed(images, list(range(COUNT)), 3))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_moments_are_those_of_all_descriptors(channels: int):
    images = noise_images(COUNT * 2, 32).reshape(-1, 32, 32)[: COUNT * channels].reshape(COUNT, channels, 32, 32)
    found = fed(images, list(range(COUNT)), 4)
    rows = found.drawn[1][16].patches.array.reshape(-1, channels, 49).astype(np.float64)
    mean, deviation = found.moments(1, 16)
    np.testing.assert_allclose(mean, rows.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(deviation, rows.std((0, 2)), rtol=1e-10)


def test_a_channel_that_hardly_varies_keeps_its_deviation_and_a_constant_one_has_none():
    images = np.full((COUNT, 3, 16, 16), 200, np.uint8)
    images[3, 1, 8, 8] = 201
    found = fed(images, list(range(COUNT)), COUNT, replace(SMALL, neighbourhoods=64))
    rows = found.drawn[0][16].patches.array.reshape(-1, 3, 49).astype(np.float64)
    mean, deviation = found.moments(0, 16)
    assert deviation[0] == deviation[2] == 1 and mean[0] == 200 - 128
    assert rows.std((0, 2))[1] > 0
    assert deviation[1] == pytest.approx(rows.std((0, 2))[1], rel=1e-9)


def test_patches_are_those_of_the_reference():
    images = photographs(2, 64)
    found = fed(images, [0, 1], 2)
    for level, drawn in found.drawn[0].items():
        band = reference.laplacian(images[1].astype(np.float64) - 128)[level]
        for patch, (y, x) in zip(drawn.patches.array[1], drawn.centres[1], strict=True):
            np.testing.assert_allclose(patch.reshape(3, 7, 7), band[:, y - 3 : y + 4, x - 3 : x + 4], rtol=0, atol=2e-4)


def test_images_under_16_pixels_and_patches_over_15_are_refused():
    with pytest.raises(InputError, match="8² pixels"):
        begin(side=8)


def test_a_disk_without_room_is_told_before_an_image_is_read(monkeypatch: pytest.MonkeyPatch):
    from pgtools.errors import OutputError
    from pgtools.runtime import files

    monkeypatch.setattr(files, "free_space", lambda _: 1000)
    with pytest.raises(OutputError, match="free; about"):
        begin(settings=replace(SMALL, memory=0.0))


def test_a_budget_is_given_back():
    from pgtools.metrics.held import Held

    budget = Budget(1e-6)
    first = Held(100, (10,), np.uint8, budget)
    assert not first.spilled and budget.left == 0
    second = Held(1, (1,), np.uint8, budget)
    assert second.spilled
    first.close()
    first.close()
    second.close()
    assert budget.left == 1000


@pytest.mark.gpu
def test_a_gpu_cuts_the_same_patches():
    images = photographs(COUNT, 64)
    there = Descriptors(SMALL).begin(SetOfImages("some", "fake", COUNT, 64), torch.device("cuda"))
    there.update(torch.from_numpy(images).cuda(), list(range(COUNT)))
    for (_, _, a), (_, _, b) in zip(there._all(), fed(images, list(range(COUNT)), 3)._all(), strict=True):
        np.testing.assert_allclose(a.patches.array, b.patches.array, rtol=0, atol=2e-4)
        np.testing.assert_allclose(a.sums, b.sums, rtol=1e-5, atol=1e-2)
