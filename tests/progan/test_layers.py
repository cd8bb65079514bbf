from __future__ import annotations

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.progan.layers import (
    Conv,
    Dense,
    DenseTo4x4,
    DownConv,
    UpConv,
    enlarge,
    in_float32,
    initialise,
    minibatch_stddev,
    mix,
    pixel_norm,
)
from tests.reference import progan as twin


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def filled(layer: torch.nn.Module) -> torch.nn.Module:
    """In float64, with a bias that is not zero."""
    initialise(layer, 3, "test")
    layer.double()
    torch.nn.init.uniform_(layer.bias, -1, 1, generator=torch.Generator().manual_seed(0))
    return layer.requires_grad_(False)


def test_pixel_norm_of_a_known_vector() -> None:
    # mean(3², 4²) = 12.5
    found = pixel_norm(torch.tensor([[3.0, 4.0]], dtype=torch.float64))
    np.testing.assert_allclose(found, [[3 / 12.5**0.5, 4 / 12.5**0.5]], rtol=1e-9)


def test_pixel_norm_takes_each_pixel_over_channels() -> None:
    normed = pixel_norm(drawn(2, 5, 4, 4))
    np.testing.assert_allclose(normed.square().mean(dim=1), np.ones((2, 4, 4)), atol=1e-6)
    assert torch.isfinite(pixel_norm(torch.zeros(1, 3, 2, 2))).all()


def test_the_gradient_of_the_pixel_norm() -> None:
    x = drawn(3, 5, 2, 2).requires_grad_()
    assert torch.autograd.gradcheck(pixel_norm, x)
    with torch.no_grad():
        assert torch.equal(pixel_norm(x), pixel_norm(x.detach()))
    np.testing.assert_allclose(pixel_norm(x).detach(), pixel_norm(x.detach()), rtol=1e-15)


def test_the_pixel_norm_of_16_bits_sums_in_32() -> None:
    x = drawn(2, 4096, 1, 1).bfloat16().requires_grad_()
    exact = x.detach().double() * torch.rsqrt(x.detach().double().square().mean(dim=1, keepdim=True) + 1e-8)
    for found in (pixel_norm(x), pixel_norm(x.detach())):
        assert found.dtype == torch.bfloat16
        # One rounding to 8 bits, half a step of 2⁻⁷; a sum of 4,096 squares in 8 bits would stop growing at 512.
        assert (found.detach() - exact).abs().max() <= exact.abs().max() * 2**-8
    pixel_norm(x).sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("minibatches", [2, 3])
def test_minibatches_side_by_side_do_not_see_each_other(minibatches: int) -> None:
    parts = [drawn(8, 5, 4, 4, seed=seed) * (seed + 1) for seed in range(minibatches)]
    found = minibatch_stddev(torch.cat(parts), 4, minibatches=minibatches)
    for part, expected in zip(found.chunk(minibatches), parts, strict=True):
        np.testing.assert_allclose(part, minibatch_stddev(expected, 4), atol=1e-12)
    with pytest.raises(InputError, match="does not divide"):
        minibatch_stddev(torch.cat(parts)[:-1], 4, minibatches=minibatches)


@pytest.mark.parametrize(("count", "group"), [(8, 4), (4, 4), (12, 4), (3, 4), (6, 2), (14, 14)])
def test_minibatch_stddev_is_its_twin(count: int, group: int) -> None:
    x = drawn(count, 5, 4, 4, seed=count)
    np.testing.assert_allclose(minibatch_stddev(x, group), twin.minibatch_stddev(x.numpy(), group), atol=1e-12)


def test_minibatch_stddev_of_equal_images_is_the_epsilon() -> None:
    channel = minibatch_stddev(torch.ones(4, 2, 4, 4, dtype=torch.float64), 4)[:, -1]
    np.testing.assert_allclose(channel, np.full((4, 4, 4), 1e-4), rtol=1e-9)


def test_minibatch_stddev_refuses_a_rest() -> None:
    with pytest.raises(InputError, match=r"minibatch of 6 .* groups of 4"):
        minibatch_stddev(torch.zeros(6, 1, 4, 4), 4)


@pytest.mark.parametrize("side", [4, 6, 16])
def test_fused_upsampling_gives_the_plain_numbers(side: int) -> None:
    plain, fused = filled(UpConv(3, 5, fused=False)), filled(UpConv(3, 5, fused=True))
    x = drawn(2, 3, side, side)
    np.testing.assert_allclose(fused(x), plain(x), atol=1e-12)
    weight, bias = plain.scaled().numpy(), plain.bias.numpy()
    np.testing.assert_allclose(plain(x), twin.conv3x3(twin.upsample(x.numpy()), weight, bias), atol=1e-12)


