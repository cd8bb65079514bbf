"""The same networks and the same step, written the plain way: eager, float32, nothing kept, nothing joined.

It is what the engine is timed against. The fused scaling is kept, as it belongs to the networks; the discriminator
judges reals, fakes and mixed images one after the other, every layer scales its weight each time, Adam and the running
average are PyTorch's defaults. Only the final paper's networks and loss are here.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from pgtools.progan.config import Architecture, TrainSettings
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.schedule import Live

Weights = dict[str, Tensor]


class PlainStep:
    """A discriminator step, a generator step and the average, on copies of two networks.

    Args:
        generator, discriminator: whose weights the copies begin with.
        settings: loss weights, Adam's numbers and the average's share.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator, settings: TrainSettings) -> None:
        self.generator, self.discriminator = copy.deepcopy(generator), copy.deepcopy(discriminator)
        self.average, self.settings = copy.deepcopy(generator).requires_grad_(False), settings
        betas = (settings.beta1, settings.beta2)
        self.adams = [
            torch.optim.Adam(network.parameters(), settings.learning_rate, betas, eps=1e-8)
            for network in (self.generator, self.discriminator)
        ]

    def __call__(self, reals: Tensor, latents: tuple[Tensor, Tensor], shares: Tensor, live: Live) -> Tensor:
        """Update everything once and return both losses, (2,): the generator's, the discriminator's.

        Args:
            reals: (N, C, L, L) in [-1, 1], faded as the level is.
            latents: (N, latent) for each of the two steps.
            shares: (N,), each mixed image's share of the fake.
            live: the levels that take part.
        """
        judged = self._discriminator(reals, latents[0], shares, live)
        self.adams[0].zero_grad()
        self.discriminator.requires_grad_(False)  # any trainer worth beating leaves its gradients out here
        fooled = -self._score(self._fakes(latents[1], live), live).mean()
        torch.autograd.backward(fooled)
        self.adams[0].step()
        self.discriminator.requires_grad_(True)
        with torch.no_grad():
            for kept, current in zip(self.average.parameters(), self.generator.parameters(), strict=True):
                kept.lerp_(current, 1 - self.settings.ema)
        return torch.stack([fooled.detach(), judged])

    def _discriminator(self, reals: Tensor, latents: Tensor, shares: Tensor, live: Live) -> Tensor:
        settings = self.settings
        with torch.no_grad():
            fakes = self._fakes(latents, live)
        of_reals, of_fakes = self._score(reals, live), self._score(fakes, live)
        mixed = torch.lerp(reals, fakes, shares[:, None, None, None]).requires_grad_()
        (slopes,) = torch.autograd.grad(self._score(mixed, live).sum(), mixed, create_graph=True)
        norms = slopes.square().sum(dim=(1, 2, 3)).sqrt()
        penalty = (norms - settings.gp_target).square().mean() / settings.gp_target**2
        drift = of_reals.square().mean()
        loss = of_fakes.mean() - of_reals.mean() + settings.gp_weight * penalty + settings.drift_weight * drift
        self.adams[1].zero_grad()
        torch.autograd.backward(loss)
        self.adams[1].step()
        return loss.detach()

    def _fakes(self, latents: Tensor, live: Live) -> Tensor:
        return generate(dict(self.generator.named_parameters()), self.generator.shape, latents, live)

    def _score(self, images: Tensor, live: Live) -> Tensor:
        return judge(dict(self.discriminator.named_parameters()), self.discriminator.shape, images, live)


def is_plain(shape: Architecture, settings: TrainSettings) -> bool:
    """Return whether a run's networks and loss are those written here."""
    usual = Architecture(shape.resolution)
    sizes = ("latent", "fmap_base", "fmap_decay", "fmap_max", "channels", "fused_scale", "stddev_group")
    return (
        shape == replace(usual, **{size: getattr(shape, size) for size in sizes})
        and shape.stddev_group > 0
        and settings.loss == "wgan-gp"
        and settings.discriminator_steps == 1
    )


