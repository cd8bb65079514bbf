"""Training restorers: it learns, it goes on as if never stopped, and it refuses what would mix two runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from pgtools.errors import InputError, OutputError, PgtoolsError, UsageError
from pgtools.restoration.compact import read_compact, read_made
from pgtools.restoration.training import trainer as training
from pgtools.restoration.training.losses import enlarging_loss, jpeg_loss, learning_rate
from pgtools.restoration.training.run import RestorerRun
from pgtools.restoration.training.settings import RestorerSettings
from pgtools.restoration.training.trainer import train_restorer
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


@pytest.mark.parametrize("task", ["dejpeg", "sr4"])
def test_a_stopped_run_goes_on_bit_for_bit(photos, tmp_path, monkeypatch, task):
    settings = RestorerSettings(task=task, **TINY)
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
    with pytest.raises(PgtoolsError, match="loss is not finite at step 2") as error:
        train_restorer(photos, tmp_path / "run", settings)
    assert error.value.hint == "Begin a new run with a lower --learning-rate."
    state = RestorerRun(tmp_path / "run").read_checkpoint()
    assert state["state"]["steps"] == 2
    assert all(bool(torch.isfinite(weights).all()) for weights in state["network"].values())


class FiniteWithoutGradient(torch.autograd.Function):
    """A loss that is as it should be while its gradient is infinite, as where a square root begins."""

    @staticmethod
    def forward(context, loss):
        return loss.clone()

    @staticmethod
    def backward(context, gradient):
        return gradient * float("inf")


def test_a_gradient_that_is_not_finite_ends_the_run_before_it_reaches_a_weight(photos, tmp_path, monkeypatch):
    settings = RestorerSettings(task="sr4", checkpoint_minutes=0.0, **TINY)
    calls = []

    def bad(given, wanted):
        calls.append(1)
        loss = enlarging_loss(given, wanted)
        return FiniteWithoutGradient.apply(loss) if len(calls) == settings.steps else loss  # in the very last step

    monkeypatch.setattr(training, "enlarging_loss", bad)
    with pytest.raises(PgtoolsError, match="gradient is not finite at step 3"):
        train_restorer(photos, tmp_path / "run", settings)
    run = RestorerRun(tmp_path / "run")
    assert not run.weights.exists()
    state = run.read_checkpoint()
    assert all(bool(torch.isfinite(weights).all()) for weights in state["network"].values())


def test_photographs_of_one_name_in_two_folders_are_two(photos, tmp_path):
    for name in ("a", "b"):
        (photos / name).mkdir()
        Image.fromarray(photo_like(240, 240, seed=ord(name))).save(photos / name / "x.png")
    settings = RestorerSettings(task="sr4", **TINY)
    run = train_restorer(photos, tmp_path / "run", settings)
    assert list(run.read_config()["photographs"]) == ["0.png", "1.png", "2.png", "a/x.png", "b/x.png"]
    Image.fromarray(photo_like(240, 240, seed=77)).save(photos / "a" / "x.png")
    with pytest.raises(InputError, match="other photographs"):
        train_restorer(photos, tmp_path / "run", settings, resume=True)


def test_the_same_photographs_in_another_order_are_others(photos, tmp_path):
    run = train_restorer(photos, tmp_path / "run", RestorerSettings(task="sr4", **TINY))
    known = run.read_config()["photographs"]
    run.check_photos(dict(known))
    with pytest.raises(InputError, match="other photographs"):
        run.check_photos(dict(reversed(known.items())))


def test_a_checkpoint_of_another_run_is_refused(photos, tmp_path):
    settings = {"task": "sr4", **TINY}
    run = train_restorer(photos, tmp_path / "run", RestorerSettings(**settings))
    own = run.checkpoint.read_bytes()
    for other in ({"seed": 1}, {"task": "dejpeg"}):
        named = RestorerSettings(**{**settings, **other, "steps": 1})
        stranger = train_restorer(photos, tmp_path / next(iter(other)), named)
        run.checkpoint.write_bytes(stranger.checkpoint.read_bytes())
        with pytest.raises(InputError, match="of a run with other settings or photographs"):
            train_restorer(photos, tmp_path / "run", RestorerSettings(**settings), resume=True)
    run.checkpoint.write_bytes(own)
    train_restorer(photos, tmp_path / "run", RestorerSettings(**settings), resume=True)


def test_every_setting_that_decides_what_is_learnt_and_no_other_ties_a_checkpoint(photos, tmp_path):
    settings = RestorerSettings(task="sr4", **TINY)
    run = train_restorer(photos, tmp_path / "run", settings)
    photographs = run.read_config()["photographs"]
    free = {"device": "auto", "validate_every": 7, "checkpoint_minutes": 1.0}
    run.write_config(replace(settings, **free), photographs, "float32")
    run.read_checkpoint()
    for change in ({"batch": 3}, {"learning_rate": 0.01}, {"average": 0.5}, {"warmup": 1}, {"seed": 1}):
        run.write_config(replace(settings, **change), photographs, "float32")
        with pytest.raises(InputError, match="other settings or photographs"):
            run.read_checkpoint()
    run.write_config(settings, photographs, "bfloat16")
    with pytest.raises(InputError, match="other settings or photographs"):
        run.read_checkpoint()


def test_a_checkpoint_of_other_photographs_is_refused(photos, tmp_path):
    settings = RestorerSettings(task="sr4", **TINY)
    stranger = train_restorer(photos, tmp_path / "other", settings)
    (photos / "1.png").rename(photos / "3.png")
    run = train_restorer(photos, tmp_path / "run", settings)
    run.checkpoint.write_bytes(stranger.checkpoint.read_bytes())
    with pytest.raises(InputError, match="other settings or photographs"):
        run.read_checkpoint()


def test_a_checkpoint_whose_parts_do_not_fit_is_told_in_a_line(photos, tmp_path):
    settings = RestorerSettings(task="sr4", **TINY)
    run = train_restorer(photos, tmp_path / "run", settings)
    saved = run.read_checkpoint()
    for part in ("network", "average", "optimizer", "state"):
        run.write_checkpoint({**saved, part: {"odd": 1}})
        with pytest.raises(InputError, match="does not fit this run") as error:
            train_restorer(photos, tmp_path / "run", settings, resume=True)
        assert "\n" not in error.value.message


def test_a_run_goes_on_in_the_precision_it_began_in(photos, tmp_path, monkeypatch):
    run = train_restorer(photos, tmp_path / "run", RestorerSettings(task="sr4", **TINY))
    assert run.read_config()["precision"] == "float32"
    monkeypatch.setattr(training, "_precision", lambda settings, device: torch.bfloat16)  # as on a GPU
    with pytest.raises(UsageError, match="began in float32; it cannot go on in bfloat16") as error:
        train_restorer(photos, tmp_path / "run", run.resumed_settings({}), resume=True)
    assert "--precision float32" in error.value.hint
    monkeypatch.undo()
    settings = run.resumed_settings({"precision": "float32"})
    assert settings.precision == "float32"
    train_restorer(photos, tmp_path / "run", settings, resume=True)
    with pytest.raises(UsageError, match="cannot go on with bfloat16"):
        run.resumed_settings({"precision": "bfloat16"})


def test_a_run_killed_before_its_first_checkpoint_begins_its_logs_anew(photos, tmp_path):
    settings = RestorerSettings(task="sr4", **TINY)
    run = train_restorer(photos, tmp_path / "run", settings)
    run.checkpoint.unlink()
    train_restorer(photos, tmp_path / "run", settings, resume=True)
    assert [line["step"] for line in lines(run.log)] == [4]
    assert [line["step"] for line in lines(run.validation)] == [2, 4]


def test_photographs_that_cannot_be_learnt_from_leave_no_run_behind(photos, tmp_path):
    settings = RestorerSettings(task="sr4", **TINY)
    small = tmp_path / "small"
    small.mkdir()
    Image.fromarray(photo_like(60, 60)).save(small / "0.png")
    with pytest.raises(InputError, match="large enough"):
        train_restorer(small, tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()
    whole = (photos / "0.png").read_bytes()
    (photos / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged"):
        train_restorer(photos, tmp_path / "run", settings)
    (photos / "0.png").write_bytes(whole)
    assert train_restorer(photos, tmp_path / "run", settings).weights.exists()


def test_one_small_photograph_spoils_no_folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        side = 60 if number == 11 else 232  # the twelfth would be the only one to validate on
        Image.fromarray(photo_like(side, side, seed=number)).save(folder / f"{number:02d}.png")
    run = train_restorer(folder, tmp_path / "run", RestorerSettings(task="sr4", **TINY))
    assert run.weights.exists() and len(run.read_config()["photographs"]) == 12


def test_a_flat_photograph_to_validate_on_stops_no_run(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (240, 240), (128, 128, 128)).save(folder / "flat.png")
    run = train_restorer(folder, tmp_path / "run", RestorerSettings(task="sr4", **TINY))
    assert run.last_validation()["bicubic"]["psnr_before"] is None


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
    learnt, kept = choose(files, files)
    assert kept == [files[11], files[23]] and len(learnt) == 23 and not set(learnt) & set(kept)
    assert choose(files[:5], files) == (files[:5], files[:5])
    # Those too small change no other's part, as long as one to validate on is left.
    assert choose(files, files[:3] + files[5:]) == (learnt[:3] + learnt[5:], kept)
    assert choose(files, files[:23] + files[24:]) == (learnt, kept[:1])
    assert choose(files[:13], files[:11] + files[12:13]) == (files[:11], files[12:13])
    assert choose(files[:12], files[:11]) == (files[:11], files[:11])
