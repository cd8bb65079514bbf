"""Files of results: one, a list, JSON-lines; versions; damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pgtools.errors import InputError
from pgtools.runtime.results import MetricResult, read_result, read_results


def made(metric: str) -> MetricResult:
    return MetricResult({"value": 1.0}, metric=metric, direction="lower")


ONE, TWO = made("a"), made("b")


@pytest.mark.parametrize("several", [[ONE], [ONE, TWO], [ONE, TWO, ONE]])
def test_every_way_to_hold_several_results(tmp_path: Path, several: list[MetricResult]) -> None:
    plain = [result.as_dict() for result in several]
    texts = {
        "lines": "\n".join(map(json.dumps, plain)),
        "lines with an end": "".join(json.dumps(value) + "\r\n" for value in plain) + "\n\n",
        "appended": "\n".join(json.dumps(value, indent=2) for value in plain),
        "list": json.dumps(plain),
        "a byte order mark": "\ufeff" + json.dumps(plain, indent=1),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, "utf-8")
        assert read_results(tmp_path / name) == several, name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no metric result"),
        ("[]", "holds no metric result"),
        ("swd 3", "is not JSON"),
        (json.dumps(ONE.as_dict()) + "\n{", r"is not JSON \(.*line 2"),
        (json.dumps(ONE.as_dict()) + "\n\n3", "r, line 3 is not a metric result"),
        (json.dumps([ONE.as_dict(), {}]), "r, entry 2 is not a metric result"),
        (json.dumps({**ONE.as_dict(), "values": {}}), "r is a damaged metric result"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_file_of_something_else_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r").write_text(text)
    with pytest.raises(InputError, match=message):
        read_results(tmp_path / "r")


def test_bytes_that_are_no_text_and_no_file_at_all(tmp_path: Path) -> None:
    (tmp_path / "r").write_bytes(b"\xff\xfe{\x00")
    with pytest.raises(InputError, match="is not JSON"):
        read_results(tmp_path / "r")
    with pytest.raises(InputError, match="cannot be read"):
        read_results(tmp_path / "none")


def test_an_old_result_is_read_except_where_its_errors_count(tmp_path: Path) -> None:
    (tmp_path / "r").write_text(json.dumps({**ONE.as_dict(), "version": 1}))
    assert read_result(tmp_path / "r") == ONE
    assert read_results(tmp_path / "r") == [ONE]
    with pytest.raises(InputError, match="no standard errors") as caught:
        read_results(tmp_path / "r", oldest=2)
    assert "Measure again" in caught.value.hint
