from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from pgtools.errors import UsageError
from pgtools.progan.config import Architecture, TrainSettings
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.draws import Draws
from pgtools.progan.feed import Fetched
from pgtools.progan.generator import Generator
from pgtools.progan.schedule import Live, Stage
from pgtools.progan.step import Networks, Stepper, gradient_norm, update_average
from pgtools.progan.turns import prepare_reals
from tests.progan.conftest import TINY

SHAPE = Architecture(8, latent=8, fmap_base=32, fmap_max=8)
CPU = torch.device("cpu")
ALL = torch.arange(4)
DRAWS = Draws(seed=0, images=64, count=4, places=ALL, device=CPU)
FADING, STABLE = Stage(0.5, Live(8, 4, 0.5), 4, 0.001), Stage(0.0, Live(8, 8, 0.0), 4, 0.001)


class SameImages:
    """A feed that always gives the same minibatch."""

    waited = 0.0

    def __init__(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        self.fetched, self.taken = Fetched(images, labels), 0

    def next(self) -> Fetched:
        self.taken += 1
        return self.fetched


def stepper(shape: Architecture = SHAPE, **settings: Any) -> Stepper:
    generator = Generator(shape)
    average = copy.deepcopy(generator).requires_grad_(False)
    networks = Networks(generator, Discriminator(shape), average)
    chosen = TrainSettings(**{**TINY, "mirror": False, **settings})
    classes = np.array([0, 0, 1, 2]) if shape.labels else None
    return Stepper(networks, chosen, CPU, classes=classes)


def white(count: int = 4) -> SameImages:
    return SameImages(torch.full((count, 3, 8, 8), 255, dtype=torch.uint8))


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("stage", [FADING, STABLE])
def test_a_step_changes_both_networks_and_the_average(stage: Stage) -> None:
    one = stepper(ema=0.9)
    before = [weights(network) for network in vars(one.networks).values()]
    one.begin(stage)
    figures = one.step(white(), stage, 64)  # type: ignore[arg-type]
    assert figures.shape == (6,) and torch.isfinite(figures).all()
    after = [weights(network) for network in vars(one.networks).values()]
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    torch.testing.assert_close(after[2], 0.9 * before[2] + 0.1 * after[0])
    assert all(parameter.requires_grad for parameter in one.networks.discriminator.parameters())


def test_the_discriminator_learns_so_often_for_one_step_of_the_generator() -> None:
    one, feed = stepper(discriminator_steps=3), white()
    one.begin(STABLE)
    one.step(feed, STABLE, 64)  # type: ignore[arg-type]
    assert feed.taken == 3
    steps = [next(iter(adam.state.values()))["step"] for adam in (one.discriminator_adam, one.generator_adam)]
    assert steps == [3, 1]


def test_steps_lower_the_discriminators_loss() -> None:
    one = stepper()
    one.begin(STABLE)
    one.generator_adam.param_groups[0]["lr"] = 0.0  # it must not run away meanwhile
    losses = [one.step(white(), STABLE, 64)[1].item() for _ in range(20)]  # type: ignore[arg-type]
    assert losses[-1] < losses[0] - 0.1


def test_adam_begins_anew_with_other_live_levels_only() -> None:
    one = stepper()
    one.begin(FADING)
    adam = one.generator_adam
    one.begin(dataclasses.replace(FADING, lod=0.25, live=Live(8, 4, 0.25), learning_rate=0.5))
    assert one.generator_adam is adam and adam.param_groups[0]["lr"] == 0.5
    one.begin(STABLE)
    assert one.generator_adam is not adam


def test_classes_are_learned_by_both_networks() -> None:
    shape = dataclasses.replace(SHAPE, labels=3)
    labels = torch.tensor([0, 1, 2, 1])
    one, feed = stepper(shape, labels=True), SameImages(white().fetched.images, labels)
    one.begin(STABLE)
    joined = one.networks.generator.dense.weight.detach().clone()[:, -3:]
    last = one.networks.discriminator.dense1.weight.detach().clone()[1:]
    one.step(feed, STABLE, 64)  # type: ignore[arg-type]
    assert not torch.equal(one.networks.generator.dense.weight[:, -3:], joined)
    assert not torch.equal(one.networks.discriminator.dense1.weight[1:], last)


def test_classes_of_fakes_come_as_often_as_those_of_reals() -> None:
    draws = dataclasses.replace(DRAWS, count=4000, places=torch.arange(4000))
    found = torch.bincount(draws.classes("generator", torch.tensor([0, 0, 1, 2])), minlength=3) / 4000
    np.testing.assert_allclose(found, [0.5, 0.25, 0.25], atol=0.03)


def test_least_squares_remembers_how_sure_the_discriminator_is() -> None:
    one = stepper(loss="lsgan")
    one.begin(STABLE)
    one.fooled = torch.tensor(0.9)
    one.step(white(), STABLE, 64)  # type: ignore[arg-type]
    assert 0.81 - 1e-6 <= one.fooled.item() <= 0.91 + 1e-6


def test_draws_depend_on_their_names_alone() -> None:
    first = DRAWS.latents("generator", 8)
    DRAWS.shares()
    assert torch.equal(DRAWS.latents("generator", 8), first)
    for other in ({"images": 72}, {"seed": 1}, {"rollbacks": 1}):
        assert not torch.equal(dataclasses.replace(DRAWS, **other).latents("generator", 8), first)
    assert not torch.equal(DRAWS.latents("discriminator", 8), first)
    part = dataclasses.replace(DRAWS, places=ALL[1::2])
    assert torch.equal(part.latents("generator", 8), first[1::2])


def test_reals_are_scaled_mirrored_and_faded() -> None:
    pixels = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    pixels[:, :, :, 0] = 255
    found = prepare_reals(pixels, Live(4, 4, 0.0), torch.tensor([False, True]))
    assert found[0, 0, 0].tolist() == [1, -1, -1, -1]
    assert found[1, 0, 0].tolist() == [-1, -1, -1, 1]
    np.testing.assert_allclose(prepare_reals(pixels, Live(8, 4, 0.5), None)[0, 0, 0], [0.5, -0.5, -1, -1])


def test_the_norm_is_of_all_gradients_there_are() -> None:
    first, second, without = (torch.nn.Parameter(torch.zeros(2)) for _ in range(3))
    first.grad, second.grad = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0])
    assert gradient_norm([first, second, without]).item() == 5


