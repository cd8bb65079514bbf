from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgtools.errors import InputError, OutputError, PgtoolsError, UsageError
from pgtools.imaging.photo import read_photo
from pgtools.progan import output
from pgtools.progan.config import TrainSettings
from pgtools.progan.losses import WganGp
from pgtools.progan.parallel import Place
from pgtools.progan.run.begun import begin, resumed_settings
from pgtools.progan.run.checkpoint import Checkpoint
from pgtools.progan.run.folder import RunFolder
from pgtools.progan.run.snapshot import read_snapshot
from pgtools.progan.sampling.source import open_generator
from pgtools.progan.step import Stepper
from pgtools.progan.trainer import train
from pgtools.runtime.files import folder_lock
from pgtools.runtime.results import MetricResult
from pgtools.stores.source import ImageSource
from tests.pictures import noise_images, smooth_images
from tests.progan.conftest import TINY, Pictures, run_training

TIMES = ("seconds", "images_per_second", "data_wait", "memory_gb")


def score(images: ImageSource) -> list[MetricResult]:
    mean = float(images.read(range(len(images))).mean())
    return [MetricResult(metric="mean", direction="lower", values={"value": mean})]


def latest(run: Path) -> Checkpoint:
    found = RunFolder(run).read_latest()
    assert found is not None
    return found


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def timeless(file: Path) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines(file)]


def assert_same_run(one: Path, other: Path) -> None:
    """Bit for bit: networks, optimizers, logs and snapshots; only the clock may differ."""
    first, second = latest(one), latest(other)
    for checkpoint in (first, second):
        for name in ("seconds", "since_seconds", "waited", "since_waited"):
            checkpoint.progress.pop(name)
    torch.testing.assert_close(first.tensors, second.tensors, rtol=0, atol=0)
    assert first == dataclasses.replace(second, tensors=first.tensors)
    assert timeless(one / "log.jsonl") == timeless(other / "log.jsonl")
    assert lines(one / "scores.jsonl") == lines(other / "scores.jsonl")
    for pattern in ("snapshots/*", "grids/*"):
        names = sorted(file.name for file in one.glob(pattern))
        assert names == sorted(file.name for file in other.glob(pattern))
        folder = pattern[:-2]
        assert all((one / folder / name).read_bytes() == (other / folder / name).read_bytes() for name in names)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("trained") / "run"
    run_training(Pictures(smooth_images(20, 16)), run, TrainSettings(**TINY), score=score)
    return run


@pytest.fixture
def uninterrupted(tmp_path: Path, trained: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "whole"))


def test_a_run_folder_holds_what_is_promised(uninterrupted: Path, source: Pictures) -> None:
    config = json.loads((uninterrupted / "config.json").read_text())
    assert (config["format"], config["version"]) == ("pgtools-run", 2)
    assert config["settings"] == TrainSettings(**TINY).as_dict()
    assert config["data"] == {
        "name": "pictures",
        "resolution": 16,
        "count": 20,
        "fingerprint": source.fingerprint(),
        "classes": 0,
    }
    assert config["parameters"]["generator"] > 1000
    log = lines(uninterrupted / "log.jsonl")
    assert list(log[0]) == [
        *("images", "kimg", "lod", "resolution", "minibatch", "learning_rate"),
        *("loss_generator", "loss_discriminator", "wasserstein", "gradient_penalty"),
        *("gradient_norm_generator", "gradient_norm_discriminator"),
        *("images_per_second", "data_wait", "seconds", "memory_gb", "rollbacks"),
    ]
    assert [line["images"] for line in log] == [32, 64, 96, 128, 160, 192, 224, 256]
    assert [line["lod"] for line in log] == [2, 1.5, 1, 1, 0.5, 0, 0, 0]
    assert [line["resolution"] for line in log] == [4, 8, 8, 8, 16, 16, 16, 16]
    assert [line["minibatch"] for line in log] == [8, 8, 8, 8, 4, 4, 4, 4]
    assert all(line["images_per_second"] > 0 and 0 <= line["data_wait"] <= 1 for line in log)
    assert all(line["gradient_norm_generator"] > 0 and line["gradient_norm_discriminator"] > 0 for line in log)
    scores = lines(uninterrupted / "scores.jsonl")
    assert [line["images"] for line in scores] == [64, 128, 192, 256]
    assert scores[0]["result"]["metric"] == "mean"
    assert sorted(file.name for file in uninterrupted.glob("grids/*")) == [
        *("fakes-000000128.png", "fakes-000000256.png"),
        "reals.png",
    ]
    assert read_photo(uninterrupted / "grids" / "fakes-000000128.png").shape == (128, 128, 3)
    snapshot = read_snapshot(uninterrupted / "snapshots" / "000000064.safetensors")
    assert (snapshot.images, snapshot.lod) == (64, 1.5)
    assert len(open_generator(uninterrupted, count=3).read(range(3))) == 3


