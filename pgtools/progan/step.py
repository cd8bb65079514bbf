"""One training step: the discriminator learns from reals and fakes, then the generator from its judgement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.layers import fade
from pgtools.progan.losses import WganGp
from pgtools.runtime.seeds import integer_seed

# What a step measures, in this order.
FIGURES = ("loss_generator", "loss_discriminator", "wasserstein", "gradient_penalty")


@dataclass(frozen=True)
class Networks:
    """The two that play, and the generator's running average that is shown, scored and kept."""

    generator: Generator
    discriminator: Discriminator
    average: Generator


@dataclass(frozen=True)
class Optimizers:
    """Adam for each player; its state begins anew when the set of live layers changes."""

    generator: torch.optim.Adam
    discriminator: torch.optim.Adam


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step, named by the seed and the real images shown before it.

    They are drawn on the CPU, so every device gets the same, and a resumed run needs no generator's state.
    """

    seed: int
    images: int
    device: torch.device

    def latents(self, purpose: str, count: int, size: int) -> Tensor:
        """Return standard normal latents (count, size)."""
        return torch.randn(count, size, generator=self._stream(purpose)).to(self.device)

    def shares(self, count: int) -> Tensor:
        """Return each mixed image's share of the fake, (count,) uniform in [0, 1)."""
        return torch.rand(count, generator=self._stream("mix")).to(self.device)

    def mirrored(self, count: int) -> Tensor:
        """Return which images to mirror, bool (count,), half of them on average."""
        return (torch.rand(count, generator=self._stream("mirror")) < 0.5).to(self.device)

    def _stream(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(integer_seed(self.seed, "step", purpose, self.images))


def discriminator_step(
    networks: Networks, adam: torch.optim.Adam, reals: Tensor, lod: float, *, loss: WganGp, draws: Draws
) -> Tensor:
    """Update the discriminator once and return (loss, wasserstein, gradient penalty), shape (3,).

    Args:
        networks: the generator only makes fakes here.
        adam: of the discriminator.
        reals: (N, C, L, L) in [-1, 1], faded as the level is.
        lod: level of detail.
        loss: what to minimise.
        draws: latents and mixing shares come from here.
    """
    generator, discriminator = networks.generator, networks.discriminator
    with torch.no_grad():
        fakes = generator(draws.latents("discriminator", len(reals), generator.shape.latent), lod)
    figures = loss.discriminator(lambda x: discriminator(x, lod)[0], reals, fakes, draws.shares(len(reals)))
    adam.zero_grad()
    torch.autograd.backward(figures.loss)
    adam.step()
    return torch.stack([figures.loss.detach(), figures.wasserstein, figures.gradient_penalty])


def generator_step(
    networks: Networks, adam: torch.optim.Adam, count: int, lod: float, *, loss: WganGp, draws: Draws
) -> Tensor:
    """Update the generator once on `count` fakes and return its loss, shape ()."""
    generator, discriminator = networks.generator, networks.discriminator
    discriminator.requires_grad_(False)  # its gradients are not wanted here, and cost a third of the time
    fakes = generator(draws.latents("generator", count, generator.shape.latent), lod)
    value = loss.generator(discriminator(fakes, lod)[0])
    adam.zero_grad()
    torch.autograd.backward(value)
    adam.step()
    discriminator.requires_grad_(True)
    return value.detach()


def prepare_reals(images: Tensor, weight: float, mirrored: Tensor | None) -> Tensor:
    """Return uint8 images as float32 in [-1, 1], the marked ones mirrored, faded by `weight`; same shape."""
    scaled = images.float() / 127.5 - 1
    if mirrored is not None:
        scaled = torch.where(mirrored[:, None, None, None], scaled.flip(3), scaled)
    return fade(scaled, weight)


@torch.no_grad()
def update_average(networks: Networks, keep: float) -> None:
    """Move the average towards the generator: keep·average + (1 − keep)·generator."""
    pairs: Iterator[tuple[nn.Parameter, nn.Parameter]] = zip(
        networks.average.parameters(), networks.generator.parameters(), strict=True
    )
    for average, current in pairs:
        average.lerp_(current, 1 - keep)
