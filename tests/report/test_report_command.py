"""The `report` command: where the page goes, and exit codes 0, 1 and 2."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgtools.runtime.results import MetricResult

MakeRun = Callable[..., Path]
Command = Callable[..., Any]


def test_the_page_goes_into_the_run_or_where_it_is_told(pgtools: Command, make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    outcome = pgtools("report", folder)
    assert (outcome.code, outcome.out) == (0, "")
    first = (folder / "report.html").read_bytes()
    assert b"<h1>run</h1>" in first
    assert pgtools("report", folder, "--out", tmp_path / "page.html", "--title", "Faces").code == 0
    assert (tmp_path / "page.html").read_bytes() == first.replace(b">run</", b">Faces</")
    assert pgtools("report", folder).code == 0


def test_the_page_replaces_a_page_but_no_folder(
    pgtools: Command, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, kept = make_run(), tmp_path / "kept"
    kept.mkdir()
    (kept / "thesis.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    for out in (".", kept, ".."):
        refused = pgtools("report", folder, "--out", out)
        assert (refused.code, "is a folder" in refused.err) == (1, True), refused.err
    assert (kept / "thesis.txt").read_text() == "x"


def test_results_and_the_nearest_preset_are_in_the_page(pgtools: Command, make_run: MakeRun, tmp_path: Path) -> None:
    result = MetricResult(
        metric="inception-score", direction="higher", values={"value": 7.83}, protocol={"num_images": 50000}
    )
    (tmp_path / "is.json").write_text(json.dumps(result.as_dict()))
    folder = make_run()
    assert pgtools("report", folder, "--metrics", tmp_path / "is.json").code == 0
    page = (folder / "report.html").read_text()
    for words in ("Inception Score", "7.83", "50,000 images", "Settings that differ from the preset compact"):
        assert words in page
    assert "--preset compact" in page


def test_what_is_missing_is_said_on_stderr(pgtools: Command, make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "scores.jsonl").unlink()
    outcome = pgtools("report", folder)
    assert outcome.code == 0
    assert "scores.jsonl is missing" in outcome.err


def test_what_is_no_run_and_what_is_no_result(pgtools: Command, make_run: MakeRun, tmp_path: Path) -> None:
    outcome = pgtools("report", tmp_path / "none")
    assert outcome.code == 1
    assert "Name the folder that `pgtools train` wrote." in outcome.err
    folder = make_run()
    assert pgtools("report", folder, "--metrics", folder / "config.json").code == 1
    assert not (folder / "report.html").exists()
    assert pgtools("report").code == 2
