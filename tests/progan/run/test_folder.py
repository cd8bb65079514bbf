"""A run folder goes on from whatever a crash leaves of it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.progan.run import checkpoints as checkpoint_files
from pgtools.progan.run.begun import FREE, resumed_settings
from pgtools.progan.run.checkpoint import Checkpoint
from pgtools.progan.run.folder import RunFolder
from pgtools.runtime import files
from tests.progan.run.conftest import SHAPE, checkpoint_of, result_of, scored


def kept(run: RunFolder) -> list[int]:
    return [int(file.stem) for file in sorted((run.path / "checkpoints").glob("*.safetensors"))]


def pointer(run: RunFolder, name: str = "latest") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run.path / "checkpoints" / f"{name}.json").read_text())
    return found


def test_the_latest_checkpoint_is_named_with_its_hash(run: RunFolder) -> None:
    assert (run.latest(), run.read_latest()) == (None, None)
    run.write_checkpoint(checkpoint_of(64))
    file = run.path / "checkpoints" / "000000064.safetensors"
    assert run.latest() == file
    assert pointer(run) == {"file": file.name, "images": 64, "sha256": files.sha256_of(file)}
    found = run.read_latest()
    assert found is not None and found.images == 64


@pytest.mark.parametrize(
    ("keep", "there"), [(0, [0, 64, 128, 192]), (1, [192]), (2, [128, 192]), (9, [0, 64, 128, 192])]
)
def test_so_many_of_the_newest_are_kept(run: RunFolder, keep: int, there: list[int]) -> None:
    folder = RunFolder(run.path, keep=keep)
    for images in (0, 64, 128, 192):
        folder.write_checkpoint(checkpoint_of(images))
    assert kept(run) == there


def test_the_best_and_the_newest_snapshots_checkpoint_stay(run: RunFolder) -> None:
    folder = RunFolder(run.path, keep=1)
    for images, value in ((64, 5.0), (128, 7.0)):
        folder.write_checkpoint(checkpoint_of(images))
        scored(folder, images, value)
        folder.mark_best("swd", "average")
    folder.write_checkpoint(checkpoint_of(192))
    folder.write_checkpoint(checkpoint_of(256))
    assert kept(run) == [64, 128, 256]  # best, newest snapshot, newest
    best = folder.best()
    assert best is not None
    assert (best.images, best.value, best.metric, best.part) == (64, 5.0, "swd", "average")
    assert pointer(run, "best") == {
        "file": "000000064.safetensors",
        "snapshot": "000000064.safetensors",
        "images": 64,
        "metric": "swd",
        "part": "average",
        "value": 5.0,
    }
    assert folder.find_snapshot("best") == folder.snapshot(64)
    assert folder.find_snapshot("latest") == folder.find_snapshot() == folder.snapshot(128)
    assert folder.find_snapshot(64) == folder.snapshot(64)


def test_the_better_way_is_the_metrics_own_and_of_equals_the_first_counts(run: RunFolder) -> None:
    for images, value in ((64, 5.0), (128, 7.0), (192, 7.0)):
        scored(run, images, value, metric="inception_score", direction="higher")
        scored(run, images, value)
    found = run.mark_best("inception_score", "average")
    assert found is not None and (found.images, found.file) == (128, None)
    found = run.mark_best("swd", "16")
    assert found is not None and (found.images, found.value) == (64, 10.0)
    assert run.mark_best("fid", "value") is None
    assert run.best() is None
    with pytest.raises(InputError, match="no best snapshot") as caught:
        run.find_snapshot("best")
    assert caught.value.hint == "Train with --metrics to have one."  # --best is optional


def test_scores_are_known_metric_by_metric(run: RunFolder) -> None:
    scored(run, 64, 5.0)
    scored(run, 128, 5.0)
    scored(run, 128, 5.0, metric="fid")
    with run.scores.open("a") as file:
        file.write('{"images": 64, "result": {"metric": "fid"')
    assert [run.is_scored(images, ["swd", "fid"]) for images in (64, 128, 192)] == [False, True, False]
    assert run.is_scored(64, ["swd"])
    assert run.is_scored(64, [])


def test_a_line_after_half_a_line_is_a_line_of_its_own(run: RunFolder) -> None:
    run.append(run.log, {"images": 1})
    with run.log.open("a") as file:
        file.write('{"images": 2, "k')
    run.append(run.log, {"images": 3})
    assert run.log.read_text() == '{"images": 1}\n{"images": 2, "k\n{"images": 3}\n'


def grown(run: RunFolder) -> None:
    for images, value in ((64, 5.0), (128, 4.0), (192, 3.0)):
        run.append(run.log, {"images": images, "kimg": images / 1000})
        run.write_grid(f"fakes-{images:09d}", np.zeros((4, 4, 3), np.uint8))
        run.write_checkpoint(checkpoint_of(images))
        scored(run, images, value)
        run.mark_best("swd", "average")


def moments(run: RunFolder) -> dict[str, list[int]]:
    return {
        "log": [json.loads(line)["images"] for line in run.log.read_text().splitlines()],
        "scores": [json.loads(line)["images"] for line in run.scores.read_text().splitlines()],
        "snapshots": [int(file.stem) for file in run.snapshots()],
        "grids": sorted(int(file.stem.removeprefix("fakes-")) for file in (run.path / "grids").glob("fakes-*")),
        "checkpoints": kept(run),
    }


def test_rewinding_drops_all_that_is_later(run: RunFolder) -> None:
    folder = RunFolder(run.path)
    grown(folder)
    folder.write_grid("reals", np.zeros((4, 4, 3), np.uint8))
    (run.path / "checkpoints" / ".000000256.safetensors.1.ab-1.partial").write_bytes(b"killed")
    (run.path / ".report.html.1.ab-1.partial").write_bytes(b"another program's")
    folder.rewind(128)
    assert moments(run) == {key: [64, 128] for key in ("log", "scores", "snapshots", "grids", "checkpoints")}
    assert pointer(run)["images"] == 128
    best = folder.best()
    assert best is not None and (best.images, best.value) == (128, 4.0)  # the best of those that are left
    assert [path.name for path in run.path.rglob(".*")] == [".report.html.1.ab-1.partial"]
    assert (run.path / "grids" / "reals.png").exists()
    latest = folder.read_latest()
    assert latest is not None and latest.images == 128


def test_a_best_of_which_nothing_is_left_is_forgotten(run: RunFolder) -> None:
    run.write_checkpoint(checkpoint_of(0))
    scored(run, 64, 3.0)
    run.mark_best("swd", "average")
    run.rewind(0)
    assert run.best() is None
    assert not (run.path / "checkpoints" / "best.json").exists()


def test_going_back_to_a_moment_without_a_checkpoint_is_refused_before_anything_is_lost(run: RunFolder) -> None:
    grown(run)  # keeps two
    before = moments(run)
    with pytest.raises(InputError, match="has no checkpoint 100; it has 128, 192"):
        run.rewind(100)
    assert moments(run) == before


def test_a_damaged_or_missing_checkpoint_is_named(run: RunFolder) -> None:
    grown(run)
    file = run.path / "checkpoints" / "000000192.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"000000192\.safetensors is damaged: its SHA-256") as caught:
        run.read_latest()
    assert "Delete it and latest.json" in caught.value.hint
    file.unlink()
    with pytest.raises(InputError, match=r"000000192\.safetensors is missing, which latest\.json names"):
        run.check_not_lost()
    (run.path / "checkpoints" / "latest.json").unlink()
    found = run.read_latest()  # as the hint says
    assert found is not None and found.images == 128
    shutil.rmtree(run.path / "checkpoints")
    with pytest.raises(InputError, match="holds no checkpoint, but the run has logs or snapshots"):
        run.check_not_lost()


@pytest.mark.parametrize("text", ["half", "[]", "{}", '{"file": "../x", "images": 1, "sha256": ""}'])
def test_a_damaged_pointer_is_named(run: RunFolder, text: str) -> None:
    run.write_checkpoint(checkpoint_of(0))
    (run.path / "checkpoints" / "latest.json").write_text(text)
    with pytest.raises(InputError, match=r"latest\.json is damaged"):
        run.latest()


def test_a_run_of_the_first_version_gets_one_line(run: RunFolder) -> None:
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps({**config, "version": 1, "settings": {"score_images": 0}}))
    (run.path / "checkpoint.pt").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"begun by pgtools 0\.1, whose checkpoint\.pt this one does not read"
    ) as caught:
        resumed_settings(run.path, {})
    assert "snapshots" in caught.value.hint


def test_what_changes_no_step_may_differ_when_a_run_goes_on(run: RunFolder) -> None:
    assert resumed_settings(run.path, {"total_kimg": 7.0, "device": "cpu"}).total_kimg == 7.0
    for name in ("precision", "deterministic", "seed", "loss", "minibatch", "learning_rate", "ema", "mirror", "labels"):
        assert name not in FREE


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it is written, nothing is cleaned up."""


