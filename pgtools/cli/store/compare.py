"""`pgtools store compare`: whether two sources hold the same images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtools.cli._options import SOURCE, json_option
from pgtools.cli._output import print_json, print_table
from pgtools.errors import InputError

if TYPE_CHECKING:
    from pgtools.stores.jobs.compare import Comparison


@click.command(name="compare", short_help="Whether two sources hold the same images.")
@click.argument("a", type=SOURCE)
@click.argument("b", type=SOURCE)
@json_option
def command(a: Path, b: Path, as_json: bool) -> None:
    """Say whether A and B hold the same images in the same order, and else how they differ.

    Exit code 0 if they do, 1 if not; names, attributes and labels are compared and told, and do not count. Stores of
    pgtools know their images' hashes, so only images that differ are read; whether those hashes are true is what
    `pgtools store verify` checks.

    \b
    Example:
      pgtools store compare celeba-hq.lmdb celeba-hq.h5
    """
    from pgtools.stores.jobs.compare import compare
    from pgtools.stores.opening import open_source

    found = compare(open_source(a), open_source(b))
    if as_json:
        print_json(vars(found))
    else:
        print_table(("", "A", "B"), [(name, *map(_text, pair)) for name, pair in found.facts.items()])
        for line in _lines(found):
            click.echo(line)
    if not found.same:
        raise InputError(f"{a} and {b} do not hold the same images in the same order.")


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else str(value)


def _lines(found: Comparison) -> list[str]:
    lines = ["The same images in the same order."] if found.same else []
    if found.permutation:
        lines.append("The same images in another order.")
    if found.differing:
        more = ", …" if found.differing > len(found.first) else ""
        lines.append(f"{found.differing:,} images differ: {', '.join(map(str, found.first))}{more}.")
    if found.largest is not None:
        psnr = "" if found.psnr is None else f", PSNR {found.psnr:.2f} dB"
        lines.append(f"Largest difference: {found.largest} of 255{psnr}.")
    lines.append(f"Labels: {found.labels}.")
    lines.append(f"Names and attributes: {f'{found.records:,} differ' if found.records else 'equal'}.")
    return lines
