"""`pgtools models path`: where a network's file is, for scripts."""

from __future__ import annotations

import click


@click.command(name="path", short_help="Print the path of a network's file, for scripts.")
@click.argument("name")
def command(name: str) -> None:
    """Print the path of the file of the network NAME, once its SHA-256 was found right.

    Exit code 1, and nothing on stdout, if it is not here or not right.

    \b
    Example:
      pgtools models path retinaface-mobile0.25
    """
    from pgtools.models.weights import find

    click.echo(str(find(name)))
