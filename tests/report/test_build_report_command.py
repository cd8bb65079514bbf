"""`pgtools report` of a build: what it may be called, what it says where something is gone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgtools.cli import run
from pgtools.cli._build_report import check_page
from pgtools.errors import UsageError

Command = Callable[..., Any]
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    networks = ["--restore", "none", "--superres", "lanczos"]
    assert run(["demo", "faces", str(folder / "faces"), "--count", "4"]) == 0
    words = [str(folder / "faces"), str(folder / "a.lmdb"), "--resolution", "16", "--workers", "1", *networks]
    assert run(["build-celebahq", *words]) == 0
    (folder / "a-report.html").unlink()
    return folder


@pytest.fixture
def built(original: Path, tmp_path: Path) -> Path:
    """A finished build that a test may damage; its record still names the photos of the original."""
    return Path(shutil.copytree(original, tmp_path / "sets"))


def test_the_page_and_the_picture(pgtools: Command, built: Path) -> None:
    done = pgtools("report", built / "a-build.json")
    assert (done.code, done.err) == (0, f"Wrote {built / 'a-report.html'}.\n")
    assert (built / "a-report.html").read_bytes().startswith(b"<!doctype html>")
    assert pgtools("report", built / "a-build.json", "--out", built / "S.PNG").code == 0
    assert (built / "S.PNG").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["x.svg", "x", "x.htm", "x.html.gz"])
def test_other_kinds_of_files_are_refused(pgtools: Command, built: Path, name: str) -> None:
    done = pgtools("report", built / "a-build.json", "--out", built / name)
    assert (done.code, "expected one that ends in .html or .png." in done.err) == (2, True), done.err
    assert not (built / name).exists()


def test_a_training_has_a_page_only(pgtools: Command, make_run: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("x.png", "x.svg"):
        done = pgtools("report", make_run(name[2:]), "--out", tmp_path / name)
        assert (done.code, "expected one that ends in .html." in done.err) == (2, True), done.err
        assert not (tmp_path / name).exists()


def test_a_build_asks_for_a_page_only(tmp_path: Path) -> None:
    check_page(tmp_path / "page.HTML")
    check_page(tmp_path)  # it is refused as a folder
    with pytest.raises(UsageError, match=r"x\.png is no name for a report; expected one that ends in \.html\."):
        check_page(tmp_path / "x.png")


@pytest.mark.parametrize("name", ["a.lmdb", "a.h5"])
def test_a_stores_record_is_pointed_at(pgtools: Command, built: Path, name: str) -> None:
    (built / "a.h5").write_bytes(b"\x89HDF")
    done = pgtools("report", built / name)
    assert done.code == 1
    assert f"{built / name} is not the record of a build, which stands beside it." in done.err
    assert f"Name {built / 'a-build.json'}." in done.err


def test_here_is_no_store(pgtools: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "`pgtools train` wrote" in pgtools("report", ".").err


def test_a_store_that_is_gone_is_said_to_be(pgtools: Command, built: Path) -> None:
    shutil.rmtree(built / "a.lmdb")
    done = pgtools("report", built / "a-build.json")
    assert done.code == 0
    assert f"crops to show could not be read ({built / 'a.lmdb'} is not beside the build's record)." in done.err
    page = (built / "a-report.html").read_text()
    assert "a.lmdb is not beside the build&#39;s record)." in page
    done = pgtools("report", built / "a-build.json", "--out", built / "scores.png")
    assert (done.code, "a.lmdb is not beside the build's record." in done.err) == (1, True), done.err
    assert not (built / "scores.png").exists()


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("nowhere", "(nowhere is missing"),
        ("", "(the record does not tell where they are)"),
        ("other", "not in other any"),
    ],
)
def test_photos_that_are_gone_are_said_to_be(
    pgtools: Command, built: Path, monkeypatch: pytest.MonkeyPatch, source: str, cause: str
) -> None:
    monkeypatch.chdir(built)
    (built / "other").mkdir()
    shutil.copyfile(next((built / "faces").rglob("000001.*")), built / "other/b.jpg")
    record = built / "a-build.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "source": source}))
    done = pgtools("report", record)
    assert done.code == 0
    assert "4 of the photos to show could not be read" in done.err
    assert cause in done.err


def test_names_that_are_no_utf8_have_a_page(pgtools: Command, built: Path, make_run: Callable[..., Path]) -> None:
    record = built / "a-build.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "source": "p\udcff"}))
    assert pgtools("report", record).code == 0
    assert b"built from p\\udcff." in (built / "a-report.html").read_bytes()
    folder = make_run("r\udcff")
    assert pgtools("report", folder).code == 0
    assert b"<h1>r\\udcff</h1>" in (folder / "report.html").read_bytes()


def test_a_build_without_scores_reports_without_a_word(pgtools: Command, built: Path) -> None:
    words = (built / "faces", built / "b.lmdb", "--resolution", 16, "--restore", "none", "--superres", "lanczos")
    assert pgtools("build-celebahq", *words, "--workers", 1, "--rank", "none").code == 0
    done = pgtools("report", built / "b-build.json")
    assert (done.code, done.err) == (0, f"Wrote {built / 'b-report.html'}.\n")
    assert "What is missing" not in (built / "b-report.html").read_text()
