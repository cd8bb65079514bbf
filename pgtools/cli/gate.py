"""`pgtools gate`: figures against the ones that were accepted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtools.cli._options import SOURCE, json_option
from pgtools.cli._output import print_json, print_table, say
from pgtools.errors import GateFailedError

if TYPE_CHECKING:
    from pgtools.gate.compare import Move

results_argument = click.argument("results", metavar="RESULT.json…", nargs=-1, required=True, type=SOURCE)
baseline_option = click.option("--baseline", required=True, type=SOURCE, help="The JSON file of accepted figures.")


@click.group()
def command() -> None:
    """Compare measured figures with an accepted baseline.

    A RESULT.json is what a metric command prints with --json. Figures are compared only if they were measured
    alike: the same protocol, the same real images.

    \b
    Examples:
      pgtools swd real.lmdb fake.zip --json > swd.json
      pgtools gate accept swd.json --baseline baseline.json
      pgtools gate check  swd.json --baseline baseline.json
    """


@command.command()
@results_argument
@baseline_option
@json_option
def check(results: tuple[Path, ...], baseline: Path, as_json: bool) -> None:
    """Compare results with the baseline; exit code 3 when a figure is worse or missing.

    A figure that is not in the baseline is shown as new and does not fail. NaN is worse.

    \b
    Example:
      pgtools gate check swd.json msssim.json --baseline baseline.json
    """
    from pgtools.gate.baseline import read_baseline
    from pgtools.gate.compare import compare, failures
    from pgtools.runtime.results import read_result

    moves = compare(read_baseline(baseline), [read_result(path) for path in results])
    failed = failures(moves)
    if as_json:
        print_json({"passed": not failed, "moves": [move.as_dict() for move in moves]})
    else:
        _print_moves(moves)
    if failed:
        raise GateFailedError(
            f"{len(failed)} of {len(moves)} figures fail the gate: {', '.join(map(_name, failed))}.",
            hint="If this change is meant, `pgtools gate accept` makes the results the new baseline.",
        )


@command.command()
@results_argument
@baseline_option
@click.option(
    "--tolerance",
    "tolerances",
    multiple=True,
    metavar="RULE",
    help="[METRIC[.PART]=]TERM[,TERM…]: how far figures may move, the largest term counts. A term is 5% (of "
    "the accepted value), 0.3 (in the metric's unit) or 3sigma (spreads of the accepted result). May be "
    "given several times; the last match counts.  [default: 5%,3sigma, or what the baseline has already]",
)
def accept(results: tuple[Path, ...], baseline: Path, tolerances: tuple[str, ...]) -> None:
    """Write results into the baseline; metrics that are not given stay as they are.

    \b
    Example:
      pgtools gate accept swd.json msssim.json --baseline baseline.json \\
          --tolerance 5%,3sigma --tolerance msssim=0.01 --tolerance swd.average=0.5
    """
    from pgtools.gate import baseline as store
    from pgtools.gate.compare import changes, compare, differences
    from pgtools.runtime.files import check_writable
    from pgtools.runtime.results import read_result

    rules = [store.parse_rule(text) for text in tolerances]
    before = store.read_baseline(baseline) if baseline.exists() else {}
    found = [read_result(path) for path in results]
    check_writable(baseline, overwrite=True, what="file")
    new = store.accept(before, found, rules)
    touched = {result.metric: before[result.metric] for result in found if result.metric in before}
    store.write_baseline(baseline, new)
    for name, old in touched.items():
        for text in changes(old, new[name]):
            say(f"{name} has changed: {text}")
    alike = {n: old for n, old in touched.items() if not differences(old.result, new[n].result)}
    _print_moves(compare(alike, found))


@command.command()
@baseline_option
@json_option
def show(baseline: Path, as_json: bool) -> None:
    """Show the accepted figures and how far each may move.

    \b
    Example:
      pgtools gate show --baseline baseline.json
    """
    from pgtools.gate.baseline import read_baseline

    accepted = read_baseline(baseline)
    if as_json:
        print_json({name: entry.as_dict() for name, entry in accepted.items()})
        return
    rows = [
        (
            name,
            part,
            _number(value),
            _number(entry.allowed(part)),
            str(entry.tolerance_of(part)),
            entry.result.direction,
        )
        for name, entry in accepted.items()
        for part, value in entry.result.values.items()
    ]
    print_table(("metric", "part", "accepted", "may move", "tolerance", "better"), rows)


def _print_moves(moves: Sequence[Move]) -> None:
    columns = ("metric", "part", "accepted", "now", "change", "allowed", "better", "verdict")
    print_table(columns, [_row(move) for move in moves])


def _row(move: Move) -> tuple[str, ...]:
    change = "-" if move.change is None else f"{move.change:+.4g}"
    numbers = (_number(move.accepted), _number(move.value), change, _number(move.allowed, "±"))
    return (move.metric, move.part, *numbers, move.direction, move.verdict)


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{sign}{value:.4g}"


def _name(move: Move) -> str:
    reason = " (missing)" if move.verdict == "missing" else ""
    return (move.metric if move.part == "value" else f"{move.metric} {move.part}") + reason
