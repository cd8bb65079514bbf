"""Groups whose commands are imported when they are asked for, one file a command."""

from __future__ import annotations

import importlib
from collections import UserDict
from collections.abc import Iterator, Sequence

import click


class LazyCommands(UserDict[str, click.Command]):
    """name → command, in the order given; `a-name` lives in `package.a_name` as `command`.

    Args:
        package: the package of the commands' modules.
        names: the commands.
    """

    def __init__(self, package: str, names: Sequence[str]) -> None:
        super().__init__()
        self._package, self._names = package, tuple(names)

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._names:
            raise KeyError(name)
        command: click.Command = importlib.import_module(f"{self._package}.{name.replace('-', '_')}").command
        return command

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class OrderedGroup(click.Group):
    """A group that shows its commands in their own order."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they were given."""
        return list(self.commands)
