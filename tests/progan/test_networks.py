from __future__ import annotations

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.layers import downsample, parameter_count, upsample

SMALL = Architecture(32, latent=8, fmap_base=64, fmap_max=16)


def latents(count: int, size: int) -> torch.Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(0))


def test_widths_of_the_paper() -> None:
    paper = Architecture(1024)
    assert [paper.width(level) for level in paper.levels] == [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert [paper.fmap(stage) for stage in range(3)] == [512, 512, 512]
    assert paper.levels == (4, 8, 16, 32, 64, 128, 256, 512, 1024)


def test_the_papers_networks_have_23_million_parameters() -> None:
    # Paper, table 2: 23.1M each, counting one colour layer; all nine of them are some thousand more.
    assert parameter_count(Generator(Architecture(1024))) == pytest.approx(23.1e6, rel=0.003)
    assert parameter_count(Discriminator(Architecture(1024))) == pytest.approx(23.1e6, rel=0.003)


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
