from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from pgtools.errors import UsageError
from pgtools.progan import presets
from pgtools.progan.config import TrainSettings
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.losses import gradient_penalty
from pgtools.progan.presets import preset_description, preset_names, preset_values, settings_from
from pgtools.progan.schedule import growth, stage_at

# The side of the images that a preset is for.
SIDES = {"compact": 64, "lsun-256": 256, "cifar10": 32, "mnist-1k": 32}
CHAIN = ["ablation-a", "ablation-b", "ablation-c", "ablation-d", "ablation-e", "ablation-f", "ablation-g", "ablation-h"]


def side_of(name: str) -> int:
    return 128 if name.startswith("ablation") else SIDES.get(name, 1024)


def differences(first: str, second: str) -> dict[str, tuple[Any, Any]]:
    before, after = (settings_from(name, {}).as_dict() for name in (first, second))
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def test_the_presets_are_those_of_the_documentation() -> None:
    released = ["v2-1gpu", "v2-2gpus", "v2-4gpus", "v2-8gpus"]
    data = ["celebahq-1024", "paper-v1", "lsun-256", "cifar10", "mnist-1k"]
    assert set(preset_names()) == {"compact", *released, *data, *CHAIN, "ablation-e-star"}
    with pytest.raises(UsageError, match="no preset 'papr'; expected one of compact, v2-1gpu"):
        settings_from("papr", {})


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_can_train_and_says_what_it_costs(name: str) -> None:
    settings = settings_from(name, {})
    settings.check_resolution(side_of(name))
    description = preset_description(name)
    assert name == "compact" or "million images" in description
    assert not description.startswith(f"{name}: ")
    assert description.count("Time: ") == description.count("Score: ") == 1
    for minibatch in settings.minibatch_table.values():
        group = min(settings.stddev_group, int(minibatch))
        assert group == 0 or minibatch % group == 0


@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_the_presets_for_several_gpus_divide_into_whole_groups(gpus: int) -> None:
    settings = settings_from(f"v2-{gpus}gpus", {})
    assert all(minibatch % (gpus * settings.stddev_group) == 0 for minibatch in settings.minibatch_table.values())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_says_only_what_differs(name: str) -> None:
    said = presets.tomllib.loads(presets.PRESETS.read_text("utf-8"))[name]
    like = {**TrainSettings().as_dict(), **(preset_values(said["like"]) if "like" in said else {})}
    assert [key for key, value in said.items() if like.get(key) == value] == []


@pytest.mark.parametrize("name", preset_names())
def test_a_step_of_both_networks_moves_every_live_layer(name: str) -> None:
    settings = settings_from(name, {})
    shape = replace(settings.architecture(8), latent=8, fmap_base=32, fmap_max=8)
    generator, discriminator = Generator(shape), Discriminator(shape)
    lod = 0.5 if settings.growing else 0.0
    reals = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    fakes = generator(torch.randn(4, 8, generator=torch.Generator().manual_seed(2)), lod)

    def critic(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return discriminator(x, lod)

    penalty = gradient_penalty(critic, reals, settings.gp_target)
    loss = critic(fakes.detach())[0].mean() - critic(reals)[0].mean() + settings.gp_weight * penalty
    still = moved_by(discriminator, loss, settings)
    assert still <= {"dense1.bias"} | ({"from_rgb.4.weight", "from_rgb.4.bias"} if not settings.growing else set())
    still = moved_by(generator, -critic(fakes)[0].mean(), settings)
    assert still <= ({"to_rgb.4.weight", "to_rgb.4.bias"} if not settings.growing else set())


def moved_by(network: torch.nn.Module, loss: torch.Tensor, settings: TrainSettings) -> set[str]:
    """Take one step; return the parameters that stayed."""
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    network.zero_grad()
    loss.backward()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.grad is not None:
                parameter -= settings.learning_rate * parameter.grad
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())
    return {name for name, parameter in network.named_parameters() if torch.equal(parameter, before[name])}


