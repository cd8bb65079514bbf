"""What the writers of other people's formats share: the labels as they come, and care for what stands at their path."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError, OutputError
from pgtools.stores.layout import Record
from pgtools.stores.writer import Plan


class Labels:
    """Class numbers that are gathered image by image.

    Args:
        plan: tells whether the images have classes, and how many.
    """

    def __init__(self, plan: Plan) -> None:
        self._classes = plan.classes
        self._numbers = array("q")

    def add(self, label: int | None, record: Record) -> int | None:
        """Add the class of the next image; return it, or None if the set has no classes.

        Raises:
            InputError: the set has classes, and this is none of them.
        """
        if self._classes is None:
            return None
        if label is None or not 0 <= label < self._classes:
            raise InputError(f"{record.name}: its class is {label}; expected 0 to {self._classes - 1}.")
        self._numbers.append(label)
        return label

    @property
    def numbers(self) -> NDArray[np.int64] | None:
        """The class numbers so far, int64 (N,); None if the set has no classes."""
        return None if self._classes is None else np.array(self._numbers, np.int64)


def dataset_json(members: Sequence[str], labels: NDArray[np.int64] | None) -> bytes:
    """Return `dataset.json` as StyleGAN2-ADA and StyleGAN3 read it: each member with its class, or null for all."""
    listed = None if labels is None else [list(pair) for pair in zip(members, labels.tolist(), strict=True)]
    return json.dumps({"labels": listed}).encode()


class NewFolder:
    """The folder that is going to replace what stands at the final path; making it looks there, and then makes it.

    Args:
        aside: the folder to make, beside the final path.
        plan: its `stem` is the final path's name.
        ours: whether a file of this relative path (with `/`) can have come from this writer.
        what: how the format is called in the error.

    Raises:
        OutputError: a folder stands at the final path and holds something that this writer does not write.
    """

    def __init__(self, aside: Path, plan: Plan, *, ours: Callable[[str], bool], what: str) -> None:
        self._final, self._ours, self._what = aside.with_name(plan.stem) if plan.stem else aside, ours, what
        self.check()
        aside.mkdir()

    def check(self) -> None:
        """Look at the final path again: a stranger's file may have come there since, and would be removed with it.

        Raises:
            OutputError: as when the folder was made.
        """
        if self._final.exists() and (found := self._stranger()):
            raise OutputError(
                f"{self._final} holds {found}, which is no part of {self._what}; it is not replaced.",
                hint="Name another folder, or move that file away.",
            )

    def _stranger(self) -> str:
        for folder, below, files in os.walk(self._final):
            # A link to a folder is followed by no writer of ours, so it is a stranger's.
            links = [name for name in below if Path(folder, name).is_symlink()]
            for name in (*files, *links):
                relative = Path(folder, name).relative_to(self._final).as_posix()
                if name in links or not self._ours(relative):
                    return relative
        return ""
