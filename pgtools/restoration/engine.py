"""Images through a network, in tiles and batches: pure, a callable and arrays in, arrays out.

An image is cut into tiles of even size. Each is computed with `context` pixels of its neighbourhood, which are thrown
away, so a network that reaches no further gives in tiles what it gives on the whole image. Only the border of the
image is a border to the network. Tiles begin at multiples of `align`, as everything that works on a grid expects.

Memory is bounded by what one batch needs: `batch` tiles of at most `tile + 2·context` pixels a side. What is finished
is kept as uint8.

Convention: images are uint8 (H, W, 3); the network gets float32 (N, 3, h, w) in [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from pgtools.errors import ComputeError

Pixels = NDArray[np.uint8]
# float32 (N, 3, h, w) in [0, 1], and the strengths (N,) if any -> float (N, 3, h·scale, w·scale), not clipped.
Network = Callable[..., torch.Tensor]
SMALLEST_TILE = 32


@dataclass(frozen=True)
class Traits:
    """What has to be known of a network to cut images for it.

    Attributes:
        scale: how many times larger the output is.
        context: pixels around a tile that it is computed with; None for a network that must see the whole image.
        multiple: height and width must be multiples of it; what is missing is continued by reflection.
        align: tiles begin at multiples of it; a multiple of `multiple`.
        minimum: the least height and width, a multiple of `multiple`.
        square: height and width must be equal.
    """

    scale: int
    context: int | None
    multiple: int = 1
    align: int = 1
    minimum: int = 1
    square: bool = False


@dataclass(frozen=True)
class Limits:
    """What may be computed at once: `batch` tiles with sides of `tile` pixels, their context not counted."""

    tile: int
    batch: int

    def smaller(self) -> Limits | None:
        """Return the next to try where memory runs out: half the batch, then half the tile; None at the end."""
        if self.batch > 1:
            return replace(self, batch=self.batch // 2)
        if self.tile > SMALLEST_TILE:
            return replace(self, tile=max(self.tile // 2, SMALLEST_TILE))
        return None


@dataclass(frozen=True)
class Span:
    """A tile along one axis: computed from `start` on, kept from `begin` to before `end`; pixels of the image."""

    start: int
    begin: int
    end: int


@dataclass(frozen=True)
class Tile:
    """A tile of one of several images: which, its spans, and (height, width) of what is computed."""

    image: int
    rows: Span
    columns: Span
    shape: tuple[int, int]


def restore_many(
    images: Sequence[Pixels],
    network: Network,
    traits: Traits,
    *,
    limits: Limits,
    device: torch.device,
    strengths: Sequence[float] | None = None,
    told: Callable[[Limits], None] = lambda limits: None,
) -> list[Pixels]:
    """Return the network's outputs, uint8 (H·scale, W·scale, 3) each, rounded half-to-even.

    Where memory runs out, half the batch is tried, then half the tile, and so on. Tiles of equal size go together,
    also those of several images. Batch and tile change results by no more than float rounding, that is one level,
    where `traits.context` is the network's reach.

    Args:
        images: uint8 (H, W, 3) of any sizes, 1×1 included.
        network: see `Network`.
        traits: what it needs.
        limits: what may be computed at once.
        device: where the network is.
        strengths: one an image, for a guided network: how strongly to correct it. All its tiles are told the same.
        told: called with the new limits each time that memory ran out.

    Raises:
        ComputeError: even the smallest tile does not fit into memory, or the network gives values that are no numbers.
    """
    outputs = [np.empty((h * traits.scale, w * traits.scale, 3), np.uint8) for h, w, _ in (i.shape for i in images)]
    todo = _tiles(images, range(len(images)), traits, limits)
    while todo:
        group = [tile for tile in todo[: limits.batch] if tile.shape == todo[0].shape]
        guide = None if strengths is None else [strengths[tile.image] for tile in group]
        if _computed(group, images, outputs, _guided(network, guide), traits, device):
            del todo[: len(group)]
            continue
        smaller = limits.smaller()
        if smaller is None or (traits.context is None and limits.batch == 1):
            raise _does_not_fit(todo[0], device)
        if smaller.tile < limits.tile:
            todo = _tiles(images, sorted({tile.image for tile in todo}), traits, smaller)
        limits = smaller
        told(limits)
    return outputs


def _guided(network: Network, strengths: Sequence[float] | None) -> Network:
    if strengths is None:
        return network
    return lambda batch: network(batch, torch.tensor(strengths, dtype=torch.float32, device=batch.device))


def spans(length: int, padded: int, tile: int, traits: Traits) -> tuple[int, list[Span]]:
    """Return how one axis is cut: the size of what is computed at a time, and the tiles.

    There are as few tiles as fit, of even size; the first and the last one lie at the image's border, where there is
    no context. An image of at most tile + 2·context pixels is one tile, since others are computed from as many.

    Args:
        length: pixels of the image.
        padded: the same with what was added to please the network; a multiple of `traits.multiple`.
        tile: the greatest side of what is kept of a tile.
        traits: of the network.
    """
    if traits.context is None:
        return padded, [Span(0, 0, length)]
    context = _up_to(traits.context, traits.align)
    tile = _up_to(tile, traits.align)
    if padded <= tile + 2 * context:
        return padded, [Span(0, 0, length)]
    halves = _up_to(math.ceil(padded / 2), traits.align) <= tile + context
    count = 2 if halves else math.ceil(padded / tile)
    kept = _up_to(math.ceil(padded / count), traits.align)
    window = kept + min(count - 1, 2) * context
    # The last window ends at the border and begins at a multiple of `align` too.
    window = min(window + (padded - window) % traits.align, padded)
    begins = range(0, length, kept)
    return window, [
        Span(min(max(begin - context, 0), padded - window), begin, min(begin + kept, length)) for begin in begins
    ]


def _tiles(images: Sequence[Pixels], which: Sequence[int], traits: Traits, limits: Limits) -> list[Tile]:
    """Return the tiles of the images `which`, those of one size beside each other."""
    found = [tile for index in which for tile in _tiles_of(index, images[index], traits, limits)]
    return sorted(found, key=lambda tile: tile.shape)


def _tiles_of(index: int, image: Pixels, traits: Traits, limits: Limits) -> Iterator[Tile]:
    sides = [_up_to(max(side, traits.minimum), traits.multiple) for side in image.shape[:2]]
    if traits.square:
        sides = [max(sides)] * 2
    (height, rows), (width, columns) = (
        spans(length, side, limits.tile, traits) for length, side in zip(image.shape, sides, strict=False)
    )
    for row in rows:
        for column in columns:
            yield Tile(index, row, column, (height, width))


def _computed(
    tiles: Sequence[Tile],
    images: Sequence[Pixels],
    outputs: Sequence[Pixels],
    network: Network,
    traits: Traits,
    device: torch.device,
) -> bool:
    """Compute tiles of one size and put them into the outputs; return whether memory sufficed."""
    batch = np.stack([_window(images[tile.image], tile) for tile in tiles])
    try:
        results = _levels(network, torch.from_numpy(batch).to(device))
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        results = None
    if results is None:  # outside the handler, whose error would keep the network's tensors alive
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return False
    for tile, result in zip(tiles, results, strict=True):
        rows, columns = (_placed(span, traits.scale) for span in (tile.rows, tile.columns))
        outputs[tile.image][rows[0], columns[0]] = result[rows[1], columns[1]]
    return True


@torch.inference_mode()
def _levels(network: Network, batch: torch.Tensor) -> Pixels:
    """Return the network's output as levels, uint8 (N, h·scale, w·scale, 3); `batch` is uint8 (N, h, w, 3)."""
    output = network(batch.permute(0, 3, 1, 2).contiguous().float() / 255).float()
    if not bool(torch.isfinite(output).all()):
        raise ComputeError("The network's output holds values that are no numbers.", hint="Try --precision float32.")
    levels = output.mul(255).round_().clamp_(0, 255).to(torch.uint8)
    found: Pixels = levels.permute(0, 2, 3, 1).cpu().numpy()
    return found


