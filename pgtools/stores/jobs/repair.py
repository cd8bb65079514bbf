"""A damaged store built anew from what can be saved; the old one stays until the new one is whole."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError, OutputError, UsageError
from pgtools.imaging.pyramid import levels_below, mean_pyramid
from pgtools.runtime.files import check_free_space, path_lock, remove_stale, written_aside
from pgtools.runtime.progress import track
from pgtools.runtime.workers import map_ahead
from pgtools.stores import layout
from pgtools.stores.codecs import LOSSLESS, codec_for, encode
from pgtools.stores.formats import hdf5, lmdb
from pgtools.stores.formats.hdf5 import Hdf5Store, Hdf5Writer
from pgtools.stores.formats.labels import labels_path, read_labels_file
from pgtools.stores.formats.lmdb import Encoded, LmdbStore, LmdbWriter
from pgtools.stores.jobs.convert import bytes_of
from pgtools.stores.jobs.examine import Examined, Loaded, codec_of_level, examine, stored_labels
from pgtools.stores.jobs.settings import VerifySettings
from pgtools.stores.jobs.verify import Report, check, pixels
from pgtools.stores.layout import Header, Record, StoredRecord
from pgtools.stores.source import ImageSource, image_hash
from pgtools.stores.writer import Ledger, Plan, Pyramid
from pgtools.stores.writing import Output, check_outputs, estimated_bytes

OWN_KEYS = re.compile(rb"\d+-\d+|length|pgtools-.*")


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
    """

    found: Report
    kept: int
    dropped: Mapping[int, str]
    rebuilt: int
    labels_lost: bool
    seconds: float


def repair(path: Path, settings: VerifySettings) -> Repaired | Report:
    """Check a store and, if it has faults, build it anew from what can be saved.

    Tops are copied byte for byte, never encoded again. Images whose top is missing, does not decode or is not what was
    stored are dropped; levels, records, count and fingerprint are made anew where they are damaged. The new store is
    read back before it takes the old one's place.

    Args:
        path: an LMDB or HDF5 store, ours or other people's.
        settings: see `VerifySettings`.

    Returns:
        What was done, or the report alone if there was nothing to repair.

    Raises:
        InputError: it cannot be opened, or no image can be saved.
        UsageError: it is of a format that is not repaired.
        OutputError: the new store cannot be written, or the old one holds more than images.
    """
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
    if isinstance(examined.source, LmdbStore) and not _is_walkable(examined.source):
        # One page of the tree leads to thousands of images, which may all be whole.
        examined = examine(path, salvage=True)
        report = check(examined, settings)
    begun = time.monotonic()
    kept = [index for index in range(examined.count) if index not in report.lost]
    if not kept:
        raise InputError(f"{path}: no image can be saved; nothing was changed.", hint="Take it from a backup.")
    labels, labels_lost = _labels(examined)
    job = _Job(examined, report, kept, labels, _plan(examined, report, kept, labels))
    _check_output(examined, job.plan)
    job.write()
    return Repaired(report, len(kept), report.lost, job.rebuilt, labels_lost, time.monotonic() - begun)


@dataclass(frozen=True)
class _Job:
    """One store on its way: what is there, what is kept of it, and what it becomes."""

    examined: Examined
    report: Report
    kept: list[int]
    labels: NDArray[np.int64] | None
    plan: Plan

    @property
    def rebuilt(self) -> int:
        return len(self.report.damaged - self.report.lost.keys())

    def write(self) -> None:
        path = self.examined.path
        with path_lock(path):
            remove_stale(path)
            with written_aside(path) as aside:
                writer = self._writer(aside)
                with writer:
                    built = map_ahead(lambda index: self._build(index, writer), self.kept)
                    for encoded, record, label in track(built, "Repairing", len(self.kept)):
                        writer.append(encoded, record, label)
                _read_back(aside, path)
            writer.stands_at(path)

    def _writer(self, aside: Path) -> LmdbRebuilder | Hdf5Rebuilder:
        store = self.examined.source
        if isinstance(store, LmdbStore):
            return LmdbRebuilder(aside, self.plan, _codecs(self.examined, store))
        return Hdf5Rebuilder(aside, self.plan)

    def _build(self, index: int, writer: LmdbRebuilder | Hdf5Rebuilder) -> tuple[Any, Record, int | None]:
        """Return one image ready to be appended; it is the same as before where it had no fault."""
        (image,) = self.examined.load([index], self.examined.levels)
        found = image.record
        record = Record(found.name, found.attributes) if isinstance(found, StoredRecord) else Record(f"{index:08d}")
        label = None if self.labels is None else int(self.labels[index])
        top = pixels(image.stored[self.plan.resolution], self.plan.resolution)
        if isinstance(writer, LmdbRebuilder):
            whole = self.examined.ours and index not in self.report.damaged
            return writer.rebuild(image, top, whole=whole), record, label
        return writer.encode(mean_pyramid(top[: 1 if self.plan.colour == "grey" else 3])), record, label


class RepairedLedger(Ledger):
    """A ledger whose header keeps the origin of the store that was repaired."""

    def header(self, codecs: Mapping[int, str]) -> Header:
        """Return the header: its origin is the old one, and what it lacks."""
        header = super().header(codecs)
        return replace(header, origin={**header.origin, **self._plan.origin})


