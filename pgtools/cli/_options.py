"""Options that commands share, and options made from a settings class."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pgtools.runtime.settings import Settings, value_type

F = TypeVar("F", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace the output if it exists.")
yes_option = click.option("--yes", is_flag=True, help="With --overwrite: do not ask, even at a terminal.")
# Existence is checked by whoever opens the path, which can say what was expected there.
SOURCE = click.Path(path_type=Path)
OUTPUT = click.Path(path_type=Path)


def settings_options(cls: type[Settings]) -> Callable[[F], F]:
    """Add one option a field of `cls`; the callback gets them as `chosen`, a dict of those the user gave.

    Help shows the defaults of the class. `cls(**chosen)` makes the settings and checks their ranges. A command may
    take several classes; `of_class` then tells their fields apart.
    """

    def decorate(function: F) -> F:
        def with_chosen(*args: Any, **words: Any) -> Any:
            others = words.pop("chosen", {})
            chosen = {field.name: words.pop(field.name) for field in visible if field.name in words}
            given = {name: value for name, value in chosen.items() if value is not None}
            return function(*args, chosen={**others, **given}, **words)

        with_chosen.__name__, with_chosen.__doc__ = function.__name__, function.__doc__
        with_chosen.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        for field in reversed(visible):
            with_chosen = _option(cls, field)(with_chosen)
        return with_chosen  # type: ignore[return-value]

    visible = _visible(cls)
    return decorate


def of_class(cls: type[Settings], chosen: dict[str, Any]) -> dict[str, Any]:
    """Return what the user gave of the options of `cls`."""
    return {field.name: chosen[field.name] for field in _visible(cls) if field.name in chosen}


def _visible(cls: type[Settings]) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(cls) if not field.metadata.get("hidden")]


def _option(cls: type[Settings], field: dataclasses.Field[Any]) -> Callable[[F], F]:
    kind = value_type(cls, field.name)
    name = field.name.replace("_", "-")
    declaration = f"--{name}/--no-{name}" if kind is bool else f"--{name}"
    choices = field.metadata["choices"]
    type_ = click.Choice(choices) if choices else click.Path(path_type=Path) if kind is Path else kind
    # Where there is no default to show the unit of a number, the option's own line does.
    unit = field.metadata["unit"] if field.default is None else ""
    return click.option(
        declaration, field.name, type=type_, default=None, help=_help(field), metavar=unit.upper() or None
    )


def _help(field: dataclasses.Field[Any]) -> str:
    text: str = field.metadata["help"]
    unit = f" {field.metadata['unit']}" if field.metadata["unit"] else ""
    if isinstance(field.default, bool):
        shown = "on" if field.default else "off"
    else:
        shown = str(field.default)
    return text if field.default in (None, "") else f"{text}  [default: {shown}{unit}]"
