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
@overwrite_option
@yes_option
@json_option
def command(
    celeba: Path, out: tuple[Path, ...], chosen: dict[str, Any], overwrite: bool, yes: bool, as_json: bool
) -> None:
    """Build CelebA-HQ from the photos in CELEBA into OUT.lmdb, OUT.h5, or both.

    CELEBA is CelebA's own folder (img_celeba or img_align_celeba with its annotation) or any folder of photos; where
    there is no annotation, facexlib finds the faces. Every photo gives an oriented crop and a quality score; the
    stores hold the best, at every level down to 4², and a manifest beside them names every photo. Photos that give
    no crop are skipped and counted. Interrupted, the same command goes on where it stopped.

    JPEG artifacts are removed and small photos enlarged by two networks that come with pgtools; `--restore` and
    `--superres` name others (`pgtools models list`), or none.

    \b
    Examples:
      pgtools build-celebahq celeba/ celeba-hq.lmdb --keep 30000
      pgtools build-celebahq photos/ faces.lmdb faces.h5 --resolution 256 --detector-weights retinaface.pth
      pgtools build-celebahq celeba/ gan.lmdb --superres realesrgan-x4plus --device cuda --batch 4
      pgtools build-celebahq celeba/ plain.lmdb --restore none --superres lanczos
    """
    from pgtools.celebahq.build import build

    settings = BuildSettings(**chosen)
    confirm_replacing(out, overwrite=overwrite, yes=yes)
    say(f"Restoration: {settings.restore}. Super-resolution: {settings.superres}.")
    result = build(celeba, out, settings, overwrite=overwrite)
    if as_json:
        stores = [str(path) for path in result.stores]
        print_json({**vars(result), "stores": stores, "manifest": str(result.manifest)})
        return
    if result.resumed:
        say(f"Went on from an interrupted run: {result.resumed} photos were done already.")
    click.echo(f"{result.kept} crops of {settings.resolution}² from {result.photos} photos: {', '.join(map(str, out))}")
    for reason, count in result.skipped.items():
        click.echo(f"  {count} skipped: {reason}")
    click.echo(f"Every photo, its points, square and score: {result.manifest}")
