"""The losses, as functions of networks and images: no optimizers, no random numbers, no state.

A loss is two things: what the discriminator minimises over reals and fakes, and what the generator minimises
over the scores of its fakes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Critic = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class DiscriminatorFigures:
    """What the discriminator minimises, and the parts worth logging; all 0-dimensional.

    Attributes:
        loss: the sum to minimise.
        wasserstein: E[D(real)] − E[D(fake)], the estimated distance; grows apart, then falls as fakes get
            better.
        gradient_penalty: E[(‖∇D(mix)‖₂ − target)²] / target², before its weight.
    """

    loss: Tensor
    wasserstein: Tensor
    gradient_penalty: Tensor


@dataclass(frozen=True)
class WganGp:
    """Wasserstein loss with gradient penalty and drift.

    Discriminator: E[D(fake)] − E[D(real)] + λ·E[(‖∇D(mix)‖₂ − γ)²]/γ² + ε·E[D(real)²]; generator:
    −E[D(G(z))].

    Attributes:
        gp_weight: λ.
        gp_target: γ, 1 in the paper, 750 for CIFAR-10.
        drift_weight: ε, holds the scores of reals near zero.

    Source: Gulrajani et al. 2017; Karras et al. 2018, appendix A and B.
    """

    gp_weight: float = 10.0
    gp_target: float = 1.0
    drift_weight: float = 0.001

    def discriminator(self, critic: Critic, reals: Tensor, fakes: Tensor, shares: Tensor) -> DiscriminatorFigures:
        """Return the discriminator's loss and its parts.

        Args:
            critic: images (N, C, L, L) -> scores (N,).
            reals: (N, C, L, L).
            fakes: as many, same shape.
            shares: (N,) in [0, 1), each mixed image's share of the fake.
        """
        real_scores, fake_scores = critic(reals), critic(fakes)
        wasserstein = real_scores.mean() - fake_scores.mean()
        mixed = torch.lerp(reals, fakes, shares[:, None, None, None])
        penalty = gradient_penalty(critic, mixed, self.gp_target)
        drift = real_scores.square().mean()
        loss = -wasserstein + self.gp_weight * penalty + self.drift_weight * drift
        return DiscriminatorFigures(loss, wasserstein.detach(), penalty.detach())

    def generator(self, scores: Tensor) -> Tensor:
        """Return the generator's loss from the scores (N,) of its images."""
        return -scores.mean()


def gradient_penalty(critic: Critic, images: Tensor, target: float) -> Tensor:
    """Return E[(‖∇D(x)‖₂ − target)²] / target², differentiable in the critic's parameters.

    The gradient is that of the sum of scores with respect to the images: with the minibatch standard
    deviation, a score also depends on the other images of its group.
    """
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images).sum(), images, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    penalty: Tensor = (norms - target).square().mean() / target**2
    return penalty