def test_a_run_learns(tmp_path: Path, tiny: TrainSettings) -> None:
    # Images of one dark colour: the generator must come close to it.
    dark = Pictures(np.full((8, 3, 4, 4), 40, np.uint8))
    longer = dataclasses.replace(tiny, total_kimg=1.2, learning_rate=0.01, snapshot_kimg=0.016)
    for kimg in (0.016, 1.2):
        run_training(dark, tmp_path / str(kimg), dataclasses.replace(longer, total_kimg=kimg, snapshot_kimg=9.0))
    found = [np.abs(open_generator(tmp_path / run, count=16).read(range(16)) - 40.0).mean() for run in ("0.016", "1.2")]
    assert found[1] < found[0] / 2


def test_stopped_by_ctrl_c_mid_fade_and_resumed_is_the_same_run(
    tmp_path: Path, source: Pictures, tiny: TrainSettings, uninterrupted: Path
) -> None:
    def stopping(images: ImageSource) -> list[MetricResult]:
        os.kill(os.getpid(), signal.SIGINT)
        return score(images)

    run = tmp_path / "stopped"
    for _ in range(4):  # at 64 (mid-fade), 128, 192, 256 images
        with pytest.raises(PgtoolsError, match=r"Stopped after .* kimg") as caught:
            run_training(source, run, resumed_or(run, tiny), resume=run.exists(), score=stopping)
        assert "--resume" in caught.value.hint
        if latest(run).images == 192:
            break
    run_training(source, run, resumed_settings(run, {}), resume=True, score=score)
    assert_same_run(run, uninterrupted)


def resumed_or(run: Path, settings: TrainSettings) -> TrainSettings:
    return resumed_settings(run, {}) if run.exists() else settings


@pytest.mark.parametrize("moment", ["checkpoint", "score"])
def test_killed_and_resumed_mid_fade_is_the_same_run(
    tmp_path: Path, source: Pictures, uninterrupted: Path, moment: str
) -> None:
    # Killed at lod 1.5, either way: with a snapshot at 128 images but no checkpoint of then, so that the one at 64
    # is the last; or with both at 64, but not the score.
    program = f"""
import os, signal, sys
import torch
from pathlib import Path
from tests.pictures import smooth_images
from tests.progan.conftest import TINY, Pictures, run_training
from tests.progan.test_trainer import score
from pgtools.progan.config import TrainSettings
from pgtools.progan.run.folder import RunFolder

torch.set_num_threads({torch.get_num_threads()})
run, moment, write = Path(sys.argv[1]), sys.argv[2], RunFolder.write_checkpoint
def killed_at_checkpoint(self, checkpoint):
    if (run / "snapshots" / "000000128.safetensors").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, checkpoint)
def killed_at_score(images):
    os.kill(os.getpid(), signal.SIGKILL)
if moment == "checkpoint":
    RunFolder.write_checkpoint = killed_at_checkpoint
run_training(
    Pictures(smooth_images(20, 16)), run, TrainSettings(**TINY), score=killed_at_score if moment == "score" else score
)
"""
    run = tmp_path / "killed"
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", program, str(run), moment]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert latest(run).images == 64  # lod 1.5
    with (run / "log.jsonl").open("a") as log:
        log.write('{"images": 7, "kim')  # what a crash in the middle of a line leaves
    run_training(source, run, resumed_settings(run, {}), resume=True, score=score)
    assert_same_run(run, uninterrupted)


