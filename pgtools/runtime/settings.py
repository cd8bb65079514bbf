"""Settings as frozen dataclasses: default, range, unit and help are said once, beside the field.

Command options, presets, the run folder's `config.json` and the generated help page all come from these fields.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from pgtools.errors import UsageError


def setting(
    default: Any,
    *,
    help: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    unit: str = "",
    hidden: bool = False,
) -> Any:
    """Return a dataclass field that knows its own help text, range (both ends included) and unit.

    A hidden setting is no command-line option; presets and library users can still set it.
    """
    metadata = {"help": help, "low": low, "high": high, "choices": choices, "unit": unit, "hidden": hidden}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Base of every command's settings: a value out of range is refused when the object is made."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))

    def as_dict(self) -> dict[str, Any]:
        """Return name → plain value, ready for JSON."""
        return dataclasses.asdict(self)


def value_type(cls: type[Settings], name: str) -> type:
    """Return the plain type (bool, int, float, str, Path) of a field, without its `| None`."""
    hint = get_type_hints(cls)[name]
    options = [arg for arg in get_args(hint) if arg is not type(None)]
    found: type = options[0] if options else hint
    return found


def fits_type(cls: type[Settings], name: str, value: Any) -> bool:
    """Return whether a value read from JSON has the type of a field; a whole number may stand for a float."""
    hint = get_type_hints(cls)[name]
    kinds = get_args(hint) or (hint,)
    # The type itself, since to isinstance a bool is an int.
    return type(value) in kinds or (type(value) is int and float in kinds)


def _check(field: dataclasses.Field[Any], value: Any) -> None:
    low, high, choices = (field.metadata.get(key) for key in ("low", "high", "choices"))
    option = "--" + field.name.replace("_", "-")
    if value is None:
        return
    if choices and value not in choices:
        raise UsageError(f"{option} is {value!r}; expected one of {', '.join(choices)}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{option} is {value}; expected {_range_text(low, high)}, finite.")
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        raise UsageError(f"{option} is {value}; expected {_range_text(low, high)}.")


def _range_text(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "a number"
    if high is None:
        return f"{low:g} or more"
    if low is None:
        return f"{high:g} or less"
    return f"{low:g} to {high:g}"
