"""The engine on networks whose answers are known: tiles, batches, borders, memory."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from pgtools.errors import ComputeError
from pgtools.restoration.engine import Limits, Traits, restore_many, spans
from tests.pictures import astronaut

CPU = torch.device("cpu")
REACH = 5


def neighbourhood(batch: torch.Tensor) -> torch.Tensor:
    """The greatest value within `REACH` pixels, twice enlarged: exact, so tiles must not change a bit."""
    largest = F.max_pool2d(batch, 2 * REACH + 1, stride=1, padding=REACH)
    return largest.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def blocks(batch: torch.Tensor) -> torch.Tensor:
    """The greatest value of every 8×8 block, as a network that works on JPEG's grid would see it."""
    return F.max_pool2d(batch, 8).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def run(images, network, traits, tile=32, batch=1, **how):
    return restore_many(images, network, traits, limits=Limits(tile, batch), device=CPU, **how)


def whole(image: np.ndarray, network, traits: Traits) -> np.ndarray:
    """The twin: pad below and right by reflection, run once, cut off."""
    height, width = image.shape[:2]
    below, right = (-(-max(n, traits.minimum) // traits.multiple) * traits.multiple - n for n in (height, width))
    padded = np.pad(image, ((0, below), (0, right), (0, 0)), mode="reflect")
    batch = torch.from_numpy(padded.transpose(2, 0, 1).copy())[None].float() / 255
    output = network(batch)[0, :, : height * traits.scale, : width * traits.scale].permute(1, 2, 0).numpy()
    return np.rint(output * 255).astype(np.uint8)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 700), st.integers(32, 300), st.integers(0, 90), st.sampled_from([(1, 1), (2, 2), (1, 16), (8, 16)])
)
def test_spans_cover_an_axis_evenly_with_their_context(length: int, tile: int, context: int, grid) -> None:
    multiple, align = grid
    padded = -(-length // multiple) * multiple
    window, found = spans(length, padded, tile, Traits(1, context, multiple=multiple, align=align))
    assert found[0].begin == 0 and found[-1].end == length
    assert all(one.end == other.begin for one, other in pairwise(found))
    sizes = [span.end - span.begin for span in found]
    assert len(set(sizes[:-1])) <= 1 and sizes[-1] <= sizes[0]
    assert sizes[-1] > sizes[0] - len(found) * align, "even, but for the grid"
    for span in found:
        assert span.start % align == 0
        assert span.start >= 0 and span.start + window <= padded
        assert span.start <= max(span.begin - context, 0)
        assert span.start + window >= min(span.end + context, padded)
    assert window <= tile + 2 * context + 4 * align


def test_small_images_are_not_cut_and_larger_ones_evenly() -> None:
    traits = Traits(1, context=10)
    assert spans(276, 276, 256, traits) == (276, spans(276, 276, 256, traits)[1])
    assert [(s.begin, s.end) for s in spans(276, 276, 256, traits)[1]] == [(0, 276)]
    window, found = spans(300, 300, 256, traits)
    assert window == 160
    assert [(s.start, s.begin, s.end) for s in found] == [(0, 0, 150), (140, 150, 300)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(32, 64), st.integers(1, 5))
def test_tiles_of_any_size_do_not_show(height: int, width: int, tile: int, batch: int) -> None:
    image, traits = photo(height, width), Traits(2, context=REACH)
    (got,) = run([image], neighbourhood, traits, tile, batch)
    np.testing.assert_array_equal(got, whole(image, neighbourhood, traits))


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (7, 9), (64, 64), (77, 131)])
def test_tiles_keep_to_the_networks_grid(shape) -> None:
    image, traits = photo(*shape), Traits(1, context=3, multiple=8, align=8, minimum=16)
    (got,) = run([image], blocks, traits)
    np.testing.assert_array_equal(got, whole(image, blocks, traits))


def test_a_network_that_wants_squares_gets_squares() -> None:
    seen = []

    def network(batch):
        seen.append(tuple(batch.shape[2:]))
        return batch

    for shape in ((40, 100), (100, 30), (1, 1)):
        image = photo(*shape)
        (got,) = run([image], network, Traits(1, context=4, multiple=8, align=8, square=True))
        np.testing.assert_array_equal(got, image)
    assert all(height == width and height % 8 == 0 for height, width in seen)


def test_tiles_of_several_images_go_together() -> None:
    seen = []

    def network(batch):
        seen.append(len(batch))
        return neighbourhood(batch)

    images, traits = [photo(90, 50), photo(30, 30), photo(90, 50), photo(30, 30), photo(30, 30)], Traits(2, REACH)
    together = run(images, network, traits, batch=4)
    assert seen == [3, 4, 4, 4]  # three of 30×30, six tiles each of the two others
    for image, got in zip(images, together, strict=True):
        np.testing.assert_array_equal(got, whole(image, neighbourhood, traits))
    assert run([], network, traits) == []


