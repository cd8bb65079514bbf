"""What pgtools has to know of a format to open it by path and to write it; each format's module says it of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pgtools.imaging.fit import Fit
from pgtools.stores.source import ImageSource
from pgtools.stores.writer import Plan, Writer

ALL_SPLITS = "all"


@dataclass(frozen=True)
class Reading:
    """How a path is to be read, where its format leaves a choice.

    Attributes:
        fit: crop and resize; None for the format's own (LSUN: centre, 256², Lanczos) or none.
        split: "train", "test", … or "all"; None for the format's first.
    """

    fit: Fit | None = None
    split: str | None = None


@dataclass(frozen=True)
class Format:
    """A format that pgtools opens, and perhaps writes.

    Attributes:
        name: what `--format` and `--to` call it.
        title: what it is, one line for people.
        open: path and choices → the source.
        recognises: whether a path holds this format; cheap, and never raises.
        fits: images may have any size, so that `--crop` and `--resize` apply.
        splits: the official parts, the one that is opened by default first; None if only the files tell them.
        writer: makes a writer; None if pgtools only reads the format.
        writes: whether the writer makes a file or a folder.
        suffixes: of a path to be written, by which the format is told; the first is the usual one.
    """

    name: str
    title: str
    open: Callable[[Path, Reading], ImageSource]
    recognises: Callable[[Path], bool]
    fits: bool = False
    splits: tuple[str, ...] | None = ()
    writer: Callable[[Path, Plan], Writer[Any]] | None = None
    writes: Literal["file", "folder"] = "folder"
    suffixes: tuple[str, ...] = ()