def test_adam_begins_anew_when_the_live_layers_change(uninterrupted: Path) -> None:
    adam = latest(uninterrupted).part("adam/discriminator")
    # The levels last changed at 192 of 256 images: 16 steps of 4 images ago.
    assert {int(value) for name, value in adam.items() if name.endswith("/step")} == {16}


def test_a_finished_run_goes_on_when_it_is_given_more_images(
    tmp_path: Path, source: Pictures, tiny: TrainSettings
) -> None:
    run = tmp_path / "run"
    run_training(source, run, dataclasses.replace(tiny, total_kimg=0.064))
    assert run_training(source, run, resumed_settings(run, {}), resume=True).images == 64
    more = resumed_settings(run, {"total_kimg": 0.128, "device": "cpu"})
    assert run_training(source, run, more, resume=True).images == 128
    assert [line["images"] for line in lines(run / "log.jsonl")] == [32, 64, 96, 128]
    assert json.loads((run / "config.json").read_text())["settings"]["total_kimg"] == 0.128


def test_an_open_end_is_resolved_and_recorded(tmp_path: Path, tiny: TrainSettings) -> None:
    flat = Pictures(np.zeros((4, 3, 4, 4), np.uint8))
    run_training(flat, tmp_path / "run", dataclasses.replace(tiny, total_kimg=None))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["total_kimg"] == pytest.approx(0.096)


def test_an_existing_run_is_not_begun_again(uninterrupted: Path, source: Pictures, tiny: TrainSettings) -> None:
    before = (uninterrupted / "config.json").stat().st_mtime_ns
    for attempt in (lambda: run_training(source, uninterrupted, tiny), lambda: begin(uninterrupted, "compact", {})):
        with pytest.raises(OutputError, match="already holds a run") as caught:
            attempt()
        assert "--resume" in caught.value.hint
    assert (uninterrupted / "config.json").stat().st_mtime_ns == before


def test_a_folder_of_other_things_is_not_written_into(tmp_path: Path, source: Pictures, tiny: TrainSettings) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(OutputError, match="not empty"):
        run_training(source, tmp_path, tiny)
    with pytest.raises(InputError, match="holds no run to go on with"):
        resumed_settings(tmp_path, {})


def test_a_run_goes_on_with_its_own_settings_only(uninterrupted: Path) -> None:
    with pytest.raises(UsageError, match=r"began with --seed 0; it cannot go on with --seed 1"):
        resumed_settings(uninterrupted, {"seed": 1})
    with pytest.raises(UsageError, match=r"began with --latent 8; it cannot go on with --latent 512"):
        resumed_settings(uninterrupted, {}, preset="v2-1gpu")
    assert resumed_settings(uninterrupted, {"seed": 0}) == TrainSettings(**TINY)
    assert resumed_settings(uninterrupted, {"num_images": 9}).num_images == 9


def test_a_run_goes_on_with_its_own_data_only(uninterrupted: Path, source: Pictures) -> None:
    settings = resumed_settings(uninterrupted, {})
    changed = source.images.copy()
    changed[3, 0, 0, 0] ^= 1
    with pytest.raises(InputError, match="fingerprint"):
        run_training(Pictures(changed), uninterrupted, settings, resume=True)
    with pytest.raises(InputError, match="count 20; pictures has 9"):
        run_training(Pictures(noise_images(9, 16)), uninterrupted, settings, resume=True)
    with pytest.raises(InputError, match="resolution 16; pictures has 8"):
        run_training(Pictures(noise_images(20, 8)), uninterrupted, settings, resume=True)


