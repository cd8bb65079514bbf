"""A run on disk: what `pgtools train` writes, where, and how the logs stay one line a moment after a crash.

Their names are in runtime/run_format.py; docs/formats.md describes each.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools import __version__
from pgtools.errors import InputError, OutputError, UsageError
from pgtools.imaging.photo import encode_png
from pgtools.progan.config import TrainSettings, settings_from
from pgtools.runtime import run_format as names
from pgtools.runtime.files import check_writable, write_json, written_aside
from pgtools.runtime.settings import fits_type
from pgtools.stores.source import ImageSource

# What may differ when a run goes on: none of it changes what a step computes.
FREE = frozenset({"device", "total_kimg", "score_images", "checkpoint_minutes"})
_DATA = {"name": str, "resolution": int, "count": int, "fingerprint": str}


class RunFolder:
    """The files of one run; nothing is written before a method says so.

    Args:
        path: the folder, there or not.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / names.CHECKPOINT
        self.log, self.scores = path / names.LOG, path / names.SCORES
        self._config = path / names.CONFIG

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

    def write_config(self, settings: TrainSettings, data: dict[str, Any], parameters: dict[str, int]) -> None:
        """Write config.json: settings, data and sizes of the networks."""
        head = {"format": names.FORMAT, "version": names.VERSION, "pgtools": __version__}
        write_json(self._config, {**head, "settings": settings.as_dict(), "data": data, "parameters": parameters})

    def read_config(self) -> dict[str, Any]:
        """Return config.json.

        Raises:
            InputError: the folder holds no run, or one of another version, or a field is missing or of a wrong type.
        """
        if not is_run(self.path):
            raise InputError(f"{self.path} holds no run.", hint="Name the folder that `pgtools train` wrote.")
        config: dict[str, Any] = json.loads(self._config.read_text("utf-8"))
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
        if not self.checkpoint.exists() and (logged or self.snapshots()):
            raise InputError(
                f"{self.checkpoint} is missing, but the run has logs or snapshots; it cannot go on.",
                hint="Put the checkpoint back, or begin a new run in another folder.",
            )

    def snapshot(self, images: int) -> Path:
        """Return the path of the snapshot after so many images."""
        return self.path / names.SNAPSHOTS / f"{images:09d}{names.SNAPSHOT_SUFFIX}"

    def snapshots(self) -> list[Path]:
        """Return the snapshots, in the order of training."""
        folder = self.path / names.SNAPSHOTS
        return sorted(file for file in folder.glob(f"*{names.SNAPSHOT_SUFFIX}") if file.stem.isdigit())

    def find_snapshot(self, images: int | None = None) -> Path:
        """Return the newest snapshot, or the one after so many images.

        Raises:
            InputError: the folder is no run, or there is no such snapshot.
        """
        self.read_config()
        found = self.snapshots()
        if not found:
            raise InputError(f"{self.path} holds no snapshot yet.", hint="Train on with --resume; it writes them.")
        if images is None:
            return found[-1]
        if self.snapshot(images) not in found:
            there = ", ".join(str(int(file.stem)) for file in found)
            raise InputError(f"{self.path} has no snapshot {images}; it has {there}.")
        return self.snapshot(images)

    def write_grid(self, name: str, image: NDArray[np.uint8]) -> None:
        """Write grids/NAME.png."""
        with written_aside(self.path / names.GRIDS / f"{name}.png") as aside:
            aside.write_bytes(encode_png(image))

    def append(self, log: Path, line: dict[str, Any]) -> None:
        """Add one JSON line to a log, on disk when this returns.

        Raises:
            OutputError: a figure is NaN or infinite, which JSON has no word for.
        """
        try:
            text = json.dumps(line, allow_nan=False)
        except ValueError:
            raise OutputError(f"A figure for {log} is not finite; it is not written.") from None
        with log.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())

    def is_scored(self, images: int) -> bool:
        """Return whether scores.jsonl has the snapshot after so many images."""
        return self.scores.exists() and images in map(
            _images_in, self.scores.read_text("utf-8", "replace").splitlines()
        )

    def rewind(self, images: int) -> None:
        """Drop what a killed run wrote after its last checkpoint, which the resumed run will write again."""
        for log in (self.log, self.scores):
            if log.exists():
                kept = [line for line in log.read_text("utf-8", "replace").splitlines() if _images_in(line) <= images]
                with written_aside(log) as aside:
                    aside.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        for file in self.snapshots():
            if int(file.stem) > images:
                file.unlink()


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
    if not is_run(path) and (run.checkpoint.is_file() or run.snapshots()):
        raise InputError(
            f"{path} holds a run's checkpoint or snapshots, but no readable {names.CONFIG}.",
            hint=f"Put {names.CONFIG} back, or name a file in {names.SNAPSHOTS}/.",
        )


def begin(run: Path, preset: str, chosen: dict[str, Any]) -> TrainSettings:
    """Return the settings of a new run, once it is sure that the run can be written.

    Raises:
        OutputError: the folder holds something, or cannot be written.
        UsageError: there is no such preset, or a value is out of range.
    """
    settings = settings_from(preset, chosen)
    RunFolder(run).check_new()
    return settings


def resumed_settings(run: Path, chosen: dict[str, Any], *, preset: str | None = None) -> TrainSettings:
    """Return the settings that a run began with; `chosen` may name another device, length or scoring.

    Raises:
        InputError: the folder holds no run, or its config is damaged.
        UsageError: `chosen` or the preset differ in a field that changes what is computed.
    """
    if not is_run(run):
        raise InputError(f"{run} holds no run to go on with.", hint="Leave out --resume to begin one.")
    began = RunFolder(run).read_config()["settings"]
    known = {field.name for field in dataclasses.fields(TrainSettings)}
    if set(began) != known:
        odd = ", ".join(sorted(set(began) ^ known))
        raise InputError(f"{run / names.CONFIG} has other settings than this pgtools knows: {odd}.")
    try:
        TrainSettings(**began)
    except UsageError as error:
        raise InputError(f"{run / names.CONFIG} is damaged: {error.message}") from None
    asked = chosen if preset is None else settings_from(preset, chosen).as_dict()
    for name in [name for name in asked if name not in FREE]:
        if asked[name] != began[name]:
            raise UsageError(
                f"{run} began with --{name.replace('_', '-')} {began[name]}; it cannot go on with {asked[name]}.",
                hint="Leave the option out, or begin a new run.",
            )
    return TrainSettings(**{**began, **chosen})


def describe(source: ImageSource) -> dict[str, Any]:
    """Return what config.json says of the data."""
    return {
        "name": source.name,
        "resolution": source.resolution,
        "count": len(source),
        "fingerprint": source.fingerprint(),
        "classes": 0 if source.labels is None else int(source.labels.max()) + 1,
    }


def check_same_data(began: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise InputError if a run that began on some data would go on with others."""
    for name in ("resolution", "count", "fingerprint"):
        if began[name] != now[name]:
            raise InputError(
                f"The run began on data with {name} {began[name]}; {now['name']} has {now[name]}.",
                hint="Name the store that the run began with.",
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


def _images_in(line: str) -> float:
    """The images shown at a log line; a line cut short by a crash counts as after everything."""
    try:
        return float(json.loads(line)["images"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
