"""A run on disk: what `pgtools train` writes, where, and how a crash at any moment leaves a folder that goes on.

The names are in runtime/run_format.py; docs/formats.md describes each.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgtools import __version__
from pgtools.errors import InputError, OutputError
from pgtools.imaging.photo import encode_png
from pgtools.progan.config import TrainSettings
from pgtools.progan.run.checkpoint import Checkpoint
from pgtools.progan.run.checkpoints import Best, Checkpoints
from pgtools.progan.run.logs import append_line, scores_in, trim
from pgtools.runtime import run_format as names
from pgtools.runtime.files import check_writable, remove, write_json, written_aside
from pgtools.runtime.settings import fits_type

_DATA = {"name": str, "resolution": int, "count": int, "fingerprint": str}


class RunFolder:
    """The files of one run; nothing is written before a method says so.

    Args:
        path: the folder, there or not.
        keep: how many of the newest checkpoints stay; 0 for all. The best and that of the newest snapshot, which may
            become the best, stay besides.
    """

    def __init__(self, path: Path, *, keep: int = 0) -> None:
        self.path = path
        self.log, self.scores = path / names.LOG, path / names.SCORES
        self.tensorboard = path / names.TENSORBOARD
        self._config, self._grids = path / names.CONFIG, path / names.GRIDS
        self._checkpoints = Checkpoints(path, keep=keep)

    def check_new(self) -> None:
        """Raise OutputError unless a new run can begin here.

        Raises:
            OutputError: the folder holds a run or anything else, or cannot be written.
        """
        if is_run(self.path):
            raise OutputError(
                f"{self.path} already holds a run.",
                hint="Pass --resume to go on with it, or name another folder.",
            )
        if self.path.is_dir() and any(file.name != ".lock" for file in self.path.iterdir()):
            raise OutputError(f"{self.path} is not empty.", hint="Name a new folder for the run.")
        check_writable(self.path, overwrite=self.path.is_dir(), what="folder")

    def write_config(
        self,
        settings: TrainSettings,
        data: dict[str, Any],
        parameters: dict[str, int],
        *,
        preset: str | None = None,
        device: str | None = None,
        began_from: dict[str, Any] | None = None,
    ) -> None:
        """Write config.json: settings, data, sizes of the networks, and whose networks a run began with.

        Args:
            settings: of the run, what they left to the machine resolved, but for the device.
            data: as `begun.describe` gives it.
            parameters: by network.
            preset: that the settings came from; None if they came from none.
            device: that `settings.device` turned out to be.
            began_from: file and SHA-256 of networks, if not fresh ones.
        """
        head = {"format": names.FORMAT, "version": names.VERSION, "pgtools": __version__}
        head |= {"preset": preset, "device": device}
        body = {"settings": settings.as_dict(), "data": data, "parameters": parameters}
        write_json(self._config, {**head, **body, "began_from": began_from})

    def read_config(self) -> dict[str, Any]:
        """Return config.json.

        Raises:
            InputError: the folder holds no run, or one of another version, or a field is missing or of a wrong type.
        """
        if not is_run(self.path):
            raise InputError(f"{self.path} holds no run.", hint="Name the folder that `pgtools train` wrote.")
        config: dict[str, Any] = json.loads(self._config.read_text("utf-8"))
        if config.get("version") == 1:
            raise InputError(
                f"{self.path} was begun by pgtools 0.1, whose {names.FIRST_CHECKPOINT} this one does not read.",
                hint=f"A file in {self.path / names.SNAPSHOTS} can still be named; to train, begin a new run.",
            )
        if config.get("version") != names.VERSION:
            raise InputError(
                f"{self._config} has run version {config.get('version')}; this pgtools reads {names.VERSION}."
            )
        if fault := _fault(config):
            raise InputError(f"{self._config} is damaged: {fault}.")
        return config

    def check_not_lost(self) -> None:
        """Raise InputError if a run without a checkpoint has come further than its beginning.

        The first checkpoint is written before the first log line: without one there is nothing to lose.

        Raises:
            InputError: there are log lines, scores or snapshots, so the checkpoint got lost.
        """
        logged = any(log.is_file() and log.read_text("utf-8", "replace").strip() for log in (self.log, self.scores))
        if self.latest() is None and (logged or self.snapshots()):
            raise InputError(
                f"{self.path / names.CHECKPOINTS} holds no checkpoint, but the run has logs or snapshots; "
                "it cannot go on.",
                hint="Put a checkpoint back, or begin a new run in another folder.",
            )

    def write_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, name it the latest, remove those that are not to be kept: in this order.

        Raises:
            OutputError: the disk does not take it; the one before it is still there.
        """
        self._checkpoints.write(checkpoint)
        self._prune()

    def latest(self) -> Path | None:
        """Return the latest checkpoint, whose content is not looked at; None if none was written.

        Raises:
            InputError: latest.json is damaged, or what it names is missing.
        """
        return self._checkpoints.latest()

    def read_latest(self) -> Checkpoint | None:
        """Return the latest checkpoint, once its SHA-256 is found to be the one that was written; None if none was.

        Raises:
            InputError: the file is missing, or is not what was written.
        """
        return self._checkpoints.read_latest()

    def best(self) -> Best | None:
        """Return the best moment so far; None if none was marked.

        Raises:
            InputError: best.json is damaged.
        """
        return self._checkpoints.best()

    def mark_best(self, metric: str, part: str) -> Best | None:
        """Name the snapshot with the best figure in scores.jsonl the best, and return it; None if there is no figure.

        Of equal figures the earliest counts. It may be called again at any time: a crash between a score and its mark
        is made up for.

        Args:
            metric: as in the results, e.g. "swd".
            part: of the metric, e.g. "average".
        """
        best = self._find_best(metric, part)
        if best != self.best():
            self._checkpoints.mark_best(best)
        self._prune()
        return best

    def snapshot(self, images: int) -> Path:
        """Return the path of the snapshot after so many images."""
        return self.path / names.SNAPSHOTS / f"{images:09d}{names.SNAPSHOT_SUFFIX}"

    def snapshots(self) -> list[Path]:
        """Return the snapshots, in the order of training."""
        folder = self.path / names.SNAPSHOTS
        return sorted(file for file in folder.glob(f"*{names.SNAPSHOT_SUFFIX}") if file.stem.isdigit())

    def find_snapshot(self, which: int | Literal["best", "latest"] | None = None) -> Path:
        """Return the newest snapshot, the best, or the one after so many images.

        Raises:
            InputError: the folder is no run, or there is no such snapshot.
        """
        self.read_config()
        found = self.snapshots()
        if not found:
            raise InputError(f"{self.path} holds no snapshot yet.", hint="Train on with --resume; it writes them.")
        if which is None or which == "latest":
            return found[-1]
        if which == "best":
            return self._best_snapshot()
        if self.snapshot(which) not in found:
            there = ", ".join(str(int(file.stem)) for file in found)
            raise InputError(f"{self.path} has no snapshot {which}; it has {there}.")
        return self.snapshot(which)

    def write_grid(self, name: str, image: NDArray[np.uint8]) -> None:
        """Write grids/NAME.png."""
        with written_aside(self._grids / f"{name}.png") as aside:
            aside.write_bytes(encode_png(image))

    def append(self, log: Path, line: dict[str, Any]) -> None:
        """Add one JSON line to a log, on disk when this returns.

        Raises:
            OutputError: a figure is NaN or infinite, which JSON has no word for.
        """
        append_line(log, line)

    def is_scored(self, images: int, metrics: Sequence[str]) -> bool:
        """Return whether scores.jsonl has all these metrics of the snapshot after so many images."""
        return set(metrics) <= {result.metric for moment, result in scores_in(self.scores) if moment == images}

    def rewind(self, images: int) -> None:
        """Drop what lies after a moment, which the resumed run will write again, and what killed processes left.

        Log lines, scores, snapshots, grids and checkpoints of later moments go. If the best snapshot is one of them,
        the best of those that are left takes its place, or none. Killed half-way, it is done again by the next call.

        Raises:
            InputError: the latest checkpoint is of a later moment, and there is none of this one.
        """
        self._checkpoints.go_back(images)  # first: until then the run would go on from the later moment
        for log in (self.log, self.scores):
            trim(log, images)
        if (best := self.best()) is not None:  # also makes up for a score whose mark a crash prevented
            self._checkpoints.mark_best(self._find_best(best.metric, best.part, until=images))
        for file in [*self.snapshots(), *self._grids.glob(f"{names.FAKES}*.png")]:
            if _moment(file) > images:
                file.unlink()
        self._checkpoints.drop_later(images)
        self._remove_partial()
        self._prune()

    def _prune(self) -> None:
        newest = self.snapshots()[-1:]
        self._checkpoints.prune(spare=[int(file.stem) for file in newest])

    def _find_best(self, metric: str, part: str, *, until: float = float("inf")) -> Best | None:
        found: Best | None = None
        for images, result in scores_in(self.scores):
            value, snapshot = result.values.get(part), self.snapshot(images)
            if result.metric != metric or value is None or images > until or not snapshot.is_file():
                continue
            sign = -1 if result.direction_of(part) == "higher" else 1
            if found is None or (sign * value, images) < (sign * found.value, found.images):
                file = self._checkpoints.path(images)
                found = Best(snapshot, images, metric, part, value, file if file.is_file() else None)
        return found

    def _best_snapshot(self) -> Path:
        best = self.best()
        if best is None:
            raise InputError(f"{self.path} has no best snapshot.", hint="Train with --metrics to have one.")
        if not best.snapshot.is_file():
            raise InputError(f"{best.snapshot} is missing, which {names.BEST} names.", hint="Name another snapshot.")
        return best.snapshot

    def _remove_partial(self) -> None:
        """Remove what processes killed in the middle of a file left; the run's lock keeps all others out."""
        ours = {names.CONFIG, names.LOG, names.SCORES}
        for folder in (self.path, self.path / names.CHECKPOINTS, self.path / names.SNAPSHOTS, self._grids):
            for file in folder.glob(".*.partial"):
                # Beside the logs another program may be writing a report.
                if folder != self.path or any(file.name.startswith(f".{name}.") for name in ours):
                    remove(file)


