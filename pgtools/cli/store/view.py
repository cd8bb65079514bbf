"""`pgtools store view`: images of a source as a contact sheet, or as a page to look through."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtools.cli._options import OUTPUT, SOURCE, overwrite_option
from pgtools.cli._output import say
from pgtools.errors import UsageError

if TYPE_CHECKING:
    from pgtools.stores.source import ImageSource

ON_SHEET, ON_PAGE = 36, 1000
LARGE_PAGE = 100_000_000


@click.command(name="view", short_help="Images as a contact sheet, or as a page to look through.")
@click.argument("path", type=SOURCE)
@click.argument("out", type=OUTPUT)
@click.option(
    "--count",
    type=click.IntRange(1),
    help=f"How many, from the first on.  [default: {ON_SHEET} for .png, {ON_PAGE} for .html]",
)
@click.option(
    "--level",
    type=int,
    help="Side of each picture, one of the levels.  [default: up to 256 for .png, up to 128 for .html]",
)
@click.option("--columns", type=click.IntRange(1), help="Pictures in a row of the sheet; a square if not given.")
@click.option("--format", help="What PATH is, e.g. lmdb or folder; told by what is there if not given.")
@overwrite_option
def command(
    path: Path,
    out: Path,
    count: int | None,
    level: int | None,
    columns: int | None,
    format: str | None,
    overwrite: bool,
) -> None:
    """Write images of PATH as one contact sheet, OUT.png, or as one page to look through, OUT.html.

    The page holds its pictures, so it needs no network and no PATH: search by name, filter by score, label and split,
    sort, enlarge, with or without a mouse.

    \b
    Examples:
      pgtools store view celeba-hq.lmdb sheet.png --count 64
      pgtools store view celeba-hq.lmdb browse.html --count 5000
    """
    from pgtools.runtime.files import check_writable
    from pgtools.stores.opening import open_source

    if out.suffix.lower() not in (".png", ".html"):
        raise UsageError(f"{out}: expected NAME.png for a contact sheet or NAME.html for a page.")
    is_page = out.suffix.lower() == ".html"
    if is_page and columns is not None:
        raise UsageError("--columns is for a contact sheet; the page has as many as fit.")
    check_writable(out, overwrite=overwrite, what="file")
    source = open_source(path, format=format)
    if is_page:
        name = path.resolve().name or source.name  # pages are passed on; which folders are here is nobody's business
        _write_page(source, out, count or ON_PAGE, level, name=name)
    else:
        _write_sheet(source, out, count or ON_SHEET, level, columns)


def _write_sheet(source: ImageSource, out: Path, count: int, level: int | None, columns: int | None) -> None:
    from pgtools.imaging.grid import tile
    from pgtools.imaging.photo import encode_png
    from pgtools.runtime.files import written_aside

    shown = min(256, source.resolution) if level is None else level
    images = source.read(range(min(count, len(source))), shown)
    with written_aside(out) as aside:
        aside.write_bytes(encode_png(tile(images, columns)))
    click.echo(f"{len(images):,} of {len(source):,} images at {shown}²: {out}")


def _write_page(source: ImageSource, out: Path, count: int, level: int | None, *, name: str) -> None:
    from pgtools.report.browser import expected_bytes, pieces, select
    from pgtools.runtime.files import check_free_space, human_bytes, written_aside

    selection = select(source, count, level)
    expected = expected_bytes(selection)
    check_free_space(out.parent, expected)
    if expected > LARGE_PAGE:
        fewer = max(1, selection.count * LARGE_PAGE // expected)
        say(f"About {human_bytes(expected)} are expected, slow to open; --count {fewer} stays below 100 MB.")
    with written_aside(out) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(pieces(selection, name=name))
    size = human_bytes(out.stat().st_size)
    click.echo(f"{selection.count:,} of {len(source):,} images at {selection.side}², {size}: {out}")
