"""The compact network: what it starts as, how far it sees, what its file holds."""

import json
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from pgtools.errors import InputError
from pgtools.restoration.compact import CompactNetwork, Shape, is_compact, read_compact, read_made, write_compact

SHAPES = [
    Shape(1, 8, 2, 2),
    Shape(4, 8, 2, 1),
    Shape(2, 4, 1, 1),
    Shape(1, 4, 3, 1),
    Shape(2, 4, 1, 2),
    Shape(1, 8, 2, 2, guided=True),
]


def told(shape: Shape, count: int, levels: float = 5.0) -> torch.Tensor | None:
    """What a guided network of this shape is told."""
    return torch.full((count,), levels) if shape.guided else None


def trained(shape: Shape, seed: int = 0) -> CompactNetwork:
    """A network whose every weight matters."""
    torch.manual_seed(seed)
    network = CompactNetwork(shape).eval().requires_grad_(False)
    for weights in network.parameters():
        weights.normal_(0, 0.1)
    return network


@pytest.mark.parametrize("shape", SHAPES)
def test_an_untrained_network_returns_its_input_bilinearly_enlarged(shape):
    torch.manual_seed(0)
    image = torch.rand(2, 3, 8, 12)
    expected = F.interpolate(image, scale_factor=shape.scale, mode="bilinear") if shape.scale > 1 else image
    torch.testing.assert_close(CompactNetwork(shape)(image, told(shape, 2)), expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pixel_changes_nothing_beyond_the_reach_and_something_near_it(shape):
    network = trained(shape).double()  # float32 rounding would hide or invent far effects
    side = 2 * (network.reach + 4)
    image = torch.rand(1, 3, side, side, dtype=torch.float64)
    other = image.clone()
    at = side // 2
    other[:, :, at, at] += 1.0
    changed = (network(image, told(shape, 1, 255.0)) - network(other, told(shape, 1, 255.0))).abs().amax(dim=(0, 1)) > 0
    rows = changed.any(dim=1).nonzero().flatten()
    first, last = int(rows[0]) // shape.scale, int(rows[-1]) // shape.scale
    assert at - network.reach <= first and last <= at + network.reach
    # The stated reach is no more than the network's own lattice above the true one.
    assert at - first >= network.reach - 2 * shape.unshuffle - 1


def test_a_guided_network_corrects_in_proportion_and_at_zero_not_at_all():
    network = trained(Shape(1, 8, 2, 2, guided=True))
    image = torch.rand(2, 3, 8, 8)
    assert torch.equal(network(image, torch.zeros(2)), image)
    # Each image has its own strength.
    both = network(image, torch.tensor([0.0, 9.0]))
    assert torch.equal(both[0], image[0]) and not torch.equal(both[1], image[1])
    # What it computes depends on the strength,
    one, two = (network(image, torch.full((2,), levels)) - image for levels in (3.0, 6.0))
    assert (two - 2 * one).abs().max() > 1e-3
    # and what it changes is counted in units of it.
    network.head.weight[:, 24:] = 0
    one, two = (network(image, torch.full((2,), levels)) - image for levels in (3.0, 6.0))
    torch.testing.assert_close(two, 2 * one, rtol=1e-3, atol=1e-6)


def test_the_correction_is_added_in_float32_whatever_the_weights_are():
    network = trained(Shape(1, 8, 1, 2))
    network.tail.weight.zero_()
    network.tail.bias.zero_()
    image = torch.rand(1, 3, 4, 4)
    result = network.bfloat16()(image)
    assert result.dtype == torch.float32
    assert torch.equal(result, image)


def test_a_file_gives_the_network_back_in_half_precision(tmp_path):
    path = tmp_path / "n.safetensors"
    network = trained(Shape(4, 8, 2, 1))
    write_compact(path, network, {"seed": 3})
    again = read_compact(path)
    assert is_compact(path) and again.shape == network.shape and read_made(path) == {"seed": 3}
    assert not again.training
    for (name, one), two in zip(network.state_dict().items(), again.state_dict().values(), strict=True):
        assert two.dtype == torch.float32, name
        assert torch.equal(one.half().float(), two)
    assert path.stat().st_size < 2 * sum(w.numel() for w in network.parameters()) + 4096


def test_the_file_is_plain_safetensors_with_one_json_entry(tmp_path):
    path = tmp_path / "n.safetensors"
    write_compact(path, trained(Shape(1, 4, 1, 2)), {})
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["pgtools"])
    assert header == {
        "format": "pgtools-compact",
        "version": 1,
        "shape": {"scale": 1, "channels": 4, "blocks": 1, "unshuffle": 2, "guided": False},
        "made": {},
    }


