"""A run folder read defensively: what is missing or damaged is left out, and a note says so."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError, PgtoolsError
from pgtools.runtime import run_format as names
from pgtools.runtime.results import MetricResult, result_from_dict

T = TypeVar("T")


@dataclass(frozen=True)
class Score:
    """One metric, measured on the generator after `kimg` thousand images."""

    kimg: float
    result: MetricResult


@dataclass(frozen=True)
class Best:
    """The snapshot that the run itself calls its best: by which part of which metric, and that figure."""

    images: int
    metric: str
    part: str
    value: float


@dataclass(frozen=True)
class Run:
    """What `train` left in its folder.

    Attributes:
        name: the folder's name.
        folder: the folder, as it was given.
        pgtools: the version that trained.
        settings, data, parameters: the tables of config.json.
        ticks: column → float64 (T,), in the order of training; NaN where a tick lacks the column.
        scores: in the order of training.
        grids: (images shown, file) of every grid of generated images, in the order of training.
        reals: the grid of real images, or None.
        snapshots: the averaged generators' files, in the order of training.
        best: the best of them, or None if the run was not told to look for it.
        notes: one sentence for each thing that is missing or damaged.
    """

    name: str
    folder: Path
    pgtools: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    ticks: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    scores: list[Score] = field(default_factory=list)
    grids: list[tuple[int, Path]] = field(default_factory=list)
    reals: Path | None = None
    snapshots: list[Path] = field(default_factory=list)
    best: Best | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def images(self) -> int:
        """Real images shown so far, by the log or else by the newest grid; 0 if nothing says."""
        images = self.column("images")
        if len(images):
            return int(images[-1])
        return self.grids[-1][0] if self.grids else 0

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one column of the log, float64 (T,); empty if the log has no ticks."""
        return self.ticks.get(name, np.full(len(self.ticks.get("images", ())), np.nan))

    def at(self, images: int, name: str) -> float:
        """Return a column's value at the last tick not after `images`; NaN if there is none."""
        before = np.flatnonzero(self.column("images") <= images)
        return float(self.column(name)[before[-1]]) if len(before) else math.nan


def read_run(folder: Path) -> Run:
    """Return the run in a folder.

    Raises:
        InputError: the folder has no readable config.json of this format, so it is no run.
    """
    config = _read_config(folder)
    notes: list[str] = []
    ticks = _read_lines(folder / names.LOG, _tick, notes, "no training curves")
    scores = _read_lines(folder / names.SCORES, _score, notes, "no scores during training")
    grids = _numbered(folder / names.GRIDS, f"{names.FAKES}*.png")
    reals = folder / names.GRIDS / f"{names.REALS}.png"
    if not grids:
        notes.append("grids/ holds no generated images.")
    if not reals.is_file():
        notes.append("grids/reals.png is missing: no real images to compare with.")
    return Run(
        name=folder.resolve().name,
        folder=folder,
        pgtools=str(config.get("pgtools", "")),
        **{key: config[key] for key in ("settings", "data", "parameters") if isinstance(config.get(key), dict)},
        ticks=_columns(ticks),
        scores=scores,
        grids=grids,
        reals=reals if reals.is_file() else None,
        snapshots=[path for _, path in _numbered(folder / names.SNAPSHOTS, f"*{names.SNAPSHOT_SUFFIX}")],
        best=_read_best(folder / names.CHECKPOINTS / names.BEST, notes),
        notes=notes,
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / names.CONFIG
    hint = "Name the folder that `pgtools train` wrote."
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).", hint=hint) from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}).", hint=hint) from None
    if not isinstance(value, dict) or value.get("format") != names.FORMAT:
        raise InputError(f"{path} is not the config of a training run.", hint=hint)
    if value.get("version") not in names.READABLE:
        raise InputError(f"{path} has run version {value.get('version')}; this pgtools reads {names.VERSION}.")
    return value


def _read_best(path: Path, notes: list[str]) -> Best | None:
    try:
        value = json.loads(path.read_bytes())
        return Best(int(value["images"]), str(value["metric"]), str(value["part"]), float(value["value"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        notes.append(f"{path.name} is damaged ({type(error).__name__}: {error}): the best snapshot is not known.")
        return None


def _read_lines(path: Path, parse: Callable[[Any], T], notes: list[str], without: str) -> list[T]:
    """Parse a file of JSON lines; a damaged one, such as the half line of a killed run, is left out."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        notes.append(f"{path.name} is missing: {without}.")
        return []
    attempts = [_attempt(parse, line) for line in lines if line.strip()]
    found = [item for item, fault in attempts if item is not None]
    faults = [fault for _, fault in attempts if fault]
    if faults:
        count = "a damaged line is" if len(faults) == 1 else f"{len(faults)} damaged lines are"
        notes.append(f"{path.name}: {count} left out ({faults[0]}).")
    if not found:
        notes.append(f"{path.name} holds nothing readable: {without}.")
    return found


def _attempt(parse: Callable[[Any], T], line: bytes) -> tuple[T | None, str]:
    """Return (what the line holds, ""), or (None, what is wrong with it)."""
    try:
        return parse(json.loads(line)), ""
    except (ValueError, TypeError, KeyError, AttributeError, PgtoolsError) as error:
        return None, f"{type(error).__name__}: {error}"


def _tick(value: Any) -> dict[str, float]:
    numbers = {name: float(number) for name, number in value.items() if isinstance(number, int | float)}
    return {
        **numbers,
        "images": float(value["images"]),
        "kimg": float(value.get("kimg", value["images"] / 1000)),
    }


def _score(value: Any) -> Score:
    return Score(float(value["kimg"]), result_from_dict(value["result"], where="scores.jsonl"))


def _columns(ticks: list[dict[str, float]]) -> dict[str, NDArray[np.float64]]:
    names = dict.fromkeys(name for tick in ticks for name in tick)
    return {name: np.array([tick.get(name, np.nan) for tick in ticks]) for name in names}


def _numbered(folder: Path, pattern: str) -> list[tuple[int, Path]]:
    found = [(re.search(r"\d+", path.name), path) for path in folder.glob(pattern)]
    return sorted((int(match.group()), path) for match, path in found if match)
