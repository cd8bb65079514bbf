"""Writes docs/commands.md from the commands' own help; `--check` fails when the page is not current."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pgtools.cli import COMMANDS, group

PAGE = Path(__file__).with_name("commands.md")
HEAD = """# Commands

This page is made from the commands' own help by `make docs`.

Exit codes: 0 done, 1 could not, 2 wrong usage, 3 the gate failed. Results go to stdout (`--json` for machines), all
else to stderr. `pgtools --debug COMMAND …` shows the traceback of an error.

Shell completion: `eval "$(_PGTOOLS_COMPLETE=bash_source pgtools)"` in `~/.bashrc` (`zsh_source` in `~/.zshrc`; fish:
`_PGTOOLS_COMPLETE=fish_source pgtools | source`).
"""


def help_of(words: tuple[str, ...], command: click.Command) -> str:
    """Return the section of one command and of those inside it."""
    # One width and one name, so that the page does not depend on who makes it.
    context = click.Context(command, info_name=" ".join(("pgtools", *words)), max_content_width=100, terminal_width=100)
    level = "#" * (len(words) + 1)
    sections = [f"{level} pgtools {' '.join(words)}\n\n```text\n{command.get_help(context)}\n```\n"]
    for name, inner in getattr(command, "commands", {}).items():
        sections.append(help_of((*words, name), inner))
    return "\n".join(sections)


def page() -> str:
    """Return the whole page."""
    found = {name: group.get_command(click.Context(group), name) for name in COMMANDS}
    return "\n".join([HEAD, *(help_of((name,), command) for name, command in found.items() if command)])


def main() -> None:
    """Write the page, or check it."""
    if "--check" not in sys.argv:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text("utf-8") != page():
        sys.exit("docs/commands.md is not current: run `make docs` and commit it.")


if __name__ == "__main__":
    main()
