"""`pgtools gate show`: what was accepted, and what its gate can tell from chance."""

from __future__ import annotations

from pathlib import Path

import click

from pgtools.cli._options import json_option
from pgtools.cli._output import print_json
from pgtools.cli.gate._shared import baseline_option


@click.command(name="show", short_help="Show the accepted figures, their tolerances, and what these can tell.")
@baseline_option
@json_option
def command(baseline: Path, as_json: bool) -> None:
    """Show the accepted figures, how far each may move, and what the gate can tell from chance.

    For each figure: how often it fails by chance where nothing has changed, which change for the worse fails in 80 of
    100 checks, and how many images would halve that.

    \b
    Example:
      pgtools gate show --baseline baseline.json
    """
    from pgtools.gate.baseline import read_baseline
    from pgtools.gate.show import as_dict, as_text

    accepted = read_baseline(baseline)
    if as_json:
        print_json(as_dict(accepted))
    else:
        click.echo(as_text(accepted), nl=False)
