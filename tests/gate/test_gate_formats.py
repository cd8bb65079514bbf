"""What a check is written as: read back by what will read it, with names that mean to break it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtools.errors import UsageError
from pgtools.gate.baseline import accept
from pgtools.gate.check import Check, check, next_step, verdict
from pgtools.gate.formats import SUFFIXES, WRITERS, format_of, write_check
from pgtools.runtime.results import MetricResult

Make = Callable[..., MetricResult]
HOSTILE = "a|b`c`<script>&\"'*_[x](y)\n# \x1b[31m\x00\ud800"


@pytest.fixture
def failed(result: Make) -> Check:
    accepted = [result({"32": 10.0, "16": 9.0, "8": 5.0}), result(metric="fid", values={"value": 3.0})]
    new = result({"32": 12.0, "16": 5.0, "4": 1.0}, environment={"device": "H100"})
    return check(accept({}, accepted), [new])


def test_markdown_says_the_verdict_first_and_folds_the_protocol(failed: Check) -> None:
    lines = WRITERS["markdown"](failed).splitlines()
    assert lines[0] == "### Gate failed"
    assert lines[2] == "3 of 5 figures fail the gate: swd 32, swd 8 (missing), fid (missing)."
    assert "| swd | 32 | 10 | 12 | +2 | ±0.5 | +0.619 (6.2%) | lower | **worse** |" in lines
    assert "| swd | 16 | 9 | 5 | -4 | ±0.45 | - | lower | better |" in lines
    assert sum(line.startswith("- Better than accepted: swd 16.") for line in lines) == 1
    assert "- Note: swd: measured elsewhere (device (not told) → H100)." in lines
    assert lines.index("| swd | seed | 0 |") > lines.index("<details><summary>How it was measured</summary>")
    assert lines[-1] == "</details>"


def test_junit_counts_what_it_holds(failed: Check) -> None:
    root = ElementTree.fromstring(WRITERS["junit"](failed))  # noqa: S314 - our own text
    assert (root.tag, root.attrib["tests"], root.attrib["failures"], root.attrib["skipped"]) == (
        "testsuites",
        "5",
        "3",
        "1",
    )
    for holder in (root, *root):
        for name, tag in (("tests", "testcase"), ("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
            assert int(holder.attrib[name]) == len(list(holder.iter(tag)))
    assert [suite.attrib["name"] for suite in root] == ["swd", "fid"]
    worse = root.find(".//testcase[@name='swd 32']/failure")
    assert worse is not None and worse.attrib["type"] == "worse"
    assert worse.attrib["message"] == "swd 32 is worse: 10 → 12 (+2); ±0.5 may change, lower is better."
    assert worse.text is not None and "A change of +0.619 (6.2%) fails in 80 of 100 checks" in worse.text
    names = [(case.attrib["classname"], case.attrib["name"]) for case in root.iter("testcase")]
    assert len(set(names)) == len(names)  # GitLab leaves out all but the first of a name
    assert names == [("pgtools.gate.swd", f"swd {part}") for part in ("32", "16", "8", "4")] + [
        ("pgtools.gate.fid", "fid")
    ]
    # A reporter that reckons with the time of a suite or a case shows NaN where there is none.
    assert "time" not in root.attrib
    assert {element.attrib["time"] for tag in ("testsuite", "testcase") for element in root.iter(tag)} == {"0"}
    properties = {p.attrib["name"]: p.attrib["value"] for p in root[0].iter("property")}
    assert properties["num_images"] == "256"


def test_json_holds_all_of_it(failed: Check) -> None:
    value = json.loads(WRITERS["json"](failed), parse_constant=pytest.fail)
    assert value["passed"] is False
    assert value["protocols"]["swd"]["seed"] == 0
    first = value["moves"][0]
    assert first["power"]["alarms"] == pytest.approx(math.erfc(0.5 / 0.2) / 2)
    assert value["false_alarms_at_most"] == first["power"]["alarms"]


def test_text_is_one_table_in_line(failed: Check) -> None:
    lines = WRITERS["text"](failed).splitlines()
    assert lines[0].index("better") + len("better") == lines[1].index("lower") + len("lower")
    assert (
        len({line.index(word) for line, word in zip(lines, ("verdict", "worse", "better", "missing"), strict=False)})
        == 1
    )
    assert lines[-1].startswith("3 of 5 figures fail the gate")


@settings(deadline=None, max_examples=40)
@given(st.text(min_size=1, max_size=12))
def test_no_name_breaks_a_format(result: Make, name: str) -> None:
    for text in (name, HOSTILE + name):
        odd = result({text: 1.0, "32": 2.0}, protocol={text: text}, metric=text, spread={text: 0.1})
        done = check(accept({}, [odd]), [result({"32": 4.0}, protocol={text: text}, metric=text)])
        root = ElementTree.fromstring(WRITERS["junit"](done).encode())  # noqa: S314
        assert len(list(root.iter("testcase"))) == 2
        markdown = WRITERS["markdown"](done).encode().decode()
        table = [line for line in markdown.splitlines() if line.startswith("|")]
        # As GitHub reads it: a cell ends at a bar without a backslash before it.
        assert {len(re.split(r"(?<!\\)\|", line)) - 2 for line in table[:4]} == {9}
        assert {len(re.split(r"(?<!\\)\|", line)) - 2 for line in table[4:]} == {3}
        assert "<script>" not in markdown.replace("\\<", "")
        assert not re.search(r"(?<!\\)`", markdown)
        assert "\x1b" not in WRITERS["text"](done)
        assert json.loads(WRITERS["json"](done))["moves"][0]["part"] == text


def test_the_suffix_names_the_format(failed: Check, tmp_path: Path) -> None:
    for suffix, name in SUFFIXES.items():
        assert format_of(Path(f"a{suffix.upper()}")) == name
        write_check(tmp_path / f"gate{suffix}", failed)
        assert (tmp_path / f"gate{suffix}").read_text("utf-8") == WRITERS[name](failed)
    with pytest.raises(UsageError, match="expected a name that ends in one of"):
        format_of(Path("gate"))


def test_counts_are_told_in_words(result: Make) -> None:
    def told(accepted: dict[str, float], new: dict[str, float]) -> str:
        return verdict(check(accept({}, [result(accepted)]), [result(new)]))

    three, worse = {"32": 10.0, "16": 9.0, "8": 5.0}, {"32": 20.0, "16": 9.0, "8": 5.0}
    assert told({"32": 10.0}, {"32": 20.0}) == "The only figure fails the gate: swd 32."
    assert told({"32": 10.0}, {"32": 10.0}) == "The only figure passes the gate: 1 same."
    assert told(three, worse) == "1 of 3 figures fails the gate: swd 32."
    assert told(three, {"32": 20.0, "16": 20.0, "8": 5.0}) == "2 of 3 figures fail the gate: swd 32, swd 16."
    assert told(three, three) == "All figures pass the gate: 3 same."
    assert verdict(check({}, [])) == "The baseline is empty: nothing was checked."


def test_the_next_step_fits_what_failed(result: Make) -> None:
    baseline = accept({}, [result(), result(metric="fid"), result(metric="kid")])
    meant = "If this change is meant, `pgtools gate accept` makes the results the new baseline."
    worse, kid = result({"32": 20.0, "average": 8.0}), result(metric="kid")
    assert next_step(check(baseline, [worse, kid], only=["swd", "kid"])) == meant
    assert (
        next_step(check(baseline, [result(), kid])) == "Measure fid as well, or check without: --only swd --only kid."
    )
    assert next_step(check(baseline, [worse])) == f"{meant} Measure fid, kid as well, or check without: --only swd."
    assert next_step(check(baseline, [], only=["fid"])) == "Measure fid as well."
    # A part that a metric no longer has is no metric that was forgotten.
    assert next_step(check(baseline, [result({"32": 10.0})], only=["swd"])) == meant
