"""Training restorers: it learns, it goes on as if never stopped, and it refuses what would mix two runs."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from pgtools.errors import InputError, OutputError, PgtoolsError, UsageError
from pgtools.restoration.compact import read_compact, read_made
from pgtools.restoration.training import trainer as training
from pgtools.restoration.training.run import RestorerRun
from pgtools.restoration.training.settings import RestorerSettings
from pgtools.restoration.training.trainer import enlarging_loss, jpeg_loss, learning_rate, train_restorer
from pgtools.restoration.training.validation import choose
from tests.pictures import photo_like

TINY = {"steps": 4, "batch": 2, "channels": 8, "blocks": 1, "validate_every": 2, "device": "cpu"}


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        Image.fromarray(photo_like(240, 260, seed=seed)).save(folder / f"{seed}.png")
    return folder


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def interrupted_after(steps, monkeypatch):
    """Ctrl-C after so many optimizer steps: training looks between steps whether someone wants to stop."""
    from contextlib import contextmanager

    @contextmanager
    def interruptible():
        asked = iter([False] * (steps - 1) + [True] * 100)
        yield lambda: next(asked)

    monkeypatch.setattr(training, "interruptible", interruptible)


@pytest.mark.parametrize("task", ["dejpeg", "sr4"])
def test_a_run_leaves_weights_logs_and_how_they_were_made(photos, tmp_path, task):
    settings = RestorerSettings(task=task, **TINY)
    run = train_restorer(photos, tmp_path / "run", settings)
    network = read_compact(run.weights)
    assert network.shape.scale == {"dejpeg": 1, "sr4": 4}[task]
    made = read_made(run.weights)
    assert made["settings"] == settings.as_dict() and set(made["photographs"]) == {"0.png", "1.png", "2.png"}
    assert [line["step"] for line in lines(run.log)] == [4]
    assert [line["step"] for line in lines(run.validation)] == [2, 4]
    figures = run.last_validation()
    assert set(figures) == ({"bicubic"} if task == "sr4" else {"q10", "q30", "q75", "q95"})


def test_a_stopped_run_goes_on_bit_for_bit(photos, tmp_path, monkeypatch):
    settings = RestorerSettings(task="sr4", **TINY)
    whole = train_restorer(photos, tmp_path / "whole", settings)
    with monkeypatch.context() as patch:
        interrupted_after(3, patch)
        with pytest.raises(KeyboardInterrupt):
            train_restorer(photos, tmp_path / "parts", settings)
    stopped = RestorerRun(tmp_path / "parts")
    assert stopped.read_checkpoint()["state"]["steps"] == 3 and not stopped.weights.exists()
    parts = train_restorer(photos, tmp_path / "parts", settings, resume=True)
    one, two = (torch.load(run.checkpoint, weights_only=True) for run in (whole, parts))
    for part in ("network", "average"):
        for name in one[part]:
            assert torch.equal(one[part][name], two[part][name]), (part, name)
    assert [line["loss"] for line in lines(parts.log)] == [line["loss"] for line in lines(whole.log)]


def test_lines_after_the_checkpoint_are_dropped_on_resume(photos, tmp_path, monkeypatch):
    settings = RestorerSettings(task="sr4", **TINY)
    with monkeypatch.context() as patch:
        interrupted_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            train_restorer(photos, tmp_path / "run", settings)
    run = RestorerRun(tmp_path / "run")
    run.append(run.log, {"step": 2, "loss": 99.0})  # a killed run had come further than its checkpoint
    with run.log.open("a") as file:
        file.write('{"step": 3, "lo')
    train_restorer(photos, tmp_path / "run", settings, resume=True)
    assert [line["step"] for line in lines(run.log)] == [4]
    assert all(line["loss"] < 99 for line in lines(run.log))


@pytest.mark.slow
@pytest.mark.parametrize("task", ["dejpeg", "sr4"])
def test_it_learns(photos, tmp_path, task):
    settings = RestorerSettings(task=task, steps=300, batch=4, channels=16, blocks=2, validate_every=300, device="cpu")
    run = train_restorer(photos, tmp_path / "run", settings)
    for name, figures in run.last_validation().items():
        if name != "q95":
            assert figures["psnr"] > figures["psnr_before"] + 0.1, name


def test_what_would_mix_two_runs_is_refused(photos, tmp_path):
    settings = RestorerSettings(task="sr4", **TINY)
    run = train_restorer(photos, tmp_path / "run", settings)
    with pytest.raises(OutputError, match="already holds a run"):
        train_restorer(photos, tmp_path / "run", settings)
    with pytest.raises(UsageError, match="--batch 2; it cannot go on with 5"):
        run.resumed_settings({"batch": 5})
    assert run.resumed_settings({"device": "auto"}).device == "auto"
    Image.fromarray(photo_like(240, 240, seed=9)).save(photos / "9.png")
    with pytest.raises(InputError, match="other photographs"):
        train_restorer(photos, tmp_path / "run", settings, resume=True)
    with pytest.raises(InputError, match="holds no run"):
        train_restorer(photos, tmp_path / "nothing", settings, resume=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        train_restorer(photos, tmp_path / "full", settings)


def test_a_damaged_checkpoint_is_told_and_nothing_is_lost(photos, tmp_path):
    settings = RestorerSettings(task="sr4", **TINY)
    run = train_restorer(photos, tmp_path / "run", settings)
    run.checkpoint.write_bytes(run.checkpoint.read_bytes()[:1000])
    with pytest.raises(InputError, match="no readable checkpoint"):
        train_restorer(photos, tmp_path / "run", settings, resume=True)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(photos, tmp_path, monkeypatch):
    settings = RestorerSettings(task="sr4", checkpoint_minutes=0.0, **TINY)
    calls = []

    def bad(given, wanted):
        calls.append(1)
        return enlarging_loss(given, wanted) * (float("nan") if len(calls) == 3 else 1)

    monkeypatch.setattr(training, "enlarging_loss", bad)
    with pytest.raises(PgtoolsError, match="not finite"):
        train_restorer(photos, tmp_path / "run", settings)
    state = RestorerRun(tmp_path / "run").read_checkpoint()
    assert state["state"]["steps"] == 2
    assert all(bool(torch.isfinite(weights).all()) for weights in state["network"].values())


def test_the_jpeg_loss_counts_each_patch_in_units_of_its_usual_error():
    wanted = torch.zeros(2, 3, 4, 4)
    # Each patch is off by its usual error and one level: 3 of 2 + 1, and 21 of 20 + 1.
    given = torch.stack([torch.full((3, 4, 4), 3 / 255), torch.full((3, 4, 4), -21 / 255)])
    assert jpeg_loss(given, wanted, torch.tensor([2.0, 20.0])).item() == pytest.approx(1.0)
    assert jpeg_loss(2 * given, wanted, torch.tensor([2.0, 20.0])).item() == pytest.approx(4.0)


def test_the_enlarging_loss_is_the_mean_absolute_error_in_levels():
    assert enlarging_loss(torch.tensor([0.5, 0.7]), torch.tensor([0.6, 0.4])).item() == pytest.approx(0.2 * 255)


def test_the_learning_rate_warms_up_and_falls_to_zero():
    settings = RestorerSettings(steps=100, warmup=10, learning_rate=1e-3)
    rates = [learning_rate(step, settings) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[9] and rates[9] == pytest.approx(1e-3, rel=0.03)
    assert all(np.diff(rates[9:]) < 0) and rates[100] == pytest.approx(0, abs=1e-12)


def test_every_twelfth_photograph_is_kept_for_validation(tmp_path):
    files = [tmp_path / f"{i:02d}.png" for i in range(25)]
    learnt, kept = choose(files)
    assert kept == [files[11], files[23]] and len(learnt) == 23 and not set(learnt) & set(kept)
    assert choose(files[:5]) == (files[:5], files[:5])
