"""The `gate` command: tables on stdout, exit codes 0, 1, 2 and 3."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
Make = Callable[..., Any]


@pytest.fixture
def write(result: Make, tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, **words: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps(result(**words).as_dict()))
        return path

    return write


@pytest.fixture
def baseline(tmp_path: Path, write: Callable[..., Path], pgtools: Command) -> Path:
    path = tmp_path / "baseline.json"
    assert pgtools("gate", "accept", write("first.json"), "--baseline", path).code == 0
    return path


def test_the_same_result_passes(pgtools: Command, baseline: Path, write: Callable[..., Path]) -> None:
    outcome = pgtools("gate", "check", write("again.json"), "--baseline", baseline)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("same") == 2


def test_a_worse_result_fails_after_the_table(pgtools: Command, baseline: Path, write: Callable[..., Path]) -> None:
    worse = write("worse.json", values={"32": 12.0, "average": 8.0})
    outcome = pgtools("gate", "check", worse, "--baseline", baseline)
    assert outcome.code == 3
    rows = [line.split() for line in outcome.out.splitlines()]
    assert ["swd", "32", "10", "12", "+2", "±0.5", "lower", "worse"] in rows
    assert "1 of 2 figures fail the gate: swd 32." in outcome.err


def test_json_says_the_same(pgtools: Command, baseline: Path, write: Callable[..., Path]) -> None:
    worse = write("worse.json", values={"32": float("nan")})
    outcome = pgtools("gate", "check", worse, "--baseline", baseline, "--json")
    assert outcome.code == 3
    value = json.loads(outcome.out, parse_constant=pytest.fail)
    assert value["passed"] is False
    assert [move["verdict"] for move in value["moves"]] == ["worse", "missing"]


def test_a_different_protocol_is_refused(pgtools: Command, baseline: Path, write: Callable[..., Path]) -> None:
    other = write("other.json", protocol={"version": 1, "num_images": 512, "seed": 1})
    outcome = pgtools("gate", "check", other, "--baseline", baseline)
    assert (outcome.code, outcome.out) == (1, "")
    assert "num_images: 256 → 512" in outcome.err
    assert "seed: 0 → 1" in outcome.err


def test_accept_says_what_moved_and_what_is_measured_differently(
    pgtools: Command, baseline: Path, write: Callable[..., Path]
) -> None:
    before = json.loads(baseline.read_text())
    moved = write("moved.json", values={"32": 9.0, "average": 8.0})
    outcome = pgtools("gate", "accept", moved, "--baseline", baseline, "--tolerance", "swd.32=1%")
    assert outcome.code == 0
    assert "better" in outcome.out
    assert "tolerance of 32: 5%,3sigma → 1%" in outcome.err
    after = json.loads(baseline.read_text())
    assert after["metrics"]["swd"]["result"]["values"]["32"] == 9.0
    assert after["metrics"]["swd"]["tolerance"]["32"] == {"relative": 0.01}
    assert after["metrics"]["swd"]["tolerance"]["average"] == before["metrics"]["swd"]["tolerance"]["average"]
    other = write("other.json", protocol={"version": 2})
    outcome = pgtools("gate", "accept", other, "--baseline", baseline)
    assert outcome.code == 0
    assert "version: 1 → 2" in outcome.err


def test_show_lists_what_is_allowed(pgtools: Command, baseline: Path) -> None:
    outcome = pgtools("gate", "show", "--baseline", baseline)
    assert ["swd", "32", "10", "0.5", "5%,3sigma", "lower"] in [line.split() for line in outcome.out.splitlines()]
    assert json.loads(pgtools("gate", "show", "--baseline", baseline, "--json").out)["swd"]


def test_a_name_with_brackets_is_shown_as_it_is(pgtools: Command, tmp_path: Path, write: Callable[..., Path]) -> None:
    # Rich reads [/x] as markup, and raised on it.
    odd = write("odd.json", metric="[/x]")
    outcome = pgtools("gate", "accept", odd, "--baseline", tmp_path / "b.json")
    assert outcome.code == 0
    assert "[/x]" in outcome.out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("gate", "check", "none.json", "--baseline", "none.json"), 1),
        (("gate", "check", "--baseline", "none.json"), 2),
        (("gate", "check", "r.json"), 2),
        (("gate", "accept", "r.json", "--baseline", "b.json", "--tolerance", "much"), 2),
        (("gate", "accept", "/proc/version", "--baseline", "b.json"), 1),
    ],
)
def test_wrong_usage_and_what_could_not_be_done(pgtools: Command, words: tuple[str, ...], code: int) -> None:
    assert pgtools(*words).code == code
