"""`pgtools models list`: which networks pgtools knows, and which are on this machine."""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Sequence

import click

from pgtools.cli._options import json_option
from pgtools.cli._output import print_json, print_table, say

# The last ones are left out where the terminal is narrow.
COLUMNS = ("network", "file", "size", "licence", "task", "architecture", "source")


@click.command(name="list", short_help="Which networks there are, and which are on this machine.")
@json_option
def command(as_json: bool) -> None:
    """List the networks of the registry: task, architecture, size, licence, source, and whether the file is here.

    The file is embedded (it comes with pgtools), present, missing, partial (a fetch was interrupted) or damaged (its
    size is wrong; `pgtools models verify` looks at every byte). Unverified: nobody has published its hash, so that
    the first fetch records it. Networks of your own are marked with a star.

    \b
    Examples:
      pgtools models list
      pgtools models list --json
    """
    from pgtools.models.registry import registry, user_registry
    from pgtools.models.weights import cache_folder, file_of, known_by, state_of
    from pgtools.runtime.files import human_bytes

    models = list(registry().values())
    states = {model.name: state_of(model) for model in models}
    if as_json:
        told = ("embedded", "present")
        places = {
            m.name: {"state": states[m.name], "present": states[m.name] in told, "path": str(file_of(m))}
            for m in models
        }
        print_json([{**vars(m), "known_by": known_by(m), **places[m.name]} for m in models])
        return
    rows = []
    for m in models:
        state = states[m.name] + ("" if m.embedded or m.verifiable else ", unverified")
        size = human_bytes(m.bytes) if m.bytes else ""
        name, source = m.name + ("*" if m.own else ""), m.source.removeprefix("https://")
        rows.append((name, state, size, m.licence.removeprefix("LicenseRef-"), m.task, m.architecture, source))
    shown = _fitting([COLUMNS, *rows])
    print_table(COLUMNS[:shown], [row[:shown] for row in rows])
    if shown < len(COLUMNS):
        say(f"A wider terminal, or --json, shows {' and '.join(COLUMNS[shown:])}.")
    say(f"Files are in {cache_folder()}; `pgtools models fetch NAME` gets one that is missing.")
    if any(model.own for model in models):
        say(f"* from {user_registry()}")


def _fitting(rows: Sequence[Sequence[str]]) -> int:
    """How many columns fit into the terminal whole: a name that is cut cannot be typed."""
    if not sys.stdout.isatty():
        return len(COLUMNS)
    ends = list(itertools.accumulate(max(map(len, column)) + 2 for column in zip(*rows, strict=True)))
    room = shutil.get_terminal_size().columns + 2
    return max(1, sum(end <= room for end in ends))