def test_the_average_keeps_its_share() -> None:
    networks = stepper().networks
    with torch.no_grad():
        for parameter in networks.generator.parameters():
            parameter.add_(1)
    before = weights(networks.average)
    update_average(networks, 0.9)
    np.testing.assert_allclose(weights(networks.average), before + 0.1, atol=1e-6)


def tensors(one: Stepper) -> torch.Tensor:
    return torch.cat([weights(network) for network in vars(one.networks).values()])


@pytest.mark.parametrize("settings", [{}, {"discriminator_steps": 2, "mirror": True}, {"micro_batch": 4}])
def test_a_step_on_fixed_places_is_the_step(settings: dict[str, Any]) -> None:
    """What a GPU would record: one function of fixed buffers, the weight of the fade among them."""
    stages = [dataclasses.replace(FADING, live=Live(8, 4, weight), minibatch=8) for weight in (0.75, 0.5, 0.25)]
    stages.append(dataclasses.replace(STABLE, minibatch=8))
    ends = []
    for recorded in (False, True):
        one = stepper(cuda_graphs=recorded, **settings)
        for place, stage in enumerate(stages):
            images = torch.randint(0, 256, (8, 3, 8, 8), generator=torch.Generator().manual_seed(place))
            one.begin(stage)
            figures = one.step(SameImages(images.to(torch.uint8)), stage, 64 * place)
        ends.append(torch.cat([figures, tensors(one)]))
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-5, atol=1e-6)


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(UsageError, match="cannot record the least-squares loss"):
        stepper(cuda_graphs=True, loss="lsgan")


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_replayed_step_is_the_step(dtype: torch.dtype) -> None:
    device = torch.device("cuda")
    ends = []
    for recorded in (False, True):
        generator = Generator(SHAPE).to(device)
        average = copy.deepcopy(generator).requires_grad_(False)
        networks = Networks(generator, Discriminator(SHAPE).to(device), average)
        settings = TrainSettings(**{**TINY, "mirror": False, "cuda_graphs": recorded})
        one = Stepper(networks, settings, device, dtype=dtype)
        for place in range(8):  # three real ones, the recording, two replays; then a stage of its own
            fading = place < 6
            stage = dataclasses.replace(FADING, live=Live(8, 4, 0.9 - 0.1 * place)) if fading else STABLE
            images = torch.randint(0, 256, (4, 3, 8, 8), generator=torch.Generator().manual_seed(place))
            one.begin(stage)
            figures = one.step(SameImages(images.to(torch.uint8).to(device)), stage, 64 * place)
        ends.append(torch.cat([figures, tensors(one)]).cpu())
    tolerance = 1e-4 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(ends[1], ends[0], rtol=tolerance, atol=tolerance)


def test_bfloat16_learns_what_float32_learns() -> None:
    """Means of the curves over 40 steps at 8², same draws, agree to a tenth."""
    curves = []
    for dtype in (torch.float32, torch.bfloat16):
        one = stepper(dataclasses.replace(SHAPE, fmap_max=16))
        one.dtype = dtype
        one.begin(STABLE)
        pixels = torch.arange(4 * 3 * 64).reshape(4, 3, 8, 8) % 256
        feed = SameImages(pixels.to(torch.uint8))
        curve = torch.stack([one.step(feed, STABLE, 4 * place) for place in range(40)])
        assert torch.isfinite(curve).all()
        assert {weight.dtype for weight in one.networks.generator.parameters()} == {torch.float32}
        assert {state["exp_avg"].dtype for state in one.discriminator_adam.state.values()} == {torch.float32}
        curves.append(curve)
    wasserstein, penalty = ([curve[:, column].mean().item() for curve in curves] for column in (2, 3))
    assert wasserstein[1] == pytest.approx(wasserstein[0], rel=0.1)
    assert penalty[1] == pytest.approx(penalty[0], rel=0.1)
    assert not torch.equal(curves[0], curves[1])
