"""`pgtools evaluate`: any number of metrics from one pass over each set."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._measures import EvaluateSettings, Places, make_measures, metric_names
from pgtools.cli._options import OUTPUT, SOURCE, device_option, json_option, overwrite_option, settings_options
from pgtools.cli._output import print_json, say
from pgtools.errors import ComputeError, InputError, UsageError
from pgtools.metrics.catalogue import CATALOGUE

if TYPE_CHECKING:
    from pgtools.cli._evaluation import Target
    from pgtools.metrics.evaluate import Evaluator, PartlyScoredError
    from pgtools.metrics.measure import Measure
    from pgtools.runtime.results import MetricResult
    from pgtools.stores.source import ImageSource

    Found = list[tuple[Target, list[MetricResult]]]
    Faults = list[tuple[Target, PartlyScoredError]]


@dataclass(frozen=True)
class Outputs:
    """Where results go besides stdout.

    Attributes:
        out: NAME.json or NAME.jsonl, or None.
        plot: NAME.png or NAME.svg, or None.
        overwrite: what stands there may be replaced.
    """

    out: Path | None
    plot: Path | None
    overwrite: bool


@click.command("evaluate", short_help="Several metrics in one pass; every snapshot of a run.")
@click.argument("sources", type=SOURCE, nargs=-1, required=True, metavar="[REAL] FAKE")
@click.option(
    "-m",
    "--metrics",
    multiple=True,
    default=("swd,msssim",),
    help="Some of swd, msssim, inception-score (is), fid, kid, precision-recall (pr), recovered-modes.  [default: "
    "swd,msssim]",
)
@settings_options(EvaluateSettings)
@click.option("--snapshots", metavar="all|last|N,…", help="Of a run: after so many images each.  [default: all]")
@click.option("--weights", type=SOURCE, help="The Inception network's file, if it is not in pgtools' cache folder.")
@click.option("--classifier", type=SOURCE, help="The digit classifier's file, for recovered-modes.")
@click.option("--cache/--no-cache", default=True, help="Keep Inception features for the next time.  [default: on]")
@click.option("--out", type=OUTPUT, metavar="FILE.json|jsonl", help="Write the results; .jsonl as they come.")
@click.option("--plot", type=OUTPUT, metavar="FILE.png|svg", help="Draw a run's figures against training.")
@overwrite_option
@device_option
@json_option
def command(
    sources: tuple[Path, ...],
    metrics: tuple[str, ...],
    chosen: dict[str, Any],
    snapshots: str | None,
    device: str,
    as_json: bool,
    **files: Any,
) -> None:
    """Print several metrics of generated images, measured in one pass over each set.

    REAL and FAKE are folders, ZIPs, LMDB or HDF5 stores. FAKE may also be a generator's file or the folder of a
    training run, of which every snapshot is measured: a table and a plot against training. REAL is left out where no
    metric compares with it (msssim, inception-score, recovered-modes).

    With --out FILE.jsonl each snapshot's results are on disk as soon as they are known; the same command, run again
    after an interruption, measures only what is not there yet. If a metric gives no figure, those of the others are
    printed and written all the same, then the command ends with an error that names it.

    \b
    Examples:
      pgtools evaluate real.lmdb fake.zip -m swd,msssim --num-images 2048
      pgtools evaluate real.lmdb fake.zip -m swd,msssim,is,fid,kid,pr --out scores.json
      pgtools evaluate real.lmdb runs/faces --num-images 2048 --out scores.jsonl --plot scores.png
      pgtools evaluate fake.zip -m msssim
    """
    from pgtools.cli._evaluation import targets_of

    outputs = Outputs(files["out"], files["plot"], files["overwrite"])
    names, settings = metric_names(metrics), EvaluateSettings(**chosen)
    real, fake = _two(sources)
    targets = targets_of(fake, snapshots)
    _check_outputs(outputs, is_run=targets[0].images is not None)
    measures = make_measures(names, settings, Places(files["weights"], files["classifier"], files["cache"]))
    found, faults = _measure(_Question(real, targets, measures, settings, device), outputs)
    if any(results for _, results in found):
        _write(found, outputs)
        _print(found, as_json=as_json)
    if faults:
        raise _first(faults)


@dataclass(frozen=True)
class _Question:
    """What is to be measured."""

    real: Path | None
    targets: Sequence[Target]
    measures: Sequence[Measure]
    settings: EvaluateSettings
    device: str


def _two(sources: Sequence[Path]) -> tuple[Path | None, Path]:
    if len(sources) > 2:
        raise UsageError(f"{len(sources)} sets were named; expected REAL and FAKE, or FAKE alone.")
    return (sources[0] if len(sources) == 2 else None), sources[-1]


def _check_outputs(outputs: Outputs, *, is_run: bool) -> None:
    """Raise before anything long what would keep the results from being written."""
    from pgtools.runtime.files import check_writable

    out, plot = outputs.out, outputs.plot
    if out is not None and out.suffix.lower() not in (".json", ".jsonl"):
        raise UsageError(f"--out is {out}; expected a name that ends in .json or .jsonl.")
    if plot is not None and plot.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"--plot is {plot}; expected a name that ends in .png or .svg.")
    if plot is not None and not is_run:
        raise UsageError("--plot draws figures against training; FAKE is no run folder.", hint="Leave it out.")
    if out is not None:
        # An interrupted evaluation goes on in the file that it began.
        check_writable(out, overwrite=outputs.overwrite or out.suffix.lower() == ".jsonl", what="file")
    if plot is not None:
        check_writable(plot, overwrite=outputs.overwrite or _goes_on(out), what="file")


def _goes_on(out: Path | None) -> bool:
    return out is not None and out.suffix.lower() == ".jsonl" and out.exists()


def _measure(question: _Question, outputs: Outputs) -> tuple[Found, Faults]:
    """Return the results of every target, in order, written to a .jsonl as they come; and which lack metrics."""
    from pgtools.cli._sources import open_real
    from pgtools.metrics.evaluate import Evaluator, Reading
    from pgtools.runtime.device import resolve_device
    from pgtools.runtime.files import path_lock

    settings, seed = question.settings, question.settings.seed or 0
    _check_real(question)
    reals = None
    if question.real is not None:
        reals = open_real(question.real)
    count = settings.num_images or (None if reals is None else len(reals))
    where = resolve_device(question.device)
    opened = partial(_opened, question, count=count)
    reading = Reading(settings.num_images, seed, settings.batch, settings.memory)
    lines = outputs.out if outputs.out is not None and outputs.out.suffix.lower() == ".jsonl" else None
    with contextlib.ExitStack() as stack:
        if lines is not None:
            stack.enter_context(path_lock(lines))
        evaluator = stack.enter_context(Evaluator(question.measures, reals, reading, where, progress=True))
        evaluator.check(opened(question.targets[0]))
        known = {} if lines is None else _taken_over(evaluator, question.targets, opened, outputs)
        return _scored(evaluator, question.targets, opened, known, lines)


def _opened(question: _Question, target: Target, *, count: int | None) -> ImageSource:
    return target.open(count=count, seed=question.settings.seed or 0, device=question.device)


def _check_real(question: _Question) -> None:
    """Raise InputError if metrics compare with REAL and there is none; say so if none does and there is one."""
    comparing = [measure.metric.name for measure in question.measures if measure.takes_real]
    if comparing and question.real is None:
        compare = "compares" if len(comparing) == 1 else "compare"
        raise InputError(
            f"{', '.join(comparing)} {compare} with real images; only one set is named.",
            hint=f"Name the real images first: `pgtools evaluate REAL {question.targets[0].path}`.",
        )
    if question.real is not None and not comparing:
        say(f"{question.real} is not read: no metric that was asked for compares with real images.")


def _taken_over(
    evaluator: Evaluator, targets: Sequence[Target], opened: Callable[[Target], ImageSource], outputs: Outputs
) -> dict[str, list[MetricResult]]:
    """Return what stands in the .jsonl already, by the name of the set."""
    from pgtools.cli._evaluation import GoingOn
    from pgtools.runtime.result_log import ResultLog

    log = ResultLog(outputs.out or Path())
    if outputs.overwrite:
        log.rewrite([])
    # One generator at a time: a run may have hundreds.
    known = GoingOn(log, evaluator).take_over([str(target.path) for target in targets], map(opened, targets))
    if known:
        say(f"{len(known)} of {len(targets)} measured before, taken over from {log.path}.")
    return known


def _scored(
    evaluator: Evaluator,
    targets: Sequence[Target],
    opened: Callable[[Target], ImageSource],
    known: dict[str, list[MetricResult]],
    lines: Path | None,
) -> tuple[Found, Faults]:
    from pgtools.cli._evaluation import one_line
    from pgtools.metrics.evaluate import PartlyScoredError
    from pgtools.runtime.result_log import ResultLog

    found: Found = []
    faults: Faults = []
    for target in targets:
        results = known.get(str(target.path))
        if results is None:
            told = []
            try:
                results = evaluator.score(opened(target))
            except PartlyScoredError as error:
                faults.append((target, error))
                results, told = error.results, [error.message]
            results = [target.mark(result) for result in results]
            if lines is not None and results:
                ResultLog(lines).add(results)
            if target.images is not None:
                say(f"{target.kimg} kimg: {', '.join([*filter(None, [one_line(results)]), *told])}")
        found.append((target, results))
    return found, faults


def _first(faults: Faults) -> ComputeError:
    """Return the error that the command ends with: the first set's, and how many other snapshots lack metrics too."""
    target, error = faults[0]
    where = "" if target.images is None else f"At {target.kimg} kimg: "
    more = f" {len(faults) - 1} more of the snapshots lack metrics too." if len(faults) > 1 else ""
    told = ComputeError(f"{where}{error.message}{more}", hint=error.hint)
    told.__cause__ = error
    return told


