"""The baseline file and what `accept` does to it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgtools.errors import InputError, UsageError
from pgtools.gate.baseline import accept, choose, read_baseline, write_baseline
from pgtools.gate.tolerance import DEFAULT, Tolerance, parse_rule
from pgtools.runtime.results import MetricResult

Make = Callable[..., MetricResult]
SOUND = MetricResult({"32": 10.0}, metric="swd", direction="lower").as_dict()


def test_a_baseline_is_read_as_it_was_written(result: Make, tmp_path: Path) -> None:
    rules = [("", "", Tolerance(relative=0.1)), ("swd", "32", Tolerance(absolute=0.25, sigma=2))]
    baseline = accept({}, [result(), result(metric="fid")], rules)
    write_baseline(tmp_path / "b.json", baseline)
    assert read_baseline(tmp_path / "b.json") == baseline
    assert list(tmp_path.iterdir()) == [tmp_path / "b.json"]


def test_the_file_is_pinned(result: Make, tmp_path: Path) -> None:
    write_baseline(tmp_path / "b.json", accept({}, [result({"32": 10.0})], [("", "", Tolerance())]))
    value = json.loads((tmp_path / "b.json").read_text())
    assert value == {
        "format": "pgtools-baseline",
        "version": 2,
        "metrics": {"swd": {"result": result({"32": 10.0}).as_dict(), "tolerance": {"32": {"absolute": 0.0}}}},
    }


def test_accept_replaces_only_what_is_given_and_keeps_tolerances(result: Make) -> None:
    tight = Tolerance(absolute=0.1)
    before = accept({}, [result(), result(metric="fid")], [("swd", "32", tight)])
    after = accept(before, [result({"32": 1.0, "16": 2.0})])
    assert after["fid"] is before["fid"]
    assert after["swd"].result.values == {"32": 1.0, "16": 2.0}
    assert (after["swd"].tolerance_of("32"), after["swd"].tolerance_of("16")) == (tight, DEFAULT)


def test_the_last_rule_that_matches_counts(result: Make) -> None:
    rules = [parse_rule(text) for text in ("1%", "swd=2%", "swd.32=3%")]
    new = accept({}, [result(), result(metric="fid")], rules)
    found = [new["fid"].tolerance_of("32"), new["swd"].tolerance_of("average"), new["swd"].tolerance_of("32")]
    assert [tolerance.relative for tolerance in found] == [0.01, 0.02, 0.03]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5%", ("", "", Tolerance(relative=0.05))),
        ("0.3,2sigma", ("", "", Tolerance(absolute=0.3, sigma=2))),
        ("ms-ssim=0", ("ms-ssim", "", Tolerance())),
        ("swd.32=5%,0.1,3sigma", ("swd", "32", Tolerance(0.05, 0.1, 3))),
        ("1%alarms", ("", "", Tolerance(alarms=0.01))),
        ("fid=2%,0.1%alarms", ("fid", "", Tolerance(relative=0.02, alarms=0.001))),
    ],
)
def test_rules_of_known_meaning(text: str, expected: tuple[str, str, Tolerance]) -> None:
    assert parse_rule(text) == expected
    assert parse_rule(str(expected[2]))[2] == expected[2]


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "5%,6%", "nan", "inf", "swd=", "3 sigmas", "1,,2", "0%alarms", "50%alarms", "-1%alarms", "1alarms"],
)
def test_other_rules_are_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="--tolerance is"):
        parse_rule(text)


def test_a_rule_that_matches_nothing_is_refused(result: Make) -> None:
    with pytest.raises(InputError, match=r"names swd\.64"):
        accept({}, [result()], [("swd", "64", DEFAULT)])


@pytest.mark.parametrize("words", [{"values": {"32": math.nan}}, {"spread": {"32": math.inf}}])
def test_figures_that_are_not_finite_are_not_accepted(result: Make, words: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="32 is"):
        accept({}, [result(**words)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "else"}, "is not a baseline"),
        ({"version": 3}, "has baseline version 3"),
        ({"version": 1}, "version 1 .* no standard errors"),
        ({"metrics": {"swd": {"result": {**SOUND, "version": 1}}}}, "no standard errors"),
        ({"metrics": {"swd": {"result": {**SOUND, "spread": {"32": -0.1}}}}}, "standard error of 32 is -0.1"),
        ({"metrics": {"swd": {"result": SOUND, "tolerance": {"32": {"sigma": 3}}}}}, "32 may move by 3sigma"),
        ({"metrics": {"swd": {"result": SOUND, "tolerance": {"32": {"alarms": 0.5}}}}}, "tolerance of 32"),
        ({"metrics": []}, "has no metrics"),
        ({"metrics": {"swd": 3}}, "swd is damaged"),
        ({"metrics": {"swd": {"result": {}}}}, "swd is not a metric result"),
        ({"metrics": {"fid": {"result": SOUND}}}, "holds a result of swd"),
        (
            {"metrics": {"swd": {"result": SOUND, "tolerance": {"32": {"relativ": 1}}}}},
            "tolerance of 32",
        ),
        (
            {"metrics": {"swd": {"result": SOUND, "tolerance": {"32": {"sigma": -1}}}}},
            "tolerance of 32",
        ),
        ({"metrics": {"swd": {"result": {**SOUND, "values": {"32": math.nan}}}}}, "32 is nan"),
        ({"metrics": {"swd": {"result": {**SOUND, "values": {"32": "1"}}}}}, "damaged metric result"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"format": "pgtools-baseline", "version": 2, "metrics": {}, **change}))
    with pytest.raises(InputError, match=message):
        read_baseline(path)


def test_no_file_and_no_json(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read") as caught:
        read_baseline(tmp_path / "none.json")
    assert "gate accept" in caught.value.hint
    (tmp_path / "text.json").write_text("swd 3")
    with pytest.raises(InputError, match="is not JSON"):
        read_baseline(tmp_path / "text.json")


def test_the_remedy_for_an_old_baseline_is_told(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(json.dumps({"format": "pgtools-baseline", "version": 1, "metrics": {}}))
    with pytest.raises(InputError) as caught:
        read_baseline(tmp_path / "b.json")
    assert "measure again" in caught.value.hint


@pytest.mark.parametrize("text", ["3sigma", "1%alarms"])
def test_a_tolerance_that_is_all_noise_needs_a_standard_error(result: Make, text: str) -> None:
    # Else the gate of that figure would fail on any change at all.
    with pytest.raises(InputError, match=r"average may move by .*, but has no standard error"):
        accept({}, [result()], [parse_rule(text)])
    accept({}, [result()], [parse_rule(text), parse_rule("swd.average=0")])
    accept({}, [result()], [parse_rule(text + ",5%")])


def test_one_of_several_results_is_chosen_by_the_name_of_its_images(result: Make) -> None:
    def of(name: str) -> MetricResult:
        return result(data={"fake": {"name": name, "fingerprint": name}})

    one, two = of("runs/a/snapshots/000000100.safetensors"), of("runs/a/snapshots/000000200.safetensors")
    with pytest.raises(InputError, match=r"of runs/a/.*100\..* and of runs/a/.*200\.") as caught:
        accept({}, [one, two])
    assert caught.value.hint.endswith("--fake runs/a/snapshots/000000200.safetensors.")
    assert choose([one, two], fake="000000200.safetensors") == choose([one, two], fake=str(two.data["fake"]["name"]))
    assert choose([one, two], fake="000000100.safetensors") == [one]
    assert choose([one, two]) == [one, two]
    assert choose([one, result(metric="fid")], only=["fid"]) == [result(metric="fid")]
    with pytest.raises(InputError, match="images named 200") as caught:
        choose([one, two], fake="200")
    assert "000000100" in caught.value.hint
    with pytest.raises(InputError) as caught:
        accept({}, [one, one])
    assert "protocols" in caught.value.hint
