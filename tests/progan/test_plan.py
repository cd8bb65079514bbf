"""What `pgtools train` says before it trains, and what it refuses then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pgtools.cli._plan import Plan
from pgtools.errors import StoppedError
from pgtools.progan import precision, trainer
from pgtools.progan.benchmark import probe
from pgtools.progan.config import TrainSettings
from pgtools.progan.presets import preset_description, settings_from
from tests.progan.conftest import Pictures

Run = Callable[..., Any]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "SECONDS", 0.0)
    monkeypatch.setattr(probe, "_measured", lambda timed, stage, seconds: 1.0)
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)


def plan(source: Pictures, preset: str | None, **chosen: Any) -> Plan:
    return Plan(source, settings_from(preset or "compact", chosen), preset, CPU)


def test_the_preset_as_it_is_speaks_for_the_run(source: Pictures) -> None:
    as_it_is = plan(source, "compact", precision="auto")
    assert as_it_is.changed == []
    assert as_it_is.described() == f"Preset compact: {preset_description('compact')}"


def test_what_differs_from_the_preset_is_listed(source: Pictures) -> None:
    other = plan(source, "v2-1gpu", fmap_base=512, mirror=True, growing=False, metrics="swd")
    assert other.changed == ["--fmap-base 512", "--no-growing", "--mirror", "--metrics swd"]
    said = "Preset v2-1gpu, with --fmap-base 512 --no-growing --mirror --metrics swd (its figures are those of"
    assert other.described().startswith(said)
    assert plan(source, "v2-1gpu", learning_rate_from="").changed == ["no --learning-rate-from"]


def test_what_was_resolved_is_no_difference(source: Pictures) -> None:
    begun = plan(source, "compact", total_kimg=21.0, precision="bfloat16")  # 3 at 4², 6 at 8², 3 to 16², 9 at it
    assert begun.changed == []
    assert plan(source, "compact", total_kimg=25.0).changed == ["--total-kimg 25.0"]
    assert plan(source, "compact", precision="float32").changed == ["--precision float32"]
    assert plan(source, "compact", stable_kimg=4.0).changed == ["--stable-kimg 4.0"]


def test_an_unknown_preset_is_told(source: Pictures) -> None:
    assert plan(source, None).described() == "The preset is not known."
    foreign = Plan(source, TrainSettings(), "v9", CPU)
    assert (foreign.changed, foreign.described()) == ([], "Preset v9, unknown here.")


def test_show_prints_the_preset_first_and_what_was_resolved(pgtools: Run, folder: Path) -> None:
    shown = pgtools("train", folder, "--show", "--device", "cpu", "--seed", 3)
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert lines[0].startswith("Preset compact, with --seed 3 --device cpu (its figures are")
    rows = dict(line.split(maxsplit=1) for line in lines[1:] if len(line.split()) > 1)
    assert (rows["device"], rows["precision"], rows["total-kimg"]) == ("cpu", "auto: bfloat16", "21")
    assert rows["growing"] == "on"
    assert "tanh" not in rows and "pixel-norm" not in rows  # no options, and as they are by default
    small = ["--latent", 8, "--fmap-base", 128, "--fmap-max", 8, "--minibatch", "4:8"]
    wide = pgtools("train", folder, "--show", "--preset", "ablation-a", *small).out
    assert "\nbatch-norm               on\n" in wide
    assert "\ndevice                   auto: " in wide


def test_show_says_the_same_in_json(pgtools: Run, folder: Path) -> None:
    found = json.loads(pgtools("train", folder, "--show", "--json", "--device", "cpu").out)
    assert (found["preset"], found["description"]) == ("compact", preset_description("compact"))
    assert found["changed"] == ["--device cpu"]
    assert found["resolved"] == {"device": "cpu", "precision": "bfloat16", "total_kimg": 21.0}
    assert found["settings"]["precision"] == "auto"
    assert found["phases"][0]["level"] == 4


def test_show_refuses_labels_that_are_not_there(pgtools: Run, folder: Path) -> None:
    refused = pgtools("train", folder, "--show", "--labels")
    assert (refused.code, refused.out) == (1, "")
    assert "has no labels" in refused.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--every", "6"], "--every without --metrics"),
        (["--num-images", "50"], "--num-images without --metrics"),
        (["--every", "6", "--num-images", "50"], "--every and --num-images without --metrics"),
        (["--best", "swd"], "--best is 'swd', which is not among --metrics ''"),
        (["--metrics", ","], "No metric is named"),
        (["--resume", "--resume-from", "x"], "--resume goes on with a run"),
        (["--learning-rate", "0"], "--learning-rate is 0.0; expected 1e-09 to 1"),
    ],
)
def test_what_contradicts_itself_is_refused_with_a_next_step(
    pgtools: Run, folder: Path, tmp_path: Path, words: list[str], told: str
) -> None:
    refused = pgtools("train", folder, "--out", tmp_path / "run", *words)
    assert (refused.code, refused.out) == (2, "")
    assert told in refused.err
    assert "--learning-rate" in words or len(refused.err.splitlines()) == 2
    assert not (tmp_path / "run").exists()
    assert "-m " not in refused.err


def test_fewer_images_than_a_minibatch_are_noted(source: Pictures) -> None:
    few = plan(source, "compact", minibatch="4:8,16:24,32:64")
    assert few.notes() == [
        "Note: pictures has 20 images, fewer than a minibatch of 24: each stands in it more than once."
    ]
    assert plan(source, "compact", minibatch="4:20,32:64").notes() == []
    assert plan(source, "compact", minibatch="4:32,16:8", growing=False).notes() == []
    assert plan(source, "compact", minibatch="4:32,8:8", start_resolution=8).notes() == []


def test_a_single_class_is_noted(source: Pictures) -> None:
    class Labelled(Pictures):
        kinds = 1

        def read_labels(self) -> NDArray[np.int64]:
            return np.arange(len(self)) % self.kinds + 3

    labelled = Labelled(source.images)
    assert plan(labelled, "compact", labels=True).notes() == [
        "Note: all images of pictures are of one class; --labels has nothing to tell apart."
    ]
    assert plan(labelled, "compact").notes() == []
    several = Labelled(source.images)
    several.kinds = 2
    assert plan(several, "compact", labels=True).notes() == []


def test_a_stop_that_was_asked_for_is_no_error(
    pgtools: Run, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Any, score: Any) -> None:
        raise StoppedError("Stopped after 1.0 of 2.0 kimg.", hint="--resume goes on.")

    monkeypatch.setattr(trainer.Trainer, "run", stop)
    stopped = pgtools("train", folder, "--out", tmp_path / "run", "--device", "cpu", "--minibatch", "4:24")
    assert stopped.code == 1
    told = stopped.err.splitlines()
    assert told[0].startswith("Note: ")
    assert told[1].startswith("Preset compact, with --minibatch 4:24 --device cpu")
    assert told[2:] == ["Stopped after 1.0 of 2.0 kimg.", "  --resume goes on."]
