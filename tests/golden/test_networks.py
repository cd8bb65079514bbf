"""The authors' G_paper and D_paper (resolution 16, fused scale) run in TensorFlow on 2026-11-21, batch 8.

The weights come from the pickle that goes with them, read by `read_karras`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pgtools.progan.karras.reading import KarrasNetworks, read_karras
from pgtools.progan.layers import downsample, enlarge
from pgtools.runtime.device import resolve_device

LODS = (0, 0.25, 1, 1.5, 2)
# What the spec asks for; found: 9e-6 for images of magnitude 1 to 4, 3e-7 for scores, 2e-8 for gradients.
TOLERANCE = 1e-4


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return resolve_device(request.param)


@pytest.fixture
def networks(shared: Path, device: torch.device) -> KarrasNetworks:
    found = read_karras(shared / "golden" / "karras-like-16.pkl")
    for network in (found.generator, found.discriminator, found.average):
        network.to(device)
    return found


@pytest.fixture
def golden(shared: Path, device: torch.device) -> dict[str, torch.Tensor]:
    with np.load(shared / "golden" / "networks16.npz") as arrays:
        return {name: torch.from_numpy(arrays[name]).to(device) for name in arrays.files}


@pytest.mark.shared
@pytest.mark.parametrize("lod", LODS)
def test_images(networks: KarrasNetworks, golden: dict[str, torch.Tensor], lod: float) -> None:
    for generator in (networks.generator, networks.average):  # the file holds the same weights twice
        found = enlarge(generator(golden["z"], lod, golden["y"]), 16)
        np.testing.assert_allclose(found.cpu(), golden[f"G_{lod:g}"].cpu(), rtol=0, atol=TOLERANCE)


@pytest.mark.shared
@pytest.mark.parametrize("lod", LODS)
def test_scores(networks: KarrasNetworks, golden: dict[str, torch.Tensor], lod: float) -> None:
    images = golden["x"]
    for _ in range(int(lod)):
        images = downsample(images)
    scores, logits = networks.discriminator(images, lod)
    np.testing.assert_allclose(scores[:, None].cpu(), golden[f"D_{lod:g}"].cpu(), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(logits.cpu(), golden[f"L_{lod:g}"].cpu(), rtol=0, atol=TOLERANCE)


@pytest.mark.shared
def test_gradient_of_the_scores(networks: KarrasNetworks, golden: dict[str, torch.Tensor]) -> None:
    images = golden["x"].requires_grad_()
    (found,) = torch.autograd.grad(networks.discriminator(images, 0.25)[0].sum(), images)
    # The gradient itself is at most 0.014: a bound of 1e-4 would pass a wrong factor of 0.99.
    np.testing.assert_allclose(found.cpu(), golden["dDdx_0.25"].cpu(), rtol=0, atol=1e-6)
