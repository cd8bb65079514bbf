"""`pgtools store info`: what a source holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import SOURCE, json_option
from pgtools.cli._output import print_json


@click.command(name="info", short_help="Say what a source holds.")
@click.argument("path", type=SOURCE)
@click.option("--format", help="Format of the source; told by what the path holds if not given.")
@json_option
def command(path: Path, format: str | None, as_json: bool) -> None:
    """Say what PATH holds: how many images, of which size, how stored, where from.

    The fingerprint is a hash of the images themselves: equal for equal images, whatever the format. A store of pgtools
    has it in its header; of any other source every image is read for it.

    \b
    Example:
      pgtools store info celeba-hq.lmdb
    """
    from pgtools.stores.jobs.compare import source_facts
    from pgtools.stores.opening import open_source

    facts = source_facts(open_source(path, format=format), path, format)
    if as_json:
        print_json(facts)
        return
    for name, text in _lines(facts).items():
        click.echo(f"{name + ':':<13}{text}")


def _lines(facts: dict[str, Any]) -> dict[str, str]:
    """The same facts for people: sizes with units, lists with commas, nothing that is not known."""
    from pgtools.runtime.files import human_bytes
    from pgtools.stores.formats.file_names import valid_text

    size = f"{human_bytes(facts['bytes'])}, {human_bytes(facts['bytes_per_image'])} an image"
    codecs = ", ".join(f"{level}² {codec}" for level, codec in (facts["codecs"] or {}).items())
    origin = facts["origin"] or {}
    lists = {name: ", ".join(map(str, facts[name])) for name in ("levels", "stored")}
    special = {
        **lists,
        "size": size,
        "codecs": codecs,
        "origin": _listed(origin),
        "classes": facts["classes"] or "none",
    }
    rest = {name: facts[name] for name in facts if name not in ("bytes", "bytes_per_image")}
    lines = {name: special.get(name, value) for name, value in {**rest, "size": size}.items()}
    return {name: valid_text(str(value)) for name, value in lines.items() if value not in (None, "")}


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    """One value as text: of a hash its beginning, of what has parts the parts in brackets."""
    if isinstance(value, dict):
        return f"({_listed(value)})"
    if isinstance(value, list):
        return ", ".join(map(_short, value))
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text
