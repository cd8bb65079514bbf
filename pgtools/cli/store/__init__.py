"""`pgtools store`: sets of images, looked at, checked and made into others. One file a command."""

from __future__ import annotations

import click

from pgtools.cli._lazy import LazyCommands, OrderedGroup

COMMANDS = ("info", "view", "verify", "compare", "convert", "subset", "merge", "extract")


@click.group(
    cls=OrderedGroup,
    name="store",
    commands=LazyCommands(__name__, COMMANDS),
    short_help="Look at stores of images, check them, make them.",
)
def command() -> None:
    """Look at stores and other sources of images, check them, and make new stores of them.

    A source is whatever pgtools reads: an LMDB or HDF5 store, TFRecords, a ZIP or a folder of images, a data set's own
    files. Which format a path holds is told by what is there; `--format` says it where that leaves a doubt.

    \b
    Examples:
      pgtools store info celeba-hq.lmdb
      pgtools store convert photos/ photos.lmdb --crop centre --resize 256
    """
