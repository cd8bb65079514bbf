"""`pgtools store verify`: every fault of a source, and a repair."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._options import SOURCE, json_option, settings_options
from pgtools.cli._output import print_json, say
from pgtools.errors import InputError
from pgtools.stores.jobs.settings import VerifySettings

if TYPE_CHECKING:
    from pgtools.stores.jobs.repair import Repaired
    from pgtools.stores.jobs.verify import Report


@click.command(name="verify", short_help="Find every fault of a source; repair a store.")
@click.argument("path", type=SOURCE)
@settings_options(VerifySettings)
@json_option
def command(path: Path, chosen: dict[str, Any], as_json: bool) -> None:
    """Read all of PATH and name every fault: checksums, levels, labels, counts, fingerprint.

    Exit code 1 if there are faults. --repair then builds the store anew beside the old one, from the tops as they were
    stored, and puts it in its place: images whose top cannot be saved are dropped and named, damaged levels and records
    are made anew, the rest is kept as it was. Names, scores and labels that have changed are named and stay as they are
    now. An LMDB's keys of other programs are kept up to 4 KiB in all; with more, the store is not replaced.

    \b
    Examples:
      pgtools store verify celeba-hq.lmdb
      pgtools store verify celeba-hq.lmdb --repair
    """
    from pgtools.stores.jobs.repair import Repaired, repair
    from pgtools.stores.jobs.verify import verify

    settings = VerifySettings(**chosen)
    done = repair(path, settings) if settings.repair else verify(path, settings)
    report = done.found if isinstance(done, Repaired) else done
    repaired = done if isinstance(done, Repaired) else None
    if as_json:
        print_json(_facts(path, report, repaired))
    else:
        _print(path, report, repaired, asked=settings.repair)
    if report.faults and not repaired:
        hint = f"`pgtools store verify {path} --repair` keeps what can be saved." if report.repairable else ""
        raise InputError(f"{path}: {len(report.faults)} faults in {report.images} images.", hint=hint)


def _print(path: Path, report: Report, repaired: Repaired | None, *, asked: bool) -> None:
    for fault in report.faults:
        click.echo(str(fault))
    for note in report.notes:
        click.echo(f"note: {note}")
    rate = report.images / max(report.seconds, 1e-9)
    say(f"{report.images:,} images checked in {report.seconds:.1f} s, {rate:,.0f} images/s")
    if repaired:
        for index, name in repaired.dropped.items():
            click.echo(f"dropped: image {index}{f' ({name})' if name else ''}")
        for key in repaired.keys:
            click.echo(f"dropped: the key {key}")
        if repaired.labels_lost:
            click.echo("dropped: the labels, which were damaged")
        click.echo(f"{path}: repaired; {repaired.kept:,} images kept, {repaired.rebuilt:,} of them rebuilt in part")
    elif not report.faults:
        click.echo(f"{path}: no faults" + ("; nothing to repair" if asked else ""))


def _facts(path: Path, report: Report, repaired: Repaired | None) -> dict[str, Any]:
    facts = {
        "path": str(path),
        "images": report.images,
        "faults": [vars(fault) for fault in report.faults],
        "notes": list(report.notes),
        "seconds": report.seconds,
        "images_per_second": report.images / max(report.seconds, 1e-9),
        "repaired": None,
    }
    if repaired:
        dropped = [{"image": index, "name": name} for index, name in repaired.dropped.items()]
        told = {"kept": repaired.kept, "rebuilt": repaired.rebuilt, "labels_lost": repaired.labels_lost}
        facts["repaired"] = {**told, "dropped": dropped, "keys": list(repaired.keys), "seconds": repaired.seconds}
    return facts
