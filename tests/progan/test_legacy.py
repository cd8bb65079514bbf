"""The authors' format, written here from our own networks: a stand-in for `tfutil`, then the pickle of (G, D, Gs)."""

from __future__ import annotations

import builtins
import os
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.legacy import read_legacy


class Network:
    """What theirs keeps when pickled."""

    __module__ = "tfutil"

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __getstate__(self) -> dict[str, Any]:
        return self.state


@pytest.fixture(autouse=True)
def tfutil(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    module = types.ModuleType("tfutil")
    module.Network = Network  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tfutil", module)
    yield


def variables_of(network: torch.nn.Module, shape: Architecture) -> list[tuple[str, np.ndarray]]:
    """Our weights under their names, in their layout."""
    found: list[tuple[str, np.ndarray]] = [("lod", np.float32(0.5))]
    for name, tensor in network.state_dict().items():
        *path, part = name.split(".")
        values = tensor.numpy()
        if path[0] == "blocks":
            up = {"conv0": "Conv0_up", "conv1": "Conv1"} if isinstance(network, Generator) else {}
            down = {"conv0": "Conv0", "conv1": "Conv1_down"} if isinstance(network, Discriminator) else {}
            fused = up | down
            layer = fused[path[2]] if shape.fused_scale else path[2].capitalize()
            theirs = f"{path[1]}x{path[1]}/{layer}"
        elif path[0] in ("to_rgb", "from_rgb"):
            side = "ToRGB" if path[0] == "to_rgb" else "FromRGB"
            theirs = f"{side}_lod{(shape.resolution // int(path[1])).bit_length() - 1}"
        else:
            theirs = f"4x4/{path[0].capitalize()}"
        if values.ndim == 4:
            values = values.transpose(2, 3, 1, 0)
            if theirs.endswith("_up"):
                values = values[::-1, ::-1].transpose(0, 1, 3, 2)
        elif values.ndim == 2:
            values = values.T
        found.append((f"{theirs}/{part}", np.ascontiguousarray(values)))
    return found


def saved(network: torch.nn.Module, shape: Architecture, **other: Any) -> Network:
    words = {
        "num_channels": 3,
        "resolution": shape.resolution,
        "label_size": shape.labels,
        "fmap_base": shape.fmap_base,
        "fmap_max": shape.fmap_max,
        "latent_size": shape.latent,
    }
    return Network(
        {
            "version": 2,
            "name": "network",
            "static_kwargs": words | other,
            "build_module_src": "raise SystemExit('never run')",
            "build_func_name": "G_paper",
            "variables": variables_of(network, shape),
        }
    )


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("labels", [0, 3])
def test_what_was_written_is_read(tmp_path: Path, protocol: int, fused: bool, labels: int) -> None:
    shape = Architecture(16, latent=6, labels=labels, fmap_base=64, fmap_max=8, fused_scale=fused)
    networks = Generator(shape, 1), Discriminator(shape, 2), Generator(shape, 3)
    file = tmp_path / "snapshot.pkl"
    file.write_bytes(pickle.dumps(tuple(saved(network, shape) for network in networks), protocol))
    found = read_legacy(file)
    assert found.lod == 0.5
    assert found.average.shape == shape
    z, y = torch.ones(4, 6), torch.eye(4, labels)
    images = networks[2](z, 0.5, y).detach()
    np.testing.assert_array_equal(found.average(z, 0.5, y), images)
    np.testing.assert_array_equal(found.generator(z, 0.5, y), networks[0](z, 0.5, y).detach())
    for ours, theirs in zip(networks[1](images, 0.5), found.discriminator(images, 0.5), strict=True):
        np.testing.assert_array_equal(theirs, ours.detach())


class Hostile:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


@pytest.mark.parametrize(
    ("hostile", "name"),
    [
        (Hostile(os.system, "touch was-here"), f"{os.system.__module__}.system"),
        (Hostile(builtins.eval, "open('was-here', 'w')"), ".eval"),
        (Hostile(builtins.getattr, "x", "upper"), ".getattr"),
        (Hostile(np.load, "x.npy"), "numpy"),
        (Path("x"), "pathlib"),
        (np.array([Path("x")], dtype=object), "pathlib"),
    ],
    ids=["os.system", "eval", "getattr", "numpy", "class", "in an array"],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_any_other_name_refuses_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hostile: object, name: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "evil.pkl"
    file.write_bytes(pickle.dumps((hostile, hostile, hostile), protocol))
    with pytest.raises(InputError, match=r"evil\.pkl is no snapshot of the authors'") as caught:
        read_legacy(file)
    assert name in caught.value.message
    assert not (tmp_path / "was-here").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"\x80\x05",
        pickle.dumps(np.array([{}], dtype=object)),  # objects have no bytes to read
        b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02V8\x85R.",
        b"Pname\n.",  # a persistent id
        b"ctfutil\nNetwork\n}b.",  # state set on the class itself
    ],
)
def test_damaged_and_odd_pickles_are_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "odd.pkl"
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"odd\.pkl"):
        read_legacy(file)


def test_no_codec_but_latin1_is_served(tmp_path: Path) -> None:
    file = tmp_path / "zip.pkl"
    file.write_bytes(b"c_codecs\nencode\n(Vabc\nVzip\ntR.")
    with pytest.raises(InputError, match="it asks for the codec zip"):
        read_legacy(file)


@pytest.mark.parametrize("kind", ["O", "V8", "U4"])
def test_arrays_hold_numbers_only(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "odd.pkl"
    file.write_bytes(pickle.dumps(np.zeros(3, kind), 4))
    with pytest.raises(InputError, match=f"an array of type {kind}|without its bytes"):
        read_legacy(file)


def test_a_short_array_is_refused(tmp_path: Path) -> None:
    data = pickle.dumps((np.arange(8, dtype=np.float32),) * 3, 4)
    file = tmp_path / "short.pkl"
    file.write_bytes(data.replace(b"K\x08\x85", b"K\x09\x85", 1))
    with pytest.raises(InputError, match="with 32 bytes"):
        read_legacy(file)


def test_other_objects_and_other_networks_are_named(tmp_path: Path) -> None:
    shape = Architecture(8, latent=6, fmap_base=64, fmap_max=8)
    generator, discriminator = Generator(shape), Discriminator(shape)
    good, judge = saved(generator, shape), saved(discriminator, shape)
    renamed = saved(generator, shape)
    renamed.state["variables"].append(("8x8/Noise/weight", np.zeros(3, np.float32)))
    cases = {
        "expected the three networks": (good, judge),
        "not one of the authors' networks": (good, judge, {"a": 1}),
        "network version 3": (Network({**good.state, "version": 3}), judge, good),
        "use_pixelnorm is False": (saved(generator, shape, use_pixelnorm=False), judge, good),
        "another kind": (saved(generator, shape, fmap_max=4), judge, good),
        "8x8/Noise/weight": (renamed, judge, good),
    }
    for message, networks in cases.items():
        file = tmp_path / "snapshot.pkl"
        file.write_bytes(pickle.dumps(networks, 4))
        with pytest.raises(InputError, match=message):
            read_legacy(file)
