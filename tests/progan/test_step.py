from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.losses import WganGp
from pgtools.progan.step import (
    Draws,
    Networks,
    discriminator_step,
    generator_step,
    prepare_reals,
    update_average,
)

SHAPE = Architecture(8, latent=8, fmap_base=32, fmap_max=8)
DRAWS = Draws(seed=0, images=64, device=torch.device("cpu"))


@pytest.fixture
def networks() -> Networks:
    generator = Generator(SHAPE)
    return Networks(generator, Discriminator(SHAPE), copy.deepcopy(generator).requires_grad_(False))


def adam(network: torch.nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(network.parameters(), 0.001, (0.0, 0.99))


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


def test_each_step_changes_its_own_network_only(networks: Networks) -> None:
    generator, discriminator = weights(networks.generator), weights(networks.discriminator)
    reals = torch.zeros(4, 3, 8, 8)
    figures = discriminator_step(networks, adam(networks.discriminator), reals, 0.5, loss=WganGp(), draws=DRAWS)
    assert figures.shape == (3,)
    assert torch.equal(weights(networks.generator), generator)
    changed = weights(networks.discriminator)
    assert not torch.equal(changed, discriminator)
    generator_step(networks, adam(networks.generator), 4, 0.5, loss=WganGp(), draws=DRAWS)
    assert torch.equal(weights(networks.discriminator), changed)
    assert not torch.equal(weights(networks.generator), generator)
    assert all(parameter.requires_grad for parameter in networks.discriminator.parameters())


def test_a_step_lowers_its_own_loss(networks: Networks) -> None:
    reals = torch.ones(4, 3, 8, 8)
    optimizer = adam(networks.discriminator)
    losses = [
        discriminator_step(networks, optimizer, reals, 0.0, loss=WganGp(), draws=DRAWS)[0].item() for _ in range(20)
    ]
    assert losses[-1] < losses[0] - 0.1
    optimizer = adam(networks.generator)
    fooled = [generator_step(networks, optimizer, 4, 0.0, loss=WganGp(), draws=DRAWS).item() for _ in range(20)]
    assert fooled[-1] < fooled[0] - 0.1


def test_draws_depend_on_their_names_alone() -> None:
    first = DRAWS.latents("generator", 4, 8)
    DRAWS.shares(4)
    assert torch.equal(DRAWS.latents("generator", 4, 8), first)
    assert not torch.equal(DRAWS.latents("discriminator", 4, 8), first)
    assert not torch.equal(Draws(0, 72, torch.device("cpu")).latents("generator", 4, 8), first)
    assert not torch.equal(Draws(1, 64, torch.device("cpu")).latents("generator", 4, 8), first)


def test_reals_are_scaled_mirrored_and_faded() -> None:
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    pixels[:, :, :, 0] = 255
    found = prepare_reals(pixels, 0.0, torch.tensor([False, True]))
    assert found[0, 0, 0].tolist() == [1, -1, -1, -1]
    assert found[1, 0, 0].tolist() == [-1, -1, -1, 1]
    np.testing.assert_allclose(prepare_reals(pixels, 0.5, None)[0, 0, 0], [0.5, -0.5, -1, -1])


def test_the_average_keeps_its_share(networks: Networks) -> None:
    with torch.no_grad():
        for parameter in networks.generator.parameters():
            parameter.add_(1)
    before = weights(networks.average)
    update_average(networks, 0.9)
    np.testing.assert_allclose(weights(networks.average), before + 0.1, atol=1e-6)
