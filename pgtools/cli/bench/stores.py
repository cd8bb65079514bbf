"""`pgtools bench stores`: how fast every format is written, read and checked."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._options import OUTPUT, SOURCE, json_option, overwrite_option
from pgtools.cli._output import print_json, print_table, say
from pgtools.cli.bench._faces import drawn_face
from pgtools.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pgtools.stores.jobs.bench import Row
    from pgtools.stores.jobs.bench_opening import Opening

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
HELD_BYTES = 192 << 20
FEWEST, MOST = 32, 1000
SMALL_STORE = 1000
RATES = ("write", "one_core", "all_cores", "loader", "levels", "verify", "quick")
NOTE = (
    "Rates are images/s, the best of the rounds, of files that are in memory already. write: every level, all cores, "
    "flushed to disk. one core: one image at a time in random order at the top level. all cores: random batches in "
    "threads. loader: DataLoader, one worker process a core. levels: every stored level, in threads. verify, quick: "
    "`pgtools store verify`, with --quick checksums only. × PNG: one core against the first row, in brackets lowest "
    "and highest round. LMDB jpeg is lossy."
)


@click.command(name="stores", short_help="Write, read and check every format of stores.")
@click.option("--sides", default="128,1024", show_default=True, help="Sides of the images, powers of two.")
@click.option("--count", type=click.IntRange(2), help="Images a side.  [default: as many as fit 192 MiB, 32 to 1000]")
@click.option("--images", "source", type=SOURCE, help="Images to take, at least as large; drawn faces if not given.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Rounds over all formats.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=0.5, show_default=True, help="Of a reading."
)
@click.option("--folder", type=OUTPUT, help="Folder on the disk to measure.  [default: that of temporary files]")
@click.option("--large", is_flag=True, help="Also open an LMDB of very many 32² images: minutes, and gigabytes.")
@click.option("--large-count", type=click.IntRange(1), default=1_000_000, show_default=True, help="Its images.")
@click.option("--out", type=OUTPUT, metavar="FILE.md", help="Also write the tables as Markdown.")
@overwrite_option
@json_option
def command(
    sides: str,
    count: int | None,
    source: Path | None,
    repeats: int,
    seconds: float,
    folder: Path | None,
    large: bool,
    large_count: int,
    out: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write, read and check images in every format, beside a folder of PNGs read with plain Pillow.

    Formats take turns, so that whatever else the machine does hits all of them. What is written is removed in the end.

    \b
    Examples:
      pgtools bench stores --images celeba-hq.lmdb --out bench.md
      pgtools bench stores --sides 64 --large
    """
    from pgtools.runtime.files import check_writable, written_aside
    from pgtools.stores.jobs.bench import Protocol, bench_side
    from pgtools.stores.jobs.bench_opening import SIDE, bench_opening

    wanted, protocol = _sides(sides), Protocol(repeats=repeats, seconds=seconds)
    if out is not None:
        check_writable(out, overwrite=overwrite, what="file")
    rows: list[Row] = []
    openings: list[Opening] = []
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pgtools-bench-", dir=folder) as scratch:
        for side in wanted:
            rows += bench_side(_images(source, side, count), side, Path(scratch), protocol)
        if large:
            small = min(SMALL_STORE, large_count)
            openings = bench_opening(list(_images(source, SIDE, FEWEST)), (small, large_count), Path(scratch))
    facts = {**_facts(source), "repeats": repeats, "seconds": seconds, "batch": protocol.batch}
    tables = [*_rate_tables(rows), *_opening_tables(openings)]
    if out is not None:
        with written_aside(out) as aside:
            aside.write_text(_markdown(facts, tables), encoding="utf-8")
        say(f"Wrote {out}.")
    if as_json:
        print_json({"protocol": facts, "rows": _plain(rows), "openings": _plain(openings)})
        return
    for title, columns, cells in tables:
        print_table(columns, cells, title=title)
        click.echo()
    click.echo(NOTE)


