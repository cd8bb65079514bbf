"""`pgtools bench growing`: how much sooner a growing run has shown its images."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._options import OUTPUT, device_option, json_option, overwrite_option
from pgtools.cli._output import print_json, print_table, say
from pgtools.cli.bench._training import facts_of, preset_option, sides_of
from pgtools.errors import UsageError

if TYPE_CHECKING:
    from pgtools.progan.benchmark.growing import GrowingRow

FORMS = ("png", "svg")
COLUMNS = ("final", "kimg", "growing", "not growing", "times sooner", "steps")
NOTE = (
    "Estimated: the time of a step at every stage, added up over the preset's schedule; no run was run. Both runs show "
    "the same number of images. steps: measured, or estimated from the levels that were. The paper reports 2 to 6 "
    "times, and 5.4 at 1024² after 6.4 million images (Karras et al. 2018, section 6.1)."
)


@click.command(name="growing", short_help="Growing beside not growing.")
@preset_option
@click.option("--resolution", default="64", show_default=True, help="Highest final resolution.")
@click.option("--seconds", type=click.FloatRange(0), default=60.0, show_default=True, help="To measure for, about.")
@click.option("--precision", default="auto", show_default=True, help="auto, float32 or bfloat16.")
@click.option("--plot", type=OUTPUT, metavar="FILE.png", help="Also draw it, as PNG or SVG.")
@overwrite_option
@device_option
@json_option
def command(preset: str, resolution: str, plot: Path | None, overwrite: bool, as_json: bool, **how: Any) -> None:
    """Estimate the time to the same number of images with growing and without, per final resolution.

    \b
    Examples:
      pgtools bench growing --resolution 64 --plot growing.png
      pgtools bench growing --preset v2-1gpu --resolution 1024 --device cuda
    """
    sides = sides_of(resolution)
    if len(sides) != 1 or sides[0] < 8:
        raise UsageError(f"--resolution is {resolution!r}; expected one power of two from 8 up.")
    if plot is not None and plot.suffix.lower().lstrip(".") not in FORMS:
        raise UsageError(f"--plot is {plot}; expected a name that ends in .png or .svg.")
    from pgtools.progan.benchmark.growing import bench_growing, plot_growing
    from pgtools.progan.presets import settings_from
    from pgtools.runtime.device import resolve_device
    from pgtools.runtime.files import check_writable, written_aside

    if plot is not None:
        check_writable(plot, overwrite=overwrite, what="file")
    device = resolve_device(how["device"])
    settings = settings_from(preset, {"precision": how["precision"]})
    rows = bench_growing(sides[0], settings, device, seconds=how["seconds"])
    if plot is not None:
        with written_aside(plot) as aside:
            plot_growing(rows, aside, form=plot.suffix.lower().lstrip("."))
        say(f"Wrote {plot}.")
    if as_json:
        print_json({"protocol": facts_of(preset, device), "rows": [dataclasses.asdict(row) for row in rows]})
        return
    print_table(COLUMNS, [_cells(row) for row in rows], title=f"{preset}, {device}")
    click.echo()
    click.echo(NOTE)


def _cells(row: GrowingRow) -> list[str]:
    steps = f"estimated from {row.basis}" if row.basis else "measured"
    times = [_span(row.growing_seconds), _span(row.full_seconds)]
    return [f"{row.resolution}²", f"{row.images / 1000:g}", *times, f"{row.ratio:.2f}", steps]


def _span(seconds: float) -> str:
    """Return seconds as people say them."""
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} seconds"
