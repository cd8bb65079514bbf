"""Every fault of a set of images, found by reading all of it: checksums, levels, labels, counts, fingerprint."""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError, UsageError
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.runtime.progress import bar
from pgtools.runtime.workers import map_ahead
from pgtools.stores.formats.hdf5 import Hdf5Store
from pgtools.stores.formats.lmdb import LmdbStore
from pgtools.stores.jobs.examine import Examined, examine
from pgtools.stores.jobs.settings import VerifySettings
from pgtools.stores.jobs.stored import Loaded, Stored, pixels
from pgtools.stores.layout import StoredRecord, record_check
from pgtools.stores.source import image_hash

BATCH_BYTES = 16 << 20
# Decoders of different versions may differ by this in what they make of a JPEG, and so in its means.
LOSSY_DIFFERENCE = 2
# Other people's programs make lower levels with other filters: only a larger mean difference is another picture.
OTHER_PICTURE = 16.0
CHANGED = "its stored bytes have changed (CRC-32)"
RECORD_CHANGED = "its record or its label has changed (CRC-32)"
OTHER_PIXELS = "its pixels are not those that were stored (SHA-256)"
WRONG_HASH = "its record's SHA-256 is of other pixels, though its stored bytes are those that were stored (CRC-32)"


@dataclass(frozen=True)
class Fault:
    """Something that is not as it should be.

    Attributes:
        what: in words.
        image: number of the image; None for a fault of the whole.
        name: of the image, where it is known.
        level: where in the image; None for its record.
        lost: the image's top cannot be saved.
    """

    what: str
    image: int | None = None
    name: str = ""
    level: int | None = None
    lost: bool = False

    def __str__(self) -> str:
        if self.image is None:
            return self.what
        named = f" ({self.name})" if self.name else ""
        return f"image {self.image}{named}{f' at {self.level}²' if self.level else ''}: {self.what}"


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        images: how many were looked at.
        faults: those of the whole, then those of the images in order.
        seconds: what the check took.
        grey: every top that could be read has three equal channels; looked at only where a header says so or is
            damaged, else False.
        repairable: it is a store of a format that `repair` takes.
        notes: what is worth saying and no fault.
    """

    images: int
    faults: tuple[Fault, ...]
    seconds: float
    grey: bool = False
    repairable: bool = False
    notes: tuple[str, ...] = ()

    @property
    def lost(self) -> dict[int, str]:
        """Number → name of the images whose top cannot be saved."""
        return {fault.image: fault.name for fault in self.faults if fault.lost and fault.image is not None}

    @property
    def damaged(self) -> set[int]:
        """Numbers of the images that have any fault."""
        return {fault.image for fault in self.faults if fault.image is not None}


@dataclass(frozen=True)
class Checked:
    """What a look at one image gave.

    Attributes:
        faults: at most one a level and one of the record.
        sha256: of the top as it was stored, or as it is where there is no record; None if neither is known.
        grey: three equal channels, where that was looked at.
    """

    faults: list[Fault]
    sha256: str | None
    grey: bool


def verify(path: Path, settings: VerifySettings) -> Report:
    """Return every fault of a store, or of any other source.

    A store of pgtools is held against its checksums. In any source every image is decoded, and every stored level
    compared with the 2×2 means of the top; in other people's stores, whose levels may come from another filter, only
    another picture is a fault there.

    Args:
        path: what to check.
        settings: see `VerifySettings`; `repair` is not looked at.

    Raises:
        InputError: the path holds no source that can be opened, with or without its header.
        UsageError: checksums are to be checked where there are none, or a level that is not stored.
    """
    return check(examine(path, settings.format), settings)


def check(examined: Examined, settings: VerifySettings) -> Report:
    """Return every fault of what was opened for a check; see `verify`."""
    begun, levels = time.monotonic(), _levels(examined, settings)
    size = max(1, min(64, BATCH_BYTES // (3 * levels[0] ** 2)))
    batches = [range(start, min(start + size, examined.count)) for start in range(0, examined.count, size)]
    one_by_one = _check_stored if settings.quick else _check_pixels
    images: list[Fault] = []
    content, known, grey = hashlib.sha256(), True, not settings.quick

    def check_batch(indices: range) -> list[Checked]:
        return [one_by_one(image, examined, levels) for image in examined.load(indices, levels)]

    with bar("Checking", examined.count) as advance:
        for results in map_ahead(check_batch, batches):
            for one in results:
                images += one.faults
                known, grey = known and one.sha256 is not None, grey and one.grey
                content.update(bytes.fromhex(one.sha256 or ""))
            advance(len(results))
    whole = [*examined.faults, *examined.labels.faults]
    header = examined.header if examined.trusted else None
    if header and known and content.hexdigest() != header.content:
        whole.append("its header's fingerprint is that of other images, or of another order")
    if header and header.colour == "grey" and not (grey or settings.quick):
        whole.append("its header calls the images grey, and some are not")
    grey = grey and _asks_colour(examined)
    repairable = isinstance(examined.source, (LmdbStore, Hdf5Store))
    faults = (*map(Fault, whole), *images)
    return Report(examined.count, faults, time.monotonic() - begun, grey, repairable, examined.labels.notes)


def _levels(examined: Examined, settings: VerifySettings) -> tuple[int, ...]:
    """The levels to look at; one level is looked at together with the top, from which it is made."""
    if settings.quick and not (examined.ours and _has_checksums(examined)):
        raise UsageError(f"{examined.source.name} has no checksums to check.", hint="Leave --quick out.")
    if settings.level is None:
        return examined.levels
    if settings.level not in examined.levels:
        stored = ", ".join(map(str, examined.levels))
        raise UsageError(f"{examined.source.name} does not store the level {settings.level}; it stores {stored}.")
    return tuple(dict.fromkeys((examined.levels[0], settings.level)))


def _has_checksums(examined: Examined) -> bool:
    images = examined.load(range(min(16, examined.count)), examined.levels[-1:])
    return any(image.record and image.record.crc32 for image in images)


def _check_stored(image: Loaded, examined: Examined, levels: Sequence[int]) -> Checked:
    """Look only at the checksums of what is stored."""
    if image.is_absent:
        return _absent(image)
    faults = _record_faults(image, examined)
    for level in levels:
        stored = image.stored[level]
        if isinstance(stored, InputError):
            faults.append(_fault(image, level, stored.message))
        elif _is_changed(stored, level, image.record):
            faults.append(_fault(image, level, CHANGED))
    return Checked(faults, image.record.sha256 or None if image.record else None, False)


def _check_pixels(image: Loaded, examined: Examined, levels: Sequence[int]) -> Checked:
    """Decode every level; hold the top against its hash and the others against the top's means."""
    if image.is_absent:
        return _absent(image)
    faults, top_level = _record_faults(image, examined), levels[0]
    is_whole = not faults
    top, fault = _decoded(image, top_level)
    found = None if top is None else image_hash(top)
    told = image.record.sha256 or None if image.record else None
    if top is not None and (what := _top_fault(image, top_level, same=told in (None, found))):
        fault, top = what, None if what == OTHER_PIXELS else top
    if fault:
        faults.append(_fault(image, top_level, fault, lost=top is None))
    means = {} if top is None else _means(top, levels[1:])
    for level in levels[1:]:
        if what := _level_fault(image, level, means.get(level), examined):
            faults.append(_fault(image, level, what))
    # What a changed hash was is known by the pixels; what a lossy top was, where decoders differ, by the hash.
    sha256 = found if fault == WRONG_HASH and not (examined.lossy and is_whole) else told or found
    return Checked(faults, sha256, top is None or not _asks_colour(examined) or _is_grey(top))