def _sides(text: str) -> list[int]:
    found = [int(word) for word in text.split(",") if word.isdigit() and len(word) < 6]
    if len(found) != len(text.split(",")) or any(side < 4 or side & (side - 1) for side in found):
        raise UsageError(f"--sides is {text!r}; expected powers of two from 4 up, e.g. 128,1024.")
    return list(dict.fromkeys(found))


def _images(source: Path | None, side: int, count: int | None) -> Iterator[NDArray[np.uint8]]:
    """Yield uint8 (3, side, side) images: the first of a source, or drawn faces."""
    count = count or max(FEWEST, min(MOST, HELD_BYTES // (3 * side**2)))
    if source is None:
        from pgtools.runtime.workers import map_ahead

        yield from map_ahead(lambda i: _drawn(side, i), range(count))
        return
    from pgtools.stores.opening import open_source

    found = open_source(source)
    for index in range(min(count, len(found))):
        yield found.read([index], side)[0]


def _drawn(side: int, index: int) -> NDArray[np.uint8]:
    """Return a drawn face, uint8 (3, side, side)."""
    import numpy as np

    return np.ascontiguousarray(drawn_face(side, side, index).transpose(2, 0, 1))


def _facts(source: Path | None) -> dict[str, Any]:
    import platform
    from importlib.metadata import version

    from pgtools import __version__
    from pgtools.runtime.workers import cpu_count

    found = {"pgtools": __version__, "python": platform.python_version(), "system": platform.platform()}
    libraries = {name: version(name) for name in ("pillow", "opencv-python", "lmdb", "h5py", "numpy", "torch")}
    images = "drawn faces" if source is None else str(source)
    return {**found, **libraries, "cores": cpu_count(), "images": images}


def _rate_tables(rows: Sequence[Row]) -> list[Table]:
    columns = (
        "form",
        "write",
        "kB/image",
        "top kB",
        "one core",
        "all cores",
        "loader",
        "levels",
        "verify",
        "quick",
        "× PNG",
    )
    tables: list[Table] = []
    for side in dict.fromkeys(row.side for row in rows):
        chosen = [row for row in rows if row.side == side]
        cells = [_cells(row) for row in chosen]
        tables.append((f"{side}², {chosen[0].images} images", columns, cells))
    return tables


def _cells(row: Row) -> list[str]:
    rates = {name: _rate(getattr(row, name)) for name in RATES}
    sizes = [f"{row.bytes_per_image / 1000:.1f}", f"{row.top_bytes / 1000:.1f}"]
    ratio = f"{row.ratio:.2f} ({row.ratio_low:.2f}–{row.ratio_high:.2f})"
    return [row.form, rates.pop("write"), *sizes, *rates.values(), ratio]


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}"


def _opening_tables(openings: Sequence[Opening]) -> list[Table]:
    from pgtools.runtime.files import human_bytes

    columns = ("LMDB of 32²", "file", "write/s", "open ms", "read ms", "resident +", "Python +")
    cells = [
        [
            f"{one.images:,} images",
            human_bytes(one.bytes),
            _rate(one.write),
            f"{one.open_ms:.2f}",
            f"{one.read_ms:.3f}",
            "-" if one.resident_bytes is None else human_bytes(one.resident_bytes),
            human_bytes(one.traced_bytes),
        ]
        for one in openings
    ]
    return [("Opening", columns, cells)] if cells else []


def _markdown(facts: dict[str, Any], tables: Sequence[Table]) -> str:
    told = ", ".join(f"{name} {value}" for name, value in facts.items())
    parts = ["# pgtools bench stores", told + ".", NOTE]
    for title, columns, cells in tables:
        lines = [columns, [":--", *["--:"] * (len(columns) - 1)], *cells]
        parts.append(f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def _plain(results: Sequence[Any]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(one) for one in results]