def test_a_network_that_sees_the_whole_image_is_not_given_tiles() -> None:
    image, traits = photo(150, 90), Traits(1, context=None)

    def stretch(batch):
        return batch / batch.amax(dim=(2, 3), keepdim=True)

    (got,) = run([image // 2], stretch, traits, tile=32)
    np.testing.assert_array_equal(got, whole(image // 2, stretch, traits))


def test_values_are_rounded_half_to_even_and_clipped() -> None:
    values = torch.tensor([-1.0, 0.5 / 255, 1.5 / 255, 2.5 / 255, 2.0])
    (got,) = run([photo(1, 5)], lambda batch: values.expand_as(batch), Traits(1, 0))
    assert got[0, :, 0].tolist() == [0, 0, 2, 2, 255]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_told(value: float) -> None:
    with pytest.raises(ComputeError, match="no numbers") as caught:
        run([photo(4, 4)], lambda batch: batch + value, Traits(1, 0))
    assert "float32" in caught.value.hint


class Largest(TorchDispatchMode):
    """Notes how many bytes the largest tensor has that any operation makes."""

    bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.bytes = max(self.bytes, result.numel() * result.element_size())
        return result


def test_memory_is_bounded_by_tile_and_batch() -> None:
    """The output of a large photo never stands in memory as floats, only tile by tile."""
    image, traits = photo(500, 400), Traits(2, context=REACH)
    with Largest() as largest:
        run([photo(64, 64)], neighbourhood, traits)
        assert largest.bytes > 0, "the test must see tensors"
        tracemalloc.start()
        (got,) = run([image], neighbourhood, traits, tile=64, batch=2)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    side = 2 * (64 + 2 * REACH)
    assert largest.bytes <= 2 * 3 * side**2 * 4
    assert got.nbytes <= peak < 1.2 * got.nbytes


def hungry(network, budget: int, seen: list[tuple[int, int]]):
    """A network that runs out of memory beyond `budget` pixels."""

    def call(batch):
        seen.append((len(batch), batch.shape[2]))
        if batch.shape[0] * batch.shape[2] * batch.shape[3] > budget:
            raise torch.OutOfMemoryError("out of memory")
        return network(batch)

    return call


def test_out_of_memory_halves_the_batch_then_the_tile() -> None:
    images, traits = [photo(30, 30), photo(200, 200), photo(200, 200)], Traits(2, REACH)
    seen: list[tuple[int, int]] = []
    told: list[Limits] = []
    got = run(images, hungry(neighbourhood, 80 * 80, seen), traits, tile=128, batch=4, told=told.append)
    assert told == [Limits(128, 2), Limits(128, 1), Limits(64, 1)]
    for image, one in zip(images, got, strict=True):
        np.testing.assert_array_equal(one, whole(image, neighbourhood, traits))
    assert seen.count((1, 30)) == 1, "what was finished is not done again"


@pytest.mark.parametrize("context", [REACH, None])
def test_too_little_memory_for_anything_is_one_line(context: int | None) -> None:
    told: list[Limits] = []
    with pytest.raises(ComputeError, match="memory of cpu does not suffice") as caught:
        run([photo(100, 90)], hungry(neighbourhood, 0, []), Traits(2, context), 64, 2, told=told.append)
    assert "\n" not in caught.value.message
    assert told[-1] == (Limits(32, 1) if context else Limits(64, 1))


@pytest.mark.parametrize(
    ("error", "fits"),
    [(RuntimeError("CUDNN_STATUS_ALLOC_FAILED"), True), (MemoryError(), True), (RuntimeError("wrong shape"), False)],
)
def test_only_lack_of_memory_is_taken_for_it(error: Exception, fits: bool) -> None:
    def network(batch):
        if len(batch) > 1:
            raise error
        return batch

    images = [photo(8, 8), photo(8, 8)]
    if fits:
        np.testing.assert_array_equal(run(images, network, Traits(1, 0), batch=2), images)
    else:
        with pytest.raises(RuntimeError, match="wrong shape"):
            run(images, network, Traits(1, 0), batch=2)


def test_the_image_is_left_as_it_was() -> None:
    image = astronaut()[:50, :70].copy()
    image.setflags(write=False)
    (got,) = run([image], lambda batch: 1 - batch, Traits(1, 0))
    np.testing.assert_array_equal(got, 255 - image)
