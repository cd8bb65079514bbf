"""A damaged store built anew from what can be saved; the old one stays until the new one is whole."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgtools.errors import InputError, OutputError, UsageError
from pgtools.runtime.files import check_free_space, check_writable, path_lock, remove_stale, written_aside
from pgtools.runtime.progress import track
from pgtools.runtime.workers import map_ahead
from pgtools.stores import layout
from pgtools.stores.formats import hdf5, lmdb
from pgtools.stores.formats.hdf5 import Hdf5Store
from pgtools.stores.formats.lmdb import LmdbStore
from pgtools.stores.jobs.convert import bytes_of
from pgtools.stores.jobs.examine import ANOTHER_PROGRAM, LEVELS_BY, Examined, codecs_of, examine
from pgtools.stores.jobs.others import Others, others_of
from pgtools.stores.jobs.rebuild import Hdf5Rebuilder, LmdbRebuilder
from pgtools.stores.jobs.salvage import ScannedPages, hides_keys
from pgtools.stores.jobs.settings import VerifySettings
from pgtools.stores.jobs.stored import pixels
from pgtools.stores.jobs.verify import Report, check
from pgtools.stores.layout import Record
from pgtools.stores.writer import Plan
from pgtools.stores.writing import Output, check_outputs, estimated_bytes


@dataclass(frozen=True)
class Repaired:
    """What a repair did.

    Attributes:
        found: the faults there were.
        kept: how many images the store holds now.
        dropped: number → name (as far as it was known) of the images that could not be saved.
        rebuilt: how many of the kept ones got levels or records anew.
        labels_lost: the labels could not be saved.
        seconds: what the repair took, without the check before it.
        keys: of an LMDB, that damage has made of ours or that name no image there is, and which were dropped.
    """

    found: Report
    kept: int
    dropped: Mapping[int, str]
    rebuilt: int
    labels_lost: bool
    seconds: float
    keys: tuple[str, ...] = ()


def repair(path: Path, settings: VerifySettings) -> Repaired | Report:
    """Check a store and, if it has faults, build it anew from what can be saved.

    Tops are copied byte for byte, never encoded again, and so is every level that has no fault. Images whose top is
    missing, does not decode or is not what was stored are dropped; damaged levels, records, count and fingerprint are
    made anew. A name, a score or a label that has changed stays as it is now: what it was is not known. A file of
    labels that pgtools did not write or cannot read is left alone. No other pgtools writes the store from the first
    look to the end; the new store is read back before it takes the old one's place.

    Args:
        path: an LMDB or HDF5 store, ours or other people's.
        settings: see `VerifySettings`.

    Returns:
        What was done, or the report alone if there was nothing to repair.

    Raises:
        InputError: it cannot be opened, no image can be saved, or only labels are damaged that are not ours.
        UsageError: it is of a format that is not repaired.
        OutputError: the new store cannot be written, another pgtools writes it, the old one holds more than images, or
            labels beside it would no longer fit.
    """
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path} does not exist.", hint="Name a store.")
    check_writable(path, overwrite=True, what="folder" if path.is_dir() else "file")
    with path_lock(path):
        remove_stale(path)
        return _repaired(path, settings)


def _repaired(path: Path, settings: VerifySettings) -> Repaired | Report:
    try:
        examined = examine(path, settings.format)
    except InputError as error:
        raise InputError(error.message, hint="Nothing can be saved from it: take it from a backup.") from None
    if not isinstance(examined.source, (LmdbStore, Hdf5Store)):
        raise UsageError(
            f"{path} is no LMDB or HDF5 store; only these are repaired.",
            hint="`pgtools store verify` names what is damaged, `pgtools store subset` leaves it out.",
        )
    report = check(examined, settings)
    if not report.faults:
        return report
    if _is_misled(examined, report):
        # One page of the tree leads to thousands of images, which may all be whole.
        examined = examine(path, salvage=True)
        report = check(examined, settings)
    if examined.headless:
        raise InputError(
            f"{path}: its header, its count and its records are lost, so nobody can tell which level was its top; "
            "nothing was changed.",
            hint="Take it from a backup.",
        )
    begun = time.monotonic()
    kept = [index for index in range(examined.count) if index not in report.lost]
    if not kept:
        raise InputError(f"{path}: no image can be saved; nothing was changed.", hint="Take it from a backup.")
    _check_labels(examined, report)
    others = others_of(examined, drops=bool(report.lost))
    job = _Job(examined, report, kept, _plan(examined, report, kept), others.carried)
    _check_output(examined, job.plan, others)
    job.write()
    lost = examined.labels.lost and examined.labels.beside is None
    seconds = time.monotonic() - begun
    return Repaired(report, len(kept), report.lost, job.rebuilt, lost, seconds, tuple(others.dropped))


@dataclass(frozen=True)
class _Job:
    """One store on its way: what is there, what is kept of it, and what it becomes."""

    examined: Examined
    report: Report
    kept: list[int]
    plan: Plan
    carried: Mapping[bytes, bytes]

    @property
    def rebuilt(self) -> int:
        return len(self.report.damaged - self.report.lost.keys())

    @functools.cached_property
    def faulty(self) -> set[tuple[int, int]]:
        """(image, level) of the levels that are made anew."""
        faults = self.report.faults
        return {(f.image, f.level) for f in faults if f.image is not None and f.level is not None}

    def write(self) -> None:
        path = self.examined.path
        with written_aside(path) as aside:
            writer = self._writer(aside)
            with writer:
                built = map_ahead(lambda index: self._build(index, writer), self.kept)
                for encoded, record, label in track(built, "Repairing", len(self.kept)):
                    writer.append(encoded, record, label)
                if isinstance(writer, LmdbRebuilder):
                    writer.carry(self.carried)
            _read_back(aside, path)
        if self.examined.labels.beside is None:
            writer.stands_at(path)

    def _writer(self, aside: Path) -> LmdbRebuilder | Hdf5Rebuilder:
        store, header = self.examined.source, self.examined.header
        if isinstance(store, LmdbStore):
            return LmdbRebuilder(aside, self.plan, header.codecs if header else codecs_of(self.examined, store))
        return Hdf5Rebuilder(aside, self.plan)

    def _build(self, index: int, writer: LmdbRebuilder | Hdf5Rebuilder) -> tuple[Any, Record, int | None]:
        """Return one image ready to be appended; it is the same as before where it had no fault."""
        (image,) = self.examined.load([index], self.examined.levels)
        attributes = image.record.attributes if image.record else {}
        numbers = self.examined.labels.numbers
        label = None if numbers is None else int(numbers[index])
        top, stored = self.plan.resolution, image.stored
        whole = {level: stored[level] for level in stored if level == top or (index, level) not in self.faulty}
        encoded = writer.rebuild(whole, pixels(stored[top], top))
        return encoded, Record(image.name or f"{index:08d}", attributes), label


def _plan(examined: Examined, report: Report, kept: list[int]) -> Plan:
    header, colour, numbers = examined.header, examined.source.colour, examined.labels.numbers
    if isinstance(examined.source, LmdbStore):
        colour = "grey" if report.grey else "rgb"
    origin = dict(header.origin) if header else {"name": examined.path.resolve().name, "made": "store verify --repair"}
    if not examined.ours and len(examined.levels) > 1:
        origin[LEVELS_BY] = ANOTHER_PROGRAM
    before = origin.get("repaired")
    counts = {"dropped": len(report.lost), "rebuilt": len(report.damaged - report.lost.keys())}
    if isinstance(before, dict):  # an earlier repair
        counts = {name: n + (old if type(old := before.get(name)) is int else 0) for name, n in counts.items()}
    classes = None
    if numbers is not None:
        classes = max(int(numbers.max()) + 1, (header.classes if header else examined.source.classes) or 0)
    return Plan(
        len(kept),
        examined.levels[0],
        colour=colour,
        classes=classes,
        origin={**origin, "repaired": counts},
        stem=examined.path.name,
    )


def _check_labels(examined: Examined, report: Report) -> None:
    """Refuse what would part images from labels beside them that are not pgtools' to change."""
    beside = examined.labels.beside
    if beside is None:
        return
    if report.lost:
        raise OutputError(
            f"{len(report.lost)} images of {examined.path} cannot be saved; its labels would no longer fit.",
            hint=f"Move {beside.name} away, or take the whole images and labels with `pgtools store subset`.",
        )
    if examined.labels.faults and (examined.ours or len(report.faults) == len(examined.labels.faults)):
        raise InputError(
            f"{beside} is not what pgtools wrote, and is not repaired: {examined.labels.faults[-1]}",
            hint=f"Take it from a backup, or move {beside.name} away.",
        )


