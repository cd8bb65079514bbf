"""`pgtools gate check`: new figures beside the accepted ones, as an exit code and as what people read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pgtools.cli._options import OUTPUT, json_option
from pgtools.cli._output import say
from pgtools.cli.gate._shared import baseline_option, fake_option, read_chosen, results_argument
from pgtools.errors import GateFailedError, UsageError


@click.command(name="check", short_help="Compare results with the baseline; exit code 3 when a figure is worse.")
@results_argument
@baseline_option
@click.option("--only", multiple=True, metavar="METRIC", help="Check this metric only; may be given several times.")
@fake_option
@click.option(
    "--format",
    "kind",
    type=click.Choice(["text", "json", "markdown", "junit"]),
    help="How to print it: a table, JSON, a comment for a pull request, JUnit XML.  [default: text]",
)
@json_option
@click.option(
    "--out",
    "outs",
    multiple=True,
    type=OUTPUT,
    metavar="FILE",
    help="Write it to a file as well, also when the gate fails: .txt, .json, .md or .xml (JUnit). May be given several "
    "times.",
)
def command(
    results: tuple[Path, ...],
    baseline: Path,
    only: tuple[str, ...],
    fake: str | None,
    kind: str | None,
    as_json: bool,
    outs: tuple[Path, ...],
) -> None:
    """Compare results with the baseline; exit code 3 when a figure is worse or missing.

    A figure that is not in the baseline is shown as new and does not fail. NaN is worse. The column "notices" says
    which change for the worse fails in 80 of 100 checks.

    \b
    Examples:
      pgtools gate check swd.json msssim.json --baseline baseline.json
      pgtools gate check results.jsonl --baseline baseline.json --out gate.md --out gate.xml
    """
    from pgtools.gate.baseline import read_baseline
    from pgtools.gate.check import check, next_step, verdict
    from pgtools.gate.formats import WRITERS, write_check
    from pgtools.gate.tables import as_text

    if as_json and kind not in (None, "json"):
        raise UsageError(f"--json and --format {kind} contradict each other.", hint="Give one of them.")
    _check_outs(outs, (*results, baseline))
    accepted = read_baseline(baseline)
    done = check(accepted, read_chosen(results, only=only, fake=fake), only=only)
    for path in outs:
        write_check(path, done)
        say(f"Wrote {path}.")
    kind = kind or ("json" if as_json else "text")
    # Whoever watches reads both streams, and is told the verdict once.
    text = as_text(done, with_verdict=not done.failed) if kind == "text" else WRITERS[kind](done)
    click.echo(text, nl=False)
    if done.failed:
        raise GateFailedError(verdict(done), hint=next_step(done))


def _check_outs(outs: Sequence[Path], inputs: Sequence[Path]) -> None:
    from pgtools.gate.formats import format_of
    from pgtools.runtime.files import check_writable

    there = {path.resolve() for path in inputs}
    for path in outs:
        format_of(path)
        if path.resolve() in there:
            raise UsageError(f"--out is {path}, which is read.", hint="Name another file.")
        check_writable(path, overwrite=True, what="file")
