"""`pgtools generate`: images from a run's generator."""

from __future__ import annotations

from pathlib import Path

import click

from pgtools.cli._options import OUTPUT, SOURCE, device_option, overwrite_option
from pgtools.cli._output import say
from pgtools.errors import UsageError


@click.command("generate", short_help="Write images of a generator.")
@click.argument("run", type=SOURCE)
@click.argument("out", type=OUTPUT, required=False)
@click.option("--count", type=click.IntRange(1), default=64, show_default=True, help="Number of images.")
@click.option("--grid", "sheet", type=OUTPUT, metavar="FILE.png", help="Write all images into one PNG.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Image i depends on seed and i.")
@click.option("--snapshot", type=int, metavar="IMAGES", help="The run's snapshot after so many images; else the last.")
@device_option
@overwrite_option
def command(
    run: Path,
    out: Path | None,
    count: int,
    sheet: Path | None,
    seed: int,
    snapshot: int | None,
    device: str,
    overwrite: bool,
) -> None:
    """Write images of a generator as OUT/000000.png, OUT/000001.png, … or into one grid.

    RUN is a folder that `pgtools train` wrote, a snapshot file, or the authors' pickle.

    \b
    Example:
      pgtools generate runs/faces --count 1000 fakes/
      pgtools generate runs/faces --count 36 --grid faces.png
    """
    from pgtools.progan.sampling import check_folder, open_generator, write_grid, write_images
    from pgtools.runtime.device import resolve_device
    from pgtools.runtime.files import check_writable

    if out is None and sheet is None:
        raise UsageError("There is nothing to write.", hint="Name a folder OUT, or pass --grid FILE.png.")
    if out is not None and sheet is not None and sheet.resolve().is_relative_to(out.resolve()):
        raise UsageError(
            f"--grid {sheet} lies in {out}, which holds nothing but numbered images.", hint="Name another file."
        )
    if out is not None:
        check_folder(out, overwrite=overwrite)
    if sheet is not None:
        check_writable(sheet, overwrite=overwrite, what="file")
    source = open_generator(run, count=count, seed=seed, device=resolve_device(device), snapshot=snapshot)
    if sheet is not None:
        write_grid(source, sheet)
        say(f"Wrote a grid of {count} images to {sheet}.")
    if out is not None:
        write_images(source, out)
        say(f"Wrote {count} images to {out}.")
