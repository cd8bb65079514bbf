"""`pgtools bench`: how fast pgtools is on this machine. One file a command."""

from __future__ import annotations

import click

from pgtools.cli._lazy import LazyCommands, OrderedGroup

COMMANDS = ("build", "stores", "restore", "metrics", "train", "growing")


@click.group(
    cls=OrderedGroup,
    name="bench",
    commands=LazyCommands(__name__, COMMANDS),
    short_help="How fast pgtools is on this machine.",
)
def command() -> None:
    """Measure pgtools on this machine.

    \b
    Examples:
      pgtools bench build
      pgtools bench stores
      pgtools bench restore
      pgtools bench metrics
      pgtools bench train
      pgtools bench growing
    """
