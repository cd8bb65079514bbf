"""`pgtools demo`: the whole way on drawn faces, and the faces themselves."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from pgtools.cli._options import OUTPUT, overwrite_option
from pgtools.cli._output import print_table, say
from pgtools.errors import OutputError

FACES, LARGE, RESOLUTION = 2000, 6, 32
MARK = ".pgtools-demo"
SCORED = 1000  # images a side
SCORED_OFTEN = 300  # at every snapshot, where the curve matters and not the last digit


@click.group(name="demo", invoke_without_command=True, short_help="The whole way on drawn faces, in minutes.")
@click.option("--out", type=OUTPUT, default="pgtools-demo", show_default=True, help="Folder of everything made.")
@overwrite_option
@click.pass_context
def command(ctx: click.Context, out: Path, overwrite: bool) -> None:
    """Run the whole way on drawn faces: photos, crops, a store, a trained generator, scores, a gate, a report.

    Every step is a pgtools command, shown before it runs. It takes a few minutes on a laptop's CPU and needs no
    internet.

    \b
    Example:
      pgtools demo --out demo
    """
    if ctx.invoked_subcommand is None:
        _run_demo(out, overwrite=overwrite)


@command.command(short_help="Draw photographs of faces with exact landmarks.")
@click.argument("out", type=OUTPUT)
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="Number of photos.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Photo i depends on it and i alone.")
@click.option(
    "--layout",
    type=click.Choice(["wild", "aligned"]),
    default="wild",
    show_default=True,
    help="CelebA in the wild (any size, any pose) or aligned (178×218, eyes level).",
)
@click.option("--workers", type=click.IntRange(1), help="Processes that draw; one a core if not given.")
@overwrite_option
def faces(out: Path, count: int, seed: int, layout: str, workers: int | None, overwrite: bool) -> None:
    """Draw photographs of faces with exact landmarks, in CelebA's own folder layout.

    \b
    Example:
      pgtools demo faces celeba/ --count 2000 --seed 1
    """
    from pgtools.demo.faces import write_faces
    from pgtools.runtime.workers import cpu_count

    wanted = workers or cpu_count()
    write_faces(out, count=count, seed=seed, layout=layout, workers=wanted, overwrite=overwrite)  # type: ignore[arg-type]
    say(f"Drew {count} faces into {out}.")


def _run_demo(out: Path, *, overwrite: bool) -> None:
    from pgtools.runtime.files import check_writable, remove

    check_writable(out, overwrite=overwrite, what="folder")
    # What --overwrite deletes must be an earlier demo and nothing else.
    if out.exists() and any(out.iterdir()) and not (out / MARK).is_file():
        raise OutputError(f"{out} is not an earlier demo; it will not be replaced.", hint="Name another folder.")
    remove(out)
    out.mkdir(parents=True)
    (out / MARK).touch()
    started = time.monotonic()
    times = [(title, _run_step(words, save)) for title, words, save in _steps(out)]
    minutes = (time.monotonic() - started) / 60
    click.echo(f"\nFrom a photograph to a verdict in {minutes:.1f} minutes:")
    rows = [(title, f"{seconds:.0f} s") for title, seconds in times]
    print_table(("step", "time"), rows)
    for path, what in _made(out):
        click.echo(f"  {path!s:<36} {what}")


def _steps(out: Path) -> Iterator[tuple[str, Sequence[object], Path | None]]:
    """Yield (title, words of the command, file for its stdout) of every step; each has run before the next."""
    store, run = out / "faces.lmdb", out / "run"
    swd, msssim, baseline = out / "swd.json", out / "msssim.json", out / "baseline.json"
    yield (
        "draw photos",
        ["demo", "faces", out / "photos", "--count", FACES, "--seed", 1, "--layout", "aligned"],
        None,
    )
    yield "draw large photos", ["demo", "faces", out / "photos-wild", "--count", LARGE, "--seed", 2], None
    yield "crop at 1024²", ["build-celebahq", out / "photos-wild", out / "hq.lmdb", out / "hq.h5"], None
    small = ["--resolution", RESOLUTION, "--restore", "none", "--superres", "lanczos"]  # which 32² would not show
    yield "crop at 32²", ["build-celebahq", out / "photos", store, *small], None
    yield "train", ["train", store, "--out", run, "--metrics", "swd", "--num-images", SCORED_OFTEN], None
    yield "generate", ["generate", run, out / "fakes", "--count", SCORED, "--grid", out / "fakes.png"], None
    snapshots = sorted((run / "snapshots").glob("*.safetensors"))
    halfway = ["swd", store, snapshots[len(snapshots) // 2 - 1], "--num-images", SCORED, "--json"]
    yield "score the half-way snapshot", halfway, out / "swd-halfway.json"
    yield "accept it as baseline", ["gate", "accept", out / "swd-halfway.json", "--baseline", baseline], None
    yield "score", ["swd", store, run, "--num-images", SCORED, "--json"], swd
    yield "score variety", ["msssim", out / "fakes", "--json"], msssim
    yield "gate", ["gate", "check", swd, "--baseline", baseline], None
    yield "report", ["report", run, "--metrics", swd, "--metrics", msssim, "--out", out / "report.html"], None


def _run_step(words: Sequence[object], save: Path | None) -> float:
    """Show a command as one would type it, run it here, and return its seconds."""
    from pgtools.cli import group

    plain = [str(word) for word in words]
    click.echo(f"\n$ pgtools {shlex.join(plain)}" + (f" > {save}" if save else ""))
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        if save is not None:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(save.open("w", encoding="utf-8"))))
        group.main(args=plain, prog_name="pgtools", standalone_mode=False)
    return time.monotonic() - started


def _made(out: Path) -> list[tuple[Path, str]]:
    return [
        (out / "hq.lmdb", "crops of 1024² as an LMDB; hq.h5 holds the same"),
        (out / "faces.lmdb", "the training store; faces-manifest.csv names every photo"),
        (out / "run", "the run: settings, log, grids, snapshots, checkpoint"),
        (out / "fakes.png", "what the generator makes"),
        (out / "report.html", "the report: open it in a browser"),
    ]
