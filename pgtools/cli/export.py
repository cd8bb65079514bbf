"""`pgtools export`: a generator as a file that runs without pgtools."""

from __future__ import annotations

from pathlib import Path

import click

from pgtools.cli._options import OUTPUT, SOURCE, json_option, overwrite_option
from pgtools.cli._output import print_json


@click.command("export", short_help="Write a generator as ONNX or torch.export's program.")
@click.argument("run", type=SOURCE)
@click.argument("out", type=OUTPUT)
@click.option(
    "--snapshot", help="Of a run: best, latest, or the number of images it had been shown.  [default: latest]"
)
@click.option("--check/--no-check", default=True, help="Run the file and compare its images.  [default: on]")
@overwrite_option
@json_option
def command(run: Path, out: Path, snapshot: str | None, check: bool, overwrite: bool, as_json: bool) -> None:
    """Write a generator to OUT.onnx or OUT.pt2, for programs that know nothing of pgtools.

    RUN is a folder that `pgtools train` wrote, a snapshot, networks or checkpoint file, or the authors' pickle. OUT
    takes `latents`, float32 (batch, latent), standard normal, and for networks with classes `labels`, one-hot; it gives
    `images`, float32 (batch, 3, side, side), about [-1, 1]. The batch is free. Before OUT appears, it is run on batches
    of 1 and 5; images that differ from the network's by more than 1e-4 are an error.

    ONNX (opset 18) needs `pip install "pgtools[export]"`. A .pt2 is for torch.export.load, which may unpickle: load
    none from strangers.

    \b
    Example:
      pgtools export runs/faces faces.onnx
      pgtools export runs/faces faces.pt2 --snapshot best
    """
    from pgtools.progan.export import check_export, describe, export_generator
    from pgtools.progan.sampling.settings import GenerateSettings
    from pgtools.progan.sampling.source import read_generator

    which = GenerateSettings(snapshot=snapshot).which_snapshot
    check_export(out, overwrite=overwrite, check=check)
    done = export_generator(read_generator(run, which), out, source=str(run), check=check)
    if as_json:
        print_json({"file": str(out), **done.facts, "difference": done.difference})
    else:
        click.echo(describe(done))
