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

    Prints what changed, and of the accepted figures what `pgtools gate show` prints.

    \b
    Example:
      pgtools gate accept swd.json msssim.json --baseline baseline.json \\
          --tolerance 5%,3sigma --tolerance msssim=1%alarms --tolerance swd.average=0.5
    """
    from pgtools.gate import baseline as store
    from pgtools.gate.compare import changes
    from pgtools.gate.show import as_text
    from pgtools.gate.tolerance import parse_rule
    from pgtools.runtime.files import check_writable

    rules = [parse_rule(text) for text in tolerances]
    before = store.read_baseline(baseline) if baseline.exists() else {}
    found = read_chosen(results, fake=fake)
    check_writable(baseline, overwrite=True, what="file")
    new = store.accept(before, found, rules)
    store.write_baseline(baseline, new)
    accepted = {result.metric: new[result.metric] for result in found}
    for name in sorted(accepted.keys() & before.keys()):
        for text in changes(before[name], new[name]):
            say(f"{name} has changed: {text}")
    click.echo(as_text(accepted), nl=False)
