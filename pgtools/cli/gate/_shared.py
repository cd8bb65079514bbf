"""What the commands of the gate share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtools.cli._options import SOURCE

if TYPE_CHECKING:
    from pgtools.runtime.results import MetricResult

results_argument = click.argument("results", metavar="RESULT…", nargs=-1, required=True, type=SOURCE)
baseline_option = click.option("--baseline", required=True, type=SOURCE, help="The JSON file of accepted figures.")
fake_option = click.option(
    "--fake",
    metavar="NAME",
    help="Take only results of these generated images, for files that hold several, e.g. a run's snapshots: any end of "
    "their name that no other has, or a snapshot's kimg.",
)


def read_chosen(paths: Sequence[Path], *, only: Sequence[str] = (), fake: str | None = None) -> list[MetricResult]:
    """Return the results in the files that are asked for.

    Raises:
        InputError: a file holds something else, or results without standard errors.
        UsageError: nothing is of that name, or several sets are.
    """
    from pgtools.gate.baseline import OLDEST_RESULT
    from pgtools.gate.choice import choose
    from pgtools.runtime.results import read_results

    found = [result for path in paths for result in read_results(path, oldest=OLDEST_RESULT)]
    return choose(found, only=only, fake=fake)
