"""The writers of a repaired store: what is whole is written as it was stored, the rest is made anew from the top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.imaging.pyramid import mean_pyramid
from pgtools.stores.codecs import LOSSLESS, codec_for, encode
from pgtools.stores.formats.hdf5 import Hashed, Hdf5Writer
from pgtools.stores.formats.lmdb import Encoded, LmdbWriter
from pgtools.stores.jobs.examine import codec_of
from pgtools.stores.jobs.stored import Stored, pixels
from pgtools.stores.layout import Header, Record
from pgtools.stores.source import image_hash
from pgtools.stores.writer import Ledger, Plan, Pyramid


class RepairedLedger(Ledger):
    """A ledger whose header keeps the origin of the store that was repaired."""

    def header(self, codecs: Mapping[int, str]) -> Header:
        """Return the header: its origin is the old one, and what it lacks."""
        header = super().header(codecs)
        return replace(header, origin={**header.origin, **self._plan.origin})


class LmdbRebuilder(LmdbWriter):
    """Writes an LMDB whose whole levels are given as they were stored.

    Args:
        path, plan: as for every writer.
        told: level → codec of the old store, which is kept where it is lossless.
    """

    def __init__(self, path: Path, plan: Plan, told: Mapping[int, str]) -> None:
        super().__init__(path, plan)
        self._told = dict(told)
        lossless = {level: codec for level, codec in self._told.items() if codec in LOSSLESS}
        self._lossless = {level: codec_for(level, 0, "auto", 0) for level in plan.levels} | lossless
        self._ledger = RepairedLedger(plan)
        self._seen: dict[int, set[str]] = {level: set() for level in plan.levels}

    def rebuild(self, whole: Mapping[int, Stored], top: NDArray[np.uint8]) -> Encoded:
        """Return one image with the bytes of its whole levels; the others are means of the top, without loss.

        Args:
            whole: level → encoded bytes; the top is among them.
            top: uint8 (3, R, R).
        """
        levels = {level: data for level, data in whole.items() if isinstance(data, bytes)}
        if missing := [level for level in self.plan.levels if level not in levels]:
            pyramid: Pyramid = mean_pyramid(top[: 1 if self.plan.colour == "grey" else 3])
            levels |= {level: encode(pyramid[level], self._lossless[level]) for level in missing}
        sha256 = image_hash(top)
        return Encoded({level: levels[level] for level in self.plan.levels}, sha256, sha256)

    def append(self, encoded: Encoded, record: Record, label: int | None) -> None:
        """Add the next image."""
        for level, data in encoded.levels.items():
            self._seen[level].add(codec_of(data))
        super().append(encoded, record, label)

    def carry(self, others: Mapping[bytes, bytes]) -> None:
        """Add keys of other programs."""
        for key, value in others.items():
            self._put(key, value)

    def finish(self) -> None:
        """Add the labels, the count and the header, which says what is there."""
        self._codecs = {level: _codec(self._seen[level], self._told.get(level)) for level in self.plan.levels}
        super().finish()


class Hdf5Rebuilder(Hdf5Writer):
    """Writes an HDF5 store whose whole levels are given as they were stored, and whose header keeps the old origin."""

    def __init__(self, path: Path, plan: Plan) -> None:
        super().__init__(path, plan)
        self._ledger = RepairedLedger(plan)

    def rebuild(self, whole: Mapping[int, Stored], top: NDArray[np.uint8]) -> Hashed:
        """Return one image with its whole levels; the others are means of the top.

        Args:
            whole: level → uint8 (C, level, level).
            top: uint8 (3, R, R).
        """
        channels = 1 if self.plan.colour == "grey" else 3
        old = {level: pixels(data, level)[:channels] for level, data in whole.items()}
        if all(level in old for level in self.plan.levels):
            return self.encode({level: old[level] for level in self.plan.levels})
        return self.encode({**mean_pyramid(top[:channels]), **old})


def _codec(seen: set[str], told: str | None) -> str:
    """Return what a header says of a level in which these codecs were seen; `told` is what the old one said."""
    if seen == {"jpeg"} and told and told.startswith("jpeg"):
        return told
    return next(iter(seen)) if len(seen) == 1 else "jpeg" if "jpeg" in seen else "other"