def _absent(image: Loaded) -> Checked:
    return Checked([Fault("nothing is stored of it", image.index, lost=True)], None, True)


def _top_fault(image: Loaded, level: int, *, same: bool) -> str:
    """Return what is wrong with a top that decodes; "" if nothing is.

    Of two checksums that disagree one is damaged: bytes that have the CRC-32 of their record are what was stored, and
    it is the record's hash that has changed, or a decoder.

    Args:
        image: what is stored.
        level: the top.
        same: its pixels have the SHA-256 of the record, or there is none.
    """
    known = bool(image.record and level in image.record.crc32)
    changed = _is_changed(image.stored[level], level, image.record)
    if same:
        return f"{CHANGED}, but not its pixels" if changed else ""
    return WRONG_HASH if known and not changed else OTHER_PIXELS


def _means(top: NDArray[np.uint8], levels: Sequence[int]) -> dict[int, NDArray[np.uint8]]:
    """Return the lower levels of an image, uint8 (3, level, level): channel by channel, which stays in the cache."""
    channels = [mean_pyramid(channel) for channel in top] if levels else []
    return {level: np.stack([channel[level] for channel in channels]) for level in levels}


def _level_fault(image: Loaded, level: int, expected: NDArray[np.uint8] | None, examined: Examined) -> str:
    """Return what is wrong with a level below the top; "" if nothing is.

    Args:
        image: what is stored.
        level: which.
        expected: the top's means, uint8 (3, level, level); None if the top is damaged.
        examined: tells how close they have to be.
    """
    if _is_changed(image.stored[level], level, image.record):
        return CHANGED
    found, fault = _decoded(image, level)
    if found is None or expected is None or np.array_equal(found, expected):
        return fault
    apart = np.abs(found.astype(np.int16) - expected)
    if examined.by_means:
        allowed = LOSSY_DIFFERENCE if examined.lossy else 0
        return f"differs from the means of the top by up to {apart.max()}" if apart.max() > allowed else ""
    return "shows another picture than the top" if apart.mean() > OTHER_PICTURE else ""


