"""`pgtools bench train`: images a second of the training step, beside a plain version of the same networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._options import OUTPUT, SOURCE, device_option, json_option, overwrite_option
from pgtools.cli._output import print_json, print_table, say
from pgtools.cli.bench._training import facts_of, preset_option, sides_of
from pgtools.errors import UsageError

if TYPE_CHECKING:
    from pgtools.progan.benchmark.train import TrainSpeed

PHASES = {"stable": False, "fading": True}
COLUMNS = (
    "level",
    "phase",
    "minibatch",
    "images/s",
    "range",
    "plain images/s",
    "× plain",
    "peak",
    "plain peak",
    "waiting",
)
NOTE = (
    "A step is the discriminator's with its gradient penalty, the generator's, both Adams and the average. images/s: "
    "median and range of the rounds. × plain: the plain version's seconds over the engine's, round by round, in "
    "brackets lowest and highest. peak: memory of the first step beyond weights. waiting: share of the time spent "
    "waiting for images, with --images. The plain version has the same networks in eager float32, one pass after the "
    "other, and PyTorch's own Adam."
)


@click.command(name="train", short_help="The training step, beside a plain version.")
@preset_option
@click.option("--resolution", default="4,8,16,32,64", show_default=True, help="Levels, powers of two from 4 up.")
@click.option("--phases", default="stable,fading", show_default=True, help="Which phases of each level.")
@click.option("--minibatch", type=click.IntRange(1), help="Images a step.  [default: the preset's]")
@click.option("--precision", default="auto", show_default=True, help="auto, float32 or bfloat16, for the engine.")
@click.option("--cuda-graphs/--no-cuda-graphs", default=False, show_default=True, help="Record and replay the step.")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True, help="Times the versions take turns.")
@click.option("--plain/--no-plain", default=True, show_default=True, help="Also time the plain version.")
@click.option("--images", type=SOURCE, metavar="STORE", help="Real images to feed.  [default: noise on the device]")
@click.option("--out", type=OUTPUT, metavar="FILE.md", help="Also write the table as Markdown.")
@overwrite_option
@device_option
@json_option
def command(
    preset: str, resolution: str, phases: str, out: Path | None, overwrite: bool, as_json: bool, **how: Any
) -> None:
    """Measure images a second of the full training step, per resolution and phase.

    The engine, as `pgtools train` has it, and a plain eager float32 version of the same networks take turns in one
    process, so that whatever else the machine does hits both.

    \b
    Examples:
      pgtools bench train
      pgtools bench train --resolution 16,32 --images faces.lmdb
      pgtools bench train --preset v2-1gpu --resolution 128,256 --device cuda
    """
    sides, wanted = sides_of(resolution), _phases(phases)
    from pgtools.progan.benchmark.train import Protocol, bench_train
    from pgtools.progan.presets import settings_from
    from pgtools.runtime.device import resolve_device
    from pgtools.runtime.files import check_writable, written_aside
    from pgtools.stores.opening import open_source

    if out is not None:
        check_writable(out, overwrite=overwrite, what="file")
    chosen = {"precision": how["precision"], "cuda_graphs": how["cuda_graphs"]}
    if how["minibatch"]:
        chosen["minibatch"] = f"4:{how['minibatch']}"
    settings, device = settings_from(preset, chosen), resolve_device(how["device"])
    source = None if how["images"] is None else open_source(how["images"])
    stages = [(side, fading) for side in sides for fading in wanted if side > 4 or not fading]
    speeds = []
    for speed in bench_train(stages, settings, device, Protocol(how["rounds"], how["plain"], source)):
        speeds.append(speed)
        say(f"{speed.level}² {_phase(speed)}: {speed.images_per_second:.1f} images/s")
    facts = {**facts_of(preset, device), "rounds": how["rounds"], "images": str(how["images"] or "drawn noise")}
    if out is not None:
        with written_aside(out) as aside:
            aside.write_text(_markdown({**facts, "precision": speeds[0].precision}, speeds), encoding="utf-8")
        say(f"Wrote {out}.")
    if as_json:
        print_json({"protocol": facts, "rows": [dataclasses.asdict(speed) for speed in speeds]})
        return
    print_table(COLUMNS, [_cells(speed) for speed in speeds], title=f"{preset}, {speeds[0].precision}, {device}")
    click.echo()
    click.echo(NOTE)


def _phases(text: str) -> list[bool]:
    found = list(dict.fromkeys(text.split(",")))
    if not set(found) <= set(PHASES):
        raise UsageError(f"--phases is {text!r}; expected some of {', '.join(PHASES)}.")
    return [PHASES[name] for name in found]


def _phase(speed: TrainSpeed) -> str:
    return "fading" if speed.fading else "stable"


def _cells(speed: TrainSpeed) -> list[str]:
    from pgtools.runtime.files import human_bytes

    plain, ratio = "-", "-"
    if speed.ratio is not None:
        plain = f"{speed.plain_images_per_second:.1f}"
        ratio = f"{speed.ratio:.2f} ({speed.ratio_low:.2f}–{speed.ratio_high:.2f})"
    peaks = ["-" if held is None else human_bytes(held) for held in (speed.peak_bytes, speed.plain_peak_bytes)]
    waiting = "-" if speed.waiting is None else f"{100 * speed.waiting:.1f} %"
    span = f"{speed.images_per_second_low:.1f}–{speed.images_per_second_high:.1f}"
    rate = [f"{speed.level}²", _phase(speed), str(speed.minibatch), f"{speed.images_per_second:.1f}", span]
    return [*rate, plain, ratio, *peaks, waiting]


def _markdown(facts: dict[str, Any], speeds: Sequence[TrainSpeed]) -> str:
    told = ", ".join(f"{name} {value}" for name, value in facts.items())
    lines = [COLUMNS, [":--", *["--:"] * (len(COLUMNS) - 1)], *[_cells(speed) for speed in speeds]]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"# pgtools bench train\n\n{told}.\n\n{NOTE}\n\n{table}\n"
