"""`pgtools bench stores`: its tables, its Markdown, its JSON, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.pictures import smooth_images
from tests.stores.sets import written

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
QUICK = ("--repeats", 1, "--seconds", 0.001)


def test_drawn_faces_as_tables_and_markdown(pgtools, tmp_path: Path) -> None:
    out, folder = tmp_path / "bench.md", tmp_path / "disk"
    words = ("bench", "stores", "--sides", 32, "--count", 3, "--folder", folder, "--out", out, *QUICK)
    done = pgtools(*words)
    assert done.code == 0, done.err
    assert list(folder.iterdir()) == []
    for text in (done.out, out.read_text("utf-8")):
        assert "32², 3 images" in text
        for form in ("PNG folder, Pillow", "PNG folder, pgtools", "LMDB auto", "LMDB jpeg", "HDF5"):
            assert form in text
        assert "1.00 (1.00–1.00)" in text
        assert "LMDB jpeg is lossy" in text
    assert "images drawn faces" in out.read_text("utf-8")
    again = pgtools(*words)
    assert again.code == 1
    assert "already exists" in again.err


def test_a_source_at_several_sides_and_a_larger_lmdb_as_json(pgtools, tmp_path: Path) -> None:
    store = written(tmp_path, smooth_images(4, 32), "a.lmdb")[0]
    done = pgtools(
        "bench", "stores", "--images", store, "--sides", "32,8", *QUICK, "--large", "--large-count", 50, "--json"
    )
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert {(row["side"], row["images"]) for row in found["rows"]} == {(32, 4), (8, 4)}
    assert [one["images"] for one in found["openings"]] == [50, 50]
    assert found["protocol"]["images"] == str(store)
    assert found["protocol"]["cores"] >= 1


def test_interrupted_it_leaves_nothing(pgtools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(images, side, folder, protocol):
        (folder / "half").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr("pgtools.stores.jobs.bench.bench_side", interrupted)
    done = pgtools("bench", "stores", "--sides", 32, "--folder", tmp_path / "disk")
    assert done.code == 1
    assert "Interrupted" in done.err
    assert list((tmp_path / "disk").iterdir()) == []


@pytest.mark.parametrize("sides", ["", "100", "32,", "2", "-4", "32;64", "999999"])
def test_sides_are_powers_of_two(pgtools, tmp_path: Path, sides: str) -> None:
    done = pgtools("bench", "stores", "--sides", sides, "--folder", tmp_path / "disk")
    assert done.code == 2
    assert "expected powers of two" in done.err
    assert not (tmp_path / "disk").exists()


def test_a_source_that_is_too_small(pgtools, tmp_path: Path) -> None:
    store = written(tmp_path, smooth_images(4, 32), "a.lmdb")[0]
    done = pgtools("bench", "stores", "--images", store, "--sides", "64", "--folder", tmp_path / "disk")
    assert done.code == 1
    assert "has no level 64" in done.err
    assert list((tmp_path / "disk").iterdir()) == []
