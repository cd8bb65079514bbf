"""MS-SSIM's terms by torch in float64, on a GPU: plain steps on some planes at a time, blurred by matrix products.

torch's own convolution in float64 is slow, and a sum of shifted slices reads and writes the planes eleven times an
axis. A product with a band matrix that gives 32 pixels of 42 reads them once, and is bound by memory; TensorFloat-32
never touches float64.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from pgtools.imaging.ssim import C1, C2
from pgtools.metrics.msssim.scales import SCALES, window_at

# Pixels of a, and of b, that are measured at once: about 250 bytes each, 1 GB in all.
AT_ONCE = 1 << 22
# Pixels that one row of a matrix product gives.
BLOCK = 32


def similarities(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean contrast terms of each pair of planes, and at the last scale the mean SSIM, float64 (P, 5).

    Args:
        a: (P, R, R) in 0..255, of any real type, R a power of two from 16 up.
        b: the other planes, of the same shape, on the same device.
    """
    count = max(1, AT_ONCE // a[0].numel())
    starts = range(0, len(a), count)
    return torch.cat([_of_planes(a[start : start + count], b[start : start + count]) for start in starts])


def _of_planes(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.double(), b.double()
    level, means = torch.stack((a + b, a - b)), []
    for scale in range(SCALES):
        last = scale == SCALES - 1
        means.append(term(level, window_at(level.shape[-1]), with_luminance=last).mean((-2, -1)))
        if not last:
            level = halve(level)
    return torch.stack(means, dim=1)


def halve(planes: Tensor) -> Tensor:
    """Return the 2×2 mean: (…, H, W) → (…, H/2, W/2)."""
    halved: Tensor = F.avg_pool2d(planes, 2)
    return halved


def term(level: Tensor, window: list[float], *, with_luminance: bool) -> Tensor:
    """Return the contrast term, or SSIM, at each valid pixel: (2, P, H, W) of s and d → (P, H − n + 1, W − n + 1)."""
    means, squares = blur(torch.cat((level, level * level)), window).chunk(2)
    powers = means * means
    sums, differences = squares.sub_(powers)
    similar: Tensor = 1 - 2 * differences / (sums + differences + 2 * C2)
    if with_luminance:
        similar *= (powers[0] - powers[1] + 2 * C1) / (powers[0] + powers[1] + 2 * C1)
    return similar


def blur(planes: Tensor, window: list[float]) -> Tensor:
    """Return the planes under the window along both axes, valid pixels only: (…, H, W) → (…, H − n + 1, W − n + 1)."""
    return _blur_columns_of_transposed(_blur_columns_of_transposed(planes, window), window)


def _blur_columns_of_transposed(planes: Tensor, window: list[float]) -> Tensor:
    """Blur along the last axis and swap the last two: (…, H, W) → (…, W − n + 1, H)."""
    *lead, height, width = planes.shape
    length = width - len(window) + 1
    block = min(BLOCK, length)
    reach, blocks = block + len(window) - 1, length // block
    band = _band(block, window, planes)
    rows = planes.reshape(-1, width)
    found = planes.new_empty(*lead, length, height)
    by_row = found.transpose(-1, -2)
    # (blocks, rows, reach) overlap in memory, where a batched product takes them as they lie.
    covered = torch.bmm(rows.unfold(1, reach, block).transpose(0, 1), band.expand(blocks, -1, -1))
    whole = by_row[..., : blocks * block].view(*lead, height, blocks, block)
    whole.copy_(covered.view(blocks, *lead, height, block).movedim(0, -2))
    if rest := length - blocks * block:
        tail = rows[:, width - rest - len(window) + 1 :] @ band[: rest + len(window) - 1, :rest]
        by_row[..., blocks * block :] = tail.view(*lead, height, rest)
    return found


def _band(block: int, window: list[float], like: Tensor) -> Tensor:
    """Return the matrix (block + n − 1, block) whose column i is the window from row i on."""
    band = like.new_zeros(block + len(window) - 1, block)
    for shift, weight in enumerate(window):
        band.diagonal(-shift).fill_(weight)
    return band
