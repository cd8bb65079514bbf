"""`pgtools build-celebahq`: CelebA photos become CelebA-HQ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.celebahq.settings import BuildSettings
from pgtools.cli._options import OUTPUT, SOURCE, json_option, overwrite_option, settings_options, yes_option
from pgtools.cli._output import confirm_replacing, print_json, say


@click.command(name="build-celebahq", short_help="Photos of faces become a store of crops.")
@click.argument("celeba", type=SOURCE)
@click.argument("out", type=OUTPUT, nargs=-1, required=True)
@settings_options(BuildSettings)
@click.option(
    "--report", type=OUTPUT, metavar="FILE.html", help="The page about the build.  [default: OUT-report.html]"
)
@overwrite_option
@yes_option
@json_option
def command(
    celeba: Path,
    out: tuple[Path, ...],
    chosen: dict[str, Any],
    report: Path | None,
    overwrite: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Build CelebA-HQ from the photos in CELEBA into OUT.lmdb, OUT.h5, or both.

    CELEBA is CelebA's own folder (any edition, with its annotation), any folder of photos, or a ZIP of either; where
    there is no annotation, facexlib finds the faces. Every face gives an oriented crop and a quality score; the
    stores hold the best, at every level down to 4². Beside them stand a manifest with a line for every face
    (OUT-manifest.csv), a record of the build (OUT-build.json) and a page about it (OUT-report.html). Photos that give
    no crop are skipped and counted. Interrupted, the same command goes on where it stopped.

    JPEG artifacts are removed and small photos enlarged by two networks that come with pgtools; `--restore` and
    `--superres` name others (`pgtools models list`), or none.

    \b
    Examples:
      pgtools build-celebahq celeba/ celeba-hq.lmdb --keep 30000
      pgtools build-celebahq photos.zip faces.lmdb faces.h5 --resolution 256 --faces all --min-face 64
      pgtools build-celebahq celeba/ gan.lmdb --superres realesrgan-x4plus --device cuda --batch 16
      pgtools build-celebahq celeba/ plain.lmdb --restore none --superres lanczos --engine exact
      pgtools build-celebahq celeba/ celeba-hq.lmdb --keep 30000 --scheduler tcp://node1:8786
      pgtools build-celebahq celeba/ authors.h5 --deltas celeba-hq-deltas/
    """
    from pgtools.celebahq.build import build
    from pgtools.cli._build_report import check_page, page_path, write_build_page

    settings = BuildSettings(**chosen)
    confirm_replacing(out, overwrite=overwrite, yes=yes)
    page = report or page_path(out[0])
    check_page(page)
    writes_page = {page: lambda result: write_build_page(result.record, page)}
    result = build(celeba, out, settings, overwrite=overwrite, told=say, also=writes_page)
    if as_json:
        paths = {"stores": [str(path) for path in result.stores], "manifest": str(result.manifest)}
        print_json({**vars(result), **paths, "record": str(result.record), "report": str(page)})
        return
    if result.resumed:
        say(f"Went on from an interrupted run: {result.resumed} photos were done already.")
    crops, photos = f"crop{'s' * (result.kept != 1)}", f"photo{'s' * (result.photos != 1)}"
    names = ", ".join(map(str, out))
    click.echo(f"{result.kept} {crops} of {settings.resolution}² from {result.photos} {photos}: {names}")
    for reason, count in result.skipped.items():
        click.echo(f"  {count} skipped: {reason}")
    if settings.deltas and result.skipped and not settings.nearest:
        click.echo("  --nearest keeps the image without the delta instead.")
    click.echo(f"Every face, its points, square and score: {result.manifest}")
    click.echo(f"The build at a glance: {page}")