def test_the_phases_of_the_released_setting() -> None:
    settings = settings_from("v2-1gpu", {})
    found = []
    for phase in growth(1024, settings):
        stage = stage_at(int((phase.begin + phase.end) / 2), 1024, settings)
        row = (phase.level, phase.fading, (phase.end - phase.begin) / 1000, stage.minibatch, stage.learning_rate)
        found.append(row)
    minibatches = {4: 128, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 4, 1024: 4}
    expected = [
        (level, fading, 600, minibatch, 0.0015 if level == 1024 else 0.001)
        for level, minibatch in minibatches.items()
        for fading in (True, False)
    ]
    assert found == expected[1:-1]  # 4² does not fade in, 1024² stays to the end
    assert stage_at(11_000_000, 1024, settings).lod == 0


@pytest.mark.parametrize(
    ("name", "minibatches", "rates"),
    [
        ("v2-1gpu", [128, 128, 128, 64, 32, 16, 8, 4, 4], [1, 1, 1, 1, 1, 1, 1, 1, 1.5]),
        ("v2-2gpus", [256, 256, 128, 64, 32, 16, 8, 8, 8], [1, 1, 1, 1, 1, 1, 1, 1.5, 2]),
        ("v2-4gpus", [512, 256, 128, 64, 32, 16, 16, 16, 16], [1, 1, 1, 1, 1, 1, 1.5, 2, 3]),
        ("v2-8gpus", [512, 256, 128, 64, 32, 32, 32, 32, 32], [1, 1, 1, 1, 1, 1.5, 2, 3, 3]),
        ("paper-v1", [16, 16, 16, 16, 16, 16, 14, 6, 3], [1] * 9),
    ],
)
def test_the_authors_minibatches_and_learning_rates(name: str, minibatches: list[int], rates: list[float]) -> None:
    settings = settings_from(name, {})
    begins = {phase.level: phase.begin for phase in reversed(growth(1024, settings))}
    stages = [stage_at(int(begins[2**i]) + 1, 1024, settings) for i in range(2, 11)]
    assert [stage.resolution for stage in stages] == [2**i for i in range(2, 11)]
    assert [stage.minibatch for stage in stages] == minibatches
    assert [1000 * stage.learning_rate for stage in stages] == pytest.approx(rates)


REVISED = {
    "latent": (128, 512),
    "batch_norm": (True, False),
    "layer_norm": (True, False),
    "latent_norm": (False, True),
    "leaky_relu": (False, True),
    "tanh": (True, False),
    "discriminator_steps": (5, 1),
    "beta2": (0.9, 0.99),
    "drift_weight": (0.0, 0.001),
    "ema": (0.99501, 0.999),
}


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("ablation-a", "ablation-b", {"growing": (False, True)}),
        ("ablation-b", "ablation-c", {"minibatch": ("4:64", "4:16"), "ema": (0.98019, 0.99501)}),
        ("ablation-c", "ablation-d", REVISED),
        ("ablation-d", "ablation-e-star", {"discrimination_kernels": (0, 100)}),
        ("ablation-d", "ablation-e", {"stddev_group": (0, 16)}),
        ("ablation-e", "ablation-f", {"equalized": (False, True), "learning_rate": (0.0001, 0.001)}),
        ("ablation-f", "ablation-g", {"pixel_norm": (False, True)}),
        ("ablation-g", "ablation-h", {"fmap_base": (2048, 8192), "total_kimg": (10_000, 19_000)}),
    ],
)
def test_each_ablation_adds_the_words_of_table_1(first: str, second: str, expected: dict[str, tuple[Any, Any]]) -> None:
    assert differences(first, second) == expected


@pytest.mark.parametrize("name", ["ablation-a", "ablation-b", "ablation-c", "ablation-d", "ablation-e", "ablation-h"])
def test_the_average_spans_as_many_images_in_every_ablation(name: str) -> None:
    settings = settings_from(name, {})
    images = settings.discriminator_steps * settings.minibatch_table[4]
    assert settings.ema == pytest.approx(0.999 ** (images / 16), abs=1e-5)


def test_the_full_network_of_table_1_is_the_final_one() -> None:
    """(h) is the paper's network; what it shares with paper-v1 is everything but the length and the minibatch."""
    assert set(differences("paper-v1", "ablation-h")) == {"minibatch"}
    assert settings_from("ablation-h", {}).architecture(128) == settings_from("paper-v1", {}).architecture(128)
