from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from pgtools.errors import InputError
from pgtools.progan.checkpoint import (
    Snapshot,
    read_checkpoint,
    read_snapshot,
    write_checkpoint,
    write_snapshot,
)
from pgtools.progan.config import Architecture
from pgtools.progan.generator import Generator

SHAPE = Architecture(16, latent=8, fmap_base=32, fmap_max=8, fused_scale=False)


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch was-here",)


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c.pt", {"x": torch.arange(3), "n": {"a": 1.5, "b": (1, 2)}})
    state = read_checkpoint(tmp_path / "c.pt")
    assert state["x"].tolist() == [0, 1, 2]
    assert state["n"] == {"a": 1.5, "b": (1, 2)}


def test_a_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": "pgtools-checkpoint", "version": 1, "x": Hostile()}, tmp_path / "c.pt")
    with pytest.raises(InputError, match="no readable checkpoint"):
        read_checkpoint(tmp_path / "c.pt")
    (tmp_path / "p.pt").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(InputError, match="no readable checkpoint"):
        read_checkpoint(tmp_path / "p.pt")
    assert not (tmp_path / "was-here").exists()


def test_a_damaged_or_foreign_checkpoint_is_named(tmp_path: Path) -> None:
    file = tmp_path / "c.pt"
    write_checkpoint(file, {"x": torch.zeros(1000)})
    whole = file.read_bytes()
    for data in (whole[:2000], b"", b"nonsense", whole[:-200]):
        file.write_bytes(data)
        with pytest.raises(InputError, match=r"c\.pt is no readable checkpoint"):
            read_checkpoint(file)
    torch.save({"weights": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="not a checkpoint of pgtools"):
        read_checkpoint(file)
    torch.save({"format": "pgtools-checkpoint", "version": 9}, file)
    with pytest.raises(InputError, match="version 9; this pgtools reads 1"):
        read_checkpoint(file)


def test_a_snapshot_comes_back(tmp_path: Path) -> None:
    file, z = tmp_path / "s.safetensors", torch.ones(2, 8)
    generator = Generator(SHAPE, seed=5)
    write_snapshot(file, Snapshot(generator, 0.75, 1234))
    found = read_snapshot(file)
    assert (found.lod, found.images, found.generator.shape) == (0.75, 1234, SHAPE)
    assert not found.generator.training
    np.testing.assert_array_equal(found.generator(z, 0.75), generator(z, 0.75).detach())


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
    [{"version": 2}, {"architecture": {"resolution": 32}}, {"architecture": {"depth": 3}}, {"lod": "x"}],
)
def test_a_snapshot_whose_header_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    file = tmp_path / "s.safetensors"
    write_snapshot(file, Snapshot(Generator(SHAPE), 0.0, 1))
    tensors = safetensors.torch.load_file(file)
    with safetensors.safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["pgtools"])
    safetensors.torch.save_file(tensors, file, {"pgtools": json.dumps({**header, **change})})
    with pytest.raises(InputError, match="damaged snapshot"):
        read_snapshot(file)
