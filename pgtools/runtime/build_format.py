"""What a CelebA-HQ build tells of itself in NAME-build.json, which builds write and reports read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgtools import __version__
from pgtools.runtime.files import write_json

FORMAT = "pgtools-build"
VERSION = 1


@dataclass(frozen=True)
class Network:
    """A network that took part.

    Attributes:
        name: its name in the registry, or its file.
        sha256: of its weights, 64 hex digits.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class StepTime:
    """What one step took.

    Attributes:
        seconds: the sum over the photos; workers do several photos at once, so it may exceed the build's own time.
        photos: how many took part.
    """

    seconds: float
    photos: int


@dataclass(frozen=True)
class BuildRecord:
    """What a build did, told once it is finished; plain values, so that it stands in JSON as it is.

    Attributes:
        source: the folder or ZIP of photos, as it was given.
        stores: the finished stores, as they were given.
        settings: name → value, as the settings' `as_dict` returns them; a path may be among them.
        networks: "detector", "restore" or "superres" → what stood there.
        facts: what else decided the outcome, e.g. the version of the crop's definition.
        photos: how many there were.
        crops: how many crops they gave, kept or not.
        kept: how many of them are in the stores.
        resumed: how many outcomes an earlier, interrupted run had left.
        reasons: reason → how many photos or faces gave no crop for it.
        inexact: reason → how many images are the nearest to the authors' own, without the delta.
        steps: step → what it took, in the order of the steps.
        seconds: of this run, from start to finish.
        workers: processes or threads at once.
        started, finished: UTC, as 2026-11-22T08:30:00Z.
        pgtools: the version that built.
    """

    source: str = ""
    stores: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    networks: dict[str, Network] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    photos: int = 0
    crops: int = 0
    kept: int = 0
    resumed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    inexact: dict[str, int] = field(default_factory=dict)
    steps: dict[str, StepTime] = field(default_factory=dict)
    seconds: float = 0.0
    workers: int = 0
    started: str = ""
    finished: str = ""
    pgtools: str = __version__

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON holds it, format and version first."""
        return {"format": FORMAT, "version": VERSION, **_plain(dataclasses.asdict(self))}

    def write(self, path: Path) -> None:
        """Write the record as indented JSON, whole or not at all."""
        write_json(path, self.as_dict())


def is_record(path: Path) -> bool:
    """Return whether a file is the record of a build, of whichever version."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("format") == FORMAT


def record_path(store: Path) -> Path:
    """Return where the record of a build stands: NAME-build.json beside its first store."""
    return store.with_name(f"{store.stem}-build.json")


def step_times(seconds: Iterable[Mapping[str, float]]) -> dict[str, StepTime]:
    """Return what each step took in all.

    Args:
        seconds: for each photo, step → seconds; the order of its first mention is kept.
    """
    sums: dict[str, StepTime] = {}
    for photo in seconds:
        for step, taken in photo.items():
            before = sums.get(step, StepTime(0.0, 0))
            sums[step] = StepTime(before.seconds + taken, before.photos + 1)
    return sums


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
