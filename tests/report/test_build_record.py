"""The record of a build: what is written comes back, and what is damaged is left out and told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pgtools.errors import InputError
from pgtools.report.build_record import read_record
from pgtools.runtime.build_format import BuildRecord, StepTime, record_path, step_times
from tests.report.build_drawn import drawn_record


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    record, path = drawn_record(), tmp_path / "hq-build.json"
    record.write(path)
    found, notes = read_record(path)
    assert notes == []
    assert found.as_dict() == record.as_dict()
    assert found.settings["detector_weights"] == "w/retina.pth"
    assert found.networks == record.networks
    assert found.steps == record.steps


def test_it_stands_beside_the_first_store() -> None:
    assert record_path(Path("sets/hq.v2.lmdb")) == Path("sets/hq.v2-build.json")


def test_steps_are_summed_over_the_photos_that_took_part() -> None:
    times = step_times([{"read": 0.5, "crop": 1.0}, {"read": 0.25}, {}])
    assert times == {"read": StepTime(0.75, 2), "crop": StepTime(1.0, 1)}
    assert list(times) == ["read", "crop"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("photos", -1),
        ("photos", True),
        ("kept", "30"),
        ("seconds", float("inf")),
        ("seconds", None),
        ("settings", [1]),
        ("stores", "hq.lmdb"),
        ("stores", [1]),
        ("reasons", {"no face": "one"}),
        ("networks", {"restore": "x"}),
        ("networks", 3),
        ("steps", {"read": {"seconds": -1, "photos": 3}}),
        ("steps", {"read": {"seconds": 1}}),
        ("source", 3),
    ],
)
def test_what_is_damaged_is_left_out_and_told(tmp_path: Path, name: str, value: Any) -> None:
    path = tmp_path / "hq-build.json"
    path.write_text(json.dumps({**drawn_record().as_dict(), name: value}))
    record, notes = read_record(path)
    assert getattr(record, name) == getattr(BuildRecord(), name)
    assert notes == [f"hq-build.json does not tell {name}."]


def test_records_tell_of_inexact_images_and_older_ones_need_not(tmp_path: Path) -> None:
    path, why = tmp_path / "hq-build.json", {"the delta does not fit": 2}
    drawn_record(inexact=why).write(path)
    record, notes = read_record(path)
    assert (record.inexact, notes) == (why, [])
    older = drawn_record().as_dict()
    del older["inexact"]
    for value, noted in ((older, []), ({**older, "inexact": {"x": -1}}, ["hq-build.json does not tell inexact."])):
        path.write_text(json.dumps(value))
        record, notes = read_record(path)
        assert (record.inexact, notes) == ({}, noted)


def test_a_record_of_nothing_tells_all_that_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"format": "pgtools-build", "version": 1}))
    record, notes = read_record(path)
    assert record == BuildRecord(pgtools="")
    assert notes[0].startswith("b.json does not tell source, stores, settings,")
    assert notes[0].endswith(" started and finished.")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is not the record of a build"),
        ('{"format": "pgtools-run"}', "is not the record of a build"),
        ('{"format": "pgtools-build", "version": 9}', "has build version 9; this pgtools reads 1"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "b.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_record(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_record(tmp_path / "none.json")
