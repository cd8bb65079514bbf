"""docs/restorers/report.py: what the page says of photographs and networks is made, and checked."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from pgtools.restoration.compact import CompactNetwork, Shape, write_compact
from pgtools.restoration.training.settings import RestorerSettings

FOLDER = Path(__file__).parents[2] / "docs" / "restorers"
MARKS = ("photographs", "made", "dejpeg", "clean", "as-found", "sr4")


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(FOLDER)
    return importlib.import_module("report")


@pytest.fixture
def page(report: ModuleType, tmp_path: Path) -> Path:
    """A page with empty marks, but for the table of photographs."""
    path = tmp_path / "models.md"
    text = "# Page\n"
    for name in MARKS:
        text += f"\n<!-- {name}: made by docs/restorers/report.py -->\n<!-- end of {name} -->\n"
    path.write_text(report._put(text, "photographs", report.photograph_table(report.read_list())))
    return path


def test_every_photograph_is_on_the_page_with_its_licence(report: ModuleType, page: Path) -> None:
    text = page.read_text()
    for photo in report.read_list():
        row = next(line for line in text.splitlines() if f"{photo.path.removeprefix('usr/share/')}`" in line)
        assert photo.collection.name in row and f"| {photo.author} | {photo.licence} |" in row
    learnt, held_out = text.split("Held out")
    assert "astronaut.png" in held_out and "astronaut.png" not in learnt


def test_a_page_that_is_not_current_fails_the_check(report: ModuleType, page: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        report.main(["--check", "--page", str(page)])
    assert stopped.value.code == 0
    page.write_text(page.read_text().replace("CC0-1.0", "CC0", 1))
    with pytest.raises(SystemExit, match="is not current"):
        report.main(["--check", "--page", str(page)])
    page.write_text("# Page without marks\n")
    with pytest.raises(SystemExit, match="no marks for photographs"):
        report.main(["--check", "--page", str(page)])


def test_the_check_loads_no_torch(page: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_without_the_network_to_compare_with_the_page_is_left_as_it_was(
    report: ModuleType, page: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.delenv("PGTOOLS_SHARED", raising=False)
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path))
    before = page.read_text()
    with pytest.raises(SystemExit, match="pgtools models fetch realesrgan-x4plus"):
        report.main([str(tmp_path), "--page", str(page)])
    assert page.read_text() == before


@pytest.mark.slow
def test_the_whole_page_is_made(report: ModuleType, page: Path, tmp_path: Path) -> None:
    from skimage import data

    photos = tmp_path / "held-out"
    photos.mkdir()
    for name in ("astronaut.png", "coffee.png", "rocket.jpg", "chelsea.png"):
        Image.fromarray(getattr(data, Path(name).stem)()).save(photos / f"scikit-image--{name}")
    torch.manual_seed(0)
    files = [tmp_path / "dejpeg.safetensors", tmp_path / "sr4.safetensors"]
    for path, shape in zip(files, (Shape(1, 4, 1, 2), Shape(4, 4, 1, 1)), strict=True):
        settings = RestorerSettings(task=path.stem, seed=5, steps=3).as_dict()
        made = {"torch": "2.6", "settings": settings, "photographs": {"a.png": ""}, "seconds": 1800, "parameters": 1234}
        write_compact(path, CompactNetwork(shape), made)
    words = [photos, "--page", page, "--pictures", tmp_path / "pictures", "--dejpeg", files[0], "--sr4", files[1]]
    words += ["--real-esrgan", files[1]]  # any enlarger stands in for it
    report.main([str(word) for word in words])
    text = page.read_text()
    assert "train-restorer build/photos/train build/sr4 --task sr4 --steps 3 --seed 5\n" in text
    assert "| `pgtools-dejpeg` | 1,234 |" in text and "| 1 | 0.5 | auto, auto | 2.6 |" in text
    assert "| 10 |" in text and "| Lanczos |" in text and "| mean |" in text
    assert [line for line in text.splitlines() if line.startswith("| rocket | 640×424 |")]
    pictures = sorted(tmp_path.glob("pictures/*.png"))
    assert len(pictures) == 6
    assert all(picture.stat().st_size < 500_000 for picture in pictures)