def _window(image: Pixels, tile: Tile) -> Pixels:
    """Return what a tile is computed from; beyond the image it goes on as its reflection."""
    (top, left), (height, width) = (tile.rows.start, tile.columns.start), tile.shape
    region = image[top : top + height, left : left + width]
    missing = ((0, height - region.shape[0]), (0, width - region.shape[1]), (0, 0))
    return np.pad(region, missing, mode="reflect") if any(after for _, after in missing) else region


def _placed(span: Span, scale: int) -> tuple[slice, slice]:
    """Return where a tile goes in the output, and where it is in what was computed."""
    begin, end, start = span.begin * scale, span.end * scale, span.start * scale
    return slice(begin, end), slice(begin - start, end - start)


def _up_to(number: int, multiple: int) -> int:
    return math.ceil(number / multiple) * multiple


def _is_out_of_memory(error: Exception) -> bool:
    # cuDNN, cuBLAS and the CPU's allocator say it in words.
    words = ("ALLOC_FAILED", "not enough memory", "can't allocate memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)


def _does_not_fit(tile: Tile, device: torch.device) -> ComputeError:
    height, width = tile.shape
    return ComputeError(
        f"The memory of {device} does not suffice for the network ({width}×{height} pixels at once).",
        hint="Pass --device cpu, or name a smaller network.",
    )