def damaged(path, *, how):
    write_compact(path, trained(Shape(1, 4, 1, 2)), {})
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["pgtools"])
    if how == "a tensor missing":
        tensors.pop("head.bias")
    elif how == "another version":
        header["version"] = 9
    elif how == "another shape":
        header["shape"]["channels"] = 5
    elif how == "an odd shape":
        header["shape"] = {"width": 3}
    elif how == "a shape of no numbers":
        header["shape"]["channels"] = "many"
    safetensors.torch.save_file(tensors, path, {"pgtools": json.dumps(header)})


@pytest.mark.parametrize(
    "how", ["a tensor missing", "another version", "another shape", "an odd shape", "a shape of no numbers"]
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, how):
    path = tmp_path / "n.safetensors"
    damaged(path, how=how)
    with pytest.raises(InputError) as error:
        read_compact(path)
    assert str(path) in error.value.message and "\n" not in error.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scale", 0),
        ("scale", 9),
        ("channels", 513),
        ("channels", 4.0),
        ("channels", True),
        ("blocks", 65),
        ("blocks", -1),
        ("unshuffle", 9),
        ("unshuffle", 0),
        ("guided", 1),
    ],
)
def test_a_header_out_of_bounds_is_refused_before_anything_is_built(tmp_path, monkeypatch, name, value):
    path = tmp_path / "n.safetensors"
    shape = {"scale": 1, "channels": 4, "blocks": 1, "unshuffle": 2, "guided": False, name: value}
    header = {"format": "pgtools-compact", "version": 1, "shape": shape, "made": {}}
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"pgtools": json.dumps(header)})
    monkeypatch.setattr(CompactNetwork, "__init__", lambda self, shape: pytest.fail("it was built"))
    with pytest.raises(InputError, match=f"damaged network \\({name} is {value}"):
        read_compact(path)


def test_a_header_takes_no_memory_of_its_own(tmp_path, monkeypatch):
    path = tmp_path / "n.safetensors"
    shape = {"scale": 8, "channels": 512, "blocks": 64, "unshuffle": 8, "guided": True}  # 1.3 GB of weights
    header = {"format": "pgtools-compact", "version": 1, "shape": shape, "made": {}}
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"pgtools": json.dumps(header)})
    built = []
    load = CompactNetwork.load_state_dict
    monkeypatch.setattr(
        CompactNetwork, "load_state_dict", lambda self, *args, **more: built.append(self) or load(self, *args, **more)
    )
    with pytest.raises(InputError, match="damaged network"):
        read_compact(path)
    assert all(weights.is_meta for weights in built[0].parameters())


def test_a_header_nested_without_end_is_no_network(tmp_path):
    path = tmp_path / "n.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"pgtools": "[" * 100_000})
    with pytest.raises(InputError, match="no compact network"):
        read_compact(path)


def test_other_files_are_not_compact(tmp_path):
    foreign = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, foreign)
    (tmp_path / "pickle.pth").write_bytes(pickle.dumps({"a": 1}))
    for path in (foreign, tmp_path / "pickle.pth", tmp_path / "missing"):
        assert not is_compact(path)
        with pytest.raises(InputError, match="no compact network"):
            read_compact(path)


def test_one_batch_is_as_single_images():
    network = trained(Shape(4, 8, 2, 1))
    images = torch.rand(3, 3, 9, 7)
    alone = torch.cat([network(image[None]) for image in images])
    np.testing.assert_allclose(network(images).numpy(), alone.numpy(), atol=1e-5)
