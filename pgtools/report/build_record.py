"""The record of a build read defensively: what is missing or damaged is left out, and a note says so."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from pgtools.errors import InputError
from pgtools.runtime.build_format import FORMAT, VERSION, BuildRecord, Network, StepTime

_COUNTS = ("photos", "crops", "kept", "resumed", "workers")
_TEXTS = ("source", "started", "finished", "pgtools")
_TABLES = ("settings", "facts")
_REASONS = ("reasons", "inexact")


def read_record(path: Path) -> tuple[BuildRecord, list[str]]:
    """Return what a build told of itself in NAME-build.json, and a note for each thing that is missing or damaged.

    Raises:
        InputError: the file is not the record of a build, or of a version that this pgtools does not read.
    """
    value = _read_json(path)
    fields: dict[str, Any] = {"pgtools": ""}
    fields |= {name: value[name] for name in _COUNTS if _is_count(value.get(name))}
    fields |= {name: value[name] for name in _TEXTS if isinstance(value.get(name), str)}
    fields |= {name: value[name] for name in _TABLES if isinstance(value.get(name), dict)}
    if _is_time(value.get("seconds")):
        fields["seconds"] = float(value["seconds"])
    if isinstance(stores := value.get("stores"), list) and all(isinstance(store, str) for store in stores):
        fields["stores"] = stores
    fields |= {name: value[name] for name in _REASONS if _are_counts(value.get(name))}
    if (networks := _networks(value.get("networks"))) is not None:
        fields["networks"] = networks
    if (steps := _steps(value.get("steps"))) is not None:
        fields["steps"] = steps
    expected = [field.name for field in dataclasses.fields(BuildRecord) if field.name != "pgtools"]
    expected = [name for name in expected if name != "inexact" or name in value]  # not in earlier records
    lost = [name for name in expected if name not in fields]
    return BuildRecord(**fields), [f"{path.name} does not tell {_listed(lost)}."] if lost else []


def _read_json(path: Path) -> dict[str, Any]:
    hint = "Name the NAME-build.json that `pgtools build-celebahq` wrote."
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).", hint=hint) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}).", hint=hint) from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InputError(f"{path} is not the record of a build.", hint=hint)
    if value.get("version") != VERSION:
        raise InputError(f"{path} has build version {value.get('version')}; this pgtools reads {VERSION}.")
    return value


def _networks(value: Any) -> dict[str, Network] | None:
    if not isinstance(value, dict):
        return None
    try:
        return {role: Network(str(network["name"]), str(network["sha256"])) for role, network in value.items()}
    except (TypeError, KeyError):
        return None


def _steps(value: Any) -> dict[str, StepTime] | None:
    if not isinstance(value, dict):
        return None
    try:
        steps = {name: StepTime(step["seconds"], step["photos"]) for name, step in value.items()}
    except (TypeError, KeyError):
        return None
    return steps if all(_is_time(step.seconds) and _is_count(step.photos) for step in steps.values()) else None


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_count, value.values()))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
