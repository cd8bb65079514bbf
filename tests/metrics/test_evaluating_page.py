"""The page about evaluating: its loop runs, its figures are those of the functions it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import pgtools.metrics
from pgtools.metrics import SwdSettings, swd_figures
from tests.metrics.sets import photographs

PAGE = (Path(__file__).parents[2] / "docs" / "evaluating.md").read_text(encoding="utf-8")


def test_the_training_loop_runs_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    (loop,) = [block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "train_step" in block]
    reals = torch.from_numpy(photographs(64, 32, 1))
    fakes = torch.from_numpy(photographs(64, 32, 2))
    generator = torch.nn.Identity()
    taken: list[int] = []
    names = {
        "loader": reals.split(10),
        "steps": 3,
        "train_step": taken.append,
        "fixed_latents": fakes.float() / 127.5 - 1,
        "generator": generator,
    }
    exec(compile(loop, "docs/evaluating.md", "exec"), names)  # noqa: S102 - our own page
    assert taken == [0, 1, 2]
    figures = swd_figures(reals, fakes, SwdSettings(seed=1))
    told = f"{figures.values['average']:.1f} ± {figures.spread['average']:.1f} {figures.verdict['average']}"
    assert capsys.readouterr().out.splitlines() == [f"0 {told}", f"2 {told}"]


def test_every_name_it_tells_is_public() -> None:
    table = PAGE[PAGE.index("| for | take |") : PAGE.index("### A training loop")]
    told = {name for code in re.findall(r"`([^`]+)`", table) for name in re.findall(r"^\w+", code)}
    assert {"swd_figures", "Streaming", "Evaluator", "laplacian_levels"} <= told <= set(pgtools.metrics.__all__)
    first = re.findall(r"from pgtools.metrics import (.*)", PAGE)
    assert {name for line in first for name in line.split(", ")} <= set(pgtools.metrics.__all__)
