"""The baseline file and what `accept` does to it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgtools.errors import InputError, UsageError
from pgtools.gate.baseline import accept, read_baseline, write_baseline
from pgtools.gate.choice import by_metric, choose
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
    with pytest.raises(UsageError, match=r"names swd\.64"):
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
    with pytest.raises(InputError, match="is not JSON") as caught:
        read_baseline(tmp_path / "text.json")
    assert "gate accept" in caught.value.hint
    with pytest.raises(InputError, match="is a folder; expected the JSON file of a baseline") as caught:
        read_baseline(tmp_path)
    assert "--baseline FILE" in caught.value.hint


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


def snapshot(result: Make, run: str, images: int, **words: Any) -> MetricResult:
    name = f"{run}/snapshots/{images:09d}.safetensors"
    fake = {"name": name, "fingerprint": f"{run} {images}", "kimg": f"{images / 1000:g}"}
    return result(data={"real": {"name": "../data/real.lmdb", "fingerprint": "ab"}, "fake": fake}, **words)


def test_several_snapshots_are_listed_and_the_last_suggested(result: Make) -> None:
    three = [snapshot(result, "runs/a", images) for images in (1024, 2016, 2720)]
    with pytest.raises(InputError) as caught:
        accept({}, three)
    names = "000001024.safetensors, 000002016.safetensors, 000002720.safetensors"
    assert caught.value.message == f"3 results are of swd: of {names}; a baseline holds one a metric."
    assert caught.value.hint.endswith("e.g. the last: --fake 000002720.safetensors.")
    many = [snapshot(result, "a", images) for images in range(1, 241)]
    with pytest.raises(
        InputError, match=r"of 000000001\..*000000003\.safetensors, … 000000238\..*\(240 in all\)"
    ) as caught:
        by_metric(many)
    assert len(caught.value.message) < 250
    # What tells runs apart is the folder, so that it is told.
    with pytest.raises(InputError, match=r"of a/snapshots/000000007.*, b/snapshots/000000007"):
        by_metric([snapshot(result, "a", 7), snapshot(result, "b", 7)])
    with pytest.raises(InputError) as caught:
        by_metric([three[0], three[0]])
    assert "protocols" in caught.value.hint


@pytest.mark.parametrize(
    "fake",
    [
        "runs/a/snapshots/000002016.safetensors",
        "./runs/a/snapshots/000002016.safetensors",
        "snapshots/000002016.safetensors",
        "000002016.safetensors",
        "000002016",
        "2016",
        "2.016",
    ],
)
def test_any_end_of_a_name_and_the_kimg_choose(result: Make, fake: str) -> None:
    three = [snapshot(result, "runs/a", images) for images in (1024, 2016, 12720)]
    if fake.startswith("./"):
        three = [snapshot(result, "./runs/a", images) for images in (1024, 2016, 12720)]
        fake = fake.removeprefix("./")
    assert choose(three, fake=fake) == [three[1]]


def test_the_more_exact_name_counts_first(result: Make) -> None:
    two = [snapshot(result, "a", 2016), snapshot(result, "a", 2016_000)]
    assert choose(two, fake="2016") == [two[1]]  # its kimg, and the end of the other


@pytest.mark.parametrize(("fake", "message"), [("24", "several results are of"), ("x", "none"), ("", "none")])
def test_an_end_of_several_names_or_of_none_is_wrong_usage(result: Make, fake: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"--fake is '{fake}', which {message}") as caught:
        choose([snapshot(result, "a", 1024), snapshot(result, "a", 2024)], fake=fake)
    assert "000001024" in caught.value.message + caught.value.hint


def test_metrics_of_the_same_images_are_chosen_together(result: Make) -> None:
    def of(name: str, fingerprint: str, metric: str) -> MetricResult:
        return result(metric=metric, data={"fake": {"name": name, "fingerprint": fingerprint}})

    both = [of("a/fake.zip", "1", "swd"), of("a/fake.zip", "2", "fid")]  # FID took another number of them
    assert choose(both, fake="fake.zip") == both
    both = [of("a/fake.zip", "1", "swd"), of("b/fake.zip", "1", "fid")]  # moved in between
    assert choose(both, fake="fake.zip") == both
    with pytest.raises(UsageError, match=r"several results are of: a/fake\.zip, b/fake\.zip"):
        choose([of("a/fake.zip", "1", "swd"), of("b/fake.zip", "2", "fid")], fake="fake.zip")
    assert choose(both, only=["fid"]) == both[1:]
    assert choose([], fake="x") == []


def test_the_baseline_does_not_depend_on_where_it_was_measured(result: Make) -> None:
    here, there = (snapshot(result, run, 2016) for run in ("runs/a", "/home/me/pg/runs/a"))
    there = dataclasses.replace(
        there, data={**there.data, "fake": {**there.data["fake"], "fingerprint": "runs/a 2016"}}
    )
    assert accept({}, [here]) == accept({}, [there])
    assert accept({}, [here])["swd"].result.data == {
        "real": {"name": "real.lmdb", "fingerprint": "ab"},
        "fake": {"name": "000002016.safetensors", "fingerprint": "runs/a 2016", "kimg": "2.016"},
    }