def is_run(path: Path) -> bool:
    """Return whether `path` is a run folder."""
    try:
        config = json.loads((path / names.CONFIG).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("format") == names.FORMAT


def check_no_lost_run(path: Path) -> None:
    """Raise InputError if a folder holds a run's weights but no config to read them by.

    Raises:
        InputError: it does; its only image files are contact sheets, which must not be measured.
    """
    run = RunFolder(path)
    if not is_run(path) and (run.snapshots() or (path / names.CHECKPOINTS / names.LATEST).is_file()):
        raise InputError(
            f"{path} holds a run's checkpoint or snapshots, but no readable {names.CONFIG}.",
            hint=f"Put {names.CONFIG} back, or name a file in {names.SNAPSHOTS}/.",
        )


def _fault(config: dict[str, Any]) -> str:
    """Return which field of config.json is missing or of a wrong type, "" if none is."""
    settings, data = config.get("settings"), config.get("data")
    if not isinstance(settings, dict) or not isinstance(data, dict):
        return f"{'data' if isinstance(settings, dict) else 'settings'} is no table"
    known = {field.name for field in dataclasses.fields(TrainSettings)}
    for name in sorted(known & set(settings)):
        if not fits_type(TrainSettings, name, settings[name]):
            return f"settings.{name} is {settings[name]!r}"
    for name, kind in _DATA.items():
        if type(data.get(name)) is not kind:
            return f"data.{name} is {data[name]!r}" if name in data else f"data.{name} is missing"
    return ""


def _moment(file: Path) -> int:
    """The images in a file's name; -1 if there are none."""
    found = re.search(r"\d+", file.stem)
    return int(found.group()) if found else -1
