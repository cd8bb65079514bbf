from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.layers import Equalized, downsample, parameter_count, upsample
from pgtools.progan.normalisation import Noise
from pgtools.progan.presets import settings_from
from tests.reference import progan as twin

SMALL = Architecture(32, latent=8, fmap_base=64, fmap_max=16)


def latents(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(0))


def test_widths_of_the_paper() -> None:
    paper = Architecture(1024)
    assert [paper.width(level) for level in paper.levels] == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert [paper.fmap(stage) for stage in range(3)] == [512, 512, 512]
    assert paper.levels == (4, 8, 16, 32, 64, 128, 256, 512, 1024)


def test_the_papers_networks_have_23_million_parameters() -> None:
    shape = settings_from("v2-1gpu", {}).architecture(1024)
    assert shape == Architecture(1024)
    # Paper, table 2: 23.1M each, counting one colour layer; all nine of them are some thousand more.
    assert parameter_count(Generator(shape)) == pytest.approx(23.1e6, rel=0.003)
    assert parameter_count(Discriminator(shape)) == pytest.approx(23.1e6, rel=0.003)


@pytest.mark.parametrize("lod", [0, 0.25, 1, 1.5, 2, 3])
def test_images_and_scores_have_the_live_size(lod: float) -> None:
    images = Generator(SMALL)(latents(4, 8), lod)
    assert images.shape == (4, 3, 32 >> int(lod), 32 >> int(lod))
    scores, logits = Discriminator(SMALL)(images, lod)
    assert scores.shape == (4,)
    assert logits.shape == (4, 0)


@pytest.mark.parametrize("lod", [1, 2, 3])
@pytest.mark.parametrize("fused", [False, True])
def test_a_fade_begins_at_the_lower_level(lod: int, fused: bool) -> None:
    shape = Architecture(32, latent=8, fmap_base=64, fmap_max=16, fused_scale=fused)
    generator, discriminator = Generator(shape).double(), Discriminator(shape).double()
    begun = lod - 1e-9
    with torch.no_grad():
        lower = generator(latents(4, 8).double(), lod)
        np.testing.assert_allclose(generator(latents(4, 8).double(), begun), upsample(lower), atol=1e-7)
        images = upsample(lower) + 0.1 * torch.randn(4, 3, *[2 * lower.shape[-1]] * 2).double()
        found = discriminator(images, begun)[0]
        np.testing.assert_allclose(found, discriminator(downsample(images), lod)[0], atol=1e-7)


def test_a_fade_ends_at_the_upper_level() -> None:
    generator, discriminator = Generator(SMALL).double(), Discriminator(SMALL).double()
    with torch.no_grad():
        images = generator(latents(4, 8).double(), 1.0)
        np.testing.assert_allclose(generator(latents(4, 8).double(), 1 + 1e-9), images, atol=1e-7)
        scores = discriminator(images, 1.0)[0]
        np.testing.assert_allclose(discriminator(images, 1 + 1e-9)[0], scores, atol=1e-7)


def test_the_generator_is_the_same_in_both_forms() -> None:
    plain = Architecture(32, latent=8, fmap_base=64, fmap_max=16, fused_scale=False)
    z = latents(4, 8).double()
    difference = Generator(SMALL).double()(z, 0.3) - Generator(plain).double()(z, 0.3)
    assert difference.abs().max() < 1e-12


def test_only_live_layers_get_gradients() -> None:
    generator = Generator(SMALL)
    generator(latents(4, 8), 1.5).sum().backward()
    touched = {name for name, parameter in generator.named_parameters() if parameter.grad is not None}
    assert {"to_rgb.16.weight", "to_rgb.8.weight", "blocks.16.conv1.weight"} <= touched
    assert not any(name.startswith(("blocks.32", "to_rgb.32", "to_rgb.4.")) for name in touched)


def test_latents_matter_by_direction_only() -> None:
    generator, z = Generator(SMALL).double(), latents(4, 8).double()
    # The norm's 1e-8 under the root is all that tells lengths apart.
    assert (generator(z) - generator(3 * z)).abs().max() < 1e-6


def test_labels_are_joined_to_the_latents() -> None:
    shape = Architecture(8, latent=6, labels=3, fmap_base=32, fmap_max=8)
    generator, discriminator = Generator(shape), Discriminator(shape)
    one, two = (torch.eye(3)[[k] * 4] for k in (0, 1))
    first, second = generator(latents(4, 6), 0.0, one), generator(latents(4, 6), 0.0, two)
    assert (first - second).abs().max() > 1e-3
    assert discriminator(first)[1].shape == (4, 3)
    with pytest.raises(InputError, match=r"6 latents and 3 labels; found 6"):
        generator(latents(4, 6))


def scaled_weights(network: torch.nn.Module) -> dict[str, np.ndarray]:
    """Every weight as its layer uses it, and every bias, with biases that are not zero."""
    weights = {}
    for key, layer in network.named_modules():
        if isinstance(layer, Equalized):
            torch.nn.init.uniform_(layer.bias, -1, 1, generator=torch.Generator().manual_seed(len(key)))
            weights[f"{key}.weight"] = layer.scaled().detach().numpy()
            weights[f"{key}.bias"] = layer.bias.detach().numpy()
    return weights


