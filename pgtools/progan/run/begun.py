"""What a run begins with, and what may differ when it goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pgtools.errors import InputError, UsageError
from pgtools.progan.config import TrainSettings
from pgtools.progan.presets import settings_from
from pgtools.progan.run.folder import RunFolder, is_run
from pgtools.runtime import run_format as names
from pgtools.stores.source import ImageSource

# What may differ when a run goes on: none of it changes what a step computes. (cuda_graphs and micro_batch, like
# another number of processes, do so to rounding only: other kernels, and sums in another order. But the noise of the
# least-squares loss is drawn part by part, so there micro_batch is not free.)
FREE = frozenset(
    {
        *("device", "total_kimg", "checkpoint_minutes", "metrics", "num_images", "every", "best"),
        *("keep_checkpoints", "on_nan", "tensorboard", "memory", "workers", "micro_batch", "cuda_graphs"),
    }
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
    """Return the settings that a run began with; `chosen` may name other values of what is FREE.

    Args:
        run: the run folder.
        chosen: single settings, as given now.
        preset: as given now; compared by its name, or where the run knows of none by what it sets.

    Raises:
        InputError: the folder holds no run, or its config is damaged.
        UsageError: `chosen` or the preset differ in a field that changes what is computed.
    """
    if not is_run(run):
        raise InputError(f"{run} holds no run to go on with.", hint="Leave out --resume to begin one.")
    config = RunFolder(run).read_config()
    began = config["settings"]
    _check_known(run, began)
    asked = chosen
    if preset is not None and config.get("preset") is None:
        asked = settings_from(preset, chosen).as_dict()
    elif preset not in (None, config.get("preset")):
        raise UsageError(
            f"{run} began with --preset {config['preset']}; it cannot go on with {preset}.",
            hint="Leave the option out, or begin a new run.",
        )
    fixed = {name for name in asked if name not in FREE}
    if began["loss"] == "lsgan":
        fixed |= {"micro_batch"} & set(chosen)
    # What "auto" was resolved to is what config.json has.
    for name in (name for name in asked if name in fixed and (name, asked[name]) != ("precision", "auto")):
        if asked[name] != began[name]:
            raise UsageError(
                f"{run} began {_said(name, began[name])}; it cannot go on {_said(name, asked[name])}.",
                hint="Leave the option out, or begin a new run.",
            )
    free = {name: value for name, value in chosen.items() if name in FREE}
    return TrainSettings(**{**began, **free})


def _check_known(run: Path, began: dict[str, Any]) -> None:
    known = {field.name for field in dataclasses.fields(TrainSettings)}
    if set(began) != known:
        odd = ", ".join(sorted(set(began) ^ known))
        raise InputError(
            f"{run / names.CONFIG} has other settings than this pgtools knows: {odd}.",
            hint="Go on with the pgtools that began it, whose version the file names, or begin a new run.",
        )
    try:
        TrainSettings(**began)
    except UsageError as error:
        raise InputError(
            f"{run / names.CONFIG} is damaged: {error.message}", hint="Put it back from a copy, or begin a new run."
        ) from None


def _said(name: str, value: Any) -> str:
    """A setting as it is given: "with --loss lsgan", "without --mirror"."""
    option = f"--{name.replace('_', '-')}"
    if value is None or value is False or value == "":
        return f"without {option}"
    return f"with {option}" if value is True else f"with {option} {value}"


def describe(source: ImageSource) -> dict[str, Any]:
    """Return what config.json says of the data."""
    return {
        "name": source.name,
        "resolution": source.resolution,
        "count": len(source),
        "fingerprint": source.fingerprint(),
        "classes": source.classes or 0,
    }


def check_same_data(began: dict[str, Any], now: dict[str, Any]) -> None:
    """Raise InputError if a run that began on some data would go on with others."""
    for name in ("resolution", "count", "fingerprint"):
        if began[name] != now[name]:
            raise InputError(
                f"The run began on data with {name} {began[name]}; {now['name']} has {now[name]}.",
                hint="Name the store that the run began with.",
            )