def _check_output(examined: Examined, plan: Plan, others: Others) -> None:
    """Refuse now what could not be replaced later: what holds more than images, or has no room for a second one."""
    path, format = examined.path, lmdb.FORMAT if isinstance(examined.source, LmdbStore) else hdf5.FORMAT
    check_outputs([Output(path, format)], overwrite=True)
    if others.blocking:
        raise OutputError(
            f"{path} also holds {', '.join(others.blocking)}, which a repaired store would lack; it is not replaced.",
            hint="`pgtools store convert` or `subset` writes a new store beside it.",
        )
    expected = estimated_bytes(format.name, plan)
    check_free_space(path.absolute().parent, max(expected, bytes_of(path)) if not examined.ours else bytes_of(path))


def _is_misled(examined: Examined, report: Report) -> bool:
    """Whether an LMDB's tree does not lead to all that stands on its pages."""
    store = examined.source
    if not isinstance(store, LmdbStore) or isinstance(store.pages, ScannedPages):
        return False
    if not examined.walked:
        return True
    wanted = {layout.LMDB_LENGTH, layout.LMDB_HEADER, layout.LMDB_LABELS, *map(layout.lmdb_record_key, report.damaged)}
    wanted |= {layout.lmdb_image_key(level, index) for level in examined.levels for index in report.damaged}
    return hides_keys(store.pages, wanted)


def _read_back(aside: Path, path: Path) -> None:
    """Check what was written, before it takes the old store's place."""
    report = check(examine(aside), VerifySettings(quick=True))
    if report.faults:
        raise OutputError(
            f"The repaired {path} reads back with a fault: {report.faults[0]}. The old one stays.",
            hint="Check the disk, or write to another.",
        )
