from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pgtools.errors import UsageError
from pgtools.progan.config import Architecture
from pgtools.progan.generator import Generator
from pgtools.progan.run.snapshot import Snapshot
from pgtools.progan.sampling.conditions import Conditions, Truncation, towards, typical_latent
from pgtools.progan.sampling.source import GeneratorSource, latents_of

GENERATOR = Generator(Architecture(16, latent=16, fmap_base=64, fmap_max=8), seed=1).eval()
CLASSES = Generator(Architecture(16, latent=16, labels=2, fmap_base=64, fmap_max=8), seed=1).eval()


def angles(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return F.cosine_similarity(one.double(), other.double()).clamp(-1, 1).acos()


@pytest.mark.parametrize("share", [0.0, 0.25, 0.7, 1.0])
def test_a_latent_keeps_its_share_of_the_angle_and_its_length(share: float) -> None:
    latents, centres = latents_of(0, range(50), 16), latents_of(1, range(50), 16)
    moved = towards(latents, centres, share)
    torch.testing.assert_close(angles(moved, centres), share * angles(latents, centres), atol=1e-3, rtol=0)
    torch.testing.assert_close(moved.norm(dim=1), latents.norm(dim=1))
    # On the great circle: what is left of the way and what was gone are the whole.
    torch.testing.assert_close(angles(moved, latents), (1 - share) * angles(latents, centres), atol=1e-3, rtol=0)


def test_a_right_angle_halved_is_half_a_right_angle() -> None:
    found = towards(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.5]]), 0.5)
    torch.testing.assert_close(found, torch.tensor([[3.0, 3.0]]) * math.sqrt(0.5))


def test_the_centre_itself_stays() -> None:
    centre = latents_of(0, [3], 16)
    torch.testing.assert_close(towards(centre, centre, 0.5), centre)


def test_none_is_none_bit_for_bit() -> None:
    latents = latents_of(0, range(5), 16)
    assert Truncation(GENERATOR, 1.0)(latents) is latents


def variety(truncation: float, generator: Generator = GENERATOR) -> float:
    """Mean variance of a pixel over the images."""
    snapshot, asked = Snapshot(generator, 0.0, 0), Conditions(truncation)
    images = GeneratorSource(snapshot, name="g", count=128, conditions=asked).read(range(128))
    return float(images.astype(float).var(axis=0).mean())


@pytest.mark.parametrize("generator", [GENERATOR, CLASSES])
def test_less_truncation_is_more_variety(generator: Generator) -> None:
    found = [variety(share, generator) for share in (0.2, 0.5, 0.8, 1.0)]
    assert found == sorted(found)
    assert found[0] < found[1] < 0.85 * found[3]


def test_a_truncated_image_depends_on_its_number_alone() -> None:
    whole = GeneratorSource(Snapshot(CLASSES, 0.0, 0), name="g", count=40, conditions=Conditions(0.5))
    np.testing.assert_array_equal(whole.picked([33, 5]).read([0, 1]), whole.read([33, 5]))


def test_the_typical_latent_is_typical() -> None:
    """The features at 4×4 of a plain forward pass, written out, are nearer to their mean than those of nearly all."""
    latents = torch.cat([typical_latent(GENERATOR)[None], latents_of(5, range(500), 16)])
    normal = latents * torch.rsqrt(latents.square().mean(dim=1, keepdim=True) + 1e-8)
    with torch.no_grad():
        x = GENERATOR.dense(normal)
        for layer in (None, GENERATOR.conv):
            x = F.leaky_relu(x if layer is None else layer(x), 0.2)
            x = x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)
    distance = (x - x[1:].mean(dim=0)).square().sum(dim=(1, 2, 3))
    assert (distance[1:] < distance[0]).float().mean() < 0.02


def test_every_class_has_its_own_centre_and_looking_for_it_leaves_no_trace() -> None:
    assert not torch.equal(typical_latent(CLASSES, 0), typical_latent(CLASSES, 1))
    assert torch.equal(typical_latent(CLASSES, 0), typical_latent(CLASSES, 0))
    assert not CLASSES.to_rgb["4"]._forward_pre_hooks


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, math.nan])
def test_shares_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(UsageError, match="above 0, 1 at most"):
        Conditions(share)
