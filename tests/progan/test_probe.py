"""The table of phases with its times: known schedules, made-up clocks."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pgtools.progan.benchmark import probe as module
from pgtools.progan.benchmark.probe import _work, phases_of, probe, stage_times
from pgtools.progan.benchmark.timed import TimedSteps
from pgtools.progan.config import TrainSettings
from pgtools.progan.schedule import Phase

CPU = torch.device("cpu")


def test_phases_of_a_run_end_where_it_ends(tiny: TrainSettings) -> None:
    expected = [Phase(0, 32, 4, False), Phase(32, 96, 8, True), Phase(96, 128, 8, False), Phase(128, 192, 16, True)]
    assert phases_of(16, tiny) == [*expected, Phase(192, 256, 16, False)]
    short = dataclasses.replace(tiny, total_kimg=0.1)
    assert phases_of(16, short) == [*expected[:2], Phase(96, 100, 8, False)]
    assert phases_of(16, dataclasses.replace(tiny, growing=False)) == [Phase(0, 256, 16, False)]


def test_a_phase_takes_its_steps_times_a_step(tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_measured", lambda timed, stage, seconds: float(stage[0]) + 0.5 * stage[1])
    settings = dataclasses.replace(tiny, discriminator_steps=2)
    rows = probe(16, settings, CPU, seconds=1e6)
    # Minibatches of 8, from 16² on of 4; a step shows two of them.
    assert [(row.level, row.fading, row.minibatch) for row in rows] == [
        (4, False, 8),
        (8, True, 8),
        (8, False, 8),
        (16, True, 4),
        (16, False, 4),
    ]
    steps = [32 / 16, 64 / 16, 32 / 16, 64 / 8, 64 / 8]
    assert [row.seconds for row in rows] == [n * s for n, s in zip(steps, (4, 8.5, 8, 16.5, 16), strict=True)]
    assert {row.basis for row in rows} == {""}
    assert (rows[1].begin_kimg, rows[1].end_kimg, rows[1].learning_rate) == (0.032, 0.096, 0.002)


def test_stages_that_the_time_does_not_reach_are_estimated(
    tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(tiny, minibatch="4:8")
    shape = settings.architecture(64)
    measured: list[tuple[int, bool]] = []

    def clock(timed: TimedSteps, stage: tuple[int, bool], seconds: float) -> float:
        measured.append(stage)
        _, products, features = _work(shape, stage, 8)
        return 0.01 + 1e-8 * products + 1e-7 * features

    monkeypatch.setattr(module, "_measured", clock)
    stages = [(level, fading) for level in (4, 8, 16, 32, 64) for fading in (False, True)]
    honest = {stage: clock(None, stage, 0) for stage in stages}  # type: ignore[arg-type]
    measured.clear()
    found = stage_times(64, settings, CPU, stages, seconds=1.9 * honest[32, True])
    assert measured == [(4, True), (4, False), (8, True), (8, False), (16, True), (16, False)]
    assert {stage for stage, one in found.items() if one.basis} == {(32, True), (32, False), (64, True), (64, False)}
    assert found[64, False].basis == "4²–16²"
    for stage, one in found.items():
        assert one.seconds == pytest.approx(honest[stage], rel=1e-6)


def test_a_single_measured_stage_promises_by_products(tiny: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_measured", lambda timed, stage, seconds: 1.0)
    found = stage_times(16, dataclasses.replace(tiny, minibatch="4:8"), CPU, [(4, False), (16, False)], seconds=0)
    assert found[4, False].basis == ""
    assert found[16, False].basis == "4²"
    shape = tiny.architecture(16)
    expected = _work(shape, (16, False), 8)[1] / _work(shape, (4, False), 8)[1]
    assert found[16, False].seconds == pytest.approx(expected)


def test_real_steps_are_taken_and_timed(tiny: TrainSettings) -> None:
    rows = probe(8, tiny, CPU, seconds=0.5)
    assert [row.level for row in rows] == [4, 8, 8]
    assert all(row.seconds > 0 for row in rows)
