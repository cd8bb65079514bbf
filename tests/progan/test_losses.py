from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.losses import (
    Lsgan,
    Minibatch,
    WganGp,
    class_loss,
    fooled_average,
    gradient_penalty,
    noise_strength,
)
from tests.reference import progan as twin

NO_CLASSES = torch.zeros(2, 0)


def linear(w: torch.Tensor):  # type: ignore[no-untyped-def]
    """D(x) = Σ w·x over one pixel of three colours: scores, gradient norms and the gradient in w are known."""
    return lambda x, minibatches=1: ((x.flatten(1) * w).sum(1), NO_CLASSES)


def pixels(*colours: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(colours, dtype=torch.float64)[:, :, None, None]


def test_wgan_gp_of_a_linear_critic_by_hand() -> None:
    w = torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    batch = Minibatch(pixels((1, 0, 0), (3, 0, 0)), pixels((-1, 0, 0), (0, 5, 0)), torch.tensor([0.3, 0.9]).double())
    figures = WganGp(gp_weight=10, gp_target=1, drift_weight=0.001).discriminator(linear(w), batch)
    assert figures.distance.item() == pytest.approx(4 - -1)  # mean(2, 6) − mean(−2, 0)
    assert figures.fake_score.item() == pytest.approx(-1)
    assert figures.gradient_penalty.item() == pytest.approx(1)  # (2 − 1)²
    assert figures.loss.item() == pytest.approx(-5 + 10 * 1 + 0.001 * 20)  # drift: mean(4, 36)
    (slope,) = torch.autograd.grad(figures.loss, w)
    # −(mean real − mean fake) + 10·2(‖w‖ − 1)·w/‖w‖ + 0.001·mean(2·D(real)·real)
    assert slope[0].item() == pytest.approx(-(2 - -0.5) + 20 + 0.001 * (2 * 2 * 1 + 2 * 6 * 3) / 2)


def test_the_generator_wants_high_scores() -> None:
    assert WganGp().generator(torch.tensor([1.0, 3.0])).item() == -2


def test_least_squares_by_hand() -> None:
    w = torch.tensor([0.5, 0.0, 0.0], dtype=torch.float64)
    batch = Minibatch(pixels((1, 0, 0), (3, 0, 0)), pixels((-1, 0, 0), (4, 5, 0)), torch.zeros(2).double())
    figures = Lsgan().discriminator(linear(w), batch)
    # Reals score 0.5 and 1.5, wanted at 0; fakes −0.5 and 2, wanted at 1, of weight 0.1.
    assert figures.loss.item() == pytest.approx((0.25 + 2.25) / 2 + 0.1 * (2.25 + 1) / 2)
    assert figures.distance.item() == pytest.approx(0.75 - 1)
    assert figures.gradient_penalty.item() == 0
    assert Lsgan().generator(torch.tensor([-1.0, 3.0])).item() == 5  # fakes want to score as reals do


def test_noise_grows_with_the_discriminators_success() -> None:
    average = torch.tensor(0.8)
    assert fooled_average(average, torch.tensor(3.0)).item() == pytest.approx(0.9 * 0.8 + 0.1)  # clipped to 1
    assert fooled_average(average, torch.tensor(-1.0)).item() == pytest.approx(0.72)
    assert noise_strength(torch.tensor(0.5)).item() == 0 == noise_strength(torch.tensor(0.1)).item()
    assert noise_strength(torch.tensor(1.0)).item() == pytest.approx(0.05)


@pytest.mark.parametrize("loss", [WganGp(label_weight=0.5), Lsgan(label_weight=0.5)])
def test_classes_add_their_cross_entropy_over_reals_and_fakes(loss: WganGp | Lsgan) -> None:
    logits = {0.0: torch.tensor([[0.0, 1.0], [2.0, 0.0]]), 1.0: torch.tensor([[3.0, 0.0], [0.0, 0.0]])}

    def critic(x: torch.Tensor, *, minibatches: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        # Reals are 0 and fakes 1 throughout, two of each; mixed images are neither.
        values = x.detach().flatten().tolist()
        rows = [logits[v][values[:i].count(v)] if v in logits else torch.zeros(2) for i, v in enumerate(values)]
        return x.sum((1, 2, 3)), torch.stack(rows)

    images = torch.zeros(2, 1, 1, 1), torch.ones(2, 1, 1, 1), torch.full((2,), 0.5)
    plain = loss.discriminator(critic, Minibatch(*images)).loss
    real, fake = torch.tensor([1, 1]), torch.tensor([0, 1])
    found = loss.discriminator(critic, Minibatch(*images, real, fake)).loss
    softmax = [math.log1p(math.exp(-1)), math.log1p(math.exp(2)), math.log1p(math.exp(-3)), math.log(2)]
    assert (found - plain).item() == pytest.approx(0.5 * (sum(softmax[:2]) / 2 + sum(softmax[2:]) / 2), rel=1e-5)
    assert class_loss(logits[0.0], None).item() == 0


@pytest.mark.parametrize("target", [1.0, 750.0])
def test_the_penalty_is_its_twin_through_the_minibatch_stddev(target: float) -> None:
    network = Discriminator(Architecture(8, fmap_base=16, fmap_max=4), seed=1).double().requires_grad_(False)
    x = np.random.default_rng(0).uniform(-1, 1, (4, 3, 8, 8))

    def scores(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(images), 0.4)[0].numpy()

    found = gradient_penalty(lambda images: network(images, 0.4), torch.from_numpy(x), target)
    assert found.item() == pytest.approx(twin.gradient_penalty(scores, x, target), rel=1e-6)


def test_the_penalty_reaches_the_weights_and_survives_a_flat_critic() -> None:
    weight = torch.zeros(3, 1, 1, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty(lambda x: ((x * weight).sum((1, 2, 3)), NO_CLASSES), torch.ones(2, 3, 1, 1).double(), 1)
    (slope,) = torch.autograd.grad(penalty, weight)
    assert penalty.item() == 1
    assert torch.isfinite(slope).all()


def test_images_are_mixed_each_by_its_own_share() -> None:
    seen: list[torch.Tensor] = []

    def critic(x: torch.Tensor, *, minibatches: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(x.detach())
        return x.sum((1, 2, 3)), NO_CLASSES

    batch = Minibatch(torch.zeros(3, 1, 1, 1), torch.ones(3, 1, 1, 1), torch.tensor([0.0, 0.25, 0.5]))
    WganGp().discriminator(critic, batch)
    np.testing.assert_allclose(seen[-1].flatten(), [0, 0.25, 0.5])
