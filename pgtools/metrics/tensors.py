"""Tensors of a training loop as metrics take them, and how they are computed with beside a training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pgtools.errors import InputError


def pixels(images: Tensor, resolution: int, value_range: tuple[float, float] | None) -> Tensor:
    """Return images as metrics take them, uint8 (N, 3, R, R).

    Args:
        images: (N, 3, R, R), or (N, 1, R, R) for grey, which is repeated; uint8, or floats with a range.
        resolution: R.
        value_range: (lo, hi) of floats: lo becomes 0, hi 255, rounded half-to-even and clipped.

    Raises:
        InputError: another shape or type, floats without a range, or values that are no finite numbers.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.shape[2:] != (resolution, resolution):
        expected = f"(N, 3, {resolution}, {resolution}) or (N, 1, {resolution}, {resolution})"
        raise InputError(f"Images have shape {tuple(images.shape)}; expected {expected}.")
    if images.is_floating_point():
        images = _quantised(images.detach(), value_range)
    elif images.dtype != torch.uint8:
        raise InputError(f"Images are {images.dtype}; expected uint8, or floats with a value_range.")
    elif value_range is not None:
        raise InputError("Images are uint8, which is 0 to 255: leave value_range out.")
    return images.expand(-1, 3, -1, -1).contiguous()


def _quantised(images: Tensor, value_range: tuple[float, float] | None) -> Tensor:
    """Return floats as uint8, rounded half-to-even and clipped, as they would go into a file."""
    if value_range is None:
        raise InputError(
            f"Images are {images.dtype}, whose range is not known.",
            hint="Pass value_range=(-1, 1), (0, 1) or what it is.",
        )
    low, high = value_range
    if not low < high:
        raise InputError(f"value_range is {value_range}; expected (lo, hi) with lo under hi.")
    images = images.float()
    if not torch.isfinite(images).all():
        raise InputError("Images hold values that are no finite numbers.")
    return ((images - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)


def usual_device() -> torch.device:
    """Return this process' CUDA device where there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


@contextlib.contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Compute without gradients and in whole float32 inside, whatever the training around has switched on."""
    with torch.no_grad(), torch.autocast(device.type, enabled=False), _whole_float32(device):
        yield


@contextlib.contextmanager
def _whole_float32(device: torch.device) -> Iterator[None]:
    """Keep CUDA from rounding factors to TF32's 10 bits."""
    if device.type != "cuda":
        yield
        return
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    switches: list[tuple[Any, str, Any]] = []
    for module in (matmul, cudnn):
        try:
            switches.append((module, "allow_tf32", module.allow_tf32))
        except RuntimeError:  # this program switches it the newer way, which is the only one then
            newer = module if module is matmul else module.conv
            switches.append((newer, "fp32_precision", newer.fp32_precision))
    try:
        for module, name, _ in switches:
            setattr(module, name, False if name == "allow_tf32" else "ieee")
        yield
    finally:
        for module, name, before in switches:
            setattr(module, name, before)
