"""What each network's turn in a step computes: from its inputs to the loss, without optimizers.

Each is one module with one forward, so that DDP can share its backward.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.kernels import kernels_once
from pgtools.progan.layers import downsample, equalized_layers, mix, upsample
from pgtools.progan.losses import Loss, Minibatch, class_loss
from pgtools.progan.normalisation import Noise
from pgtools.progan.schedule import Live


@dataclass(frozen=True)
class Inputs:
    """All that a turn takes from outside, on the device; the generator's has no images.

    Attributes:
        latents: (n, latent).
        classes: of the fakes, int64 (n,); None without classes.
        images: the reals, uint8 (n, C, L, L).
        labels: classes of the reals, int64 (n,); None without classes.
        shares: each mixed image's share of the fake, (n,).
        mirrored: which reals to mirror, bool (n,); None for none of them.
    """

    latents: Tensor
    classes: Tensor | None = None
    images: Tensor | None = None
    labels: Tensor | None = None
    shares: Tensor | None = None
    mirrored: Tensor | None = None


def flat(turns: Sequence[Inputs]) -> dict[str, Tensor]:
    """Return the tensors of several turns by names of their own."""
    named = {f"{i} {field.name}": getattr(turn, field.name) for i, turn in enumerate(turns) for field in fields(turn)}
    return {name: value for name, value in named.items() if value is not None}


def refilled(turns: Sequence[Inputs], tensors: Mapping[str, Tensor]) -> list[Inputs]:
    """Return the same turns with other tensors, named as by `flat`."""
    names = [field.name for field in fields(Inputs)]
    found: list[dict[str, Any]] = [{name: tensors.get(f"{i} {name}") for name in names} for i in range(len(turns))]
    return [replace(turn, **values) for turn, values in zip(turns, found, strict=True)]


class DiscriminatorTurn(nn.Module):
    """The discriminator's loss as one module, whose one forward and backward DDP can share."""

    def __init__(self, discriminator: Discriminator, loss: Loss) -> None:
        super().__init__()
        self.discriminator, self.loss = discriminator, loss
        self._layers = equalized_layers(discriminator)

    def forward(self, batch: Minibatch, live: Live, noise: Noise | None) -> Tensor:
        """Return (loss, distance, gradient penalty, mean score of fakes), shape (4,); the first has a gradient."""
        critic = functools.partial(self.discriminator, lod=live, noise=noise)
        with kernels_once(self._layers):
            figures = self.loss.discriminator(critic, batch)
        return torch.stack([figures.loss, figures.distance, figures.gradient_penalty, figures.fake_score])


class GeneratorTurn(nn.Module):
    """The generator's loss as one module; the judging discriminator is not part of it."""

    def __init__(self, generator: Generator, discriminator: Discriminator, loss: Loss, label_weight: float) -> None:
        super().__init__()
        self.generator, self.loss, self.label_weight = generator, loss, label_weight
        self._judge = (discriminator,)  # in a tuple, so that its weights are not this module's
        self._layers = equalized_layers(generator) + equalized_layers(discriminator)

    def forward(self, latents: Tensor, classes: Tensor | None, live: Live, noise: Noise | None) -> Tensor:
        """Return the loss, shape ()."""
        with kernels_once(self._layers):
            scores, logits = self._judge[0](fakes_of(self.generator, latents, classes, live), live, noise=noise)
        return self.loss.generator(scores) + self.label_weight * class_loss(logits, classes)


def fakes_of(generator: Generator, latents: Tensor, classes: Tensor | None, live: Live) -> Tensor:
    """Return generated images, float32 (N, C, L, L), of latents (N, latent) and class numbers (N,)."""
    labels = None if classes is None else F.one_hot(classes, generator.shape.labels).to(latents.dtype)
    images: Tensor = generator(latents, live, labels)
    return images.float()


def prepare_reals(images: Tensor, live: Live, mirrored: Tensor | None) -> Tensor:
    """Return uint8 images as float32 in [-1, 1], the marked ones mirrored, faded as the level is; same shape.

    While a level fades in, a real image is mixed with its own 2×2 means, repeated (paper, figure 2).
    """
    scaled = images.float() / 127.5 - 1
    if mirrored is not None:
        scaled = torch.where(mirrored[:, None, None, None], scaled.flip(3), scaled)
    return mix(scaled, upsample(downsample(scaled)), live.weight) if live.fading else scaled