def test_the_two_forms_of_downsampling_pool_at_different_places() -> None:
    plain, fused = filled(DownConv(3, 5, fused=False)), filled(DownConv(3, 5, fused=True))
    x, weight, bias = drawn(2, 3, 8, 8), plain.scaled().numpy(), plain.bias.numpy()
    whole = twin.conv3x3(x.numpy(), weight, 0 * bias)
    np.testing.assert_allclose(plain(x), twin.pool(twin.leaky(whole + bias[:, None, None])), atol=1e-12)
    np.testing.assert_allclose(fused(x), twin.leaky(twin.pool(whole) + bias[:, None, None]), atol=1e-12)
    assert (plain(x) - fused(x)).abs().max() > 1e-2


def test_weights_are_scaled_by_gain_over_root_fan_in() -> None:
    assert Conv(8, 4).scale == pytest.approx((2 / (9 * 8)) ** 0.5)
    assert Conv(8, 3, kernel=1, gain=1).scale == pytest.approx((1 / 8) ** 0.5)
    assert Dense(50, 2).scale == pytest.approx(0.2)
    assert DenseTo4x4(32, 7).scale == pytest.approx(1 / 16)


def test_the_first_layer_reshapes_in_the_order_channels_rows_columns() -> None:
    layer = DenseTo4x4(1, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.arange(32.0)[:, None])
        layer.bias.copy_(torch.tensor([0.0, 100.0]))
    found = layer(torch.ones(1, 1)) / layer.scale
    assert found[0, 0, 1, 2].item() == pytest.approx(6)
    assert found[0, 1, 3, 3].item() == pytest.approx(31 + 100 / layer.scale)


def test_initial_weights_depend_on_seed_network_and_parameter_alone() -> None:
    first, again, other = (Conv(4, 4) for _ in range(3))
    initialise(first, 1, "a")
    torch.manual_seed(99)
    initialise(again, 1, "a")
    initialise(other, 1, "b")
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    assert abs(first.weight.std().item() - 1) < 0.2
    assert not first.bias.any()


def test_mixing_goes_from_the_upper_to_the_lower() -> None:
    upper, lower = drawn(2, 3, 8, 8), drawn(2, 3, 8, 8, seed=1)
    assert torch.equal(mix(upper, lower, 0.0), upper)
    np.testing.assert_allclose(mix(upper, lower, 1.0), lower, atol=1e-12)
    np.testing.assert_allclose(mix(upper, lower, 0.25), 0.75 * upper + 0.25 * lower, atol=1e-12)
    assert torch.equal(mix(upper, lower, torch.tensor(0.25)), mix(upper, lower, 0.25))


def test_mixing_is_wider_than_its_features() -> None:
    upper, lower = (drawn(1000, seed=seed).bfloat16() for seed in (0, 1))
    found = mix(upper, lower, torch.tensor(0.999))
    assert found.dtype == torch.bfloat16
    # A weight of 8 bits would be 1: the upper's share would be lost.
    assert torch.equal(found, torch.lerp(upper.float(), lower.float(), 0.999).bfloat16())
    assert not torch.equal(found, lower)


def test_enlarging_repeats_pixels() -> None:
    x = drawn(1, 1, 4, 4)
    assert torch.equal(enlarge(x, 16)[0, 0, 4:8, 8:12], x[0, 0, 1, 2].expand(4, 4))
    assert torch.equal(enlarge(x, 4), x)


def test_colours_and_scores_are_computed_in_float32() -> None:
    layer, x = Dense(64, 3), drawn(5, 64).float()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        coarse, fine, from_half = layer(x), in_float32(layer, x), in_float32(layer, x.bfloat16())
    assert (coarse.dtype, fine.dtype, from_half.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    assert torch.equal(fine, layer(x))


def test_without_storage_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    # Every command that reads a network asks a network on "meta" for its shapes; drawing there took 1.4 seconds.
    monkeypatch.setattr("pgtools.progan.layers.integer_seed", None)
    with torch.device("meta"):
        layer = Conv(3, 5)
        initialise(layer, 0, "test")
        assert layer.kernel().shape == (5, 3, 3, 3)
    with pytest.raises(TypeError):
        initialise(Conv(3, 5), 0, "test")
