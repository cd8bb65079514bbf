"""`pgtools gate`: figures against the ones that were accepted. One file a command."""

from __future__ import annotations

import click

from pgtools.cli._lazy import LazyCommands, OrderedGroup

COMMANDS = ("check", "accept", "show")


@click.group(
    cls=OrderedGroup,
    name="gate",
    commands=LazyCommands(__name__, COMMANDS),
    short_help="Compare measured figures with an accepted baseline.",
)
def command() -> None:
    """Compare measured figures with an accepted baseline.

    A RESULT is what a metric command prints with --json, or the JSON-lines of `pgtools evaluate`. Figures are compared
    only if they were measured alike: the same protocol, the same real images.

    \b
    Examples:
      pgtools swd real.lmdb fake.zip --json > swd.json
      pgtools gate accept swd.json --baseline baseline.json
      pgtools gate check  swd.json --baseline baseline.json
    """
