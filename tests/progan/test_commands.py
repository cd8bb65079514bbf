from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgtools.imaging.photo import encode_png, read_photo
from pgtools.progan.run.folder import RunFolder
from pgtools.progan.sampling.source import open_generator
from tests.progan.conftest import tiny_options

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run folder, made by the command."""
    from pgtools.cli import run as call
    from tests.pictures import smooth_images

    folder = tmp_path_factory.mktemp("run")
    (folder / "images").mkdir()
    for i, image in enumerate(smooth_images(20, 16)):
        png = encode_png(np.ascontiguousarray(image.transpose(1, 2, 0)))
        (folder / "images" / f"{i:02d}.png").write_bytes(png)
    assert call(["train", str(folder / "images"), "--out", str(folder / "run"), *tiny_options()]) == 0
    return folder / "run"


def test_train_logs_and_scores(run: Path) -> None:
    scores = [json.loads(line) for line in (run / "scores.jsonl").read_text().splitlines()]
    assert [line["images"] for line in scores] == [64, 128, 192, 256]
    result = scores[-1]["result"]
    assert (result["metric"], result["protocol"]["num_images"]) == ("swd", 6)
    assert set(result["values"]) == {"16", "average"}


def test_train_again_is_refused_and_resume_goes_on(pgtools: Run, run: Path) -> None:
    images = run.parent / "images"
    refused = pgtools("train", images, "--out", run)
    assert (refused.code, refused.out) == (1, "")
    assert "already holds a run" in refused.err
    assert "--resume" in refused.err
    other = pgtools("train", images, "--out", run, "--resume", "--learning-rate", "0.5")
    assert other.code == 2
    assert "--learning-rate 0.002" in other.err
    done = pgtools("train", images, "--out", run, "--resume", "--json")
    assert done.code == 0
    assert json.loads(done.out)["images"] == 256


def test_a_run_knows_its_preset_and_what_auto_was(pgtools: Run, run: Path) -> None:
    images, again = run.parent / "images", ["--out", run, "--resume", "--precision", "auto", "--device", "auto"]
    done = pgtools("train", images, *again, "--preset", "compact")
    assert done.code == 0, done.err
    config = json.loads((run / "config.json").read_text())
    assert (config["preset"], config["settings"]["device"], config["settings"]["precision"]) == (
        "compact",
        "auto",
        "float32",
    )
    assert config["device"] in ("cpu", "cuda")
    other = pgtools("train", images, *again, "--preset", "cifar10")
    assert (other.code, "began with --preset compact; it cannot go on with cifar10" in other.err) == (2, True)


def test_train_refuses_before_it_reads_images(pgtools: Run, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    refused = pgtools("train", tmp_path / "missing", "--out", tmp_path / "full")
    assert "not empty" in refused.err
    missing = pgtools("train", tmp_path / "missing", "--out", tmp_path / "run")
    assert (missing.code, "does not exist" in missing.err) == (1, True)
    wrong = pgtools("train", tmp_path, "--out", tmp_path / "run", "--minibatch", "4:7")
    assert (wrong.code, "minutes on a CPU" in wrong.err) == (2, False)
    assert not (tmp_path / "run").exists()


def test_train_refuses_more_score_images_than_there_are(pgtools: Run, folder: Path, tmp_path: Path) -> None:
    refused = pgtools("train", folder, "--out", tmp_path / "run", *tiny_options(num_images=21))
    assert refused.code == 1
    assert "20 images; 21 were asked for" in refused.err
    assert not (tmp_path / "run").exists()


def test_train_refuses_too_narrow_a_network_before_it_reads_the_data(
    pgtools: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pgtools.stores.formats.folder import ImageFolder

    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "0.png").write_bytes(encode_png(np.zeros((128, 128, 3), np.uint8)))
    monkeypatch.setattr(ImageFolder, "fingerprint", None)
    refused = pgtools("train", tmp_path / "large", "--out", tmp_path / "run", "--metrics", "swd")
    assert (refused.code, "minutes on a CPU" in refused.err) == (2, False)
    assert "At 128² the networks would have a width of 4" in refused.err
    assert "Pass --fmap-base 512 or more" in refused.err
    assert not (tmp_path / "run").exists()


def test_a_run_begins_with_the_networks_of_another(pgtools: Run, run: Path, tmp_path: Path) -> None:
    images, file = run.parent / "images", run / "checkpoints" / "000000256.safetensors"
    refused = pgtools("train", images, "--out", tmp_path / "wide", "--resume-from", file, "--latent", 9)
    assert (refused.code, "have latent 8; asked for is 9" in refused.err) == (2, True)
    pickled = pgtools("train", images, "--out", tmp_path / "old", "--resume-from", "x.pkl")
    assert (pickled.code, "models import-karras" in pickled.err) == (2, True)
    snapshot = pgtools(
        "train", images, "--out", tmp_path / "s", "--resume-from", run / "snapshots/000000256.safetensors"
    )
    assert (snapshot.code, snapshot.out) == (1, "")
    begun = pgtools("train", images, "--out", tmp_path / "new", "--resume-from", file, *tiny_options(total_kimg=0.224))
    assert begun.code == 0, begun.err
    config = json.loads((tmp_path / "new" / "config.json").read_text())
    assert (config["began_from"]["file"], config["began_from"]["images"]) == (str(file), 256)
    log = [json.loads(line) for line in (tmp_path / "new" / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in log] == [224]  # it begins at 192, where 16² is first alone
    weights = [RunFolder(folder).read_latest() for folder in (run, tmp_path / "new")]
    moved = [entry.part("average")["to_rgb.16.weight"] for entry in weights if entry is not None]
    assert 0 < (moved[0] - moved[1]).abs().max() < 0.1


def test_what_cannot_be_scored_or_shared_is_refused_before_training(pgtools: Run, run: Path, tmp_path: Path) -> None:
    images = run.parent / "images"
    for words, told in (
        (["--metrics", "swdd"], "There is no metric 'swdd'"),
        (["--metrics", "swd", "--best", "fid"], "--best is 'fid', which is not among --metrics"),
        (["--labels"], "has no labels; --labels asks for them"),
        (["--micro-batch", "2"], "a group of 4 images must stay together"),
        ([], "--out"),
    ):
        out = ["--out", tmp_path / "run"] if words else []
        refused = pgtools("train", images, *out, *words)
        assert (refused.code in (1, 2), told in refused.err) == (True, True), refused.err
        assert not (tmp_path / "run").exists()


def test_generate_writes_numbered_images(pgtools: Run, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "fakes"
    assert pgtools("generate", run, "--count", 5, "--seed", 2, out).code == 0
    assert sorted(file.name for file in out.iterdir()) == [f"{i:06d}.png" for i in range(5)]
    wanted = open_generator(run, count=5, seed=2).read([3])[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(read_photo(out / "000003.png"), wanted)
    refused = pgtools("generate", run, "--count", 2, out)
    assert (refused.code, "already exists" in refused.err) == (1, True)
    assert pgtools("generate", run, "--count", 2, out, "--overwrite").code == 0
    assert len(list(out.iterdir())) == 2


def test_generate_tiles_a_grid(pgtools: Run, run: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "grid.png"
    assert pgtools("generate", run, "--count", 6, "--grid", sheet).code == 0
    assert read_photo(sheet).shape == (2 * 16, 3 * 16, 3)


@pytest.mark.parametrize("sheet", ["fakes/grid.png", "fakes/deep/grid.png", "fakes", "fakes/../fakes/grid.png"])
def test_a_grid_that_the_folder_would_replace_is_refused(pgtools: Run, run: Path, tmp_path: Path, sheet: str) -> None:
    refused = pgtools("generate", run, tmp_path / "fakes", "--count", 2, "--grid", tmp_path / sheet)
    assert (refused.code, "--grid" in refused.err) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_generate_takes_any_snapshot(pgtools: Run, run: Path, tmp_path: Path) -> None:
    early, late = tmp_path / "early.png", tmp_path / "late.png"
    assert pgtools("generate", run, "--grid", early, "--count", 1, "--snapshot", 64).code == 0
    assert pgtools("generate", run / "snapshots/000000256.safetensors", "--grid", late, "--count", 1).code == 0
    assert not np.array_equal(read_photo(early), read_photo(late))
    missing = pgtools("generate", run, "--grid", tmp_path / "x.png", "--snapshot", 65)
    assert "has no snapshot 65; it has 64, 128, 192, 256" in missing.err


def test_generate_says_what_is_wrong(pgtools: Run, run: Path, tmp_path: Path) -> None:
    assert pgtools("generate", run).code == 2
    foreign = pgtools("generate", tmp_path, tmp_path / "out")
    assert (foreign.code, "holds no run" in foreign.err) == (1, True)
    inside = pgtools("generate", run / "config.json", tmp_path / "out")
    assert (inside.code, "--resume" in inside.err + foreign.err) == (1, False)
    assert "config.json is no generator" in inside.err
    assert f"Name the run folder {run}" in inside.err
    (tmp_path / "file").write_text("x")
    kept = pgtools("generate", run, "--overwrite", tmp_path / "file")
    assert (kept.code, (tmp_path / "file").read_text()) == (1, "x")


def test_overwriting_removes_nothing_but_generated_images(pgtools: Run, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "fakes"
    out.mkdir()
    (out / "thesis.txt").write_text("x")
    refused = pgtools("generate", run, "--overwrite", out)
    assert refused.code == 1
    assert "thesis.txt" in refused.err
    assert (out / "thesis.txt").exists()


@pytest.mark.parametrize("text", [None, "[]", '{"format": "pgtools-'])
@pytest.mark.parametrize("left", ["checkpoints", "snapshots"])
def test_a_run_without_its_config_is_no_folder_of_images(
    pgtools: Run, run: Path, tmp_path: Path, text: str | None, left: str
) -> None:
    broken = Path(shutil.copytree(run, tmp_path / "broken"))
    (broken / "config.json").unlink()
    if text is not None:
        (broken / "config.json").write_text(text)
    if left == "snapshots":
        shutil.rmtree(broken / "checkpoints")
    else:
        shutil.rmtree(broken / "snapshots")
    refused = pgtools("msssim", broken, "--device", "cpu")
    assert (refused.code, refused.out) == (1, "")
    assert "no readable config.json" in refused.err


def test_metrics_take_a_run(pgtools: Run, run: Path) -> None:
    images = run.parent / "images"
    scored = pgtools("swd", images, run, "--num-images", 8, "--json", "--device", "cpu")
    assert json.loads(scored.out)["protocol"]["num_images"] == 8
    counted = pgtools("msssim", run)
    assert counted.code == 1
    assert "Pass --num-images" in counted.err
