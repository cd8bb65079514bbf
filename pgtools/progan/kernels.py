"""Kernels that a turn of training forms once, however many passes it takes."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


class Kernelled(nn.Module, abc.ABC):
    """A layer that multiplies by a kernel formed from its weight.

    Attributes:
        weight: what is trained.
    """

    weight: nn.Parameter

    def __init__(self) -> None:
        super().__init__()
        # Of passes with and without a gradient; None outside `kernels_once`.
        self._kept: dict[bool, Tensor] | None = None

    @abc.abstractmethod
    def formed(self) -> Tensor:
        """Return the kernel, made from the weight."""

    def kernel(self) -> Tensor:
        """Return what the layer multiplies by, made anew or, inside `kernels_once`, made before."""
        if self._kept is None:
            return self.formed()
        with_gradient = torch.is_grad_enabled() and self.weight.requires_grad
        if with_gradient not in self._kept:
            self._kept[with_gradient] = _laid_out(self.formed())
        return self._kept[with_gradient]


@contextlib.contextmanager
def kernels_once(*groups: Sequence[Kernelled]) -> Iterator[None]:
    """Let every layer form its kernel once for all passes inside, as long as no weight changes.

    A discriminator's step passes it two or three times; the kernel's own backward then runs once too. Kernels are laid
    out as the convolutions like them best. Gradients reach the weights also when backward runs outside.

    Args:
        groups: the layers of each network, from `layers.equalized_layers`.
    """
    layers = [layer for group in groups for layer in group]
    for layer in layers:
        layer._kept = {}
    try:
        yield
    finally:
        for layer in layers:
            layer._kept = None


def _laid_out(kernel: Tensor) -> Tensor:
    """Return a convolution's kernel with channels last, by which everything after it has them last too.

    Not on a GPU in float32, whose convolutions are quicker with channels first.
    """
    if kernel.ndim != 4 or (kernel.is_cuda and not torch.is_autocast_enabled("cuda")):
        return kernel
    return kernel.contiguous(memory_format=torch.channels_last)
