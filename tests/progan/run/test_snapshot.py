from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from pgtools.errors import InputError
from pgtools.progan.generator import Generator
from pgtools.progan.run.checkpoint import write_checkpoint
from pgtools.progan.run.snapshot import Snapshot, read_networks, read_snapshot, write_networks, write_snapshot
from tests.progan.run.conftest import SHAPE, checkpoint_of, networks_of


def test_a_snapshot_comes_back(tmp_path: Path) -> None:
    file, z = tmp_path / "s.safetensors", torch.ones(2, 8)
    generator = Generator(SHAPE, seed=5)
    write_snapshot(file, Snapshot(generator, 0.75, 1234))
    found = read_snapshot(file)
    assert (found.lod, found.images, found.generator.shape) == (0.75, 1234, SHAPE)
    assert not found.generator.training
    assert not any(parameter.requires_grad for parameter in found.generator.parameters())
    np.testing.assert_array_equal(found.generator(z, 0.75), generator(z, 0.75).detach())


def test_the_three_networks_come_back(tmp_path: Path) -> None:
    file, networks = tmp_path / "n.safetensors", networks_of()
    networks.average.load_state_dict(Generator(SHAPE, 77).state_dict())
    write_networks(file, networks)
    found = read_networks(file)
    assert (found.lod, found.images) == (0.75, 1234)
    for kind in ("generator", "discriminator", "average"):
        torch.testing.assert_close(
            dict(getattr(found, kind).state_dict()), dict(getattr(networks, kind).state_dict()), rtol=0, atol=0
        )
        assert not getattr(found, kind).training
    with safetensors.safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["pgtools"])
    assert (header["format"], header["version"]) == ("pgtools-networks", 1)
    assert "progress" not in header


def test_the_average_is_taken_from_files_of_all_kinds(tmp_path: Path) -> None:
    networks = networks_of()
    networks.average.load_state_dict(Generator(SHAPE, 77).state_dict())
    write_networks(tmp_path / "n.safetensors", networks)
    checkpoint = checkpoint_of(64)
    checkpoint.tensors.update({f"average/{name}": tensor for name, tensor in Generator(SHAPE, 77).state_dict().items()})
    write_checkpoint(tmp_path / "c.safetensors", checkpoint)
    expected = Generator(SHAPE, 77).dense.weight.detach()
    for name, images in (("n", 1234), ("c", 64)):
        found = read_snapshot(tmp_path / f"{name}.safetensors")
        np.testing.assert_array_equal(found.generator.dense.weight, expected)
        assert found.images == images
    assert read_networks(tmp_path / "c.safetensors").images == 64


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_others_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("s.safetensors", "n.safetensors", "c.safetensors")]
    before = os.umask(0o027)
    try:
        write_snapshot(files[0], Snapshot(Generator(SHAPE), 0.0, 1))
        write_networks(files[1], networks_of())
        write_checkpoint(files[2], checkpoint_of(64))
    finally:
        os.umask(before)
    assert [oct(file.stat().st_mode & 0o777) for file in files] == ["0o640"] * 3


def test_one_network_is_no_three(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "s.safetensors", Snapshot(Generator(SHAPE), 0.0, 1))
    with pytest.raises(InputError, match="holds snapshot of pgtools; expected networks or checkpoint"):
        read_networks(tmp_path / "s.safetensors")


def test_a_snapshot_of_the_first_version_still_loads(tmp_path: Path) -> None:
    # As pgtools 0.1 wrote it: before the architecture had norms to choose, or labels a use.
    shape = {
        "resolution": 16,
        "latent": 8,
        "labels": 0,
        "channels": 3,
        "fmap_base": 32,
        "fmap_decay": 1.0,
        "fmap_max": 8,
        "fused_scale": False,
        "stddev_group": 4,
    }
    header = {"format": "pgtools-snapshot", "version": 1, "architecture": shape, "lod": 0.0, "images": 9}
    tensors = {name: tensor.clone() for name, tensor in Generator(SHAPE, 3).state_dict().items()}
    safetensors.torch.save_file(tensors, tmp_path / "s.safetensors", {"pgtools": json.dumps(header)})
    found = read_snapshot(tmp_path / "s.safetensors")
    assert (found.generator.shape, found.images) == (SHAPE, 9)


def test_a_damaged_or_foreign_snapshot_is_named(tmp_path: Path) -> None:
    file = tmp_path / "s.safetensors"
    write_snapshot(file, Snapshot(Generator(SHAPE), 0.0, 1))
    whole = file.read_bytes()
    for data in (whole[:1000], whole[:-4], b"", b"\xff" * 64):
        file.write_bytes(data)
        with pytest.raises(InputError, match="no readable safetensors file"):
            read_snapshot(file)
    with pytest.raises(InputError, match="no readable safetensors file"):
        read_snapshot(tmp_path / "missing.safetensors")
    safetensors.torch.save_file({"x": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="metadata lack"):
        read_snapshot(file)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"architecture": {"resolution": 32}},
        {"architecture": {"depth": 3}},
        {"lod": "x"},
        {"format": None},
        {"format": []},
    ],
)
def test_a_snapshot_whose_header_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    file = tmp_path / "s.safetensors"
    write_snapshot(file, Snapshot(Generator(SHAPE), 0.0, 1))
    tensors = safetensors.torch.load_file(file)
    with safetensors.safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["pgtools"])
    safetensors.torch.save_file(tensors, file, {"pgtools": json.dumps({**header, **change})})
    with pytest.raises(InputError, match=r"damaged|holds"):
        read_snapshot(file)