@contextlib.contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Raise Killed instead of the step-th change of a file; the list tells the changes made."""
    done: list[str] = []
    dead = False

    def dying(name: str, real: Any) -> Any:
        def call(*words: Any, **named: Any) -> Any:
            nonlocal dead
            if dead or len(done) == step:
                dead = True
                raise Killed
            done.append(name)
            return real(*words, **named)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", dying("fsync", os.fsync))
        for name in ("replace", "rename", "unlink"):
            patch.setattr(Path, name, dying(name, getattr(Path, name)))
        with contextlib.suppress(Killed):
            yield done


def small(images: int, *, again: bool = False) -> Checkpoint:
    return Checkpoint(SHAPE, {}, {"again": again}, 0.0, images)


def save_small(path: Path, checkpoint: Checkpoint) -> None:
    path.write_text(json.dumps({"images": checkpoint.images, **checkpoint.progress}))


def read_small(path: Path) -> Checkpoint:
    value = json.loads(path.read_text())
    return small(value["images"], again=value["again"])


def sitting(run: RunFolder) -> None:
    """What a trainer does: begin or go on, with two snapshots, and two checkpoints at each of their moments."""
    run.check_not_lost()
    latest = run.read_latest()
    run.rewind(latest.images if latest else 0)
    if latest is None:
        run.write_checkpoint(small(0))
    for images, value in ((64, 4.0), (128, 3.0)):
        if latest is not None and latest.images >= images:
            continue
        run.append(run.log, {"images": images, "kimg": images / 1000})
        with files.written_aside(run.snapshot(images)) as aside:
            aside.write_bytes(b"a snapshot")
        run.append(run.scores, {"images": images, "result": result_of(value)})
        run.write_checkpoint(small(images))
        run.write_checkpoint(small(images, again=True))
        run.mark_best("swd", "average")


def test_killed_at_any_change_of_a_file_the_run_goes_on(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # the disk's time is not what is tested
    monkeypatch.setattr(checkpoint_files, "save_checkpoint", save_small)
    monkeypatch.setattr(checkpoint_files, "read_checkpoint", read_small)
    folder, step, ended = RunFolder(run.path.with_name("killed"), keep=1), 0, False
    while not ended:
        shutil.rmtree(folder.path, ignore_errors=True)
        shutil.copytree(run.path, folder.path)
        with killed_at(step, monkeypatch):
            sitting(folder)
            ended = True
        check_whole(folder)
        sitting(folder)
        assert moments_of_logs(folder) == [64, 128], f"killed at change {step}"
        check_whole(folder)
        assert kept(folder) == [128], f"killed at change {step}"
        best = folder.best()
        assert best is not None and best.images == 128, f"killed at change {step}"
        assert not list(folder.path.rglob(".*.partial"))
        step += 1
    assert step > 40


def check_whole(folder: RunFolder) -> None:
    """What is named is there and whole."""
    latest, best = folder.read_latest(), folder.best()
    assert latest is None or pointer_or_newest(folder) == latest.images
    if best is not None:
        assert best.snapshot.is_file()
        assert best.file is None or best.file.is_file()


def pointer_or_newest(folder: RunFolder) -> int:
    there = (folder.path / "checkpoints" / "latest.json").exists()
    return int(pointer(folder)["images"]) if there else kept(folder)[-1]


def moments_of_logs(folder: RunFolder) -> list[int]:
    log, scores = (
        [json.loads(line)["images"] for line in file.read_text().splitlines()] for file in (folder.log, folder.scores)
    )
    assert log == scores
    assert [int(file.stem) for file in folder.snapshots()] == log
    return log


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_killed_from_outside_the_run_goes_on(run: RunFolder) -> None:
    checkpoints = {images: checkpoint_of(images) for images in (64, 128)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads: the child only writes files
        child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            while True:
                for checkpoint in checkpoints.values():
                    run.write_checkpoint(checkpoint)
        os._exit(1)
    deadline = time.monotonic() + 60
    while run.latest() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    latest = run.read_latest()
    assert latest is not None
    torch.testing.assert_close(latest.tensors, checkpoints[latest.images].tensors, rtol=0, atol=0)
    run.rewind(latest.images)
    assert not list(run.path.rglob(".*.partial"))
