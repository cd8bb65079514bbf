"""`pgtools models import-karras`: the authors' networks as a file of ours."""

from __future__ import annotations

from pathlib import Path

import click

from pgtools.cli._options import OUTPUT, SOURCE, json_option, overwrite_option
from pgtools.cli._output import print_json, say


@click.command(name="import-karras", short_help="Read the ProGAN authors' pickled networks.")
@click.argument("file", type=SOURCE, metavar="FILE.pkl")
@click.argument("out", type=OUTPUT, metavar="OUT.safetensors")
@overwrite_option
@json_option
def command(file: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    """Write the networks of a pickle that the authors' trainer saved as a file that runs no code when read.

    FILE is a pickle of (G, D, Gs), of the released TensorFlow trainer or of the first one, which used Theano; or of one
    generator alone. Nothing in it is run. `generate` and the metrics take OUT, and `train --resume-from` goes on from
    it unless it came from one generator alone.

    \b
    Example:
      pgtools models import-karras network-final.pkl celebahq.safetensors
      pgtools generate celebahq.safetensors fakes/ --count 100
    """
    from pgtools.progan.karras.importing import import_karras

    found = import_karras(file, out, overwrite=overwrite)
    if as_json:
        print_json(found)
        return
    widths = ", ".join(f"{width} at {level}²" for level, width in found["widths"].items())
    rows = {
        "file": str(out),
        "networks": f"{', '.join(found['names'])} ({found['form']})",
        "resolution": f"{found['resolution']}²",
        "latents, classes": f"{found['latent']}, {found['labels']}",
        "feature maps": widths,
        "parameters": ", ".join(f"{count:,} {kind}" for kind, count in found["parameters"].items()),
        "level of detail": f"{found['lod']:g}",
        "scaling": found["scaling"],
    }
    for name, value in rows.items():
        click.echo(f"{name + ':':18}{value}")
    if not found["resumable"]:
        say("The pickle holds one generator alone: generate and the metrics take it, train --resume-from cannot.")
