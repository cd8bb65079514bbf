"""MS-SSIM between the images of one set: how varied they are; lower means more varied.

Convention: five scales; an 11×11 Gaussian window of sigma 1.5, valid pixels only; where a scale is smaller
than 11 the window shrinks with it, sigma too, so images from 16² up have a figure (other libraries refuse
those under 161). Colour channels are measured apart and averaged. In float64, because the mean contrast of
unlike images is near 0, where its small power is steep.

Source: Wang et al. 2003; Karras et al. 2018, section 5.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError
from pgtools.imaging.conventions import is_power_of_two
from pgtools.imaging.ssim import SIGMA, WINDOW, contrast_term, luminance_term, moments
from pgtools.imaging.ssim import blur as _blur
from pgtools.imaging.ssim import gaussian as _gaussian
from pgtools.runtime.seeds import stream
from pgtools.stores.source import ImageSource

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SMALLEST = 1 << (len(WEIGHTS) - 1)
MOST_PAIRS = 10_000


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the MS-SSIM of each pair (a[i], b[i]), float64 (N,) in 0..1, 1 for equal images.

    Args:
        a: (N, C, R, R) in 0..255, any dtype, R a power of two from 16 up.
        b: the other images, of the same shape.

    Raises:
        InputError: the shapes differ or are not as above.
    """
    side = a.shape[-1]
    if a.shape != b.shape or a.ndim != 4 or a.shape[-2] != side:
        raise InputError(f"Images of shapes {tuple(a.shape)} and {tuple(b.shape)}; expected equal (N, C, R, R).")
    if side < SMALLEST or not is_power_of_two(side):
        raise InputError(f"The images are {side}² pixels; MS-SSIM here takes powers of two from {SMALLEST}² up.")
    a, b = a.double(), b.double()
    product = torch.ones(len(a), dtype=torch.float64, device=a.device)
    for scale, weight in enumerate(WEIGHTS):
        last = scale == len(WEIGHTS) - 1
        product *= _similarity(a, b, with_luminance=last).clamp(min=0) ** weight
        if not last:
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return product


def draw_pairs(images: int, pairs: int, seed: int) -> NDArray[np.int64]:
    """Return index pairs, int64 (pairs, 2).

    The images are shuffled by the seed and paired (0, 1), (2, 3), …; when they are used up, they are shuffled
    again. So the first images // 2 pairs share no image, and no pair is of an image with itself.

    Raises:
        InputError: fewer than two images.
    """
    if images < 2:
        raise InputError(f"Found {images} image; a pair takes two.")
    shuffles = -(-pairs // (images // 2))
    numbers = stream(seed, "msssim", "pairs")
    drawn = [numbers.permutation(images)[: images // 2 * 2].reshape(-1, 2) for _ in range(shuffles)]
    return np.concatenate(drawn)[:pairs]


def score_pairs(
    source: ImageSource,
    pairs: NDArray[np.int64],
    *,
    batch: int,
    device: torch.device,
    advance: Callable[[int], None],
) -> NDArray[np.float64]:
    """Return the MS-SSIM of the given pairs of images, float64 (P,).

    Args:
        source: the images.
        pairs: int64 (P, 2), indices into the source.
        batch: pairs measured at once, each of about 350 · R² bytes on the device; no score depends on it.
        device: where to measure.
        advance: told the number of pairs after each batch.
    """
    scores = []
    for some in np.split(pairs, range(batch, len(pairs), batch)):
        images = torch.from_numpy(source.read(some.T.ravel().tolist())).to(device)
        scores.append(ms_ssim(images[: len(some)], images[len(some) :]).cpu().numpy())
        advance(len(some))
    return np.concatenate(scores)


def standard_error(scores: NDArray[np.float64], pairs: NDArray[np.int64]) -> float:
    """Return the standard error of the mean score, for images that may stand in several pairs.

    Two pairs with an image in common are not independent: their products of deviations count too. Without
    shared images this is the usual standard error, s / √P, below which it is never put.

    Args:
        scores: float64 (P,), two or more.
        pairs: int64 (P, 2), what they are scores of.

    Source: Aronow, Samii and Assenova 2015, "Cluster-robust variance estimation for dyadic data".
    """
    deviations = scores - scores.mean()
    by_image = np.bincount(pairs.ravel(), weights=deviations.repeat(2))
    own = np.square(deviations).sum()
    # The square of an image's sum holds every product of its pairs; a pair's own square is in two of them.
    shared = np.square(by_image).sum() - own
    return float(np.sqrt(max(own, shared) / (len(scores) * (len(scores) - 1))))


def _similarity(a: Tensor, b: Tensor, *, with_luminance: bool) -> Tensor:
    """Return SSIM, or its contrast term alone, averaged over pixels and channels: (N, C, H, W) → (N,)."""
    size = min(WINDOW, a.shape[-1])
    blurred = _blur(moments(a, b), _gaussian(size, size * SIGMA / WINDOW))
    similarity = contrast_term(blurred)
    if with_luminance:
        similarity = similarity * luminance_term(blurred)
    return similarity.mean((1, 2, 3))
