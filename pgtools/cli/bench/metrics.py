"""`pgtools bench metrics`: how long SWD and MS-SSIM take, beside a plain NumPy and SciPy route."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._options import OUTPUT, device_option, json_option, overwrite_option
from pgtools.cli._output import print_json, print_table, say
from pgtools.errors import UsageError

if TYPE_CHECKING:
    from pgtools.metrics.benchmark.compare import Speed
    from pgtools.metrics.benchmark.rounds import Case

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
TITLES = {"swd": "SWD", "msssim": "MS-SSIM"}
NOTE = (
    "Seconds are the median of the rounds, of computing the figure with the images in memory. drawing: what making the "
    "images took beside. errors: what standard errors and floors take beside, which the plain route does not tell. "
    "peak: memory beyond what was held before. × plain: the plain route's seconds over ours, round by round, in "
    "brackets lowest and highest. differs: the largest difference between both routes, relative for SWD, absolute for "
    "MS-SSIM. The plain route is scipy.ndimage.convolve and a sort along axis 0 for SWD, scipy.signal.fftconvolve for "
    "MS-SSIM, on the CPU."
)


@click.command(name="metrics", short_help="SWD and MS-SSIM, beside a plain route.")
@click.option("--metrics", default="swd,msssim", show_default=True, help="Which to measure.")
@click.option("--sides", default="128", show_default=True, help="Sides of the images, powers of two from 16 up.")
@click.option("--num-images", type=click.IntRange(2), default=2048, show_default=True, help="Images a set, for SWD.")
@click.option("--pairs", type=click.IntRange(1), help="Pairs for MS-SSIM.  [default: four million pixels]")
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Times that the routes take turns."
)
@click.option("--plain/--no-plain", default=True, show_default=True, help="Also time the plain route.")
@click.option("--out", type=OUTPUT, metavar="FILE.md", help="Also write the tables as Markdown.")
@overwrite_option
@device_option
@json_option
def command(metrics: str, sides: str, out: Path | None, overwrite: bool, as_json: bool, **how: Any) -> None:
    """Measure seconds per phase and peak memory of SWD and MS-SSIM, on drawn images.

    A plain NumPy and SciPy route, written from the definition, measures the same patches, directions and pairs in turn
    with ours, so that whatever else the machine does hits both. Its SWD takes minutes at the defaults.

    \b
    Examples:
      pgtools bench metrics --num-images 256 --rounds 2
      pgtools bench metrics --metrics msssim --sides 128,256,512,1024
      pgtools bench metrics --sides 1024 --num-images 16384 --pairs 10000 --no-plain --device cuda
    """
    wanted, chosen = _metrics(metrics), _sides(sides)
    from pgtools.metrics.benchmark.compare import bench_metrics
    from pgtools.runtime.files import check_writable, written_aside

    if out is not None:
        check_writable(out, overwrite=overwrite, what="file")
    speeds = bench_metrics(_cases(wanted, chosen, how), rounds=how["rounds"])
    facts, tables = _facts(how), _tables(speeds)
    if out is not None:
        with written_aside(out) as aside:
            aside.write_text(_markdown(facts, tables), encoding="utf-8")
        say(f"Wrote {out}.")
    if as_json:
        print_json({"protocol": facts, "rows": [dataclasses.asdict(one) for one in speeds]})
        return
    for title, columns, cells in tables:
        print_table(columns, cells, title=title)
        click.echo()
    click.echo(NOTE)


def _metrics(text: str) -> list[str]:
    found = list(dict.fromkeys(text.split(",")))
    if not set(found) <= set(TITLES):
        raise UsageError(f"--metrics is {text!r}; expected some of {', '.join(TITLES)}.")
    return found


def _sides(text: str) -> list[int]:
    found = [int(word) for word in text.split(",") if word.isdecimal() and len(word) < 6]
    if len(found) != len(text.split(",")) or any(side < 16 or side & (side - 1) for side in found):
        raise UsageError(f"--sides is {text!r}; expected powers of two from 16 up, e.g. 128,1024.")
    return list(dict.fromkeys(found))


def _cases(metrics: Sequence[str], sides: Sequence[int], how: dict[str, Any]) -> list[Case]:
    from pgtools.metrics.benchmark.compare import default_pairs
    from pgtools.metrics.benchmark.rounds import Case
    from pgtools.runtime.device import resolve_device

    device = resolve_device(how["device"])
    return [
        Case(
            metric,
            side,
            how["num_images"] if metric == "swd" else how["pairs"] or default_pairs(side, how["num_images"]),
            device,
            how["plain"],
        )
        for metric in metrics
        for side in sides
    ]


def _facts(how: dict[str, Any]) -> dict[str, Any]:
    import platform
    from importlib.metadata import version

    from pgtools import __version__
    from pgtools.runtime.workers import cpu_count

    found = {"pgtools": __version__, "python": platform.python_version(), "system": platform.platform()}
    libraries = {name: version(name) for name in ("numpy", "scipy", "torch", "opencv-python")}
    return {**found, **libraries, "cores": cpu_count(), "rounds": how["rounds"], "images": "drawn"}


def _tables(speeds: Sequence[Speed]) -> list[Table]:
    tables: list[Table] = []
    for metric, side in dict.fromkeys((one.metric, one.side) for one in speeds):
        rows = [one for one in speeds if (one.metric, one.side) == (metric, side)]
        phases = list(dict.fromkeys(name for one in rows for name in one.phases))
        columns = ("route", "device", "seconds", *phases, "drawing", "errors", "peak", "× plain", "differs", "figure")
        what = f"{rows[0].count} {'images a set' if metric == 'swd' else 'pairs'}"
        tables.append((f"{TITLES[metric]}, {side}², {what}", columns, [_cells(one, phases) for one in rows]))
    return tables


def _cells(one: Speed, phases: Sequence[str]) -> list[str]:
    from pgtools.runtime.files import human_bytes

    told = [f"{one.phases[name]:.3f}" if name in one.phases else "-" for name in phases]
    peak = "-" if one.peak_bytes is None else human_bytes(one.peak_bytes)
    ratio = "-" if one.ratio is None else f"{one.ratio:.1f} ({one.ratio_low:.1f}–{one.ratio_high:.1f})"
    differs = "-" if one.agreement is None else f"{one.agreement:.1e}"
    route = [one.route, one.device, f"{one.seconds:.3f}"]
    return [*route, *told, f"{one.drawing:.2f}", f"{one.errors:.2f}", peak, ratio, differs, f"{one.figure:.6g}"]


def _markdown(facts: dict[str, Any], tables: Sequence[Table]) -> str:
    told = ", ".join(f"{name} {value}" for name, value in facts.items())
    parts = ["# pgtools bench metrics", told + ".", NOTE]
    for title, columns, cells in tables:
        lines = [columns, [":--", *["--:"] * (len(columns) - 1)], *cells]
        parts.append(f"## {title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(parts) + "\n"
