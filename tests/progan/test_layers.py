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
    fade,
    initialise,
    minibatch_stddev,
    pixel_norm,
    upsample,
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


def test_fading_ends_at_the_image_and_at_its_pooled_self() -> None:
    x = drawn(2, 3, 8, 8)
    assert torch.equal(fade(x, 0.0), x)
    pooled = upsample(torch.nn.functional.avg_pool2d(x, 2))
    np.testing.assert_allclose(fade(x, 1.0), pooled, atol=1e-12)
    np.testing.assert_allclose(fade(x, 0.25), 0.75 * x + 0.25 * pooled, atol=1e-12)


def test_enlarging_repeats_pixels() -> None:
    x = drawn(1, 1, 4, 4)
    assert torch.equal(enlarge(x, 16)[0, 0, 4:8, 8:12], x[0, 0, 1, 2].expand(4, 4))
    assert torch.equal(enlarge(x, 4), x)
