"""The MS-SSIM of pairs of images: tensors in, numbers out."""

from __future__ import annotations

import torch
from torch import Tensor

from pgtools.errors import InputError
from pgtools.imaging.conventions import is_power_of_two
from pgtools.metrics.msssim import on_cpu, on_device
from pgtools.metrics.msssim.scales import SCALES, SMALLEST, WEIGHTS


def ms_ssim(a: Tensor, b: Tensor) -> Tensor:
    """Return the MS-SSIM of each pair (a[i], b[i]), float64 (N,) in 0..1, 1 for equal images.

    No score depends on the pairs beside it. CPU and GPU agree to about 1e-12, but for pairs whose mean contrast at
    a scale is 0 to that precision, where the definition itself has no more digits to give.

    Args:
        a: (N, C, R, R) in 0..255, any real dtype, R a power of two from 16 up.
        b: the other images, of the same shape, on the same device.

    Raises:
        InputError: the shapes or devices differ or are not as above, or a pixel is outside of 0..255.
    """
    if a.shape != b.shape or a.ndim != 4 or a.shape[-2] != a.shape[-1] or not a.shape[1]:
        raise InputError(f"Images of shapes {tuple(a.shape)} and {tuple(b.shape)}; expected equal (N, C, R, R).")
    if a.device != b.device:
        raise InputError(f"Images on {a.device} and {b.device}; expected one device.")
    check_side(a.shape[-1])
    for images in (a, b):
        _check_range(images)
    planes = [images.detach().flatten(0, 1) for images in (a, b)]
    return combine(_similarities(*planes).view(*a.shape[:2], SCALES))


def check_side(side: int) -> None:
    """Raise InputError if images of that side have no MS-SSIM here."""
    if side < SMALLEST or not is_power_of_two(side):
        raise InputError(f"The images are {side}² pixels; MS-SSIM here takes powers of two from {SMALLEST}² up.")


def combine(similarities: Tensor) -> Tensor:
    """Return the scores of pairs from what their channels showed at each scale: (N, C, 5) → (N,).

    Means below 0 count as 0; the order is the definition's: mean over channels, weight, product over scales.
    """
    means = similarities.mean(1).clamp(min=0)
    return (means ** means.new_tensor(WEIGHTS)).prod(1)


def _similarities(a: Tensor, b: Tensor) -> Tensor:
    if not len(a):
        return a.new_zeros((0, SCALES), dtype=torch.float64)
    if a.device.type != "cpu":
        return on_device.similarities(a, b)
    # NumPy knows neither bfloat16 nor the smaller floats.
    arrays = [(planes.double() if planes.is_floating_point() else planes).numpy() for planes in (a, b)]
    return torch.from_numpy(on_cpu.similarities(*arrays))


def _check_range(images: Tensor) -> None:
    if images.dtype == torch.uint8 or not images.numel():
        return
    low, high = (float(value) for value in images.aminmax())
    if not (low >= 0 and high <= 255):
        raise InputError(
            f"Pixels from {low:g} to {high:g}; expected 0 to 255.", hint="Scale and clamp them: MS-SSIM has constants."
        )