def test_a_checkpoint_of_other_networks_is_refused(uninterrupted: Path, source: Pictures) -> None:
    file = uninterrupted / "config.json"
    config = json.loads(file.read_text())
    config["settings"]["fmap_max"] = 4
    file.write_text(json.dumps(config))
    with pytest.raises(InputError, match="does not fit this run"):
        run_training(source, uninterrupted, resumed_settings(uninterrupted, {}), resume=True)


def test_two_processes_cannot_share_a_run(uninterrupted: Path, source: Pictures) -> None:
    with folder_lock(uninterrupted), pytest.raises(OutputError, match="in use"):
        run_training(source, uninterrupted, resumed_settings(uninterrupted, {}), resume=True)


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(
    tmp_path: Path, source: Pictures, tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    sane, calls = WganGp.generator, iter(range(1000))

    def failing(self: WganGp, scores: torch.Tensor) -> torch.Tensor:
        return sane(self, scores) * (float("nan") if next(calls) > 11 else 1)

    monkeypatch.setattr(WganGp, "generator", failing)
    with pytest.raises(PgtoolsError, match="not finite") as caught:
        run_training(source, tmp_path / "run", tiny)
    assert "last good state" in caught.value.hint
    state = latest(tmp_path / "run")
    assert state.images == 64
    assert all(torch.isfinite(weights).all() for weights in state.part("generator").values())


def failing_once_at(step: int, monkeypatch: pytest.MonkeyPatch, *, times: int = 1) -> None:
    """Let the generator's loss be NaN from its `step`-th evaluation on, for so many evaluations."""
    sane, calls = WganGp.generator, iter(range(10_000))

    def failing(self: WganGp, scores: torch.Tensor) -> torch.Tensor:
        return sane(self, scores) * (float("nan") if step <= next(calls) < step + times else 1)

    monkeypatch.setattr(WganGp, "generator", failing)


def test_a_run_rolls_back_and_goes_on_with_other_latents(
    tmp_path: Path,
    source: Pictures,
    tiny: TrainSettings,
    uninterrupted: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing_once_at(12, monkeypatch)  # after 64 images, where the last checkpoint is
    settings = dataclasses.replace(tiny, on_nan="rollback")
    done = run_training(source, tmp_path / "run", settings, score=score)
    assert (done.images, done.rollbacks) == (256, 1)
    assert "rolled back to 0.1 kimg" in capsys.readouterr().err
    log, undisturbed = timeless(tmp_path / "run" / "log.jsonl"), timeless(uninterrupted / "log.jsonl")
    assert [line["images"] for line in log] == [line["images"] for line in undisturbed]
    assert [line["rollbacks"] for line in log] == [0, 0, 1, 1, 1, 1, 1, 1]
    assert log[:2] == undisturbed[:2]
    assert log[2]["loss_generator"] != undisturbed[2]["loss_generator"]


def test_a_run_that_rolls_back_in_vain_stops(
    tmp_path: Path, source: Pictures, tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_once_at(12, monkeypatch, times=10_000)
    with pytest.raises(PgtoolsError, match=r"not finite at .* after 3 rollbacks") as caught:
        run_training(source, tmp_path / "run", dataclasses.replace(tiny, on_nan="rollback"))
    assert "000000064.safetensors is the last good state" in caught.value.hint
    assert latest(tmp_path / "run").images == 64


def test_networks_to_begin_with_are_not_lost_before_the_first_checkpoint(
    tmp_path: Path, source: Pictures, tiny: TrainSettings, uninterrupted: Path
) -> None:
    run = tmp_path / "run"
    folder = RunFolder(run)
    run.mkdir()
    data = json.loads((uninterrupted / "config.json").read_text())["data"]
    folder.write_config(
        dataclasses.replace(tiny, total_kimg=0.256), data, {}, began_from={"file": "theirs.safetensors"}
    )
    with pytest.raises(InputError, match="before it had written the networks") as caught:
        run_training(source, run, resumed_settings(run, {}), resume=True)
    assert "--resume-from theirs.safetensors" in caught.value.hint


def test_fewer_images_than_were_shown_are_refused(source: Pictures, uninterrupted: Path) -> None:
    before = (uninterrupted / "config.json").read_bytes()
    with pytest.raises(UsageError, match=r"--total-kimg is 0\.1; the run has shown 0\.256 already"):
        run_training(source, uninterrupted, resumed_settings(uninterrupted, {"total_kimg": 0.1}), resume=True)
    assert (uninterrupted / "config.json").read_bytes() == before


def test_rollbacks_are_counted_from_checkpoint_to_checkpoint(
    tmp_path: Path, source: Pictures, tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One failure after each of the checkpoints at 64, 128, 192 and before: more than may lie between two of them.
    sane, failed = Stepper.step, set[int]()

    def failing(self: Stepper, supply: Any, stage: Any, images: int, **named: Any) -> torch.Tensor:
        figures = sane(self, supply, stage, images, **named)
        moment = images // 64
        if images % 64 >= 32 and moment not in failed:
            failed.add(moment)
            figures[0] = float("nan")
        return figures

    monkeypatch.setattr(Stepper, "step", failing)
    done = run_training(source, tmp_path / "run", dataclasses.replace(tiny, on_nan="rollback", metrics=""))
    assert (done.images, done.rollbacks) == (256, 4)


def test_the_best_snapshot_is_named_and_its_checkpoint_kept(
    tmp_path: Path, source: Pictures, tiny: TrainSettings
) -> None:
    def scores(images: ImageSource) -> list[MetricResult]:
        value = {"000000064": 3.0, "000000128": 1.0, "000000192": 2.0, "000000256": 1.5}
        moment = max(file.stem for file in (tmp_path / "run" / "snapshots").iterdir())
        return [
            MetricResult(metric="other", direction="lower", values={"value": -value[moment]}),
            MetricResult(metric="mean", direction="lower", values={"32": 0.0, "average": value[moment]}),
        ]

    settings = dataclasses.replace(tiny, metrics="other,mean", best="mean", keep_checkpoints=1)
    run_training(source, tmp_path / "run", settings, score=scores)
    best = RunFolder(tmp_path / "run").best()
    assert best is not None
    assert (best.images, best.metric, best.part, best.value) == (128, "mean", "average", 1.0)
    kept = sorted(file.stem for file in (tmp_path / "run" / "checkpoints").glob("*.safetensors"))
    assert kept == ["000000128", "000000256"]
    assert len(lines(tmp_path / "run" / "scores.jsonl")) == 8


def test_scores_have_a_rhythm_of_their_own(tmp_path: Path, source: Pictures, tiny: TrainSettings) -> None:
    settings = dataclasses.replace(tiny, every=0.096, snapshot_kimg=0.128)
    run_training(source, tmp_path / "run", settings, score=score)
    assert [line["images"] for line in lines(tmp_path / "run" / "scores.jsonl")] == [96, 192, 256]
    snapshots = [int(file.stem) for file in RunFolder(tmp_path / "run").snapshots()]
    assert snapshots == [96, 128, 192, 256]


def test_classes_are_trained_and_generated(tmp_path: Path, source: Pictures, tiny: TrainSettings) -> None:
    class Labelled(Pictures):
        def read_labels(self) -> Any:
            return np.arange(len(self)) % 3

    brief = dataclasses.replace(tiny, labels=True, total_kimg=0.032)
    run_training(Labelled(source.images), tmp_path / "run", brief)
    snapshot = read_snapshot(RunFolder(tmp_path / "run").find_snapshot())
    assert snapshot.generator.shape.labels == 3
    made = open_generator(tmp_path / "run", count=12)
    assert made.labels is not None and set(made.labels) <= {0, 1, 2}
    with pytest.raises(InputError, match="has no labels"):
        run_training(source, tmp_path / "other", brief)


@pytest.mark.parametrize("loss", ["wgan-gp", "lsgan"])
def test_bfloat16_and_least_squares_resume_to_the_bit_too(
    tmp_path: Path, source: Pictures, tiny: TrainSettings, loss: str
) -> None:
    settings = dataclasses.replace(
        tiny, loss=loss, precision="bfloat16", total_kimg=0.128, metrics="", discriminator_steps=2
    )
    run_training(source, tmp_path / "whole", settings)
    run = tmp_path / "halves"
    run_training(source, run, dataclasses.replace(settings, total_kimg=0.064))
    run_training(source, run, resumed_settings(run, {"total_kimg": 0.128}), resume=True)
    one, two = latest(tmp_path / "whole"), latest(run)
    torch.testing.assert_close(one.tensors, two.tensors, rtol=0, atol=0)
    assert timeless(tmp_path / "whole" / "log.jsonl") == timeless(run / "log.jsonl")
    assert json.loads((run / "config.json").read_text())["settings"]["precision"] == "bfloat16"


def test_a_crash_before_the_first_checkpoint_is_no_loss(
    tmp_path: Path, source: Pictures, tiny: TrainSettings, uninterrupted: Path
) -> None:
    run = tmp_path / "early"
    folder = RunFolder(run)
    run.mkdir()
    folder.write_config(
        dataclasses.replace(tiny, total_kimg=0.256), json.loads((uninterrupted / "config.json").read_text())["data"], {}
    )
    run_training(source, run, resumed_settings(run, {}), resume=True, score=score)
    assert_same_run(run, uninterrupted)


def test_a_checkpoint_by_the_clock_changes_nothing(
    tmp_path: Path, source: Pictures, tiny: TrainSettings, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, sane, calls = tmp_path / "often", Stepper.step, iter(range(1000))

    def failing(*words: Any, **named: Any) -> torch.Tensor:
        if next(calls) == 13:  # in the update that begins at 96 images
            raise KeyboardInterrupt
        return sane(*words, **named)

    monkeypatch.setattr(Stepper, "step", failing)
    settings = dataclasses.replace(tiny, checkpoint_minutes=1e-9)
    with pytest.raises(KeyboardInterrupt):
        run_training(source, run, settings, score=score)
    assert latest(run).images == 96
    assert [file.stem for file in RunFolder(run).snapshots()] == ["000000064"]
    run_training(source, run, resumed_settings(run, {"checkpoint_minutes": 0.0}), resume=True, score=score)
    assert_same_run(run, uninterrupted)


@pytest.mark.parametrize(("minutes", "times"), [(0.0, 2), (1.0, 6), (100.0, 2)])
def test_a_checkpoint_is_due_by_the_clock(
    tmp_path: Path, tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch, minutes: float, times: int
) -> None:
    written, clock = [], iter(range(0, 1_000_000, 61))
    monkeypatch.setattr(RunFolder, "write_checkpoint", lambda self, checkpoint: written.append(checkpoint.images))
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    flat = Pictures(np.zeros((4, 3, 4, 4), np.uint8))
    settings = dataclasses.replace(tiny, total_kimg=0.08, snapshot_kimg=9.0, checkpoint_minutes=minutes)
    run_training(flat, tmp_path / "run", settings)
    assert written == [0, 16, 32, 48, 64, 80][:: 5 if times == 2 else 1]


def test_weights_that_are_not_finite_replace_no_good_checkpoint(
    tmp_path: Path, source: Pictures, tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last step before 64 images breaks the weights: every loss until then is finite.
    sane, calls = Stepper.step, iter(range(1000))

    def breaking(self: Stepper, *words: Any, **named: Any) -> torch.Tensor:
        figure = sane(self, *words, **named)
        if next(calls) == 7:
            next(self.networks.discriminator.parameters()).data.view(-1)[0] = float("inf")
        return figure

    monkeypatch.setattr(Stepper, "step", breaking)
    with pytest.raises(PgtoolsError, match=r"not finite at 0\.1 kimg") as caught:
        run_training(source, tmp_path / "run", tiny)
    assert "last good state" in caught.value.hint
    assert latest(tmp_path / "run").images == 0
    assert not RunFolder(tmp_path / "run").snapshots()


@pytest.mark.parametrize(
    "fault",
    [torch.OutOfMemoryError("CUDA out of memory\nmore"), OSError("No space."), InputError("Few."), float("nan")],
)
def test_a_score_that_fails_is_told_and_made_up_for(
    tmp_path: Path,
    source: Pictures,
    tiny: TrainSettings,
    uninterrupted: Path,
    capsys: pytest.CaptureFixture[str],
    fault: Exception | float,
) -> None:
    def failing(images: ImageSource) -> list[MetricResult]:
        if isinstance(fault, Exception):
            raise fault
        return [MetricResult(metric="mean", direction="lower", values={"value": fault})]

    run = tmp_path / "run"
    assert run_training(source, run, dataclasses.replace(tiny, total_kimg=0.064), score=failing).images == 64
    told = capsys.readouterr().err
    reason = str(fault).splitlines()[0] if isinstance(fault, Exception) else "not finite"
    assert "000000064.safetensors has no score" in told and reason in told
    assert latest(run).images == 64
    assert not (run / "scores.jsonl").exists()
    run_training(source, run, resumed_settings(run, {}), resume=True, score=score)
    assert lines(run / "scores.jsonl") == lines(uninterrupted / "scores.jsonl")[:1]


@pytest.mark.parametrize("kept", ["log.jsonl", "scores.jsonl", "snapshots"])
def test_a_run_whose_checkpoint_is_lost_is_not_begun_again(
    tmp_path: Path, source: Pictures, uninterrupted: Path, kept: str
) -> None:
    shutil.rmtree(uninterrupted / "checkpoints")
    for name in {"log.jsonl", "scores.jsonl"} - {kept}:
        (uninterrupted / name).unlink()
    if kept != "snapshots":
        shutil.rmtree(uninterrupted / "snapshots")
    before = {file: file.read_bytes() for file in uninterrupted.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match="holds no checkpoint"):
        run_training(source, uninterrupted, resumed_settings(uninterrupted, {}), resume=True)
    assert {file: file.read_bytes() for file in uninterrupted.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("table", "field", "value", "message"),
    [
        ("settings", "seed", "x", r"settings\.seed is 'x'"),
        ("settings", "mirror", 1, r"settings\.mirror is 1"),
        ("settings", "latent", True, r"settings\.latent is True"),
        ("settings", "ema", None, r"settings\.ema is None"),
        ("settings", "latent", 0, r"--latent is 0"),
        ("data", "fingerprint", 7, r"data\.fingerprint is 7"),
        ("data", "count", None, r"data\.count is None"),
        ("settings", None, [], "settings is no table"),
        ("data", None, {}, r"data\.name is missing"),
        ("data", None, None, "data is no table"),
    ],
)
def test_a_damaged_config_is_named(
    uninterrupted: Path, table: str, field: str | None, value: object, message: str
) -> None:
    file = uninterrupted / "config.json"
    config = json.loads(file.read_text())
    if field is None:
        config[table] = value
    else:
        config[table][field] = value
    file.write_text(json.dumps(config))
    with pytest.raises(InputError, match=rf"config\.json is damaged: {message}"):
        resumed_settings(uninterrupted, {})


def test_too_narrow_a_network_is_refused_before_the_data_are_read(
    tmp_path: Path, source: Pictures, tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pictures, "read_top", None)
    with pytest.raises(UsageError, match="width of 4"):
        run_training(source, tmp_path / "run", dataclasses.replace(tiny, fmap_base=32))
    assert not (tmp_path / "run").exists()


@pytest.mark.gpu
def test_cuda_trains_the_same_run_within_float_tolerance(tmp_path: Path, source: Pictures, tiny: TrainSettings) -> None:
    brief = dataclasses.replace(tiny, total_kimg=0.032)
    for device in ("cpu", "cuda"):
        train(source, tmp_path / device, brief, place=Place(torch.device(device)))
    logs = [timeless(tmp_path / device / "log.jsonl")[-1] for device in ("cpu", "cuda")]
    assert logs[0] == pytest.approx(logs[1], rel=0.02)
