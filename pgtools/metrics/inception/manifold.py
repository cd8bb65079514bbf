"""Precision and recall: how many generated images lie among the real ones, and the other way round.

Each image of a set has a ball that reaches to its k-th neighbour of the set; all balls together are the set's manifold.
Precision is the share of generated images inside the real manifold, recall that of real ones inside the generated.

The distances are torch-fidelity's, block by block, and so the figures are, bit for bit; but no N × N table is held.
Source: Kynkäänniemi et al. 2019.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError

with warnings.catch_warnings():
    # Importing it puts its own filters before the user's; this takes them back.
    from torch_fidelity.metric_prc import calc_cdist_part

# torch-fidelity's own block. Another one would give the same distances to float32 rounding only.
BLOCK = 10_000
# Balls listed of each real image. Where generated images lie far apart, all their balls may hold all real images;
# one that so many hold is left by all of them in no draw.
MOST = 256
# Pairs looked at, and lists looked up in, at a time.
_PAIRS, _LOOKUPS = 1 << 24, 1 << 20


@dataclass(frozen=True)
class Neighbours:
    """The nearest other images of a set's own, nearest first, and how far they are.

    Attributes:
        indices: int64 (N, L).
        distances: float32 (N, L).
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float32]


@dataclass(frozen=True)
class Cover:
    """Which real image lies in a wide ball around which generated one; the three lists run together.

    Attributes:
        real: numbers of real images, ascending, int64 (P,).
        fake: numbers of generated ones, int64 (P,).
        nearer: how many of the generated image's neighbours are nearer to it than the real image, int64 (P,).
    """

    real: NDArray[np.int64]
    fake: NDArray[np.int64]
    nearer: NDArray[np.int64]


@dataclass(frozen=True)
class Membership:
    """Which images are inside the other set's manifold.

    Attributes:
        fake_inside: bool (N,): the generated image is in a real one's ball.
        real_inside: bool (M,): the real image is in a generated one's ball.
        neighbours: of the generated images, and which real ones they reach; None if not asked for.
        cover: see `Cover`; None if not asked for.
    """

    fake_inside: NDArray[np.bool_]
    real_inside: NDArray[np.bool_]
    neighbours: Neighbours | None = None
    cover: Cover | None = None


def check_neighbourhood(images: int, neighbourhood: int) -> None:
    """Raise InputError if a set has too few images for a neighbourhood."""
    if images <= neighbourhood:
        raise InputError(
            f"Found {images} images; a neighbourhood of {neighbourhood} takes at least {neighbourhood + 1}.",
            hint="Give more images, or pass a smaller --neighbourhood.",
        )


def precision_recall(
    fake: NDArray[np.float32], real: NDArray[np.float32], *, neighbourhood: int = 3
) -> tuple[float, float]:
    """Return precision and recall, each 0 to 1, higher is better.

    Args:
        fake: features of the generated images, (N, d).
        real: of the real ones, (M, d).
        neighbourhood: which neighbour a ball reaches to.

    Raises:
        InputError: too few images.
    """
    found = membership(fake, real, neighbourhood=neighbourhood)
    return share(found.fake_inside), share(found.real_inside)


def share(inside: NDArray[np.bool_]) -> float:
    """Return the mean of flags as torch-fidelity computes it, in float32."""
    return float(torch.from_numpy(inside).float().mean())


def membership(
    fake: NDArray[np.float32],
    real: NDArray[np.float32],
    *,
    neighbourhood: int,
    wide: int = 0,
    advance: Callable[[int], None] = lambda _: None,
) -> Membership:
    """Return which images are inside the other set's manifold.

    Args:
        fake: features of the generated images, (N, d).
        real: of the real ones, (M, d).
        neighbourhood: which neighbour a ball reaches to.
        wide: how many neighbours of the generated images to list, for `Cover`; 0 for none.
        advance: told the number of images whose distances are done: N + M + M in all.

    Raises:
        InputError: too few images.
    """
    check_neighbourhood(min(len(fake), len(real)), neighbourhood)
    a, b = (torch.from_numpy(np.ascontiguousarray(features)) for features in (fake, real))
    wide = min(wide, len(fake) - 1)
    real_radii, _ = _reach(b, neighbourhood, 0, advance)
    fake_radii, neighbours = _reach(a, neighbourhood, wide, advance)
    real_inside, fake_inside = torch.zeros(len(b), dtype=torch.bool), torch.zeros(len(a), dtype=torch.bool)
    pieces: list[tuple[Tensor, Tensor, Tensor]] = []
    for start, distances in _tables(b, a):  # (rows of real, N)
        stop = start + len(distances)
        real_inside[start:stop] = (distances <= fake_radii).any(dim=1)
        fake_inside |= (distances <= real_radii[start:stop, None]).any(dim=0)
        if neighbours is not None:
            pieces.append(_covered(distances, start, neighbours))
        advance(len(distances))
    joined = [torch.cat(columns).numpy() for columns in zip(*pieces, strict=True)] if pieces else []
    return Membership(fake_inside.numpy(), real_inside.numpy(), neighbours, Cover(*joined) if joined else None)


def _tables(rows: Tensor, columns: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield the distances of some rows to all columns: (number of the first row, float32 (n, len(columns)))."""
    for start in range(0, len(rows), BLOCK):
        yield start, calc_cdist_part(rows[start : start + BLOCK], columns, BLOCK)


def _reach(
    features: Tensor, neighbourhood: int, wide: int, advance: Callable[[int], None]
) -> tuple[Tensor, Neighbours | None]:
    """Return each image's distance to its k-th neighbour, float32 (N,), and its `wide` nearest if there are any."""
    radii, indices, distances = [], [], []
    for start, table in _tables(features, features):
        # An image is its own nearest neighbour, so the k-th other one is number k + 1.
        radii.append(table.kthvalue(neighbourhood + 1).values)
        if wide:
            here = torch.arange(len(table))
            table[here, start + here] = torch.inf
            found = table.topk(wide, largest=False)
            indices.append(found.indices)
            distances.append(found.values)
        advance(len(table))
    lists = Neighbours(torch.cat(indices).numpy(), torch.cat(distances).numpy()) if wide else None
    return torch.cat(radii), lists


def _covered(distances: Tensor, start: int, neighbours: Neighbours) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pairs of real and generated images that are nearer than the latter's last listed neighbour."""
    lists = torch.from_numpy(neighbours.distances)
    pieces = []
    rows = max(1, _PAIRS // len(lists))
    for first in range(0, len(distances), rows):
        some = distances[first : first + rows]
        real, fake = (some <= lists[:, -1]).nonzero(as_tuple=True)
        nearer = torch.empty(len(real), dtype=torch.int64)
        for at in range(0, len(real), _LOOKUPS):
            few = slice(at, at + _LOOKUPS)
            nearer[few] = torch.searchsorted(lists[fake[few]], some[real[few], fake[few], None])[:, 0]
        kept = _surest(real.numpy(), nearer.numpy())
        pieces.append((real[kept] + (start + first), fake[kept], nearer[kept]))
    real, fake, nearer = (torch.cat(columns) for columns in zip(*pieces, strict=True))
    return real, fake, nearer


def _surest(real: NDArray[np.int64], nearer: NDArray[np.int64]) -> Tensor:
    """Return which pairs to keep, int64: of each real image those `MOST` whose ball holds it most surely."""
    order = np.lexsort((nearer, real))
    counts = np.bincount(real)
    places = np.arange(len(real)) - np.repeat(np.cumsum(counts) - counts, counts)
    return torch.from_numpy(order[places < MOST])
