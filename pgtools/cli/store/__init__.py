"""`pgtools store`: sets of images, looked at, checked and made into others. One file a command."""

from __future__ import annotations

import importlib
from collections import UserDict
from collections.abc import Iterator

import click

COMMANDS = ("info", "view", "verify", "compare", "convert", "subset", "merge", "extract")


class LazyCommands(UserDict[str, click.Command]):
    """name → command, in the order of `COMMANDS`; a command is imported when it is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in COMMANDS:
            raise KeyError(name)
        command: click.Command = importlib.import_module(f"{__name__}.{name}").command
        return command

    def __contains__(self, name: object) -> bool:
        return name in COMMANDS

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class StoreGroup(click.Group):
    """A group that shows its commands in their own order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands: first those that look, then those that write."""
        return list(self.commands)


@click.group(
    cls=StoreGroup, name="store", commands=LazyCommands(), short_help="Look at stores of images, check them, make them."
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
