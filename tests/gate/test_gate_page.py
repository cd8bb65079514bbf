"""docs/formats.md, of results and baselines: the fields that are written, and an example that is read."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pgtools.errors import InputError
from pgtools.gate import baseline
from pgtools.gate.baseline import accept, read_baseline
from pgtools.gate.tolerance import DEFAULT, Tolerance
from pgtools.runtime import results
from pgtools.runtime.results import Figures, MetricResult, read_results, result_from_dict

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text("utf-8")
Make = Callable[..., MetricResult]


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> dict[str, list[str]]:
    """Return the fields of a section's table, each with its other cells."""
    lines = re.findall(r"^\| `([^`]+)` \| (.*) \|$", section(title), re.MULTILINE)
    return {name: cells.split(" | ") for name, cells in lines}


RESULT, BASELINE = rows("A metric's result"), rows("A baseline")


def test_the_page_lists_the_fields_of_a_result_in_their_order(result: Make) -> None:
    assert list(RESULT) == list(result().as_dict())
    assert RESULT["format"][1] == f'`"{results.FORMAT}"`'
    assert RESULT["version"][1] == f"{results.VERSION}"
    assert f"**version {results.VERSION}**" in section("A metric's result")


def test_the_page_says_which_fields_may_lack_parts() -> None:
    tables = {entry.name for entry in dataclasses.fields(Figures)} - {"values"}
    assert {name for name, cells in RESULT.items() if cells[2] == "MAY lack parts"} == tables
    assert {name for name, cells in RESULT.items() if cells[2] == "MUST"} == {
        "format",
        "version",
        "metric",
        "direction",
        "values",
    }


@pytest.mark.parametrize("field", RESULT)
def test_a_field_is_needed_where_the_page_says_so(result: Make, field: str) -> None:
    value = result().as_dict()
    del value[field]
    if RESULT[field][2] == "MUST":
        with pytest.raises(InputError):
            result_from_dict(value, where="here")
    else:
        assert getattr(result_from_dict(value, where="here"), field) == {}
    with pytest.raises(InputError, match="has more, which no result has"):
        result_from_dict({**result().as_dict(), "more": 1}, where="here")


def test_reports_read_version_1_and_the_gate_does_not(result: Make, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps({**result().as_dict(), "version": 1}))
    assert read_results(tmp_path / "old.json") == [result()]
    with pytest.raises(InputError, match="version 1"):
        read_results(tmp_path / "old.json", oldest=baseline.OLDEST_RESULT)
    new = set(
        re.findall(r"`(\w+)`", re.findall(r"Version 1 .*? lacked (.*?), and", section("A metric's result"), re.S)[0])
    )
    assert new < {entry.name for entry in dataclasses.fields(Figures)}


def test_the_page_lists_the_fields_of_a_baseline_and_its_example_is_read(result: Make, tmp_path: Path) -> None:
    baseline.write_baseline(tmp_path / "b.json", accept({}, [result()]))
    written = json.loads((tmp_path / "b.json").read_text())
    fields = [*written, *(f"metrics.*.{name}" for name in written["metrics"]["swd"])]
    assert list(BASELINE) == fields
    assert BASELINE["version"] == [f"{baseline.VERSION}"]
    assert f"`{json.dumps(DEFAULT.as_dict())}`" in BASELINE["metrics.*.tolerance"][0]
    (example,) = re.findall(r"^```json\n(.*?)^```$", section("A baseline"), re.MULTILINE | re.DOTALL)
    (tmp_path / "example.json").write_text(example)
    entry = read_baseline(tmp_path / "example.json")["swd"]
    assert entry.tolerance == {"32": DEFAULT, "average": Tolerance(alarms=0.01)}
    terms = {entry.name for entry in dataclasses.fields(Tolerance)}
    told = section("A baseline").split("Terms:")[1].split("\n\n")[0]
    assert terms == set(re.findall(r"`(\w+)` \(", told))