def _print(found: Found, *, as_json: bool) -> None:
    from pgtools.cli._evaluation import print_results, print_trajectory

    target, results = found[0]
    if as_json:
        print_json([result.as_dict() for _, results in found for result in results])
    elif target.images is None:
        print_results(results)
    else:
        print_trajectory(found)


def _write(found: Found, outputs: Outputs) -> None:
    """Write what is written at the end: a list as JSON, the plot."""
    from pgtools.runtime.files import write_json, written_aside

    if outputs.out is not None and outputs.out.suffix.lower() == ".json":
        write_json(outputs.out, [result.as_dict() for _, results in found for result in results])
    if outputs.out is not None:
        say(f"Wrote {sum(len(results) for _, results in found)} results to {outputs.out}.")
    if outputs.plot is None:
        return
    from pgtools.report.trajectory import panels_of, trajectory

    titles = {name: (metric.title, metric.unit) for name, metric in CATALOGUE.items()}
    scores = [((target.images or 0) / 1000, result) for target, results in found for result in results]
    kind = "png" if outputs.plot.suffix.lower() == ".png" else "svg"
    with written_aside(outputs.plot) as aside:
        aside.write_bytes(trajectory(panels_of(scores, titles), kind=kind))  # type: ignore[arg-type]
    say(f"Wrote {outputs.plot}.")
