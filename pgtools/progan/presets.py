"""Named settings of a training run: presets.toml, read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pgtools.errors import UsageError
from pgtools.progan.config import TrainSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PRESETS = Path(__file__).with_name("presets.toml")
DEFAULT_PRESET = "compact"


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets."""
    return tuple(_presets())


def preset_description(name: str) -> str:
    """Return what a preset is for, the time it takes and the score to expect, as far as they are known.

    Raises:
        UsageError: there is no such preset.
    """
    text: str = _preset(name)["description"]
    return text


def settings_from(preset: str, chosen: dict[str, Any]) -> TrainSettings:
    """Return a preset's settings with single values replaced.

    Raises:
        UsageError: there is no such preset, or a value is out of range.
    """
    return TrainSettings(**{**preset_values(preset), **chosen})


def preset_values(name: str) -> dict[str, Any]:
    """Return what a preset sets; its own values replace those of the preset that it is `like`.

    Raises:
        UsageError: there is no such preset.
    """
    preset = _preset(name)
    own = {key: value for key, value in preset.items() if key not in ("description", "like")}
    return {**preset_values(preset["like"]), **own} if "like" in preset else own


def _preset(name: str) -> dict[str, Any]:
    presets = _presets()
    if name not in presets:
        raise UsageError(f"There is no preset {name!r}; expected one of {', '.join(presets)}.")
    return presets[name]


def _presets() -> dict[str, dict[str, Any]]:
    return tomllib.loads(PRESETS.read_text("utf-8"))
