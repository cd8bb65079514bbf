from __future__ import annotations

import dataclasses
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from pgtools.errors import InputError, OutputError
from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.run.checkpoint import (
    Checkpoint,
    adam_tensors,
    read_checkpoint,
    restore_adam,
    write_checkpoint,
)
from pgtools.progan.run.snapshot import write_networks
from tests.progan.run.conftest import SHAPE, adam_of, checkpoint_of, networks_of


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch was-here",)


def changed(checkpoint: Checkpoint, **tensors: torch.Tensor | None) -> Checkpoint:
    """The checkpoint with tensors replaced, added, or (None) left out."""
    kept = {name: value for name, value in {**checkpoint.tensors, **tensors}.items() if value is not None}
    return dataclasses.replace(checkpoint, tensors=kept)


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path: Path) -> None:
    written = checkpoint_of(64, value=1 / 3)
    write_checkpoint(tmp_path / "c.safetensors", written)
    found = read_checkpoint(tmp_path / "c.safetensors")
    assert (found.architecture, found.progress, found.lod, found.images) == (SHAPE, written.progress, 0.75, 64)
    assert found.tensors.keys() == written.tensors.keys()
    torch.testing.assert_close(found.tensors, written.tensors, rtol=0, atol=0)
    generator = Generator(SHAPE)
    generator.load_state_dict(found.part("generator"))
    assert found.part("adam/generator").keys() == {
        f"{name}/{key}"
        for name in ("dense.weight", "dense.bias", "conv.weight", "conv.bias", "to_rgb.4.weight", "to_rgb.4.bias")
        for key in ("exp_avg", "exp_avg_sq", "step")
    }
    assert not found.part("adam/discriminator")


@pytest.mark.parametrize("options", [{}, {"fused": True}, {"foreach": True}, {"amsgrad": False, "capturable": False}])
def test_adam_goes_on_as_if_it_had_not_stopped(options: dict[str, Any]) -> None:
    def steps(generator: Generator, adam: torch.optim.Adam, lods: tuple[float, ...]) -> None:
        for lod in lods:
            adam.zero_grad()
            generator(torch.ones(2, 8), lod).square().sum().backward()
            adam.step()

    whole, stopped = Generator(SHAPE, 1), Generator(SHAPE, 1)
    adam_whole, adam_stopped = adam_of(whole, **options), adam_of(stopped, **options)
    steps(whole, adam_whole, (2.0, 1.5, 1.5, 1.0))
    steps(stopped, adam_stopped, (2.0, 1.5))
    resumed = Generator(SHAPE, 9)
    resumed.load_state_dict(stopped.state_dict())
    adam = adam_of(resumed, **options)
    restore_adam(adam, resumed, {name: tensor.clone() for name, tensor in adam_tensors(adam_stopped, stopped).items()})
    assert len(adam.state) == 12  # levels 4 and 8 took part, not 16
    steps(resumed, adam, (1.5, 1.0))
    torch.testing.assert_close(dict(resumed.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)
    torch.testing.assert_close(adam_tensors(adam, resumed), adam_tensors(adam_whole, whole), rtol=0, atol=0)


def test_going_back_overwrites_adam_in_place_and_forgets_levels_that_had_not_begun() -> None:
    # A recorded CUDA graph holds the addresses of the moments: a roll-back must fill them, not replace them.
    networks = networks_of()
    adam = adam_of(networks.generator)
    for lod, kept in ((2.0, True), (1.0, False)):
        networks.generator(torch.ones(2, 8), lod).square().sum().backward()
        adam.step()
        if kept:
            saved = {name: tensor.clone() for name, tensor in adam_tensors(adam, networks.generator).items()}
    weight = networks.generator.dense.weight
    address = adam.state[weight]["exp_avg"].data_ptr()
    restore_adam(adam, networks.generator, saved)
    assert adam.state[weight]["exp_avg"].data_ptr() == address
    torch.testing.assert_close(adam_tensors(adam, networks.generator), saved, rtol=0, atol=0)


def test_adam_of_another_network_is_refused() -> None:
    networks = networks_of()
    adam = adam_of(networks.generator)
    with pytest.raises(InputError, match=r"a parameter dense0\.weight"):
        restore_adam(adam, networks.generator, {"dense0.weight/step": torch.ones(())})
    wider = {f"dense.weight/{key}": torch.ones(7) for key in ("exp_avg", "exp_avg_sq", "step")}
    with pytest.raises(InputError, match=r"dense\.weight/exp_avg is \(7,\)"):
        restore_adam(adam, networks.generator, wider)


@pytest.mark.gpu
@pytest.mark.parametrize("options", [{"fused": True}, {"capturable": True}, {}])
def test_adam_on_a_gpu_keeps_its_step_where_it_counts(options: dict[str, Any]) -> None:
    generator = Generator(SHAPE).cuda()
    adam = adam_of(generator, **options)
    generator(torch.ones(2, 8, device="cuda")).square().sum().backward()
    adam.step()
    saved = {name: tensor.cpu() for name, tensor in adam_tensors(adam, generator).items()}
    other = Generator(SHAPE).cuda()
    fresh = adam_of(other, **options)
    restore_adam(fresh, other, saved)
    one, two = adam.state[generator.dense.weight], fresh.state[other.dense.weight]
    assert {key: value.device for key, value in one.items()} == {key: value.device for key, value in two.items()}
    other(torch.ones(2, 8, device="cuda")).square().sum().backward()
    fresh.step()
    assert float(two["step"]) == 2


def test_a_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": "pgtools-checkpoint", "version": 1, "x": Hostile()}, tmp_path / "c.safetensors")
    (tmp_path / "p.safetensors").write_bytes(pickle.dumps(Hostile()))
    for name in ("c", "p"):
        with pytest.raises(InputError, match="no readable safetensors file"):
            read_checkpoint(tmp_path / f"{name}.safetensors")
    assert not (tmp_path / "was-here").exists()


def test_nothing_in_progan_reads_pickles_by_torch() -> None:
    sources = (Path(__file__).parents[3] / "pgtools" / "progan").rglob("*.py")
    assert [file for file in sources if "torch.load" in file.read_text("utf-8")] == []


def test_a_damaged_or_foreign_checkpoint_is_named(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    write_checkpoint(file, checkpoint_of(0))
    whole = file.read_bytes()
    for data in (whole[:2000], b"", b"nonsense", whole[:-200], whole + b"x", b"\xff" * 64):
        file.write_bytes(data)
        with pytest.raises(InputError, match=r"c\.safetensors is no readable safetensors file") as caught:
            read_checkpoint(file)
        assert "\n" not in caught.value.message
    safetensors.torch.save_file({"weights": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="is not a checkpoint of pgtools"):
        read_checkpoint(file)
    write_networks(file, networks_of())
    with pytest.raises(InputError, match="holds networks of pgtools; expected checkpoint"):
        read_checkpoint(file)
    with pytest.raises(InputError, match="no readable safetensors file"):
        read_checkpoint(tmp_path / "missing.safetensors")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"generator/conv.bias": None}, r"it has no tensor generator/conv\.bias"),
        ({"generator/more": torch.zeros(1)}, "it has an unknown tensor generator/more"),
        ({"more": torch.zeros(1)}, "it has an unknown tensor more"),
        ({"average/conv.bias": torch.zeros(9)}, r"average/conv\.bias is F32 \(9,\), expected F32 \(8,\)"),
        ({"average/conv.bias": torch.zeros(8).half()}, r"average/conv\.bias is F16 \(8,\), expected F32"),
        ({"adam/generator/nothing/step": torch.zeros(())}, "its optimizer has a parameter nothing"),
        ({"adam/generator/conv.bias/step": None}, r"it has no tensor adam/generator/conv\.bias/step"),
        (
            {"adam/generator/conv.bias/exp_avg": torch.zeros(1)},
            r"conv\.bias/exp_avg is F32 \(1,\), expected F32 \(8,\)",
        ),
        ({"adam/generator/conv.bias/max": torch.zeros(1)}, r"unknown tensor adam/generator/conv\.bias/max"),
    ],
)
def test_tensors_that_are_not_the_networks_own_are_named(
    tmp_path: Path, tensors: dict[str, torch.Tensor | None], message: str
) -> None:
    file = tmp_path / "c.safetensors"
    write_checkpoint(file, changed(checkpoint_of(0), **tensors))
    with pytest.raises(InputError, match=f"is a damaged checkpoint .*{message}"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    "field",
    [
        {"architecture": {"resolution": 1 << 40}},
        {"architecture": {"resolution": 24}},
        {"architecture": {"resolution": 16, "latent": "8"}},
        {"architecture": {"resolution": 16, "fmap_base": 1 << 50, "fmap_max": 1 << 50}},
        {"architecture": {"resolution": 16, "depth": 3}},
        {"architecture": 7},
        {"lod": "x"},
        {"lod": -1},
        {"lod": 3},
        {"lod": float("nan")},
        {"images": -1},
        {"images": True},
        {"progress": []},
    ],
)
def test_a_forged_header_costs_nothing_and_is_named(tmp_path: Path, field: dict[str, Any]) -> None:
    file = tmp_path / "c.safetensors"
    write_checkpoint(file, checkpoint_of(0))
    with safetensors.safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()["pgtools"])
    safetensors.torch.save_file(checkpoint_of(0).tensors, file, {"pgtools": json.dumps({**header, **field})})
    with pytest.raises(InputError, match="is a damaged checkpoint"):
        read_checkpoint(file)


