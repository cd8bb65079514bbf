"""What training makes small, and how fast it moves."""

from __future__ import annotations

import math

from torch import Tensor

from pgtools.restoration.training.settings import RestorerSettings


def learning_rate(step: int, settings: RestorerSettings) -> float:
    """Return Adam's rate at a step: a linear warm-up, then half a cosine down to zero."""
    warm = min(1.0, (step + 1) / max(settings.warmup, 1))
    return settings.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * min(step / settings.steps, 1.0)))


def jpeg_loss(given: Tensor, wanted: Tensor, errors: Tensor) -> Tensor:
    """Return the mean squared error in units of each patch's usual error, so that all qualities count alike.

    A mean absolute error would leave the network where it begins, at doing nothing: most of what JPEG does to a pixel
    is within a level, and the median of that is no error.

    Args:
        given: float32 (N, 3, H, W), the network's output.
        wanted: float32 (N, 3, H, W) in [0, 1].
        errors: float32 (N,), the usual RMS errors in levels.
    """
    squared = ((given - wanted) * 255).square().mean(dim=(1, 2, 3))
    return (squared / (1 + errors).square()).mean()


def enlarging_loss(given: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean absolute error in levels; arguments as for `jpeg_loss`."""
    return ((given - wanted) * 255).abs().mean()
