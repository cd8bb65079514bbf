"""Exports: the files agree with the network, say where they come from, and are not left behind when they do not."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgtools import __version__
from pgtools.errors import ComputeError, InputError, OutputError, UsageError
from pgtools.progan import export
from pgtools.progan.config import Architecture
from pgtools.progan.export import CHECKED_BATCHES, check_export, export_generator, facts_of
from pgtools.progan.generator import Generator
from pgtools.progan.run.snapshot import Snapshot

# With classes, fading in 16²: every part of a network that an export has to take along.
SHAPE = Architecture(16, latent=6, labels=3, fmap_base=64, fmap_max=8)
GENERATOR = Generator(SHAPE, seed=2).eval().requires_grad_(False)
SNAPSHOT = Snapshot(GENERATOR, 0.25, 12_000)
SMALLEST = Snapshot(Generator(Architecture(4, latent=4, fmap_base=8)).eval().requires_grad_(False), 0.0, 0)


def some(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    latents = torch.randn(count, 6, generator=torch.Generator().manual_seed(count))
    return latents, torch.eye(3)[torch.arange(count) % 3]


def wanted(count: int) -> np.ndarray:
    latents, labels = some(count)
    return GENERATOR(latents, 0.25, labels).numpy()


def test_onnx_agrees_at_any_batch_and_says_where_it_comes_from(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    file = tmp_path / "a.onnx"
    done = export_generator(SNAPSHOT, file, source="runs/faces")
    assert capfd.readouterr() == ("", "")  # the exporter talks
    assert done.difference is not None and done.difference < 1e-5
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    for count in (1, 3, 8):
        latents, labels = some(count)
        (found,) = session.run(None, {"latents": latents.numpy(), "labels": labels.numpy()})
        np.testing.assert_allclose(found, wanted(count), atol=1e-5)
    model = onnx.load(file)
    names = [[value.name, _sizes(value)] for value in (*model.graph.input, *model.graph.output)]
    assert names == [["latents", ["batch", 6]], ["labels", ["batch", 3]], ["images", ["batch", 3, 16, 16]]]
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert (facts["pgtools"], facts["source"]) == (__version__, "runs/faces")
    assert (json.loads(facts["lod"]), json.loads(facts["images"]), json.loads(facts["range"])) == (
        0.25,
        12_000,
        [-1, 1],
    )
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert str(Path(export.__file__).parent).encode() not in file.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]  # the weights stand in it


def _sizes(value: Any) -> list[str | int]:
    return [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]


def test_a_program_agrees_at_any_batch_and_says_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "a.pt2"
    done = export_generator(SNAPSHOT, file, source="runs/faces")
    assert done.difference is not None and done.difference < 1e-5
    facts = {export.FACTS: ""}
    module = torch.export.load(file, extra_files=facts).module()
    for count in (1, 3, 8):
        np.testing.assert_allclose(module(*some(count)).numpy(), wanted(count), atol=1e-5)
    assert json.loads(facts[export.FACTS]) == done.facts == facts_of(SNAPSHOT, "runs/faces")
    with zipfile.ZipFile(file) as archive:
        here = str(Path(export.__file__).parent).encode()
        assert not any(here in archive.read(name) for name in archive.namelist())


@pytest.mark.parametrize(
    "change", [{"lod": 1.0}, {"generator": Generator(dataclasses.replace(SHAPE, fused_scale=False))}]
)
def test_what_differs_between_snapshots_is_told(change: dict[str, Any]) -> None:
    facts = facts_of(dataclasses.replace(SNAPSHOT, **change), "x")
    assert facts["resolution"] == (8 if "lod" in change else 16)


@pytest.mark.parametrize(
    "wrong", [lambda images: images + 2e-4, lambda images: images * np.nan, lambda images: images[:1]]
)
def test_a_file_that_disagrees_is_not_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Callable[[np.ndarray], np.ndarray]
) -> None:
    def runner(file: Path) -> Callable[..., np.ndarray]:
        network = export.AtLevel(SMALLEST.generator, 0.0)
        return lambda *inputs: wrong(network(*inputs).numpy())

    _without_capture(monkeypatch)
    monkeypatch.setattr(export, "_program_runner", runner)
    (tmp_path / "a.pt2").write_bytes(b"before")
    with pytest.raises(ComputeError, match="differ from the network's by"):
        export_generator(SMALLEST, tmp_path / "a.pt2", source="x")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.pt2", b"before")]
    assert export_generator(SMALLEST, tmp_path / "a.pt2", source="x", check=False).difference is None


def test_both_batches_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def runner(file: Path) -> Callable[..., np.ndarray]:
        def run(latents: torch.Tensor) -> np.ndarray:
            seen.append(len(latents))
            return export.AtLevel(SMALLEST.generator, 0.0)(latents).numpy() + 1e-6 * len(latents)

        return run

    _without_capture(monkeypatch)
    monkeypatch.setattr(export, "_program_runner", runner)
    done = export_generator(SMALLEST, tmp_path / "a.pt2", source="x")
    assert seen == list(CHECKED_BATCHES) == [1, 5]
    assert done.difference == pytest.approx(5e-6, rel=0.2)


def _without_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write anything in place of the program: capturing one takes seconds."""
    monkeypatch.setattr(export, "_captured", lambda network: None)
    monkeypatch.setattr(export, "_write_program", lambda program, file, facts: file.write_bytes(b"after"))


def test_warnings_of_exporters_stay_inside(caplog: pytest.LogCaptureFixture) -> None:
    import warnings

    logger = logging.getLogger("an.exporter")
    with export._quiet():
        warnings.warn("deprecated", DeprecationWarning, stacklevel=1)  # an error in tests, if it came out
        logger.warning("inside")
    logger.warning("outside")
    assert caplog.messages == ["outside"]


def test_faults_are_told_before_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no name of an export"):
        check_export(tmp_path / "a.pth", overwrite=False, check=True)
    (tmp_path / "a.pt2").touch()
    with pytest.raises(OutputError, match="already exists"):
        check_export(tmp_path / "a.pt2", overwrite=False, check=True)
    check_export(tmp_path / "a.pt2", overwrite=True, check=True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name.startswith("onnx") else object())
    with pytest.raises(InputError, match="needs the packages onnx and onnxscript and onnxruntime") as caught:
        check_export(tmp_path / "a.onnx", overwrite=False, check=True)
    assert 'pip install "pgtools[export]"' in caught.value.hint
    with pytest.raises(InputError, match="needs the packages onnx and onnxscript\\."):
        check_export(tmp_path / "a.onnx", overwrite=False, check=False)
    check_export(tmp_path / "b.pt2", overwrite=False, check=True)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
@pytest.mark.parametrize(
    ("shape", "lod"),
    [
        (Architecture(64, latent=16, fmap_base=256, fmap_max=32, fused_scale=False), 0.0),
        (Architecture(32, latent=16, fmap_base=256, fmap_max=32, batch_norm=True, pixel_norm=False, tanh=True), 0.0),
        (Architecture(32, latent=16, fmap_base=256, fmap_max=32, equalized=False, channels=1), 1.5),
    ],
)
def test_every_kind_of_generator_can_be_exported(tmp_path: Path, suffix: str, shape: Architecture, lod: float) -> None:
    snapshot = Snapshot(Generator(shape, seed=3).eval().requires_grad_(False), lod, 0)
    done = export_generator(snapshot, tmp_path / f"a{suffix}", source="x")
    assert done.difference is not None and done.difference < 1e-4
