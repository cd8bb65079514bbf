from __future__ import annotations

import copy

import pytest
import torch

from pgtools.errors import UsageError
from pgtools.progan import precision
from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.precision import autocast, has_bfloat16, resolve_precision

CPU = torch.device("cpu")
SHAPE = Architecture(16, latent=16, fmap_base=128, fmap_max=16)


def test_a_named_precision_is_what_is_named() -> None:
    assert resolve_precision("float32", CPU) == torch.float32
    assert resolve_precision("bfloat16", CPU) == torch.bfloat16
    with pytest.raises(UsageError, match=r"--precision is 'half'; expected auto, float32 or bfloat16"):
        resolve_precision("half", CPU)


@pytest.mark.parametrize(
    ("amx", "avx", "expected"),
    [(True, False, torch.bfloat16), (False, True, torch.bfloat16), (False, False, torch.float32)],
)
def test_auto_takes_what_the_processor_multiplies(
    monkeypatch: pytest.MonkeyPatch, amx: bool, avx: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx, raising=False)
    assert resolve_precision("auto", CPU) == expected


def test_a_torch_that_does_not_tell_gets_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not has_bfloat16(CPU)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), torch.float32), ((8, 0), torch.bfloat16)])
def test_auto_takes_what_the_gpu_multiplies(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], expected: torch.dtype
) -> None:
    monkeypatch.setattr(precision.torch.cuda, "get_device_capability", lambda device: capability)
    gpu = torch.device("cuda")
    assert resolve_precision("auto", gpu) == expected
    if expected == torch.float32:
        with pytest.raises(UsageError, match="bfloat16, which this GPU lacks"):
            resolve_precision("bfloat16", gpu)


def test_autocast_is_on_for_bfloat16_alone() -> None:
    with autocast(CPU, torch.float32):
        assert not torch.is_autocast_enabled("cpu")
    with autocast(CPU, torch.bfloat16):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16


@pytest.mark.parametrize("lod", [0.0, 0.5])
def test_images_and_scores_of_bfloat16_are_float32_and_close(lod: float) -> None:
    generator, discriminator = Generator(SHAPE), Discriminator(SHAPE)
    latents = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        images = generator(latents, lod)
        scores = discriminator(images, lod)[0]
        with autocast(CPU, torch.bfloat16):
            rough_images = generator(latents, lod)
            rough_scores = discriminator(images, lod)[0]
    assert rough_images.dtype == rough_scores.dtype == torch.float32
    # Six to nine roundings to 8 bits (2⁻⁹ of the value each) one after the other; measured 0.008 and 0.004.
    assert 0 < (rough_images - images).square().mean().sqrt() < 0.02 * images.square().mean().sqrt()
    assert 0 < (rough_scores - scores).abs().max() < 0.03 * scores.abs().max()
    # More than 8 bits: colours are not rounded.
    assert not torch.equal(rough_images, rough_images.bfloat16().float())


def test_weights_and_gradients_of_bfloat16_are_float32() -> None:
    discriminator = copy.deepcopy(Discriminator(SHAPE))
    with autocast(CPU, torch.bfloat16):
        discriminator(torch.ones(4, 3, 16, 16))[0].sum().backward()
    found = {weights.grad.dtype for weights in discriminator.parameters() if weights.grad is not None}
    assert found == {torch.float32}
