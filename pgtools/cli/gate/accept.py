"""`pgtools gate accept`: new figures become the ones that the next check is held against."""

from __future__ import annotations

from pathlib import Path

import click

from pgtools.cli._output import say
from pgtools.cli.gate._shared import baseline_option, fake_option, read_chosen, results_argument


@click.command(name="accept", short_help="Write results into the baseline.")
@results_argument
@baseline_option
@click.option(
    "--tolerance",
    "tolerances",
    multiple=True,
    metavar="RULE",
    help="[METRIC[.PART]=]TERM[,TERM…]: how far figures may move, the largest term counts. A term is 5% (of the "
    "accepted value), 0.3 (in the metric's unit), 3sigma (standard errors of the difference of two results) or "
    "1%alarms (fails by chance in at most 1 of 100 checks). May be given several times; the last match counts.  "
    "[default: 5%,3sigma, or what the baseline has already]",
)
@fake_option
def command(results: tuple[Path, ...], baseline: Path, tolerances: tuple[str, ...], fake: str | None) -> None:
    """Write results into the baseline; metrics that are not given stay as they are.

    \b
    Example:
      pgtools gate accept swd.json msssim.json --baseline baseline.json \\
          --tolerance 5%,3sigma --tolerance msssim=1%alarms --tolerance swd.average=0.5
    """
    from pgtools.gate import baseline as store
    from pgtools.gate.compare import changes, compare, differences
    from pgtools.gate.tables import table_of
    from pgtools.gate.tolerance import parse_rule
    from pgtools.runtime.files import check_writable

    rules = [parse_rule(text) for text in tolerances]
    before = store.read_baseline(baseline) if baseline.exists() else {}
    found = read_chosen(results, fake=fake)
    check_writable(baseline, overwrite=True, what="file")
    new = store.accept(before, found, rules)
    touched = {result.metric: before[result.metric] for result in found if result.metric in before}
    store.write_baseline(baseline, new)
    for name, old in touched.items():
        for text in changes(old, new[name]):
            say(f"{name} has changed: {text}")
    alike = {n: old for n, old in touched.items() if not differences(old.result, new[n].result)}
    click.echo("\n".join(table_of(compare(alike, found))))
