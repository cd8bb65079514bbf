"""What every format's writer is told and does; the job around it is in `writing`."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from pgtools import __version__
from pgtools.imaging.pyramid import levels_below
from pgtools.stores.layout import Colour, Header, Record

E = TypeVar("E")
# level → uint8 (C, level, level) for every level from the top down to 4; C = 1 for grey stores, else 3.
Pyramid = Mapping[int, NDArray[np.uint8]]


@dataclass(frozen=True)
class Plan:
    """What a set of stores is to hold, known before the first image.

    Attributes:
        count: how many images will come.
        resolution: their side.
        colour: "grey" to store one channel of three equal ones.
        classes: number of classes; None if the images come without labels.
        codec: one of `codecs.CODECS`, where the format has a choice.
        quality: of JPEG, 1 to 100.
        origin: where the images come from, for the header: `name` and whatever else the maker tells, as plain JSON.
        stem: what files inside a folder are named after: the name of its final path, which `write_stores` fills in.
    """

    count: int
    resolution: int
    colour: Colour = "rgb"
    classes: int | None = None
    codec: str = "auto"
    quality: int = 95
    origin: Mapping[str, Any] = field(default_factory=dict)
    stem: str = ""

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels to be written, largest first."""
        return levels_below(self.resolution)


class Writer(ABC, Generic[E]):
    """Writes a new set of images in one format, image after image, at a path that does not exist yet.

    `with` closes it; leaving the block without an error calls `finish` first. Whoever uses it writes aside and renames.
    """

    def __init__(self, path: Path, plan: Plan) -> None:
        self.path, self.plan = path, plan

    @abstractmethod
    def encode(self, pyramid: Pyramid) -> E:
        """Return one image as the format keeps it. Called from several threads at once; touches no file."""

    def encode_packed(self, pyramid: Pyramid, packed: bytes | None) -> E:
        """As `encode`, for an image that comes encoded too; see `Item`. Most formats have no use for that."""
        return self.encode(pyramid)

    @abstractmethod
    def append(self, encoded: E, record: Record, label: int | None) -> None:
        """Add the next image. Called from one thread, in order."""

    def finish(self) -> None:
        """Add what comes after the last image."""

    def close(self) -> None:
        """Let go of the files."""

    def stands_at(self, path: Path) -> None:
        """Do what is left once the whole set stands at its final path."""

    def __enter__(self) -> Writer[E]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.close()


class Ledger:
    """What a store of pgtools adds up while its images come: the fingerprint and the labels."""

    def __init__(self, plan: Plan) -> None:
        self._plan, self._content, self._given = plan, hashlib.sha256(), hashlib.sha256()
        self._labels = array("q")
        self.count = 0

    def add(self, sha256: str, label: int | None, *, given: str | None = None) -> None:
        """Add one image.

        Args:
            sha256: of the image as the store gives it back.
            label: its class, if the plan has classes.
            given: of the image as it came, if a lossy codec changed it.
        """
        self._content.update(bytes.fromhex(sha256))
        self._given.update(bytes.fromhex(given or sha256))
        if self._plan.classes is not None:
            self._labels.append(-1 if label is None else label)
        self.count += 1

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """The labels so far, int64; None if the plan has no classes."""
        return None if self._plan.classes is None else np.asarray(self._labels, dtype=np.int64)

    def header(self, codecs: Mapping[int, str]) -> Header:
        """Return the header of the store as it stands."""
        origin = {**self._plan.origin, "sha256": self._given.hexdigest(), "by": f"pgtools {__version__}"}
        return Header(
            count=self.count,
            levels=self._plan.levels,
            content=self._content.hexdigest(),
            codecs=dict(codecs),
            colour=self._plan.colour,
            classes=self._plan.classes,
            origin=origin,
        )
