"""The losses, as functions of networks and images: no optimizers, no random numbers, no state.

A loss is two things: what the discriminator minimises over reals and fakes, and what the generator minimises
over the judgement of its fakes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Critic(Protocol):
    """Judges images."""

    def __call__(self, images: Tensor, *, minibatches: int = 1) -> tuple[Tensor, Tensor]:
        """Return scores (N,) and class logits (N, labels) of images (N, C, L, L).

        Args:
            images: (N, C, L, L).
            minibatches: how many of equal size lie one after the other in `images`; none sees another.
        """


@dataclass(frozen=True)
class Minibatch:
    """What the discriminator learns from at one step.

    Attributes:
        reals, fakes: (N, C, L, L), about [-1, 1].
        shares: each mixed image's share of the fake, (N,) in [0, 1).
        real_labels, fake_labels: class numbers, int64 (N,); None without classes.
    """

    reals: Tensor
    fakes: Tensor
    shares: Tensor
    real_labels: Tensor | None = None
    fake_labels: Tensor | None = None


@dataclass(frozen=True)
class DiscriminatorFigures:
    """What the discriminator minimises, and the parts worth logging; all 0-dimensional.

    Attributes:
        loss: the sum to minimise.
        distance: how far the scores of reals and fakes are apart, E[D(real)] − E[D(fake)] or, where fakes score
            higher, its negative. Of WGAN-GP the estimated Wasserstein distance.
        gradient_penalty: E[(‖∇D(mix)‖₂ − γ)²] / γ², before its weight; 0 where there is none.
        fake_score: E[D(fake)].
    """

    loss: Tensor
    distance: Tensor
    gradient_penalty: Tensor
    fake_score: Tensor


class Loss(Protocol):
    """What training minimises."""

    def discriminator(self, critic: Critic, batch: Minibatch) -> DiscriminatorFigures:
        """Return the discriminator's loss and its parts."""

    def generator(self, scores: Tensor) -> Tensor:
        """Return the generator's loss from the scores (N,) of its images."""


@dataclass(frozen=True)
class WganGp:
    """Wasserstein loss with gradient penalty and drift.

    Discriminator: E[D(fake)] − E[D(real)] + λ·E[(‖∇D(mix)‖₂ − γ)²]/γ² + ε·E[D(real)²]; generator:
    −E[D(G(z))].

    Attributes:
        gp_weight: λ.
        gp_target: γ, 1 in the paper, 750 for CIFAR-10.
        drift_weight: ε, holds the scores of reals near zero.
        label_weight: of the classes' cross-entropy over reals and fakes (AC-GAN).

    Source: Gulrajani et al. 2017; Karras et al. 2018, appendix A and B.
    """

    gp_weight: float = 10.0
    gp_target: float = 1.0
    drift_weight: float = 0.001
    label_weight: float = 1.0

    def discriminator(self, critic: Critic, batch: Minibatch) -> DiscriminatorFigures:
        """Return the loss of a minibatch and its parts."""
        (real_scores, real_logits), (fake_scores, fake_logits) = judge_both(critic, batch)
        wasserstein = real_scores.mean() - fake_scores.mean()
        mixed = torch.lerp(batch.reals, batch.fakes, batch.shares[:, None, None, None])
        penalty = gradient_penalty(critic, mixed, self.gp_target)
        loss = -wasserstein + self.gp_weight * penalty + self.drift_weight * real_scores.square().mean()
        loss = loss + self.label_weight * (
            class_loss(real_logits, batch.real_labels) + class_loss(fake_logits, batch.fake_labels)
        )
        return DiscriminatorFigures(loss, wasserstein.detach(), penalty.detach(), fake_scores.detach().mean())

    def generator(self, scores: Tensor) -> Tensor:
        """Return the generator's loss from the scores (N,) of its images."""
        return -scores.mean()


@dataclass(frozen=True)
class Lsgan:
    """Least squares: real is 0, fake is 1.

    Discriminator: E[D(x)²] + 0.1·E[(D(G(z)) − 1)²]; generator: E[D(G(z))²]. It needs the discriminator's noise
    against collapse (`noise_strength`).

    Attributes:
        fake_weight: of the fakes' term.
        label_weight: of the classes' cross-entropy over reals and fakes (AC-GAN).

    Source: Karras et al. 2018, appendix B.
    """

    fake_weight: float = 0.1
    label_weight: float = 1.0

    def discriminator(self, critic: Critic, batch: Minibatch) -> DiscriminatorFigures:
        """Return the loss of a minibatch and its parts; there is no gradient penalty."""
        (real_scores, real_logits), (fake_scores, fake_logits) = judge_both(critic, batch)
        loss = real_scores.square().mean() + self.fake_weight * (fake_scores - 1).square().mean()
        loss = loss + self.label_weight * (
            class_loss(real_logits, batch.real_labels) + class_loss(fake_logits, batch.fake_labels)
        )
        fake_score = fake_scores.detach().mean()
        return DiscriminatorFigures(loss, fake_score - real_scores.detach().mean(), torch.zeros_like(loss), fake_score)

    def generator(self, scores: Tensor) -> Tensor:
        """Return the generator's loss from the scores (N,) of its images."""
        return scores.square().mean()


def judge_both(critic: Critic, batch: Minibatch) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return (scores, class logits) of the reals and of the fakes, from one pass: half the kernels to start."""
    scores, logits = critic(torch.cat([batch.reals, batch.fakes]), minibatches=2)
    (real_scores, fake_scores), (real_logits, fake_logits) = scores.chunk(2), logits.chunk(2)
    return (real_scores, real_logits), (fake_scores, fake_logits)


def class_loss(logits: Tensor, labels: Tensor | None) -> Tensor:
    """Return the softmax cross-entropy of class numbers, averaged over the minibatch; 0 without classes."""
    return logits.new_zeros(()) if labels is None else F.cross_entropy(logits, labels)


def gradient_penalty(critic: Critic, images: Tensor, target: float) -> Tensor:
    """Return E[(‖∇D(x)‖₂ − target)²] / target², differentiable in the critic's parameters.

    The gradient is that of the sum of scores with respect to the images: with the minibatch standard
    deviation, a score also depends on the other images of its group.
    """
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(images)[0].sum(), images, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1)
    penalty: Tensor = (norms - target).square().mean() / target**2
    return penalty


def fooled_average(average: Tensor, fake_score: Tensor) -> Tensor:
    """Return d̂ ← 0.9·d̂ + 0.1·clip(E[D(fake)], 0, 1), how sure the least-squares discriminator is of its fakes."""
    return 0.9 * average + 0.1 * fake_score.clamp(0, 1)


def noise_strength(average: Tensor) -> Tensor:
    """Return s = 0.2·max(d̂ − 0.5, 0)²: layers of C channels are multiplied by Gaussians of deviation s·√C."""
    return 0.2 * (average - 0.5).clamp(min=0).square()
