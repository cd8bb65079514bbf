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
    assert outcome.out.endswith("All figures pass the gate: 2 same.\n")


def test_a_worse_result_fails_after_the_table(pgtools: Command, baseline: Path, write: Callable[..., Path]) -> None:
    worse = write("worse.json", values={"32": 12.0, "average": 8.0})
    outcome = pgtools("gate", "check", worse, "--baseline", baseline)
    assert outcome.code == 3
    rows = [line.split() for line in outcome.out.splitlines()]
    assert ["swd", "32", "10", "12", "+2", "±0.5", "+0.619", "(6.2%)", "lower", "worse"] in rows
    # Both streams go to one log: the verdict stands there once.
    assert outcome.err.startswith("Error: 1 of 2 figures fails the gate: swd 32.\n  If this change is meant")
    assert "fails the gate" not in outcome.out
    assert outcome.out.endswith("fails by chance, all figures together.\n" + WITHOUT)


WITHOUT = "Without a standard error, so that chance is not known: swd average.\n"


def test_what_is_missing_is_to_be_measured_rather_than_accepted(
    pgtools: Command, baseline: Path, write: Callable[..., Path]
) -> None:
    outcome = pgtools("gate", "check", write("fid.json", metric="fid"), "--baseline", baseline)
    assert outcome.code == 3
    assert outcome.err.splitlines()[1] == "  Measure swd as well, or check without: --only fid."


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
    assert outcome.out == pgtools("gate", "show", "--baseline", baseline).out  # the new tolerance, not the old
    assert "swd has changed: 32: 10 → 9 (better)" in outcome.err
    assert "average: 8" not in outcome.err
    assert "tolerance of 32: 5%,3sigma → 1%" in outcome.err
    after = json.loads(baseline.read_text())
    assert after["metrics"]["swd"]["result"]["values"]["32"] == 9.0
    assert after["metrics"]["swd"]["tolerance"]["32"] == {"relative": 0.01}
    assert after["metrics"]["swd"]["tolerance"]["average"] == before["metrics"]["swd"]["tolerance"]["average"]
    other = write("other.json", protocol={"version": 2})
    outcome = pgtools("gate", "accept", other, "--baseline", baseline)
    assert outcome.code == 0
    assert "version: 1 → 2" in outcome.err


def test_the_first_accept_shows_what_was_accepted_and_no_other_metric(
    pgtools: Command, baseline: Path, write: Callable[..., Path]
) -> None:
    outcome = pgtools("gate", "accept", write("fid.json", metric="fid"), "--baseline", baseline)
    assert (outcome.code, outcome.err) == (0, "")
    assert ["fid", "32", "10", "±", "0.1", "5%,3sigma", "±0.5"] in [
        line.split()[:7] for line in outcome.out.splitlines()
    ]
    assert "swd" not in outcome.out


def test_show_lists_what_is_allowed(pgtools: Command, baseline: Path) -> None:
    outcome = pgtools("gate", "show", "--baseline", baseline)
    assert ["swd", "32", "10", "±", "0.1", "5%,3sigma", "±0.5"] in [
        line.split()[:7] for line in outcome.out.splitlines()
    ]
    facts = json.loads(pgtools("gate", "show", "--baseline", baseline, "--json").out)["swd"]
    assert facts["allowed"]["32"] == 0.5
    assert facts["power"]["32"]["notices"] == pytest.approx(0.5 + 0.8416212 * 0.1 * 2**0.5)


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
        (("gate", "check", "r.json", "--baseline", "b.json", "--json", "--format", "junit"), 2),
        (("gate", "check", "r.json", "--baseline", "b.json", "--format", "html"), 2),
        (("gate", "check", "r.json", "--baseline", "b.json", "--out", "gate.html"), 2),
        (("gate", "check", "r.json", "--baseline", "b.json", "--out", "b.json"), 2),
        (("gate", "check", "r.json", "--baseline", "b.json", "--out", "/proc/none/gate.md"), 1),
    ],
)
def test_wrong_usage_and_what_could_not_be_done(pgtools: Command, words: tuple[str, ...], code: int) -> None:
    assert pgtools(*words).code == code