def test_labels_are_joined_before_the_norm() -> None:
    generator = Generator(Architecture(4, latent=6, labels=3, fmap_base=16, fmap_max=8)).double()
    z, labels = latents(4, 6).double(), torch.eye(3).double()[[0, 1, 2, 1]]
    expected = twin.generator_at_4(z.numpy(), labels.numpy(), scaled_weights(generator))
    np.testing.assert_allclose(generator(z, 0.0, labels).detach(), expected, atol=1e-12)


def test_the_first_output_is_the_score_and_the_others_name_the_class() -> None:
    discriminator = Discriminator(Architecture(4, labels=3, fmap_base=16, fmap_max=8)).double()
    images = latents(8, 48).double().reshape(8, 3, 4, 4)
    expected = twin.discriminator_at_4(images.numpy(), 4, scaled_weights(discriminator))
    for found, value in zip(discriminator(images), expected, strict=True):
        np.testing.assert_allclose(found.detach(), value, atol=1e-12)


def test_the_final_networks_have_the_parameters_of_the_layers_alone() -> None:
    """Checkpoints of before the ablations have these names and no others."""
    names = {
        key.rsplit(".", 1)[1] for network in (Generator(SMALL), Discriminator(SMALL)) for key in network.state_dict()
    }
    assert names == {"weight", "bias"}


ABLATED = (
    {"batch_norm": True},
    {"pixel_norm": False},
    {"leaky_relu": False},
    {"tanh": True},
)


@pytest.mark.parametrize("change", ABLATED, ids=lambda change: next(iter(change)))
def test_each_choice_makes_another_generator(change: dict[str, bool]) -> None:
    difference = Generator(SMALL)(latents(4, 8), 0.5) - Generator(replace(SMALL, **change))(latents(4, 8), 0.5)
    assert difference.abs().max() > 1e-3


def test_without_any_norm_the_length_of_the_latents_matters() -> None:
    z, bare = latents(4, 8), replace(SMALL, pixel_norm=False)
    assert (Generator(bare)(z) - Generator(bare)(3 * z)).abs().max() < 1e-5
    longer = Generator(replace(bare, latent_norm=False))
    np.testing.assert_allclose(longer(3 * z).detach(), 3 * longer(z).detach(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("change", [{"layer_norm": True}, {"stddev_group": 0}, {"discrimination_kernels": 4}], ids=str)
def test_each_choice_makes_another_discriminator(change: dict[str, int]) -> None:
    images = latents(4, 3 * 32 * 32).reshape(4, 3, 32, 32)
    difference = Discriminator(SMALL)(images, 0.5)[0] - Discriminator(replace(SMALL, **change))(images, 0.5)[0]
    assert difference.abs().max() > 1e-3


def test_tanh_comes_after_the_mix() -> None:
    linear, ended = Generator(SMALL), Generator(replace(SMALL, tanh=True))
    np.testing.assert_allclose(
        ended(latents(4, 8), 1.4).detach(), linear(latents(4, 8), 1.4).detach().tanh(), atol=1e-6
    )


def test_weights_begin_alike_whether_scaled_at_run_time_or_once() -> None:
    once = replace(SMALL, equalized=False)
    for build, x in ((Generator, latents(4, 8)), (Discriminator, latents(4, 3 * 32 * 32).reshape(4, 3, 32, 32))):
        first, second = build(SMALL), build(once)
        found, expected = (network(x, 0.5) for network in (second, first))
        for one, two in zip(*((y if isinstance(y, tuple) else (y,)) for y in (found, expected)), strict=True):
            np.testing.assert_allclose(one.detach(), two.detach(), rtol=1e-4, atol=1e-5)
        layer = second.conv
        assert layer.scale == 1
        assert layer.weight.std().item() == pytest.approx(first.conv.scale, rel=0.1)


def test_with_batch_norm_an_image_depends_on_the_others_in_training_alone() -> None:
    generator = Generator(replace(SMALL, batch_norm=True))
    z = latents(8, 8)
    assert (generator(z)[:4] - generator(z[:4])).abs().max() > 1e-3
    generator.eval()
    np.testing.assert_allclose(generator(z)[:4].detach(), generator(z[:4]).detach(), atol=1e-5)
    # A bias before the norm would have no gradient but rounding's, which Adam would scale up.
    assert generator.conv.bias is None
    assert generator.to_rgb["4"].bias is not None


class Heard(Noise):
    """Noise that keeps the shapes it was asked for."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        self.generator.append(tuple(x.shape))
        return x


def test_noise_comes_before_every_convolution_but_those_from_colours() -> None:
    heard: list[tuple[int, ...]] = []
    shape = Architecture(16, fmap_base=64, fmap_max=16)
    Discriminator(shape)(torch.zeros(4, 3, 16, 16), 0.5, noise=Heard(torch.tensor(0.0), heard))
    expected = [(8, 16), (8, 16), (16, 8), (16, 8), (17, 4), (16, 4)]  # the standard deviation counts as a channel
    assert heard == [(4, channels, side, side) for channels, side in expected]


def test_noise_moves_scores_and_none_leaves_them() -> None:
    discriminator, images = Discriminator(SMALL), latents(4, 3 * 32 * 32).reshape(4, 3, 32, 32)
    plain = discriminator(images)[0]
    assert torch.equal(discriminator(images, noise=Noise(torch.tensor(0.0)))[0], plain)
    stream = torch.Generator().manual_seed(0)
    assert (discriminator(images, noise=Noise(torch.tensor(0.1), stream))[0] - plain).abs().max() > 1e-3
