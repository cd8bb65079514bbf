"""A run folder as `train` leaves it, drawn instead of trained."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pgtools.imaging.photo import encode_png
from pgtools.progan.presets import settings_from
from pgtools.runtime.results import MetricResult

DATA = {
    "name": "celeba-hq-16.lmdb",
    "resolution": 16,
    "count": 30000,
    "fingerprint": "9f3c51d20b7e44aa86d1" + "0" * 44,
    "classes": 0,
}


def draw_run(folder: Path, *, resolution: int = 16, ticks: int = 60, grids: int = 4, seed: int = 0) -> Path:
    """Draw a finished run: 120 kimg of stable and fading phases, from 4² up to `resolution`²."""
    rng = np.random.default_rng(seed)
    (folder / "grids").mkdir(parents=True)
    (folder / "snapshots").mkdir()
    settings = settings_from("compact", {"total_kimg": 120.0, "learning_rate": 0.001, "mirror": True}).as_dict()
    config = {
        "format": "pgtools-run",
        "version": 2,
        "pgtools": "0.1.0",
        "settings": settings,
        "data": {**DATA, "resolution": resolution},
        "parameters": {"generator": 23_082_243, "discriminator": 23_075_457},
    }
    (folder / "config.json").write_text(json.dumps(config))
    log = [_tick(i, ticks, resolution, rng) for i in range(1, ticks + 1)]
    (folder / "log.jsonl").write_text("".join(json.dumps(tick) + "\n" for tick in log))
    chosen = log[:: -max(1, ticks // grids)][::-1]
    scores = [{"images": t["images"], "kimg": t["kimg"], "result": _swd(t, resolution, rng)} for t in chosen]
    (folder / "scores.jsonl").write_text("".join(json.dumps(score) + "\n" for score in scores))
    faces = _faces(resolution, 24, np.random.default_rng(seed + 1))
    for tick in chosen:
        done = tick["images"] / log[-1]["images"]
        fakes = _coarse(_faces(resolution, 24, rng, disorder=1 - done), tick["resolution"])
        (folder / f"grids/fakes-{tick['images']:09d}.png").write_bytes(encode_png(_grid(fakes)))
    (folder / "grids/reals.png").write_bytes(encode_png(_grid(faces)))
    (folder / f"snapshots/{log[-1]['images']:09d}.safetensors").write_bytes(b"")
    return folder


def _tick(i: int, ticks: int, resolution: int, rng: np.random.Generator) -> dict[str, Any]:
    top, kimg = int(math.log2(resolution)) - 2, 120 * i / ticks
    step = kimg / (120 / (2 * top + 1.5))  # even steps are stable, odd ones fade in the next level
    lod = max(0.0, top - (step // 2 + max(0.0, step % 2 - 1)))
    live = resolution >> math.floor(lod)
    wasserstein = 12 * math.exp(-kimg / 50) + 2 + rng.normal(0, 0.4)
    penalty = abs(rng.normal(0.25, 0.06))
    return {
        "images": round(kimg * 1000),
        "kimg": kimg,
        "lod": lod,
        "resolution": live,
        "minibatch": 16,
        "learning_rate": 0.001,
        "loss_generator": 3 * math.sin(kimg / 20) + rng.normal(0, 0.8),
        "loss_discriminator": -wasserstein + penalty,
        "wasserstein": wasserstein,
        "gradient_penalty": penalty,
        "gradient_norm_generator": math.exp(-kimg / 60) * rng.uniform(0.5, 1),
        "gradient_norm_discriminator": 4 * rng.uniform(0.5, 1),
        "images_per_second": 2400 / live + rng.normal(0, 3),
        "seconds": 34.5 * kimg,
        "data_wait": 0.012 if i % 2 else 0.004,
        "memory_gb": 1.5 + 0.01 * i,
        "rollbacks": 0,
    }


def _swd(tick: dict[str, Any], resolution: int, rng: np.random.Generator) -> dict[str, Any]:
    levels = [r for r in (1024, 512, 256, 128, 64, 32, 16) if r <= resolution]
    base = 6 + 90 * math.exp(-tick["kimg"] / 25)
    values = {str(r): base * (1 + 0.4 * i) + rng.normal(0, 0.5) for i, r in enumerate(levels)}
    values["average"] = float(np.mean(list(values.values())))
    return MetricResult(
        metric="swd",
        direction="lower",
        values=values,
        spread=dict.fromkeys(values, 0.21),
        floor={part: 0.9 * floor for part, floor in zip(values, range(5, 14), strict=False)},
        protocol={"version": 1, "num_images": 2048, "resolution": resolution, "seed": 0, "directions": 128},
        data={
            "real": {"name": DATA["name"], "fingerprint": DATA["fingerprint"]},
            "fake": {"name": f"snapshots/{tick['images']:09d}.safetensors", "fingerprint": "cd" * 32},
        },
        environment={"pgtools": "0.1.0", "torch": "2.8.0", "device": "cpu"},
    ).as_dict()


def _faces(resolution: int, count: int, rng: np.random.Generator, disorder: float = 0.0) -> NDArray[np.float64]:
    """Ellipses on gradients, float64 (count, R, R, 3) in 0..255: enough to judge a page by."""
    y, x = np.mgrid[:resolution, :resolution] / resolution - 0.5
    tilt = rng.uniform(-0.5, 0.5, (3, count, 1, 1, 3))
    picture = 130 + 150 * (tilt[0] + tilt[1] * x[None, :, :, None] + tilt[2] * y[None, :, :, None])
    for cx, cy, rx, ry, colour in (
        (0, 0.05, 0.26, 0.36, 1.0),
        (-0.1, 0, 0.04, 0.03, 0.25),
        (0.1, 0, 0.04, 0.03, 0.25),
    ):
        shift = rng.normal(0, 0.01 + 0.12 * disorder, (2, count, 1, 1))
        inside = ((x - cx - shift[0]) / rx) ** 2 + ((y - cy - shift[1]) / ry) ** 2
        mask = 1 / (1 + np.exp(np.minimum(8 * (inside - 1), 50)))[..., None]
        skin = colour * np.array([214.0, 168.0, 140.0]) * rng.uniform(0.6, 1.1, (count, 1, 1, 1))
        picture = picture * (1 - mask) + skin * mask
    return picture + 60 * disorder * rng.normal(0, 1, picture.shape)


def _coarse(images: NDArray[np.float64], live: int) -> NDArray[np.float64]:
    count, side, factor = len(images), images.shape[1], images.shape[1] // live
    means = images.reshape(count, live, factor, live, factor, 3).mean((2, 4))
    return means.repeat(side // live, 1).repeat(side // live, 2)


def _grid(images: NDArray[np.float64]) -> NDArray[np.uint8]:
    rows = images.reshape(4, 6, *images.shape[1:]).transpose(0, 2, 1, 3, 4)
    flat = rows.reshape(4 * images.shape[1], 6 * images.shape[1], 3)
    grid: NDArray[np.uint8] = np.clip(flat, 0, 255).astype(np.uint8)
    return grid


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Draw a run folder below the test's own folder."""

    def make(name: str = "run", **words: Any) -> Path:
        return draw_run(tmp_path / name, **words)

    return make
