"""The Laplacian pyramid of the sliced Wasserstein distance.

Convention: [1 4 6 4 1]/16 along both axes, borders mirrored without repeating the edge (`cv2.pyrDown`,
`scipy.ndimage` mode "mirror"), float32 on the 0..255 scale. Not the store's pyramid, which takes 2×2 means.

On the CPU, OpenCV does it image by image, the same to the last bits of float32. Elsewhere the filters are sums of
slices, not convolutions: on CUDA a convolution may round to TF32.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError
from pgtools.imaging.pyramid import levels_below

LOWEST_LEVEL = 16
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def pyramid_levels(resolution: int) -> tuple[int, ...]:
    """Return the sides of the levels, e.g. 64 → (64, 32, 16).

    Raises:
        InputError: the resolution is under 16.
    """
    if resolution < LOWEST_LEVEL:
        raise InputError(
            f"The images are {resolution}² pixels; SWD is defined from {LOWEST_LEVEL}² up.",
            hint="There is no lower level: take larger images, or enlarge both sets in the same way.",
        )
    return tuple(level for level in levels_below(resolution) if level >= LOWEST_LEVEL)


def laplacian_levels(images: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield (side, level) from the finest level to 16².

    A level is the image at that side minus the doubled next smaller one; the last is the low-pass itself.

    Args:
        images: float32 (N, C, R, R) in 0..255, R a power of two from 16 up.
    """
    for side in pyramid_levels(images.shape[-1])[:-1]:
        smaller = down(images)
        yield side, images - up(smaller)
        images = smaller
    yield LOWEST_LEVEL, images


def laplacian_levels_of(image: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield what `laplacian_levels` does for one image, float32 (R, R, C), on the CPU; levels are (side, side, C).

    One image fits the cache of a core: do several in threads, with OpenCV's own switched off.
    """
    for side in pyramid_levels(len(image))[:-1]:
        smaller = cv2.pyrDown(image).reshape(side // 2, side // 2, -1)
        yield side, image - cv2.pyrUp(smaller).reshape(side, side, -1)
        image = smaller
    yield LOWEST_LEVEL, image


def down(images: Tensor) -> Tensor:
    """Return the images blurred by the 5×5 binomial, every second pixel: (N, C, H, W) → (N, C, H/2, W/2)."""
    height, width = images.shape[-2:]
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    rows = _weighted([padded[..., k : k + height : 2, :] for k in range(5)])
    return _weighted([rows[..., k : k + width : 2] for k in range(5)])


def up(images: Tensor) -> Tensor:
    """Return the images doubled, zeros between, under 4 × the binomial: (N, C, H, W) → (N, C, 2H, 2W).

    On the doubled grid the row that mirrors beyond the last (odd, empty) one is the last filled one, so the
    far border repeats its pixel where the near border mirrors.
    """
    padded = torch.cat((images[..., 1:2, :], images, images[..., -1:, :]), dim=-2)
    rows = torch.stack(_even_and_odd(padded[..., :-2, :], images, padded[..., 2:, :]), dim=-2).flatten(-3, -2)
    padded = torch.cat((rows[..., 1:2], rows, rows[..., -1:]), dim=-1)
    return torch.stack(_even_and_odd(padded[..., :-2], rows, padded[..., 2:]), dim=-1).flatten(-2)


def _even_and_odd(before: Tensor, here: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    # The binomial on a line with zeros between: (1, 6, 1)/8 falls on filled pixels, (4, 4)/8 between them.
    return (before + 6 * here + after) / 8, (here + after) / 2


def _weighted(taps: list[Tensor]) -> Tensor:
    total = _BINOMIAL[0] * taps[0]
    for weight, tap in zip(_BINOMIAL[1:], taps[1:], strict=True):
        total.add_(tap, alpha=weight)
    return total
