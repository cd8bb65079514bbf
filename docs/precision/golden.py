"""Against the authors' released code: what it gave on 64 real and 64 degraded images, kept as golden values."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from tables import Row, Table

from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.msssim import ms_ssim
from pgtools.metrics.settings import SwdSettings
from pgtools.metrics.swd.measure import SwdMeasure
from tests.metrics.sets import ArraySource

SIDES, SEEDS = (32, 64), 40
CPU = torch.device("cpu")


def table(shared: Path) -> Table:
    """Return the differences, from the folder of golden values.

    Args:
        shared: holds golden/metrics.npz and golden/metrics.json.
    """
    arrays = dict(np.load(shared / "golden" / "metrics.npz"))
    values = json.loads((shared / "golden" / "metrics.json").read_text("utf-8"))
    rows = [_msssim_row(arrays, values), *_swd_rows(arrays, values)]
    return Table("authors", tuple(f"{side}²" for side in SIDES), tuple(rows))


def _msssim_row(arrays: dict[str, np.ndarray], values: dict[str, dict[str, list[float]]]) -> Row:
    gaps = []
    for side in SIDES:
        images = torch.from_numpy(arrays[f"reals{side}"])
        found = ms_ssim(images[::2], images[1::2]).numpy()
        gaps.append(float(np.abs(found - values[f"msssim{side}"]["per_pair"]).max()))
    return Row("MS-SSIM, each of 32 pairs", "≤ 1e-4", tuple(gaps), "absolute; their blur is by FFT")


def _swd_rows(arrays: dict[str, np.ndarray], values: dict[str, dict[str, dict[str, float]]]) -> list[Row]:
    found = {side: _in_standard_errors(arrays, values[f"swd{side}"], side) for side in SIDES}
    parts = list(found[SIDES[-1]])
    notes = dict.fromkeys(parts[:1], "in standard errors of both means: their draws cannot be repeated")
    names = {part: part if part == "average" else f"level {part}²" for part in parts}
    return [
        Row(f"SWD, {names[part]}", "≤ 3", tuple(found[side].get(part) for side in SIDES), notes.get(part, ""))
        for part in parts
    ]


def _in_standard_errors(
    arrays: dict[str, np.ndarray], theirs: dict[str, dict[str, float]], side: int
) -> dict[str, float]:
    """Return part → the gap between our mean over seeds and theirs, in its standard errors."""
    figures = []
    for seed in range(SEEDS):
        measure = SwdMeasure(SwdSettings(seed=seed, repeats=1, replicates=0))
        with Evaluator([measure], ArraySource(arrays[f"reals{side}"]), Reading(), CPU) as evaluator:
            figures.append(evaluator.score(ArraySource(arrays[f"fakes{side}"]))[0].values)
    found = {}
    for part in figures[0]:
        ours = np.array([each[part] for each in figures])
        known = theirs[f"SWDx1e3_{part.replace('average', 'avg')}"]
        error = np.sqrt(ours.var(ddof=1) / SEEDS + known["std"] ** 2 / (known["seeds"] - 1))
        found[part] = max(0.1, round(abs(float(ours.mean() - known["mean"])) / float(error), 1))
    return found
