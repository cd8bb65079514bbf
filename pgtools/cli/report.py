"""`pgtools report`: a run as one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pgtools.cli._options import OUTPUT, SOURCE
from pgtools.cli._output import say
from pgtools.errors import InputError, UsageError
from pgtools.metrics.catalogue import CATALOGUE
from pgtools.progan.presets import preset_names, settings_from


@click.command(short_help="Write a run or a build as one page.")
@click.argument("run", type=SOURCE)
@click.option("--out", type=OUTPUT, metavar="FILE.html", help="The page.  [default: RUN/report.html, NAME-report.html]")
@click.option(
    "--metrics",
    type=SOURCE,
    multiple=True,
    metavar="RESULT.json",
    help="A figure that a metric command printed with --json; may be given several times.",
)
@click.option("--title", help="Heading of the page.  [default: the run's name]")
def command(run: Path, out: Path | None, metrics: tuple[Path, ...], title: str | None) -> None:
    """Write a run as one self-contained HTML page: image grids, training curves, scores, settings.

    The page needs no network and no script; it is written anew each time, also while the run goes on. RUN is the folder
    of a training, or the NAME-build.json of a build, whose page shows counts, scores and crops; with `--out FILE.png`
    the scores' histogram and crops are a picture.

    \b
    Examples:
      pgtools report runs/faces
      pgtools report celeba-hq-build.json --out scores.png
      pgtools report runs/faces --metrics swd.json --metrics msssim.json --out supplement.html
    """
    from pgtools.cli._build_report import check_page, write_build_page

    _check_no_store(run)
    if run.is_file():
        if metrics or title:
            raise UsageError("--metrics and --title are for trainings; a build's page has neither.")
        say(f"Wrote {write_build_page(run, out)}.")
        return
    from pgtools.report.content import Knowledge, compose
    from pgtools.report.page import render
    from pgtools.report.run import read_run
    from pgtools.runtime.files import check_writable, written_aside
    from pgtools.runtime.results import read_result

    page_file = out or run / "report.html"
    check_page(page_file)
    found, results = read_run(run), [(path.name, read_result(path)) for path in metrics]
    check_writable(page_file, overwrite=True, what="file")
    titles = {name: (metric.title, metric.unit) for name, metric in CATALOGUE.items()}
    preset, usual = _nearest_preset(found.settings)
    page = compose(found, results, Knowledge(titles, preset, usual), title=title)
    with written_aside(page_file) as aside:
        aside.write_text(render(page), encoding="utf-8", errors="backslashreplace")
    for note in page.notes:
        say(note)
    say(f"Wrote {page_file}.")


def _check_no_store(run: Path) -> None:
    """Point at the record of a build where its store is named instead."""
    from pgtools.runtime.build_format import record_path

    is_run = run.suffix == ".json" or (run / "config.json").exists()
    if run.name and not is_run and (record := record_path(run)).is_file():
        raise InputError(f"{run} is not the record of a build, which stands beside it.", hint=f"Name {record}.")


def _nearest_preset(settings: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The preset that leaves the fewest settings to name, and its settings."""
    presets = {name: settings_from(name, {}).as_dict() for name in preset_names()}

    def differing(name: str) -> int:
        return sum(value != settings.get(key) for key, value in presets[name].items())

    nearest = min(presets, key=differing)
    return nearest, presets[nearest]
