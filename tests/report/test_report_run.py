"""A run folder that is whole, and every way in which it may not be."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pgtools.errors import InputError
from pgtools.report.run import read_run

MakeRun = Callable[..., Path]


def test_a_whole_run_is_read_whole(make_run: MakeRun) -> None:
    run = read_run(make_run("faces", ticks=20, grids=5))
    assert (run.name, run.images, run.data["count"], run.notes) == ("faces", 120_000, 30_000, [])
    assert len(run.column("kimg")) == 20
    assert [images for images, _ in run.grids] == [24_000, 48_000, 72_000, 96_000, 120_000]
    assert [score.kimg for score in run.scores] == [24, 48, 72, 96, 120]
    assert (run.at(50_000, "kimg"), run.at(48_000, "kimg"), run.at(47_999, "kimg")) == (48, 48, 42)
    assert math.isnan(run.at(10, "kimg"))
    assert run.column("nothing").shape == (20,)


def test_a_killed_run_leaves_half_a_line(make_run: MakeRun) -> None:
    folder = make_run(ticks=20, grids=5)
    log = folder / "log.jsonl"
    log.write_bytes(log.read_bytes()[:-30])
    run = read_run(folder)
    assert len(run.column("kimg")) == 19
    assert len(run.notes) == 1
    assert run.notes[0].startswith("log.jsonl: a damaged line is left out")


@pytest.mark.parametrize("line", ["[]", "3", "{}", '{"images": "many"}', '{"images": null}', "\udcff"])
def test_lines_that_are_no_ticks_are_left_out(make_run: MakeRun, line: str) -> None:
    folder = make_run(ticks=5, grids=5)
    with (folder / "log.jsonl").open("ab") as file:
        file.write(line.encode("utf-8", "surrogateescape") + b"\n")
    run = read_run(folder)
    assert len(run.column("kimg")) == 5
    assert len(run.notes) == 1


@pytest.mark.parametrize("name", ["log.jsonl", "scores.jsonl", "grids", "snapshots", "grids/reals.png"])
def test_what_is_missing_is_told(make_run: MakeRun, name: str) -> None:
    folder = make_run(ticks=5, grids=5)
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    notes = read_run(folder).notes
    assert len(notes) == {"snapshots": 0, "grids": 2}.get(name, 1)
    assert all(Path(name).name.split(".")[0] in note for note in notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("half", "is not JSON"),
        ("[]", "is not the config of a training run"),
        (json.dumps({"format": "pgtools-run", "version": 9}), "has run version 9"),
    ],
)
def test_a_folder_without_a_config_is_no_run(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_run(tmp_path)
