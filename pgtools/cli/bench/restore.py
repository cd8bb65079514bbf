"""`pgtools bench restore`: how fast networks restore and enlarge photographs, and what memory it takes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._options import device_option, json_option
from pgtools.cli._output import print_json, print_table
from pgtools.cli.bench._faces import drawn_face
from pgtools.errors import UsageError

if TYPE_CHECKING:
    from pgtools.restoration.bench import Case, Speed

NETWORKS = ("pgtools-dejpeg", "pgtools-sr4")
NOTE = (
    "photos/s and MP/s (million pixels of the input a second): the best round. × first: against the network's first "
    "row, in brackets lowest and highest round. peak: memory beyond the loaded network, finished photos included."
)


@click.command(name="restore", short_help="Restore and enlarge photos with networks.")
@click.option("--network", "names", multiple=True, help=f"Name or file; repeatable.  [default: {', '.join(NETWORKS)}]")
@click.option("--size", default="178x218", show_default=True, help="WIDTHxHEIGHT of the photos, in pixels.")
@click.option("--count", type=click.IntRange(1), default=4, show_default=True, help="Photos a round.")
@click.option("--tiles", default="256", show_default=True, help="Sides of the tiles, e.g. 64,256.")
@click.option("--batches", default="1", show_default=True, help="Tiles at a time, e.g. 1,8.")
@click.option("--precisions", default="auto", show_default=True, help="E.g. float32,bfloat16.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Rounds over all rows.")
@device_option
@json_option
def command(names: tuple[str, ...], as_json: bool, **how: Any) -> None:
    """Restore drawn faces with networks, for every tile, batch and precision named.

    Rows take turns, so that whatever else the machine does hits all of them. Photos of one size go together in a batch.

    \b
    Examples:
      pgtools bench restore --precisions float32,bfloat16
      pgtools bench restore --network realesrgan-x4plus --device cuda --size 512x512 --tiles 128,256 --batches 1,4,16
    """
    from pgtools.restoration.bench import bench_restore

    cases = _cases(names or NETWORKS, how)
    width, height = _size(how["size"])
    photos = [drawn_face(width, height, index) for index in range(how["count"])]
    speeds = bench_restore(photos, cases, repeats=how["repeats"])
    if as_json:
        protocol = {"size": [width, height], "count": how["count"], "repeats": how["repeats"], "images": "drawn faces"}
        print_json({"protocol": protocol, "rows": [dataclasses.asdict(one) for one in speeds]})
        return
    columns = ("network", "device", "precision", "tile", "batch", "photos/s", "MP/s", "peak", "× first")
    print_table(columns, [_cells(one) for one in speeds], title=f"{how['count']} photos of {width}×{height}")
    click.echo(f"\n{NOTE}")


def _cases(names: Sequence[str], how: dict[str, Any]) -> list[Case]:
    from pgtools.restoration.bench import Case
    from pgtools.restoration.network import find_network

    tiles, batches = _numbers("--tiles", how["tiles"], 32), _numbers("--batches", how["batches"], 1)
    precisions = list(dict.fromkeys(how["precisions"].split(",")))
    return [
        Case(name, file, how["device"], precision, tile, batch)
        for name, file in ((name, find_network(name)) for name in dict.fromkeys(names))
        for precision in precisions
        for tile in tiles
        for batch in batches
    ]


def _numbers(option: str, text: str, least: int) -> list[int]:
    found = [int(word) for word in text.split(",") if word.isdecimal() and len(word) < 7]
    if len(found) != len(text.split(",")) or min(found) < least:
        raise UsageError(f"{option} is {text!r}; expected whole numbers of {least} or more, e.g. {least},{8 * least}.")
    return list(dict.fromkeys(found))


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,4})[x×]([1-9]\d{0,4})", text)
    if found is None or min(int(found[1]), int(found[2])) < 16:
        raise UsageError(f"--size is {text!r}; expected WIDTHxHEIGHT from 16 pixels, e.g. 178x218.")
    return int(found[1]), int(found[2])


def _cells(one: Speed) -> list[str]:
    from pgtools.runtime.files import human_bytes

    peak = "-" if one.peak_bytes is None else human_bytes(one.peak_bytes)
    how = [one.network, one.device, one.precision, str(one.tile), str(one.batch)]
    ratio = f"{one.ratio:.2f} ({one.ratio_low:.2f}–{one.ratio_high:.2f})"
    return [*how, f"{one.photos_per_second:.2f}", f"{one.megapixels_per_second:.3f}", peak, ratio]
