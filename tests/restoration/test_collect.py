"""docs/restorers/collect.py: a stranger's way to the photographs, on packages made here."""

from __future__ import annotations

import hashlib
import importlib
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).parents[2] / "docs" / "restorers"
HILL, LAKE, FACE = b"a hill", b"a lake", b"a face"

DPKG = shutil.which("dpkg-deb")
needs_dpkg = pytest.mark.skipif(DPKG is None, reason="no dpkg-deb to make a package with")


@pytest.fixture
def collect(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("collect")


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian package of a hill and a lake, and an installed Python package of a face."""
    root = tmp_path / "hills"
    (root / "DEBIAN").mkdir(parents=True)
    control = "Package: hills\nVersion: 1:2-3\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: hills\n"
    (root / "DEBIAN" / "control").write_text(control)
    (root / "usr" / "share").mkdir(parents=True)
    (root / "usr" / "share" / "hill.jpg").write_bytes(HILL)
    (root / "usr" / "share" / "lake.jpg").write_bytes(LAKE)
    (tmp_path / "debs").mkdir()
    deb = tmp_path / "debs" / "hills_1%3a2-3_all.deb"
    subprocess.run([DPKG, "--root-owner-group", "-b", root, deb], check=True, capture_output=True)
    (tmp_path / "site" / "faces_of_tests").mkdir(parents=True)
    (tmp_path / "site" / "faces_of_tests" / "__init__.py").touch()
    (tmp_path / "site" / "faces_of_tests" / "face.png").write_bytes(FACE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "debs"


def write_list(path: Path, *, lake: bytes = LAKE, hill: str = "usr/share/hill.jpg") -> Path:
    """The list of the three: hill and lake to learn from, the face held out."""
    entries = [
        ("hills", hill, "hills--hill.jpg", "train", HILL),
        ("hills", "usr/share/lake.jpg", "hills--lake.jpg", "train", lake),
        ("faces_of_tests", "faces_of_tests/face.png", "faces--face.png", "held-out", FACE),
    ]
    text = '[collections.hills]\nkind = "debian"\nversion = "1:2-3"\n'
    text += '[collections.faces_of_tests]\nkind = "python"\nversion = "1"\n'
    for collection, place, name, role, data in entries:
        text += f'[[photos]]\ncollection = "{collection}"\npath = "{place}"\nname = "{name}"\nrole = "{role}"\n'
        text += f'author = "A"\nlicence = "CC0-1.0"\nsha256 = "{hashlib.sha256(data).hexdigest()}"\n'
    path.write_text(text)
    return path


@needs_dpkg
def test_photographs_come_out_of_their_packages(collect: ModuleType, packages: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    collect.main([str(out), "--debian", str(packages), "--list", str(write_list(tmp_path / "l.toml"))])
    found = {str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert found == {"train/hills--hill.jpg": HILL, "train/hills--lake.jpg": LAKE, "held-out/faces--face.png": FACE}


@needs_dpkg
def test_every_fault_is_told_and_nothing_written(collect: ModuleType, packages: Path, tmp_path: Path) -> None:
    listed = write_list(tmp_path / "l.toml", lake=b"another lake", hill="usr/share/mountain.jpg")
    with pytest.raises(SystemExit) as stopped:
        collect.main([str(tmp_path / "out"), "--debian", str(packages), "--list", str(listed)])
    assert str(stopped.value).splitlines() == [
        "hills: usr/share/mountain.jpg is not in the package (listed from version 1:2-3).",
        "hills: usr/share/lake.jpg has another SHA-256 than the list (listed from version 1:2-3).",
    ]
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_nowhere_is_told(
    collect: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = write_list(tmp_path / "l.toml")
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(collect.sys, "executable", "false")  # stands for a pip that cannot download
    with pytest.raises(SystemExit) as stopped:
        collect.main([str(tmp_path / "out"), "--debian", str(tmp_path / "empty"), "--list", str(listed)])
    lines = str(stopped.value).splitlines()
    assert len(lines) == 2
    assert "no hills_*.deb" in lines[0]
    assert "Install faces_of_tests" in lines[1]


def test_what_is_there_is_not_replaced(collect: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="already exists"):
        collect.main([str(tmp_path), "--list", str(write_list(tmp_path / "l.toml"))])


@pytest.mark.parametrize("change", [("train", "test"), ('"python"', '"ruby"'), ("hills--lake", "hills--hill")])
def test_a_wrong_list_is_told(collect: ModuleType, tmp_path: Path, change: tuple[str, str]) -> None:
    listed = write_list(tmp_path / "l.toml")
    listed.write_text(listed.read_text().replace(*change))
    with pytest.raises(SystemExit, match="unknown role or kind"):
        collect.main([str(tmp_path / "out"), "--list", str(listed)])


def test_nothing_that_was_learnt_from_is_measured_on(collect: ModuleType) -> None:
    photos = collect.read_list()
    hashes = [photo.sha256 for photo in photos]
    assert len(set(hashes)) == len(hashes)
    assert {"scikit-image--astronaut.png", "scikit-image--rocket.jpg"} <= {
        photo.name for photo in photos if photo.role == "held-out"
    }
    assert all(photo.author and photo.licence for photo in photos)
