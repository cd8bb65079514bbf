from __future__ import annotations

import numpy as np
import pytest
import torch

from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.losses import WganGp, gradient_penalty
from tests.reference import progan as twin


def test_wgan_gp_of_a_linear_critic_by_hand() -> None:
    # D(x) = Σ w·x over one pixel of three colours: scores, gradient norms and the gradient in w are known.
    w = torch.tensor([2.0, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    reals = torch.tensor([[1.0, 0, 0], [3.0, 0, 0]], dtype=torch.float64)[:, :, None, None]
    fakes = torch.tensor([[-1.0, 0, 0], [0.0, 5, 0]], dtype=torch.float64)[:, :, None, None]
    loss = WganGp(gp_weight=10, gp_target=1, drift_weight=0.001)
    figures = loss.discriminator(lambda x: (x.flatten(1) * w).sum(1), reals, fakes, torch.tensor([0.3, 0.9]).double())
    assert figures.wasserstein.item() == pytest.approx(4 - -1)  # mean(2, 6) − mean(−2, 0)
    assert figures.gradient_penalty.item() == pytest.approx(1)  # (2 − 1)²
    assert figures.loss.item() == pytest.approx(-5 + 10 * 1 + 0.001 * 20)  # drift: mean(4, 36)
    (slope,) = torch.autograd.grad(figures.loss, w)
    # −(mean real − mean fake) + 10·2(‖w‖ − 1)·w/‖w‖ + 0.001·mean(2·D(real)·real)
    assert slope[0].item() == pytest.approx(-(2 - -0.5) + 20 + 0.001 * (2 * 2 * 1 + 2 * 6 * 3) / 2)


def test_the_generator_wants_high_scores() -> None:
    assert WganGp().generator(torch.tensor([1.0, 3.0])).item() == -2


@pytest.mark.parametrize("target", [1.0, 750.0])
def test_the_penalty_is_its_twin_through_the_minibatch_stddev(target: float) -> None:
    network = Discriminator(Architecture(8, fmap_base=16, fmap_max=4), seed=1).double().requires_grad_(False)
    x = np.random.default_rng(0).uniform(-1, 1, (4, 3, 8, 8))

    def scores(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(images), 0.4)[0].numpy()

    found = gradient_penalty(lambda images: network(images, 0.4)[0], torch.from_numpy(x), target)
    assert found.item() == pytest.approx(twin.gradient_penalty(scores, x, target), rel=1e-6)


def test_the_penalty_reaches_the_weights_and_survives_a_flat_critic() -> None:
    weight = torch.zeros(3, 1, 1, dtype=torch.float64, requires_grad=True)
    penalty = gradient_penalty(lambda x: (x * weight).sum((1, 2, 3)), torch.ones(2, 3, 1, 1).double(), 1.0)
    (slope,) = torch.autograd.grad(penalty, weight)
    assert penalty.item() == 1
    assert torch.isfinite(slope).all()


def test_images_are_mixed_each_by_its_own_share() -> None:
    seen: list[torch.Tensor] = []

    def critic(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach())
        return x.sum((1, 2, 3))

    reals, fakes = torch.zeros(3, 1, 1, 1), torch.ones(3, 1, 1, 1)
    WganGp().discriminator(critic, reals, fakes, torch.tensor([0.0, 0.25, 0.5]))
    np.testing.assert_allclose(seen[-1].flatten(), [0, 0.25, 0.5])
