"""`pgtools models`: which networks pgtools knows, and getting their files. One file a command."""

from __future__ import annotations

import click

from pgtools.cli._lazy import LazyCommands, OrderedGroup

COMMANDS = ("list", "fetch", "add", "verify", "path", "remove", "measure", "train-restorer", "import-karras")


@click.group(
    cls=OrderedGroup,
    name="models",
    commands=LazyCommands(__name__, COMMANDS),
    short_help="List, fetch and check networks.",
)
def command() -> None:
    """List the networks that pgtools can use, fetch their files, check them.

    Two networks come with pgtools; the others are files of their publishers, which are fetched when you ask for it and
    never otherwise. Every file is held against its SHA-256 before it is used, and nothing but weights is ever loaded.

    \b
    Examples:
      pgtools models list
      pgtools models fetch retinaface-mobile0.25
    """
