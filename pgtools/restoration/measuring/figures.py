"""How close two images are, and how much of JPEG's grid an image shows. Arrays in, numbers out.

Convention: images are uint8 RGB (H, W, 3), or one float plane (H, W) in 0..255; figures are float64 and never
rounded. "Luminance" is the studio-swing Y of BT.601 (16..235), as tables of super-resolution mean it, unrounded.
PSNR and SSIM count on a range of 255 for both.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging import conventions
from pgtools.imaging.ssim import SIGMA, WINDOW, blur, contrast_term, gaussian, luminance_term, moments

Pixels = NDArray[np.uint8] | NDArray[np.float64]

BLOCK = 8


def luminance(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the studio-swing luminance Y of BT.601, float64 (H, W) in 16..235, of an RGB image.

    Y = 16 + (65.481 R + 128.553 G + 24.966 B) / 255, not rounded (MATLAB rounds it for integer images). The luma
    that JPEG stores, without the 16 and the smaller range, is `imaging.conventions.luminance`.
    """
    luma: NDArray[np.float64] = 16 + conventions.luminance(image) * (219 / 255)
    return luma


def psnr(a: Pixels, b: Pixels) -> float:
    """Return the peak signal-to-noise ratio in dB, 10·log10(255² / MSE); higher is closer, inf for equal images.

    Args:
        a: an image in 0..255; RGB images count all three channels.
        b: another of the same shape.

    Raises:
        InputError: the shapes differ, or there are no pixels.
    """
    _check_alike(a, b)
    error = float(np.square(a.astype(np.float64) - b).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the mean structural similarity of two images' luminance, in -1..1; 1 for equal images.

    An 11×11 Gaussian window of sigma 1.5, valid pixels only, K1 = 0.01, K2 = 0.03, on a range of 255.

    Args:
        a: uint8 RGB (H, W, 3), 11 pixels or more along both sides.
        b: another of the same shape.

    Raises:
        InputError: the shapes differ, or a side is shorter than the window.

    Source: Wang et al. 2004.
    """
    _check_alike(a, b)
    if min(a.shape[:2]) < WINDOW:
        raise InputError(f"The images are {a.shape[1]}×{a.shape[0]} pixels; SSIM takes {WINDOW} or more a side.")
    planes = moments(torch.from_numpy(luminance(a)), torch.from_numpy(luminance(b)))
    blurred = blur(planes, gaussian(WINDOW, SIGMA))
    return float((contrast_term(blurred) * luminance_term(blurred)).mean())


def blockiness(image: NDArray[np.uint8]) -> float:
    """Return the blocking effect factor of an image's luminance: 0 without visible blocks, more the worse.

    With D_B the mean square of the difference of two neighbouring pixels on either side of a border between 8×8
    blocks, and D_N the same for all other neighbours (across and down together):

        BEF = max(0, D_B − D_N) · log2(8) / log2(min(H, W))

    It is in squared levels, so that PSNR-B can add it to the mean squared error. It needs no original. JPEG's grid
    is taken to begin at the top left pixel, where it does unless the image was cut: pixels 7 and 8, 15 and 16, …
    lie on either side of a border. A photograph without JPEG scatters about 0, and half of them above.

    Args:
        image: uint8 RGB (H, W, 3), at least one side longer than 8 pixels.

    Raises:
        InputError: the image has no border between blocks.

    Source: Yim and Bovik 2011, "Quality assessment of deblocked images".
    """
    height, width = image.shape[:2]
    if max(height, width) <= BLOCK:
        raise InputError(f"The image is {width}×{height} pixels; blocks of {BLOCK}² show from {BLOCK + 1} on.")
    plane = luminance(image)
    across, down = np.square(np.diff(plane, axis=1)), np.square(np.diff(plane, axis=0)).T
    at_border = [steps[:, BLOCK - 1 :: BLOCK] for steps in (across, down)]
    pairs, border_pairs = across.size + down.size, sum(steps.size for steps in at_border)
    border_sum = sum(float(steps.sum()) for steps in at_border)
    inside = (float(across.sum() + down.sum()) - border_sum) / (pairs - border_pairs)
    excess = border_sum / border_pairs - inside
    return max(0.0, excess) * math.log2(BLOCK) / math.log2(max(2, min(height, width)))


def _check_alike(a: Pixels, b: Pixels) -> None:
    if a.shape != b.shape or not a.size:
        raise InputError(f"Images of shapes {a.shape} and {b.shape}; expected the same, with pixels.")