class LmdbRebuilder(LmdbWriter):
    """Writes an LMDB whose tops are given as they were stored.

    Args:
        path, plan: as for every writer.
        codecs: level → codec; that of the top is what the tops have.
    """

    def __init__(self, path: Path, plan: Plan, codecs: dict[int, str]) -> None:
        super().__init__(path, plan)
        self._codecs, self._ledger = codecs, RepairedLedger(plan)

    def rebuild(self, image: Loaded, top: NDArray[np.uint8], *, whole: bool) -> Encoded:
        """Return one image with the old bytes of its top, and of every level if it is whole.

        Args:
            image: what was stored.
            top: its top, uint8 (3, R, R).
            whole: no level is damaged.
        """
        old = {level: data for level, data in image.stored.items() if isinstance(data, bytes)}
        sha256 = image_hash(top)
        if whole and old.keys() >= set(self.plan.levels):
            return Encoded({level: old[level] for level in self.plan.levels}, sha256, sha256)
        pyramid: Pyramid = mean_pyramid(top[: 1 if self.plan.colour == "grey" else 3])
        lower = {level: encode(pyramid[level], self._codecs[level]) for level in self.plan.levels[1:]}
        return Encoded({self.plan.resolution: old[self.plan.resolution], **lower}, sha256, sha256)


class Hdf5Rebuilder(Hdf5Writer):
    """Writes an HDF5 store whose header keeps the old origin."""

    def __init__(self, path: Path, plan: Plan) -> None:
        super().__init__(path, plan)
        self._ledger = RepairedLedger(plan)


def _plan(examined: Examined, report: Report, kept: list[int], labels: NDArray[np.int64] | None) -> Plan:
    header, colour = examined.header, examined.source.colour
    if isinstance(examined.source, LmdbStore):
        colour = "grey" if report.grey else "rgb"
    origin = dict(header.origin) if header else {"name": examined.path.resolve().name, "made": "store verify --repair"}
    before = origin.get("repaired")
    counts = {"dropped": len(report.lost), "rebuilt": len(report.damaged - report.lost.keys())}
    if isinstance(before, dict):  # an earlier repair
        counts = {name: n + (old if type(old := before.get(name)) is int else 0) for name, n in counts.items()}
    classes = None
    if labels is not None:
        classes = max(int(labels.max()) + 1, (header.classes if header else examined.source.classes) or 0)
    return Plan(
        len(kept),
        examined.levels[0],
        colour=colour,
        classes=classes,
        origin={**origin, "repaired": counts},
        stem=examined.path.name,
    )


def _codecs(examined: Examined, store: LmdbStore) -> dict[int, str]:
    """The codecs of the new store: what the tops have, and below it what was there, if it is known and lossless."""
    top = examined.levels[0]
    header = examined.header
    told = header.codecs if header else {level: codec_of_level(examined, store, level) for level in examined.levels}
    auto = {level: codec_for(level, top, "auto", 0) for level in levels_below(top)}
    lower = {level: told[level] for level in examined.levels[1:] if told[level] in LOSSLESS}
    return {**auto, **lower, top: told[top]}


def _labels(examined: Examined) -> tuple[NDArray[np.int64] | None, bool]:
    """Return the labels, from beside an HDF5 file if its own are damaged, and whether they are lost."""
    try:
        return stored_labels(examined), False
    except InputError:
        if isinstance(examined.source, Hdf5Store):
            try:
                labels = read_labels_file(labels_path(examined.path), examined.count)
            except InputError:
                return None, True
            return labels, labels is None
        return None, True


def _check_output(examined: Examined, plan: Plan) -> None:
    """Refuse now what could not be replaced later: what holds more than images, or has no room for a second one."""
    path, format = examined.path, lmdb.FORMAT if isinstance(examined.source, LmdbStore) else hdf5.FORMAT
    check_outputs([Output(path, format)], overwrite=True)
    if others := _others(examined.source, plan):
        raise OutputError(
            f"{path} also holds {', '.join(others)}, which a repaired store would lack; it is not replaced.",
            hint="`pgtools store convert` or `subset` writes a new store beside it.",
        )
    expected = estimated_bytes(format.name, plan)
    check_free_space(path.absolute().parent, max(expected, bytes_of(path)) if not examined.ours else bytes_of(path))


def _others(store: ImageSource, plan: Plan) -> list[str]:
    """Names of the first few things in a store that are neither images nor pgtools' own."""
    if isinstance(store, Hdf5Store):
        own = {*hdf5.COLUMNS, *map(layout.hdf5_dataset, plan.levels), layout.HDF5_HEADER}
        with store.reading() as file:
            return sorted({*file, *file.attrs} - own)[:3]
    return list(itertools.islice(_other_keys(store), 3)) if isinstance(store, LmdbStore) else []


def _is_walkable(store: LmdbStore) -> bool:
    try:
        return sum(1 for _ in store.pages.keys()) > 0  # noqa: SIM118
    except InputError:
        return False


def _other_keys(store: LmdbStore) -> Iterator[str]:
    try:
        keys = store.pages.keys()
        for key in keys:
            if not OWN_KEYS.fullmatch(key):
                yield repr(key.decode("utf-8", "replace"))
    except InputError:  # what lies on damaged pages cannot be saved, whatever it is
        return


def _read_back(aside: Path, path: Path) -> None:
    """Check what was written, before it takes the old store's place."""
    report = check(examine(aside), VerifySettings(quick=True))
    if report.faults:
        raise OutputError(
            f"The repaired {path} reads back with a fault: {report.faults[0]}. The old one stays.",
            hint="Check the disk, or write to another.",
        )
