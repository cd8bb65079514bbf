"""`pgtools store`: look at the sets of images that pgtools reads."""

from __future__ import annotations

from pathlib import Path

import click

from pgtools.cli._options import OUTPUT, SOURCE, json_option, overwrite_option
from pgtools.cli._output import print_json


@click.group(name="store", short_help="Look at a store of images.")
def command() -> None:
    """Look at stores and other sources of images: what they hold, how they look."""


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
    from pgtools.stores.opening import open_source

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


@command.command()
@click.argument("path", type=SOURCE)
@click.argument("sheet", type=OUTPUT)
@click.option("--count", type=click.IntRange(1), default=36, show_default=True, help="How many, from the first on.")
@click.option("--level", type=int, help="Side of each picture, one of the levels; 256 or the top if not given.")
@overwrite_option
def view(path: Path, sheet: Path, count: int, level: int | None, overwrite: bool) -> None:
    """Write the first images of PATH as one contact sheet, SHEET.png.

    \b
    Example:
      pgtools store view celeba-hq.lmdb sheet.png --count 64
    """
    from pgtools.imaging.grid import tile
    from pgtools.imaging.photo import encode_png
    from pgtools.runtime.files import check_writable, written_aside
    from pgtools.stores.opening import open_source

    check_writable(sheet, overwrite=overwrite, what="file")
    source = open_source(path)
    shown = min(256, source.resolution) if level is None else level
    images = source.read(range(min(count, len(source))), shown)
    with written_aside(sheet) as aside:
        aside.write_bytes(encode_png(tile(images)))
    click.echo(f"{len(images)} of {len(source)} images at {shown}²: {sheet}")
