"""`pgtools store`: look at the sets of images that pgtools reads."""

from __future__ import annotations

from pathlib import Path

import click

from pgtools.cli._options import SOURCE, json_option
from pgtools.cli._output import print_json


@click.group(name="store", short_help="Look at a store of images.")
def command() -> None:
    """Look at stores and other sources of images."""


@command.command()
@click.argument("path", type=SOURCE)
@json_option
def info(path: Path, as_json: bool) -> None:
    """Say what PATH holds: an LMDB or HDF5 store, a ZIP or a folder of images.

    The fingerprint is a hash of the images themselves: equal for equal images, whatever the format. A store has it in
    its header; a folder is read once for it.

    \b
    Example:
      pgtools store info celeba-hq.lmdb
    """
    from pgtools.stores.source import open_source

    source = open_source(path)
    facts = {
        "path": str(path),
        "kind": type(source).__name__,
        "images": len(source),
        "resolution": source.resolution,
        "levels": list(source.levels),
        "classes": None if source.labels is None else int(source.labels.max()) + 1,
        "fingerprint": source.fingerprint(),
    }
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        text = ", ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else value
        click.echo(f"{name + ':':<13}{text}")