def test_every_file_is_written_also_when_the_gate_fails(
    pgtools: Command, baseline: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    worse = write("worse.json", values={"32": 12.0, "average": 8.0})
    outs = [tmp_path / "out" / f"gate.{suffix}" for suffix in ("txt", "json", "md", "xml")]
    words = [word for path in outs for word in ("--out", path)]
    outcome = pgtools("gate", "check", worse, "--baseline", baseline, *words, "--format", "junit")
    assert outcome.code == 3
    assert outcome.err.startswith("".join(f"Wrote {path}.\n" for path in outs) + "Error: ")
    text, facts, markdown, xml = (path.read_text("utf-8") for path in outs)
    assert xml == outcome.out
    assert json.loads(facts)["verdict"] in text
    assert markdown.startswith("### Gate failed")
    assert sorted(outs[0].parent.iterdir()) == sorted(outs)


def test_one_metric_may_be_checked_alone(pgtools: Command, tmp_path: Path, write: Callable[..., Path]) -> None:
    both, one = tmp_path / "b.json", write("swd.json")
    assert pgtools("gate", "accept", one, write("fid.json", metric="fid"), "--baseline", both).code == 0
    missing = pgtools("gate", "check", one, "--baseline", both)
    assert missing.code == 3
    assert "fid 32 (missing)" in missing.err
    outcome = pgtools("gate", "check", one, "--baseline", both, "--only", "swd")
    assert (outcome.code, "fid" in outcome.out) == (0, False)
    assert pgtools("gate", "check", one, "--baseline", both, "--only", "fid").code == 3
    unknown = pgtools("gate", "check", one, "--baseline", both, "--only", "kid")
    assert (unknown.code, "--only is kid, which the baseline does not have." in unknown.err) == (2, True)


def test_json_lines_of_several_snapshots_need_a_name(pgtools: Command, tmp_path: Path, result: Make) -> None:
    lines = [
        json.dumps(result(metric=metric, data={"fake": {"name": f"run/{kimg}", "fingerprint": kimg}}).as_dict())
        for kimg in ("100", "200")
        for metric in ("swd", "fid")
    ]
    (tmp_path / "all.jsonl").write_text("\n".join(lines) + "\n")
    words = ("gate", "accept", tmp_path / "all.jsonl", "--baseline", tmp_path / "b.json")
    refused = pgtools(*words)
    assert refused.code == 1
    assert "2 results are of swd: of 100, 200;" in refused.err
    assert "--fake 200" in refused.err
    assert pgtools(*words, "--fake", "200").code == 0
    assert json.loads((tmp_path / "b.json").read_text())["metrics"]["fid"]["result"]["data"]["fake"]["name"] == "200"
    assert pgtools("gate", "check", *words[2:], "--fake", "run/100").code == 0
    assert pgtools("gate", "check", *words[2:], "--fake", "00").code == 2
    unknown = pgtools("gate", "check", *words[2:], "--fake", "nope")
    assert (unknown.code, "They are of 100, 200." in unknown.err) == (2, True)
    assert pgtools("gate", "check", *words[2:]).code == 1


def test_a_result_of_the_first_version_is_refused_with_the_remedy(
    pgtools: Command, baseline: Path, tmp_path: Path, result: Make
) -> None:
    old = tmp_path / "old.json"
    old.write_text(json.dumps({**result().as_dict(), "version": 1}))
    for verb in ("check", "accept"):
        outcome = pgtools("gate", verb, old, "--baseline", baseline)
        assert outcome.code == 1
        assert "version 1, which has no standard errors" in outcome.err
        assert "Measure again" in outcome.err


@pytest.mark.parametrize("verb", ["check", "accept"])
def test_what_is_no_file_of_results_is_told_with_the_next_step(
    pgtools: Command, baseline: Path, tmp_path: Path, verb: str
) -> None:
    (tmp_path / "real.lmdb").mkdir()
    folder = pgtools("gate", verb, tmp_path / "real.lmdb", "--baseline", baseline)
    assert (folder.code, folder.out) == (1, "")
    assert "real.lmdb is a folder; expected a JSON file of results." in folder.err
    assert f"pgtools evaluate REAL {tmp_path / 'real.lmdb'} --out scores.json" in folder.err
    (tmp_path / "table.txt").write_text("swd 3\n")
    for name, message in (("table.txt", "table.txt is not JSON"), ("none.json", "none.json: cannot be read")):
        other = pgtools("gate", verb, tmp_path / name, "--baseline", baseline)
        assert (other.code, message in other.err) == (1, True)
        assert "Results come from e.g. `pgtools swd … --json > swd.json`" in other.err


@pytest.mark.parametrize("rule", ["swdd=5%", "swd.33=5%"])
def test_a_tolerance_for_what_is_not_there_is_wrong_usage(
    pgtools: Command, baseline: Path, write: Callable[..., Path], rule: str
) -> None:
    before = baseline.read_bytes()
    outcome = pgtools("gate", "accept", write("r.json"), "--baseline", baseline, "--tolerance", rule)
    assert (outcome.code, outcome.out) == (2, "")
    assert "They have swd (32, average)." in outcome.err
    assert baseline.read_bytes() == before
