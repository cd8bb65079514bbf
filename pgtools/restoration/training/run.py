"""A restorer's run on disk: config.json, log.jsonl, validation.jsonl, checkpoint.pt and, in the end, the weights."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pgtools import __version__
from pgtools.errors import InputError, OutputError, UsageError
from pgtools.restoration.training.settings import RestorerSettings
from pgtools.runtime.files import check_writable, sha256_of, write_json, written_aside

FORMAT = "pgtools-restorer"
VERSION = 2
# What may differ when a run goes on: none of it changes what a step computes, as long as the precision stays.
FREE = frozenset({"device", "validate_every", "checkpoint_minutes"})


class RestorerRun:
    """The files of one run.

    Args:
        folder: there or not; nothing is written before a method says so.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.json"
        self.log, self.validation = folder / "log.jsonl", folder / "validation.jsonl"
        self.checkpoint = folder / "checkpoint.pt"

    @property
    def weights(self) -> Path:
        """The finished network, named by what it learnt."""
        return self.folder / f"{self.read_config()['settings']['task']}.safetensors"

    def check_new(self) -> None:
        """Raise OutputError unless a new run can begin here.

        Raises:
            OutputError: the folder holds a run or anything else, or cannot be written.
        """
        if self.config.is_file():
            raise OutputError(f"{self.folder} already holds a run.", hint="Pass --resume, or name another folder.")
        if self.folder.is_dir() and any(file.name != ".lock" for file in self.folder.iterdir()):
            raise OutputError(f"{self.folder} is not empty.", hint="Name a new folder for the run.")
        check_writable(self.folder, overwrite=self.folder.is_dir(), what="folder")

    def resumed_settings(self, chosen: dict[str, Any]) -> RestorerSettings:
        """Return the settings that the run began with; `chosen` may name another device or other intervals.

        Raises:
            InputError: the folder holds no run.
            UsageError: `chosen` differs in a setting that decides what is learnt.
        """
        config = self.read_config()
        began = RestorerSettings(**config["settings"]).as_dict()
        for name, value in chosen.items():
            as_it_computed = name == "precision" and value == config["precision"]
            if name not in FREE and began[name] != value and not as_it_computed:
                raise UsageError(
                    f"{self.folder} began with --{name.replace('_', '-')} {began[name]}; it cannot go on with {value}.",
                    hint="Leave the option out, or begin a new run.",
                )
        return RestorerSettings(**{**began, **chosen})

    def check_photos(self, photographs: dict[str, str]) -> None:
        """Raise InputError if the run began with other photographs, by name, content or order; see `described`."""
        if list(self.read_config()["photographs"].items()) != list(photographs.items()):
            raise InputError(
                f"{self.folder} began with other photographs than these.", hint="Name the folder it began with."
            )

    def check_precision(self, precision: str) -> None:
        """Raise UsageError if the run computed in another precision: `auto` depends on the device."""
        began = self.read_config()["precision"]
        if began != precision:
            raise UsageError(
                f"{self.folder} began in {began}; it cannot go on in {precision}.",
                hint=f"Pass --precision {began} with the new device.",
            )

    def write_config(self, settings: RestorerSettings, photographs: dict[str, str], precision: str) -> None:
        """Write config.json: settings, what their precision came to, and the photographs as `described`."""
        head = {"format": FORMAT, "version": VERSION, "pgtools": __version__}
        facts = {"settings": settings.as_dict(), "precision": precision, "photographs": photographs}
        write_json(self.config, {**head, **facts})

    def origin(self) -> dict[str, Any]:
        """Return all that decides what the run learns, as plain values; its checkpoints carry it."""
        config = self.read_config()
        fixed = {name: value for name, value in config["settings"].items() if name not in FREE}
        photographs = [list(item) for item in config["photographs"].items()]
        return {"settings": {**fixed, "precision": config["precision"]}, "photographs": photographs}

    def read_config(self) -> dict[str, Any]:
        """Return config.json.

        Raises:
            InputError: the folder holds no run of a restorer, or one of another version.
        """
        try:
            config = json.loads(self.config.read_text("utf-8"))
            if config["format"] != FORMAT or config["version"] != VERSION:
                raise ValueError
            if not isinstance(config["photographs"], dict) or not isinstance(config["precision"], str):
                raise TypeError
            RestorerSettings(**config["settings"])
        except (OSError, ValueError, KeyError, TypeError, UsageError):
            raise InputError(
                f"{self.folder} holds no run of a restorer that this pgtools reads.",
                hint="Leave out --resume to begin one in a new folder.",
            ) from None
        return dict(config)

    def append(self, log: Path, line: dict[str, Any]) -> None:
        """Add one JSON line to a log, on disk when this returns."""
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def rewind(self, steps: int) -> None:
        """Drop log lines of later steps, which the resumed run will write again."""
        for log in (self.log, self.validation):
            if log.exists():
                kept = [line for line in log.read_text("utf-8", "replace").splitlines() if _step_in(line) <= steps]
                with written_aside(log) as aside:
                    aside.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def last_validation(self) -> dict[str, dict[str, float | None]]:
        """Return the figures of the last validation, as `validate` gives them."""
        lines = self.validation.read_text("utf-8").splitlines()
        return dict(json.loads(lines[-1])["figures"])

    def write_checkpoint(self, state: dict[str, Any]) -> None:
        """Write tensors and plain values, whole or not at all."""
        with written_aside(self.checkpoint) as aside:
            torch.save(state, aside)

    def read_checkpoint(self) -> dict[str, Any]:
        """Return what `write_checkpoint` wrote, on the CPU; nothing in the file is run.

        Raises:
            InputError: it is damaged or foreign, or a run of other settings or photographs wrote it.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch warns of foreign pickles, which are refused here
                state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
            if not {"origin", "network", "average", "optimizer", "state"} <= set(state):
                raise ValueError("parts are missing")
        except MemoryError:
            raise
        except Exception as error:  # a damaged file raises almost anything
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"{self.checkpoint} is no readable checkpoint ({reason}).") from None
        if state["origin"] != self.origin():
            raise InputError(
                f"{self.checkpoint} is of a run with other settings or photographs than {self.config} states.",
                hint="Put this run's own checkpoint back, or begin a new run.",
            )
        return dict(state)


def described(folder: Path, photos: Sequence[Path]) -> dict[str, str]:
    """Return name → SHA-256 of photographs in their order: what was learnt from, by content.

    Args:
        folder: what the names count from, with / between their parts.
        photos: files in it, or below.
    """
    return {photo.relative_to(folder).as_posix(): sha256_of(photo) for photo in photos}


def _step_in(line: str) -> float:
    """The step of a log line; a line cut short by a crash counts as after everything."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")
