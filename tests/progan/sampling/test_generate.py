"""`pgtools generate` on a run folder that was written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pgtools.errors import UsageError
from pgtools.imaging.photo import read_photo
from pgtools.progan.config import Architecture
from pgtools.progan.generator import Generator
from pgtools.progan.run.folder import RunFolder
from pgtools.progan.run.snapshot import Snapshot, write_networks, write_snapshot
from pgtools.progan.sampling.settings import GenerateSettings, listed
from pgtools.progan.sampling.source import open_generator
from pgtools.stores.opening import open_source
from tests.progan.run.conftest import checkpoint_of, networks_of, run, scored

__all__ = ["run"]
Run = Callable[..., Any]
CLASSES = Architecture(16, latent=8, labels=3, fmap_base=64, fmap_max=8)


@pytest.fixture
def trained(run: RunFolder) -> Path:
    """A run with two snapshots, the earlier of which is better, and a checkpoint."""
    run.write_checkpoint(checkpoint_of(128))
    for images, value, seed in ((64, 5.0, 1), (128, 7.0, 2)):
        scored(run, images, value)
        write_snapshot(run.snapshot(images), Snapshot(Generator(checkpoint_of(128).architecture, seed), 0.0, images))
    run.mark_best("swd", "average")
    return run.path


@pytest.fixture
def conditional(tmp_path: Path) -> Path:
    """A snapshot whose network knows three classes."""
    file = tmp_path / "classes.safetensors"
    write_snapshot(file, Snapshot(Generator(CLASSES, seed=1), 0.0, 10))
    return file


def first(folder: Path) -> bytes:
    return (folder / "000000.png").read_bytes()


def test_a_runs_snapshot_is_chosen_by_name_or_number(pgtools: Run, trained: Path, tmp_path: Path) -> None:
    for which in ("best", "latest", 64, 128, None):
        words = [] if which is None else ["--snapshot", which]
        assert pgtools("generate", trained, tmp_path / str(which), "--count", 1, *words).code == 0
    assert first(tmp_path / "best") == first(tmp_path / "64") != first(tmp_path / "latest")
    assert first(tmp_path / "latest") == first(tmp_path / "128") == first(tmp_path / "None")
    missing = pgtools("generate", trained, tmp_path / "x", "--snapshot", 65)
    assert "has no snapshot 65; it has 64, 128" in missing.err


def test_every_file_with_a_generator_will_do(pgtools: Run, trained: Path, tmp_path: Path) -> None:
    write_networks(tmp_path / "networks.safetensors", networks_of())
    files = [tmp_path / "networks.safetensors", *(trained / "checkpoints").glob("*.safetensors")]
    assert len(files) == 2
    for i, file in enumerate(files):
        assert pgtools("generate", file, tmp_path / str(i), "--count", 1).code == 0
        refused = pgtools("generate", file, tmp_path / "x", "--snapshot", "best")
        assert (refused.code, "one network" in refused.err) == (1, True)


@pytest.mark.shared
def test_the_authors_pickle_will_do(pgtools: Run, shared: Path, tmp_path: Path) -> None:
    done = pgtools("generate", shared / "golden/karras-like-16.pkl", tmp_path / "f.zip", "--count", 3)
    assert (done.code, len(open_source(tmp_path / "f.zip"))) == (0, 3)


def test_picked_images_are_those_of_any_count(pgtools: Run, trained: Path, tmp_path: Path) -> None:
    assert pgtools("generate", trained, tmp_path / "all", "--count", 45, "--seed", 3).code == 0
    done = pgtools("generate", trained, tmp_path / "some", "--images", "40-42,7", "--seed", 3)
    assert "Wrote 4 images" in done.err
    found = sorted(file.name for file in (tmp_path / "some").iterdir())
    assert found == ["000007.png", "000040.png", "000041.png", "000042.png"]
    for name in found:
        assert (tmp_path / "some" / name).read_bytes() == (tmp_path / "all" / name).read_bytes()


def test_stores_hold_levels_and_classes(pgtools: Run, conditional: Path, tmp_path: Path) -> None:
    assert pgtools("generate", conditional, tmp_path / "f.lmdb", "--count", 6, "--labels", "2,0").code == 0
    found = open_source(tmp_path / "f.lmdb")
    assert (found.levels, found.classes) == ((16, 8, 4), 3)
    assert found.labels is not None and found.labels.tolist() == [2, 0] * 3


def test_a_grid_may_have_a_row_a_class(pgtools: Run, conditional: Path, tmp_path: Path) -> None:
    assert pgtools("generate", conditional, "--grid", tmp_path / "a.png", "--class-rows").code == 0
    assert read_photo(tmp_path / "a.png").shape == (3 * 16, 8 * 16, 3)
    words = ["--class-rows", "--columns", 2, "--labels", "1"]
    assert pgtools("generate", conditional, "--grid", tmp_path / "b.png", *words).code == 0
    np.testing.assert_array_equal(read_photo(tmp_path / "b.png"), read_photo(tmp_path / "a.png")[16:32, :32])
    assert pgtools("generate", conditional, "--grid", tmp_path / "c.png", "--columns", 32).code == 0
    assert read_photo(tmp_path / "c.png").shape == (2 * 16, 32 * 16, 3)


def test_truncation_changes_images_and_one_does_not(pgtools: Run, trained: Path, tmp_path: Path) -> None:
    for share in ("1", "0.5"):
        assert pgtools("generate", trained, tmp_path / share, "--count", 1, "--truncation", share).code == 0
    assert pgtools("generate", trained, tmp_path / "none", "--count", 1).code == 0
    assert first(tmp_path / "1") == first(tmp_path / "none") != first(tmp_path / "0.5")


def test_videos_are_made_beside_images(pgtools: Run, trained: Path, tmp_path: Path) -> None:
    loop, growing = tmp_path / "loop.gif", tmp_path / "growing.gif"
    words = ["--fps", 10, "--seconds", 0.5, "--snapshot-seconds", 0.2, "--rows", 1, "--columns", 2, "--least-side", 32]
    done = pgtools("generate", trained, "--interpolation", loop, "--training-progress", growing, *words)
    assert done.code == 0, done.err
    assert [line.split(" to ")[1] for line in done.err.splitlines()] == [f"{loop}.", f"{growing}."]
    with Image.open(loop) as moving:
        assert (moving.n_frames, moving.size) == (5, (64, 32))  # type: ignore[attr-defined]
    with Image.open(growing) as moving:
        assert moving.size[0] == 64


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "nothing to write"),
        (["o", "--count", 2, "--images", "1"], "Pass one of them"),
        (["o", "--images", "5-3"], "'5-3'"),
        (["o", "--images", "1,,2"], "''"),
        (["o", "--images", "-1"], "'-1'"),
        (["o", "--images", "0-1000000"], "more than 1,000,000"),
        (["o", "--labels", "cat"], "--labels has 'cat'"),
        (["o", "--truncation", "0"], "--truncation is 0; expected a number above 0, 1 at most"),
        (["o", "--truncation", "1.5"], "--truncation is 1.5; expected a number above 0, 1 at most"),
        (["o", "--truncation", "nan"], "--truncation is nan; expected a number above 0, 1 at most"),
        (["o", "--snapshot", "last"], "best, latest or a number"),
        (["o", "--columns", 3], "--columns is of --grid"),
        (["o", "--class-rows"], "--class-rows is of --grid"),
        (["o", "--fps", 3], "--fps is of videos"),
        (["--grid", "g.png", "--class-rows", "--count", 3], "8 images in a row; 3 are chosen"),
        (["--interpolation", "v.gif", "--count", 3], "--count is of OUT and --grid"),
        (["--interpolation", "v.txt"], "v.txt is no name of a video"),
        (["o", "--grid", "g.jpg"], "--grid is g.jpg; the grid is a PNG"),
        (["--grid", "g"], "Name a file that ends in .png"),
        (["--interpolation", "v.gif", "--training-progress", "./v.gif"], "same file"),
        (["o", "--interpolation", "o/v.gif"], "lies in o"),
    ],
)
def test_contradictions_are_told_before_anything_is_read(
    pgtools: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[object], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = pgtools("generate", "nowhere", *words)
    assert (refused.code, refused.out) == (2, "")
    assert told in refused.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["o", "--labels", "0"], "knows no classes"),
        (["--grid", "g.png", "--class-rows"], "knows no classes"),
        (["o", "--training-progress", "v.gif"], "is no run folder"),
        (["o", "--training-progress", "v.gif"], "Name the folder that `pgtools train` wrote"),
        (["--grid", "there.png"], "already exists"),
        (["there.png", "--overwrite"], "is a file"),
        (["o", "--grid", "there.png"], "already exists"),
    ],
)
def test_what_cannot_be_made_is_told_before_anything_is_written(
    pgtools: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[object], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_snapshot(tmp_path / "s.safetensors", Snapshot(Generator(checkpoint_of(128).architecture), 0.0, 10))
    (tmp_path / "there.png").write_text("x")
    refused = pgtools("generate", "s.safetensors", *words)
    assert refused.code == 1
    assert told in refused.err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["s.safetensors", "there.png"]
    assert (tmp_path / "there.png").read_text() == "x"


@pytest.mark.parametrize("video", ["--interpolation", "--training-progress"])
def test_too_large_a_video_is_told_before_anything_is_written(
    pgtools: Run, trained: Path, tmp_path: Path, video: str
) -> None:
    words = ["--grid", tmp_path / "g.png", video, tmp_path / "v.gif", "--columns", 64, "--least-side", 2048]
    refused = pgtools("generate", trained, tmp_path / "o", *words)
    assert (refused.code, "expected 16383 at most a side" in refused.err) == (2, True)
    assert list(tmp_path.iterdir()) == [trained]


def test_classes_that_a_network_does_not_know_are_told_with_those_it_knows(
    pgtools: Run, conditional: Path, tmp_path: Path
) -> None:
    refused = pgtools("generate", conditional, tmp_path / "o", "--labels", "1,12")
    assert refused.code == 1
    first, second = refused.err.splitlines()
    assert first.endswith("knows the classes 0 to 2; 12 was asked for.")
    assert "--labels with numbers up to 2" in second


def test_a_full_disk_is_told_before_the_first_image(
    pgtools: Run, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgtools.runtime.files.free_space", lambda folder: 1000)
    monkeypatch.setattr("pgtools.progan.sampling.source.images_of", None)
    refused = pgtools("generate", trained, tmp_path / "f.lmdb", "--count", 50)
    assert (refused.code, "1.0 kB free" in refused.err) == (1, True)


def test_metrics_know_the_classes(conditional: Path) -> None:
    found = open_generator(conditional, count=30)
    assert found.labels is not None and set(found.labels.tolist()) == {0, 1, 2}


def test_lists_of_numbers() -> None:
    assert listed("0-2,42, 7", "--images") == [0, 1, 2, 42, 7]
    assert GenerateSettings(images="5,1-2,2").numbers == [1, 2, 5]
    assert GenerateSettings(labels="2,0,2").classes == (2, 0, 2)
    assert len(GenerateSettings().numbers) == 64
    assert len(listed("1-1000000", "--images")) == 1_000_000
    with pytest.raises(UsageError):
        listed("1-1000000,0", "--images")
