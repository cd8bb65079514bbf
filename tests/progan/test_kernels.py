"""Kernels kept within a turn: the same numbers and gradients, made once, given up at the end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pgtools.progan.kernels import kernels_once
from pgtools.progan.layers import Conv, Dense, DenseTo4x4, DownConv, UpConv
from tests.progan.test_layers import drawn, filled

LAYERS = {
    "dense": (Dense(3, 5), (4, 3)),
    "first": (DenseTo4x4(3, 5), (4, 3)),
    "conv": (Conv(3, 5), (4, 3, 8, 8)),
    "up": (UpConv(3, 5, fused=True), (4, 3, 4, 4)),
    "up plain": (UpConv(3, 5, fused=False), (4, 3, 4, 4)),
    "down": (DownConv(3, 5, fused=True), (4, 3, 8, 8)),
    "down plain": (DownConv(3, 5, fused=False), (4, 3, 8, 8)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_kernel_made_once_gives_the_same_outputs_and_gradients(name: str) -> None:
    layer, shape = LAYERS[name]
    filled(layer).requires_grad_()
    inputs = [drawn(*shape, seed=seed) for seed in range(2)]

    def passes() -> list[torch.Tensor]:
        with torch.no_grad():  # what was made without a gradient must not serve where one is wanted
            before = layer(inputs[0])
        outputs = [layer(x) for x in inputs]
        assert torch.equal(outputs[0], before)
        return outputs

    made: list[torch.Tensor] = []
    for once in (False, True):
        layer.zero_grad()
        if once:
            with kernels_once([layer]):
                outputs = passes()
        else:
            outputs = passes()
        sum(x.square().sum() for x in outputs).backward()
        made.append(torch.cat([outputs[1].detach().flatten(), layer.weight.grad.flatten()]))
    np.testing.assert_allclose(made[1], made[0], rtol=1e-12, atol=1e-12)


def test_a_kernel_is_made_once_and_given_up_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, count = Conv(3, 5), [0]
    real = layer.formed

    def counted() -> torch.Tensor:
        count[0] += 1
        return real()

    monkeypatch.setattr(layer, "formed", counted)
    x = torch.ones(1, 3, 4, 4)
    with kernels_once([layer]):
        before, _, _ = (layer(x) for _ in range(3))
    assert count == [1]
    with torch.no_grad():
        layer.weight.add_(1)
    with kernels_once([layer]):
        assert not torch.equal(layer(x), before)
    assert count == [2]
    with pytest.raises(ZeroDivisionError), kernels_once([layer]):
        raise ZeroDivisionError
    layer(x)
    layer(x)
    assert count == [4]