def test_another_version_is_named(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    safetensors.torch.save_file(
        {"x": torch.zeros(1)}, file, {"pgtools": '{"format": "pgtools-checkpoint", "version": 9}'}
    )
    with pytest.raises(InputError, match="version 9; this pgtools reads 2"):
        read_checkpoint(file)


def test_a_checkpoint_of_other_networks_is_told_by_name() -> None:
    checkpoint = checkpoint_of(0)
    checkpoint.check_architecture(SHAPE)
    with pytest.raises(InputError, match="networks with latent 8; the run's have 9"):
        checkpoint.check_architecture(dataclasses.replace(SHAPE, latent=9))


def test_a_figure_that_json_has_no_word_for_replaces_no_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "c.safetensors"
    write_checkpoint(file, checkpoint_of(0))
    before = file.read_bytes()
    with pytest.raises(OutputError, match="no plain JSON"):
        write_checkpoint(file, checkpoint_of(0, value=float("nan")))
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize(
    "shape",
    [
        Architecture(8, latent=4, labels=3, fmap_base=32, fmap_max=8, stddev_group=0),
        Architecture(8, latent=4, fmap_base=32, fmap_max=8, batch_norm=True, layer_norm=True, pixel_norm=False),
        Architecture(8, latent=4, fmap_base=32, fmap_max=8, discrimination_kernels=2, stddev_group=0),
    ],
)
def test_networks_of_every_kind_come_back(tmp_path: Path, shape: Architecture) -> None:
    file, written = tmp_path / "c.safetensors", checkpoint_of(3, shape=dataclasses.replace(shape, resolution=16))
    write_checkpoint(file, written)
    found = read_checkpoint(file)
    torch.testing.assert_close(found.tensors, written.tensors, rtol=0, atol=0)
    Discriminator(found.architecture).load_state_dict(found.part("discriminator"))
