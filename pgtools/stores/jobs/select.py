"""Which images of a source are taken: by number, class, score and name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError, UsageError
from pgtools.runtime.progress import bar
from pgtools.stores.jobs.settings import SelectionSettings
from pgtools.stores.layout import Record
from pgtools.stores.source import ImageSource

# A million records at once would take a gigabyte.
RECORDS_AT_ONCE = 1024
SCORE = "score"
SYNTAX = "0:100,205,300:400:2"


class Selection:
    """What is to be taken, understood before any image is looked at.

    Args:
        settings: what to take; every condition that is given has to be met.

    Raises:
        UsageError: numbers or classes are no numbers.
        InputError: the file of names cannot be read, or is empty.
    """

    def __init__(self, settings: SelectionSettings) -> None:
        self.settings = settings
        self._parts = [] if settings.indices is None else [_part(text) for text in settings.indices.split(",")]
        self._labels = [] if settings.label is None else [_class_number(text) for text in settings.label.split(",")]
        self._names = None if settings.names is None else _read_names(settings.names)

    def indices(self, source: ImageSource) -> NDArray[np.int64]:
        """Return the numbers of the images to take, int64 (n,), ascending, each once, n ≥ 1.

        Records are read only where a condition asks for them.

        Raises:
            InputError: a number, class, name or attribute is not there, or nothing is left.
        """
        chosen = self._numbered(source)
        if self._labels:
            chosen = self._labelled(source, chosen)
        if self._needs_records() and len(chosen):
            chosen = self._recorded(source, chosen)
        if not len(chosen):
            raise InputError(f"{source.name}: no image meets every condition.", hint="Leave one of them out.")
        count = self.settings.num_images
        if count is None:
            return chosen
        if count > len(chosen):
            raise _too_few(source, f"{len(chosen)} images to take", count, "--num-images", len(chosen))
        return chosen[:count]

    def _needs_records(self) -> bool:
        wanted = (self.settings.min_score, self.settings.max_score, self.settings.best, self._names)
        return any(value is not None for value in wanted)

    def _numbered(self, source: ImageSource) -> NDArray[np.int64]:
        count = len(source)
        taken = np.full(count, not self._parts)
        for part in self._parts:
            if isinstance(part, slice) and not range(count)[part]:
                told = ":".join("" if end is None else str(end) for end in (part.start, part.stop, part.step))
                raise InputError(f"{source.name} has no image in {told}; it holds {count}.")
            if isinstance(part, int) and part >= count:
                raise InputError(f"{source.name} has no image {part}; it holds {count}.")
            taken[part] = True
        return np.flatnonzero(taken)

    def _labelled(self, source: ImageSource, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        labels, classes = source.labels, source.classes or 0
        if labels is None:
            raise InputError(f"{source.name} has no labels to choose by.", hint="Leave --label out.")
        for label in self._labels:
            if label >= classes:
                raise InputError(f"{source.name} has no class {label}; it has {classes}, from 0.")
        return chosen[np.isin(labels[chosen], self._labels)]

    def _recorded(self, source: ImageSource, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        found = _Found(np.full(len(chosen), np.nan), np.zeros(len(chosen), bool))
        with bar("Reading names and scores", len(chosen)) as advance:
            for start in range(0, len(chosen), RECORDS_AT_ONCE):
                chunk = chosen[start : start + RECORDS_AT_ONCE].tolist()
                for place, record in enumerate(source.records(chunk), start):
                    self._note(found, place, record, source)
                advance(len(chunk))
        self._check(found, source)
        kept, low, high = found.fits, self.settings.min_score, self.settings.max_score
        if low is not None:
            kept &= found.scores >= low  # false where there is no score
        if high is not None:
            kept &= found.scores <= high
        if self.settings.best is not None:
            kept = _best(found.scores, kept, self.settings.best, source)
        return chosen[kept]

    def _note(self, found: _Found, place: int, record: Record, source: ImageSource) -> None:
        score = record.attributes.get(SCORE)
        found.attributes.update(record.attributes)
        found.names.update({record.name} if self._names and record.name in self._names else ())
        if isinstance(score, (int, float)):
            found.scores[place] = _as_float(score, record, source)
        found.fits[place] = self._names is None or record.name in self._names

    def _check(self, found: _Found, source: ImageSource) -> None:
        """Raise InputError for what no image has: a condition on it would take none, without a word."""
        if missing := sorted((self._names or set()) - found.names):
            told = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            raise InputError(f"{self.settings.names}: {source.name} has no image to choose from that is named {told}.")
        by_score = (self.settings.min_score, self.settings.max_score, self.settings.best) != (None, None, None)
        if by_score and SCORE not in found.attributes:
            known = ", ".join(sorted(found.attributes)) or "none at all"
            raise InputError(
                f"No image of {source.name} has the attribute {SCORE}; there are: {known}.",
                hint="Only builds of pgtools give scores; choose by --indices, --label or --names.",
            )


@dataclass
class _Found:
    """What the records say: score (NaN where there is none) and whether the name fits, image by image."""

    scores: NDArray[np.float64]
    fits: NDArray[np.bool_]
    attributes: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)


def _best(scores: NDArray[np.float64], kept: NDArray[np.bool_], count: int, source: ImageSource) -> NDArray[np.bool_]:
    """The `count` best of what is kept; of equal scores the first."""
    places = np.flatnonzero(kept & ~np.isnan(scores))
    if count > len(places):
        raise _too_few(source, f"{len(places)} images with a score to choose from", count, "--best", len(places))
    best = np.zeros(len(scores), bool)
    best[places[np.argsort(-scores[places], kind="stable")[:count]]] = True
    return best


def _as_float(score: float, record: Record, source: ImageSource) -> float:
    try:
        return float(score)
    except OverflowError:  # JSON's whole numbers have no end
        raise InputError(f"{source.name}: the score of {record.name} is too large a number to compare.") from None


def _too_few(source: ImageSource, what: str, asked: int, option: str, there: int) -> InputError:
    hint = f"Pass {option} {there} or fewer." if there else f"Leave {option} out."
    return InputError(f"{source.name} has {what}; {asked} were asked for.", hint=hint)


def _part(text: str) -> int | slice:
    ends = [end.strip() for end in text.split(":")]
    if len(ends) > 3 or not all(_is_number(end) or (not end and len(ends) > 1) for end in ends):
        raise UsageError(f"--indices has the part {text!r}; expected numbers and slices from 0 up, e.g. {SYNTAX}.")
    if len(ends) == 1:
        return int(ends[0])
    if len(ends) == 3 and ends[2] and not int(ends[2]):
        raise UsageError(f"--indices has the part {text!r}; its step is 0.")
    return slice(*(int(end) if end else None for end in ends))


def _class_number(text: str) -> int:
    if not _is_number(text.strip()):
        raise UsageError(f"--label has {text!r}; expected class numbers from 0 up, e.g. 3 or 3,7.")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _read_names(path: Path) -> set[str]:
    try:
        lines = path.read_text("utf-8").replace("\r\n", "\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(f"{path}: cannot be read ({reason}).", hint="--names takes a file, one name a line.") from None
    names = {line for line in lines if line}
    if not names:
        raise InputError(f"{path} names no image.", hint="--names takes a file, one name a line.")
    return names
