"""`pgtools models train-restorer` from the command line."""

import json

import pytest
from PIL import Image

from tests.pictures import photo_like

TINY = ("--steps", 2, "--batch", 1, "--channels", 4, "--blocks", 1, "--device", "cpu")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo_like(240, 240)).save(folder / "one.png")
    return folder


def test_it_prints_the_weights_and_what_they_are_worth(pgtools, photos, tmp_path):
    done = pgtools("models", "train-restorer", photos, tmp_path / "run", "--task", "sr4", *TINY)
    assert done.code == 0 and done.out.strip() == str(tmp_path / "run" / "sr4.safetensors")
    assert "bicubic: PSNR" in done.err
    again = pgtools("models", "train-restorer", photos, tmp_path / "run", "--resume", "--json")
    assert again.code == 0
    assert set(json.loads(again.out)) == {"weights", "steps", "validation"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--resume",), "holds no run"),
        (("--task", "derain"), "derain"),
        (("--steps", 0), "--steps is 0; expected 1 or more"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(pgtools, photos, tmp_path, words, message):
    done = pgtools("models", "train-restorer", photos, tmp_path / "run", *words)
    assert done.code in (1, 2) and message in done.err
    assert not (tmp_path / "run").exists()


def test_a_run_inside_the_photographs_is_refused(pgtools, photos):
    done = pgtools("models", "train-restorer", photos, photos / "run")
    assert done.code == 2 and "lies in" in done.err


def test_a_run_on_other_settings_is_not_gone_on_with(pgtools, photos, tmp_path):
    assert pgtools("models", "train-restorer", photos, tmp_path / "run", "--task", "sr4", *TINY).code == 0
    done = pgtools("models", "train-restorer", photos, tmp_path / "run", "--resume", "--batch", 3)
    assert done.code == 2 and "began with --batch 1" in done.err


def test_figures_that_are_equal_are_a_word(pgtools, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (240, 240), (128, 128, 128)).save(folder / "flat.png")
    done = pgtools("models", "train-restorer", folder, tmp_path / "run", "--task", "sr4", *TINY)
    assert done.code == 0, done.err
    assert "bicubic: PSNR equal -> equal, SSIM 1.0000" in done.err


def test_small_photographs_leave_nothing_behind(pgtools, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(photo_like(40, 40)).save(folder / "small.png")
    done = pgtools("models", "train-restorer", folder, tmp_path / "run", *TINY)
    assert done.code == 1 and "large enough" in done.err
    assert not (tmp_path / "run").exists()
