from __future__ import annotations

import numpy as np
import pytest
import torch

from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.layers import initialise
from pgtools.progan.normalisation import DIMENSIONS, BatchNorm, LayerNorm, MinibatchDiscrimination, Noise, noisy
from pgtools.runtime.device import resolve_device
from tests.reference import progan as twin


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def filled(norm: LayerNorm) -> LayerNorm:
    """In float64, with a gain and bias of its own for every channel."""
    norm.double()
    with torch.no_grad():
        norm.weight.copy_(drawn(*norm.weight.shape, seed=1))
        norm.bias.copy_(drawn(*norm.bias.shape, seed=2))
    return norm


def discrimination(inputs: int, kernels: int) -> MinibatchDiscrimination:
    layer = MinibatchDiscrimination(inputs, kernels)
    initialise(layer, 0, "test")
    return layer.double()


def test_batch_norm_trains_on_the_minibatch_and_samples_by_the_running_averages() -> None:
    norm, x = BatchNorm(3).double(), 3 + 2 * drawn(5, 3, 4, 4)
    mean, variance = x.mean(dim=(0, 2, 3)), x.var(dim=(0, 2, 3))
    trained = norm(x)
    np.testing.assert_allclose(trained.detach().mean(dim=(0, 2, 3)), np.zeros(3), atol=1e-12)
    np.testing.assert_allclose(norm.running_mean, 0.1 * mean, rtol=1e-12)
    np.testing.assert_allclose(norm.running_var, 0.9 + 0.1 * variance, rtol=1e-12)
    norm.eval()
    expected = (x - 0.1 * mean[:, None, None]) / (0.9 + 0.1 * variance + 1e-5).sqrt()[:, None, None]
    np.testing.assert_allclose(norm(x).detach(), expected, rtol=1e-12)
    np.testing.assert_allclose(norm(x[:1]).detach(), expected[:1], rtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 3, 4, 4), (2, 5, 2, 2), (3, 6)])
def test_layer_norm_is_its_twin(shape: tuple[int, ...]) -> None:
    norm, x = filled(LayerNorm(shape[1])), 1 + 3 * drawn(*shape)
    expected = twin.layer_norm(x.numpy(), norm.weight.detach().numpy(), norm.bias.detach().numpy())
    np.testing.assert_allclose(norm(x).detach(), expected, atol=1e-12)


def test_layer_norm_sees_one_image_at_a_time() -> None:
    norm, x = filled(LayerNorm(3)), drawn(4, 3, 4, 4)
    np.testing.assert_allclose(norm(x)[:1].detach(), norm(x[:1]).detach(), atol=1e-12)


@pytest.mark.parametrize(("count", "inputs", "kernels"), [(4, 7, 3), (2, 3, 1), (1, 4, 2)])
def test_minibatch_discrimination_is_its_twin(count: int, inputs: int, kernels: int) -> None:
    layer, x = discrimination(inputs, kernels), drawn(count, inputs)
    expected = twin.minibatch_discrimination(x.numpy(), layer.scaled().detach().numpy())
    np.testing.assert_allclose(layer(x).detach(), expected, atol=1e-12)


def test_closeness_is_one_for_a_twin_and_nothing_for_a_stranger() -> None:
    layer = discrimination(4, 2)
    x = torch.stack([drawn(4), drawn(4), drawn(4) + 1000])
    np.testing.assert_allclose(layer(x)[:, 4:].detach(), [[1, 1], [1, 1], [0, 0]], atol=1e-12)


def test_closeness_goes_with_the_image_in_any_order() -> None:
    layer, x, order = discrimination(6, 3), drawn(5, 6), [3, 1, 4, 0, 2]
    np.testing.assert_allclose(layer(x[order]).detach(), layer(x)[order].detach(), atol=1e-12)


def test_a_kernel_is_five_unscaled_numbers_without_bias() -> None:
    layer = discrimination(400, 30)
    assert layer.weight.shape == (30 * DIMENSIONS, 400)
    assert layer.bias is None
    # Features of deviation 1 are projected to numbers of deviation 1.
    assert layer.scaled().square().sum(dim=1).mean().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("name", ["layer norm", "layer norm, dense", "discrimination"])
def test_double_backward_holds(name: str) -> None:
    layer = filled(LayerNorm(2)) if name.startswith("layer") else discrimination(2, 1)
    x = drawn(*{"layer norm": (2, 2, 1, 2), "layer norm, dense": (2, 2), "discrimination": (3, 2)}[name])
    parameters = tuple(layer.parameters())
    inputs = (x.requires_grad_(), *(parameter.detach().requires_grad_() for parameter in parameters))
    names = [key for key, _ in layer.named_parameters()]

    def call(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


def test_the_penalty_reaches_every_layer_that_bends() -> None:
    shape = Architecture(8, fmap_base=32, fmap_max=8, layer_norm=True, stddev_group=0, discrimination_kernels=3)
    network = Discriminator(shape).double()
    images = drawn(4, 3, 8, 8).requires_grad_()
    (gradient,) = torch.autograd.grad(network(images, 0.5)[0].sum(), images, create_graph=True)
    gradient.square().sum().backward()
    without = {key for key, value in network.named_parameters() if value.grad is None or not value.grad.any()}
    # A last bias moves scores, not their slope; the gradient of the others tells that nothing is cut off.
    assert without == {"dense1.bias"}
    assert all(value.grad is None or torch.isfinite(value.grad).all() for value in network.parameters())


def test_noise_of_no_strength_changes_nothing() -> None:
    x = drawn(3, 4, 2, 2)
    assert torch.equal(Noise(torch.tensor(0.0))(x), x)
    assert noisy(x, None) is x


def test_noise_is_one_factor_a_channel_that_spreads_by_the_root_of_the_channels() -> None:
    generator = torch.Generator().manual_seed(0)
    factors = Noise(torch.tensor(0.05), generator)(torch.ones(500, 64, 2, 2, dtype=torch.float64))
    assert torch.equal(factors, factors[:, :, :1, :1].expand_as(factors))
    assert factors.mean().item() == pytest.approx(1, abs=0.01)  # deviation 0.4 over √32,000
    assert factors[..., 0, 0].std().item() == pytest.approx(0.05 * 8, rel=0.02)


def test_noise_comes_from_its_generator_alone() -> None:
    x = drawn(3, 4)
    first, second = (Noise(torch.tensor(0.1), torch.Generator().manual_seed(5))(x) for _ in range(2))
    torch.manual_seed(1)
    state = torch.get_rng_state()
    other = Noise(torch.tensor(0.1), torch.Generator().manual_seed(6))(x)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_noise_drawn_on_the_cpu_is_the_same_on_every_device(device: str) -> None:
    where = resolve_device(device)
    x = torch.ones(3, 4, 2, 2, dtype=torch.float64, device=where)
    found = Noise(torch.tensor(0.1, device=where), torch.Generator().manual_seed(5))(x)
    drawn = torch.randn(3, 4, generator=torch.Generator().manual_seed(5)).double()
    np.testing.assert_allclose(found.cpu()[..., 0, 0], 1 + 0.1 * 2 * drawn, rtol=1e-6)