def generate(weights: Weights, shape: Architecture, latents: Tensor, live: Live) -> Tensor:
    """Return the images (N, channels, L, L) of latents (N, latent)."""
    x = F.linear(_norm(latents), _scaled(weights["dense.weight"], math.sqrt(2) / 4)).reshape(len(latents), -1, 4, 4)
    x = _norm(_leaky(x + weights["dense.bias"][:, None, None]))
    below = x = _norm(_leaky(_conv(weights, "conv", x)))
    for level in [level for level in shape.levels[1:] if level <= live.upper]:
        kernel, bias = _scaled(weights[f"blocks.{level}.conv0.weight"]), weights[f"blocks.{level}.conv0.bias"]
        below = x
        if shape.fused_scale:
            x = F.conv_transpose2d(x, _shifted(kernel.flip(2, 3).transpose(0, 1)), bias, stride=2, padding=1)
        else:
            x = F.conv2d(F.interpolate(x, scale_factor=2), kernel, bias, padding=1)
        x = _norm(_leaky(_conv(weights, f"blocks.{level}.conv1", _norm(_leaky(x)))))
    images = _conv(weights, f"to_rgb.{live.upper}", x, gain=1)
    if live.fading:
        lower = F.interpolate(_conv(weights, f"to_rgb.{live.lower}", below, gain=1), scale_factor=2)
        images = torch.lerp(images, lower, live.weight)
    return images


def judge(weights: Weights, shape: Architecture, images: Tensor, live: Live) -> Tensor:
    """Return the scores (N,) of images (N, channels, L, L)."""
    x = _leaky(_conv(weights, f"from_rgb.{live.upper}", images))
    for level in [level for level in reversed(shape.levels[1:]) if level <= live.upper]:
        x = _leaky(_conv(weights, f"blocks.{level}.conv0", x))
        if shape.fused_scale:
            kernel, bias = _scaled(weights[f"blocks.{level}.conv1.weight"]), weights[f"blocks.{level}.conv1.bias"]
            x = _leaky(F.conv2d(x, _shifted(kernel) / 4, bias, stride=2, padding=1))
        else:
            x = F.avg_pool2d(_leaky(_conv(weights, f"blocks.{level}.conv1", x)), 2)
        if live.fading and level == live.upper:
            lower = _leaky(_conv(weights, f"from_rgb.{live.lower}", F.avg_pool2d(images, 2)))
            x = torch.lerp(x, lower, live.weight)
    group = min(shape.stddev_group, len(x))
    spread = (x.reshape(group, -1, *x.shape[1:]).var(dim=0, unbiased=False) + 1e-8).sqrt().mean(dim=(1, 2, 3))
    x = torch.cat([x, spread.repeat(group)[:, None, None, None].expand(-1, 1, 4, 4)], dim=1)
    x = _leaky(_conv(weights, "conv", x)).flatten(1)
    x = _leaky(F.linear(x, _scaled(weights["dense0.weight"]), weights["dense0.bias"]))
    return F.linear(x, _scaled(weights["dense1.weight"], 1), weights["dense1.bias"])[:, 0]


def _scaled(weight: Tensor, gain: float = math.sqrt(2)) -> Tensor:
    return weight * (gain / math.sqrt(math.prod(weight.shape[1:])))


def _conv(weights: Weights, name: str, x: Tensor, gain: float = math.sqrt(2)) -> Tensor:
    kernel = _scaled(weights[f"{name}.weight"], gain)
    return F.conv2d(x, kernel, weights[f"{name}.bias"], padding=kernel.shape[-1] // 2)


def _shifted(kernel: Tensor) -> Tensor:
    padded = F.pad(kernel, (1, 1, 1, 1))
    return padded[..., 1:, 1:] + padded[..., :-1, 1:] + padded[..., 1:, :-1] + padded[..., :-1, :-1]


def _leaky(x: Tensor) -> Tensor:
    return F.leaky_relu(x, 0.2)


def _norm(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)
