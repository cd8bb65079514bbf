"""The `pgtools` command: a lazy group, so that help is instant, and one place where errors become exit codes."""

from __future__ import annotations

import importlib
import io
import itertools
import sys
import traceback
import warnings
from collections.abc import Sequence

import click

from pgtools import __version__
from pgtools.errors import PgtoolsError, StoppedError

# One file a command, named like it. A command imports its work inside its callback.
SECTIONS = {
    "From photos to images": ("build-celebahq", "train", "generate", "export"),
    "Metrics": (
        "evaluate",
        "swd",
        "msssim",
        "inception-score",
        "fid",
        "kid",
        "precision-recall",
        "recovered-modes",
        "neighbours",
    ),
    "Verdicts": ("gate", "report"),
    "Files": ("store", "models"),
    "Here and now": ("demo", "bench", "doctor"),
}
COMMANDS = tuple(itertools.chain.from_iterable(SECTIONS.values()))


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of the pipeline."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"pgtools.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section."""
        width = max(map(len, COMMANDS))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                found = [(name, self.get_command(ctx, name)) for name in names]
                limit = formatter.width - 6 - width
                # Padded, so that the texts of all sections stand in one column.
                formatter.write_dl([(name.ljust(width), c.get_short_help_str(limit)) for name, c in found if c])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", prog_name="pgtools")
@click.option("-v", "--debug", is_flag=True, help="Show warnings, and the traceback of an error.")
def group(debug: bool) -> None:
    """A photo becomes a crop, crops a store, a store trains a generator, a generator is scored, scores pass a gate.

    Start with `pgtools demo`: it runs the whole way on drawn faces in a few minutes, and shows each command.
    """


def main(args: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 1 could not, 2 wrong usage, 3 the gate failed."""
    words = list(sys.argv[1:] if args is None else args)
    debug = any(word in ("-v", "--debug") for word in itertools.takewhile(lambda word: word.startswith("-"), words))
    if not debug:
        warnings.simplefilter("ignore")
    sys.exit(run(words, debug=debug))


def run(words: Sequence[str], *, debug: bool = False) -> int:
    """Run a command in this process and return its exit code; errors are one line on stderr, and a hint."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names are bytes: one that is no text must not stop a command
            stream.reconfigure(errors="backslashreplace")
    try:
        group.main(args=list(words), prog_name="pgtools", standalone_mode=False)
    except PgtoolsError as error:
        if debug:
            traceback.print_exc()
        _say(error.message, error.hint, fault=not isinstance(error, StoppedError))
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.ClickException as error:
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "pgtools"
        _say(error.format_message(), f"Try `{path} --help`.")
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _say(
            "Interrupted.",
            "Nothing is left half-written. Builds, trainings, fetches and evaluations with --out FILE.jsonl go on "
            "where they stopped; others start anew.",
        )
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if debug:
            traceback.print_exc()
        where = f"{error.filename}: " if error.filename else ""
        _say(f"{where}{error.strerror or error}.", "Check space, permissions and names there, and run it again.")
        return 1
    except Exception as error:
        if debug:
            traceback.print_exc()
        _say(
            f"{type(error).__name__}: {error}",
            "This is a fault of pgtools: run it with --debug and report it.",
        )
        return 1
    return 0


def _say(message: str, hint: str, *, fault: bool = True) -> None:
    click.echo(f"Error: {message}" if fault else message, err=True)
    for line in hint.splitlines():
        click.echo(f"  {line}", err=True)
