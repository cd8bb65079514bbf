"""`pgtools export`, from words to a file; what stands in the file is tested in tests/progan/test_export.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pgtools.progan import export
from pgtools.progan.config import Architecture
from pgtools.progan.generator import Generator
from pgtools.progan.run.snapshot import Snapshot, write_snapshot


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A snapshot file; capturing a program takes seconds, so anything is written in its place."""
    network = export.AtLevel(Generator(Architecture(8, latent=4, fmap_base=16), seed=1).eval(), 0.0)
    monkeypatch.setattr(export, "_captured", lambda network: None)
    monkeypatch.setattr(export, "_write_program", lambda program, file, facts: file.write_bytes(b"program"))
    monkeypatch.setattr(export, "_program_runner", lambda file: lambda *inputs: network(*inputs).numpy() + 3e-7)
    file = tmp_path / "a.safetensors"
    write_snapshot(file, Snapshot(network.generator, 0.0, 640))
    return file


def test_export_tells_the_largest_difference(pgtools: Any, snapshot: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.pt2"
    done = pgtools("export", snapshot, out)
    assert (done.code, out.read_bytes()) == (0, b"program")
    assert "torch.export; 4 latents to 3×8×8 images" in done.out
    assert "largest difference from the network: 3" in done.out
    refused = pgtools("export", snapshot, out)
    assert (refused.code, "already exists" in refused.err) == (1, True)
    again = json.loads(pgtools("export", snapshot, out, "--overwrite", "--json").out)
    assert again["difference"] == pytest.approx(3e-7, rel=0.5)
    assert (again["images"], again["source"], again["resolution"]) == (640, str(snapshot), 8)


def test_no_check_says_no_difference(pgtools: Any, snapshot: Path, tmp_path: Path) -> None:
    done = pgtools("export", snapshot, tmp_path / "a.pt2", "--no-check")
    assert (done.code, "difference" in done.out) == (0, False)
    assert json.loads(pgtools("export", snapshot, tmp_path / "b.pt2", "--no-check", "--json").out)["difference"] is None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing", "a.pth"], 2, "no name of an export"),
        (["missing", "a.pt2"], 1, "holds no run"),
        (["missing", "a.pt2", "--snapshot", "worst"], 2, "expected best, latest or a number"),
    ],
)
def test_faults_are_one_line(pgtools: Any, tmp_path: Path, words: list[str], code: int, message: str) -> None:
    done = pgtools("export", tmp_path / words[0], tmp_path / words[1], *words[2:])
    assert (done.code, message in done.err, done.out) == (code, True, "")
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []
