"""The manifest: a line a face, the same bytes for the same build, CSV and Parquet alike, whole or not at all."""

from __future__ import annotations

import copy
import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet  # comes with the test dependency datasets
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pgtools.celebahq import manifest
from pgtools.celebahq.manifest import (
    Keeping,
    Outcome,
    crop_name,
    manifest_path,
    parquet_path,
    read_manifest,
    write_manifest,
)
from pgtools.errors import InputError
from pgtools.runtime.build_format import Network

MODELS = {
    "restore": Network("pgtools-dejpeg", "a" * 64),
    "superres": Network("own.safetensors", "b" * 64),
    "detector": Network("retinaface-mobile0.25", "c" * 64),
}


def face(number: int, score: float, *, source: str = "celeba", steps: tuple[str, ...] = ("lanczos",)) -> Outcome:
    return {
        "face": number,
        "score": score,
        "landmarks": [float(k) for k in range(10)],
        "quad": [k + 0.12345 for k in range(8)],
        "source": source,
        "zoom": 1.5,
        "steps": list(steps),
        "sha256": f"{number}" * 64,
    }


def photo(*faces: Outcome) -> Outcome:
    return {"state": [1, 2], "sha256": "f" * 64, "size": [178, 218], "seconds": {"crop": 0.1}, "faces": list(faces)}


NAMES = ("a.jpg", "b.jpg", 'c, "d".jpg', "e.jpg")
OUTCOMES: dict[str, Outcome] = {
    "a.jpg": photo(face(1, 0.5), {"face": 2, "source": "facexlib", "landmarks": [1.0] * 10, "reason": "face is small"}),
    "b.jpg": {"state": [1, 2], "reason": "no face was found"},
    'c, "d".jpg': photo(
        face(1, 0.75, source="facexlib", steps=("restore", "superres", "padding")), face(2, 0.25, steps=("restore",))
    ),
    "e.jpg": photo(face(1, 0.75)),
}
KEPT = ("a.jpg", 'c, "d".jpg', "e.jpg")
KNOWN: dict[str, dict[str, bool | int | str]] = {
    "a.jpg": {"Smiling": True, "Male": False, "identity": 7, "split": "train"},
    "e.jpg": {"Smiling": False, "Male": False, "identity": 12, "split": "test"},
}


def written(folder: Path, **words: Any) -> Path:
    path = folder / "hq-manifest.csv"
    options = {"attributes": lambda name: KNOWN.get(name, {}), "models": MODELS, **words}
    write_manifest(path, options.pop("names", NAMES), options.pop("outcomes", OUTCOMES), KEPT, **options)
    return path


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_face_has_a_line_and_every_photo_without_one(tmp_path: Path) -> None:
    rows = lines(written(tmp_path))
    told = [(row["index"], row["file"], row["face"], row["kept"], row["rank"], row["reason"]) for row in rows]
    assert told == [
        ("0", "a.jpg", "1", "yes", "3", ""),
        ("", "a.jpg", "2", "no", "", "face is small"),
        ("", "b.jpg", "", "no", "", "no face was found"),
        ("1", 'c, "d".jpg', "1", "yes", "1", ""),
        ("", 'c, "d".jpg', "2", "no", "4", "below the best K"),
        ("2", "e.jpg", "1", "yes", "2", ""),  # ties go to the earlier
    ]


def test_a_line_tells_where_the_face_is_and_what_was_done(tmp_path: Path) -> None:
    row = lines(written(tmp_path))[3]
    assert (row["sha256"], row["crop_sha256"]) == ("f" * 64, "1" * 64)
    assert (row["width"], row["height"], row["landmarks_source"]) == ("178", "218", "facexlib")
    assert [row[f"{point}_x"] for point in ("lefteye", "righteye", "nose")] == ["0.000", "2.000", "4.000"]
    assert (row["rightmouth_y"], row["quad_tl_x"], row["quad_tr_y"]) == ("9.000", "0.123", "7.123")
    assert (row["score"], row["zoom"], row["steps"]) == ("0.750000", "1.500000", "restore+superres+padding")


def test_networks_are_told_only_where_they_took_part(tmp_path: Path) -> None:
    rows = lines(written(tmp_path))
    told = {role: [row[f"{role}_sha256"][:1] for row in rows] for role in MODELS}
    assert told["restore"] == ["", "", "", "a", "a", ""]
    assert told["superres"] == ["", "", "", "b", "", ""]
    assert told["detector"] == ["", "c", "", "c", "", ""]
    assert [row["restore"] for row in rows[3:]] == ["pgtools-dejpeg", "pgtools-dejpeg", ""]


def test_convention_attributes_are_celebas_own_one_and_minus_one(tmp_path: Path) -> None:
    rows = lines(written(tmp_path))
    assert [row["Smiling"] for row in rows] == ["1", "1", "", "", "", "-1"]
    assert [row["Male"] for row in rows] == ["-1", "-1", "", "", "", "-1"]
    assert [(row["identity"], row["split"]) for row in (rows[0], rows[-1])] == [("7", "train"), ("12", "test")]
    assert "Smiling" not in lines(written(tmp_path, attributes=None))[0]


def test_an_attribute_cannot_take_a_column_of_the_manifests_own(tmp_path: Path) -> None:
    row = lines(written(tmp_path, attributes=lambda _: {"score": True}))[0]
    assert (row["score"], row["attribute_score"]) == ("0.500000", "1")


@pytest.mark.parametrize(
    ("choice", "rank", "reason"),
    [
        (Keeping(min_score=0.3), "4", "its score is below 0.3"),
        (Keeping(min_score=0.2), "4", "below the best K"),
        (Keeping(rank=False), "", "after the first K"),
    ],
)
def test_the_reason_names_how_crops_were_chosen(tmp_path: Path, choice: Keeping, rank: str, reason: str) -> None:
    row = lines(written(tmp_path, choice=choice))[4]
    assert (row["rank"], row["reason"]) == (rank, reason)


def test_what_went_through_a_journal_gives_the_same_bytes(tmp_path: Path) -> None:
    first, again = written(tmp_path / "first"), tmp_path / "again"
    shuffled = {name: json.loads(json.dumps(OUTCOMES[name])) for name in reversed(NAMES)}
    second = written(again, outcomes=shuffled)
    assert second.read_bytes() == first.read_bytes()
    assert parquet_path(second).read_bytes() == parquet_path(first).read_bytes()
    assert b"\r" not in first.read_bytes()


def test_reading_gives_typed_values(tmp_path: Path) -> None:
    rows = list(read_manifest(written(tmp_path)))
    assert rows[0]["index"] == 0
    assert rows[0]["kept"] is True
    assert rows[2]["kept"] is False
    assert (rows[3]["file"], rows[3]["face"], rows[3]["score"], rows[3]["zoom"]) == ('c, "d".jpg', 1, 0.75, 1.5)
    assert (rows[0]["Smiling"], rows[5]["Smiling"], rows[0]["identity"], rows[0]["split"]) == (1, -1, 7, "train")
    assert rows[2]["score"] is rows[2]["face"] is rows[2]["Male"] is None
    few = list(read_manifest(written(tmp_path), only=("score", "file", "nothing")))
    assert few == [{name: row[name] for name in ("file", "score")} for row in rows]


def test_parquet_holds_what_the_csv_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "CHUNK", 4)  # several row groups
    path = written(tmp_path)
    table = parquet.read_table(parquet_path(path))
    assert table.to_pylist() == list(read_manifest(path))
    types = {field.name: str(field.type) for field in table.schema}
    assert {name: types[name] for name in ("index", "kept", "score", "file", "Smiling", "split")} == {
        "index": "int64",
        "kept": "bool",
        "score": "double",
        "file": "string",
        "Smiling": "int64",
        "split": "string",
    }


def test_without_pyarrow_no_parquet_of_another_build_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_pyarrow = written(tmp_path).read_bytes()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = written(tmp_path)
    assert path.read_bytes() == with_pyarrow
    assert not parquet_path(path).exists()


def test_a_failure_leaves_both_files_as_they_were(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    damaged = copy.deepcopy(OUTCOMES)
    damaged["e.jpg"]["faces"][0]["zoom"] = "wide"
    with pytest.raises(TypeError):
        written(tmp_path, outcomes=damaged)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert path in before


@settings(deadline=None, max_examples=30)
@example(["a\rb.jpg", 'a"b', '"', "a\nb", " ", "a#2"], [-0.0001] * 10)
@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1), min_size=1, unique=True),
    st.lists(st.floats(-1e6, 1e6), min_size=10, max_size=10),
)
def test_any_name_and_number_comes_back(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], points: list[float]
) -> None:
    path = tmp_path_factory.mktemp("any") / "m.csv"
    one = {**face(1, 0.5), "landmarks": points}
    write_manifest(path, names, {name: photo(one) for name in names}, names)
    rows = list(read_manifest(path))
    assert [row["file"] for row in rows] == names
    assert rows[0]["lefteye_x"] == pytest.approx(points[0], abs=0.0005)
    assert "-0.000" not in path.read_text("utf-8")
    assert math.copysign(1, rows[0]["rightmouth_y"]) == math.copysign(1, points[9]) or abs(points[9]) < 0.001  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "is not the manifest of a build"),
        (lambda text: text.replace("index", "number", 1), "is not the manifest of a build"),
        (lambda text: text[:-10], "line 7 has 78 cells; expected"),
        (lambda text: text.replace("0.500000", "good"), "line 2: score is 'good'; expected a number"),
        (lambda text: text.replace(",1,yes,", ",1,perhaps,", 1), "line 2: kept is 'perhaps'; expected yes or no"),
        (lambda text: text.replace(",178,", ",1.5,", 1), "line 2: width is '1.5'; expected a whole number"),
    ],
)
def test_a_damaged_manifest_is_told_where(tmp_path: Path, change: Any, message: str) -> None:
    path = written(tmp_path)
    path.write_text(change(path.read_text("utf-8")), "utf-8")
    with pytest.raises(InputError, match=message.replace("78 cells", r"\d+ cells")):
        list(read_manifest(path))


def test_what_is_no_text_or_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read as a manifest"):
        list(read_manifest(tmp_path / "none.csv"))
    path = written(tmp_path)
    with pytest.raises(InputError, match="cannot be read as a manifest"):
        list(read_manifest(parquet_path(path)))


def test_names_beside_the_store() -> None:
    assert manifest_path(Path("x/hq.v2.lmdb")) == Path("x/hq.v2-manifest.csv")
    assert parquet_path(Path("x/hq.v2-manifest.csv")) == Path("x/hq.v2-manifest.parquet")
    assert [crop_name("a.jpg", face) for face in (1, 2)] == ["a.jpg", "a.jpg#2"]