def _record_faults(image: Loaded, examined: Examined) -> list[Fault]:
    """Return what is wrong with a record, which is whole only together with the image's label."""
    record, numbers = image.record, examined.labels.numbers
    if what := examined.labels.restored.get(image.index):
        return [Fault(what, image.index, image.name)]
    if image.damage:
        return [Fault(image.damage, image.index, image.name)]
    if record is None:
        return [Fault("its record is missing", image.index)] if examined.ours else []
    if record.check is None or examined.labels.lost:
        return []
    label = None if numbers is None else int(numbers[image.index])
    return [] if record.check == record_check(record, label) else [Fault(RECORD_CHANGED, image.index, image.name)]


def _fault(image: Loaded, level: int, what: str, *, lost: bool = False) -> Fault:
    return Fault(what, image.index, image.name, level, lost)


def _is_changed(stored: Stored, level: int, record: StoredRecord | None) -> bool:
    """Whether stored bytes have another CRC-32 than their record says."""
    if isinstance(stored, InputError) or record is None or level not in record.crc32:
        return False
    data = stored if isinstance(stored, bytes) else np.ascontiguousarray(stored).data
    return zlib.crc32(data) != record.crc32[level]


def _decoded(image: Loaded, level: int) -> tuple[NDArray[np.uint8] | None, str]:
    """The pixels of a level, uint8 (3, level, level), or why there are none."""
    try:
        return pixels(image.stored[level], level), ""
    except InputError as error:
        return None, error.message.removeprefix("it: ").removesuffix(".")


def _asks_colour(examined: Examined) -> bool:
    return examined.header is not None and (examined.header.colour == "grey" or not examined.trusted)


def _is_grey(image: NDArray[np.uint8]) -> bool:
    return bool(np.array_equal(image[0], image[1]) and np.array_equal(image[0], image[2]))
