"""What tables tell of photos: the five points of a face, CelebA's attributes, identities and splits."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.input.photos import PhotoSet, StoredFile
from pgtools.errors import InputError
from pgtools.stores.formats.celeba_tables import (
    ATTRIBUTES,
    COUNT,
    IDENTITIES,
    PARTITION,
    PARTS,
    READERS,
    Table,
    csv_rows,
    decoded,
)

POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
COLUMNS = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")
# What the column or the key with a photo's name is called: by Kaggle, in our own manifest, by others.
NAMES = ("image_id", "file", "name")
# The column of a manifest that says where points are from. What the detector found, it found in the photo as it is
# looked at.
SOURCE, FOUND = "landmarks_source", "facexlib"
# No photo reaches this far; a larger number is damage.
FARTHEST = 1e6

Points = NDArray[np.float64]
# Where it stands, the photo's name, its points, whether these are of the upright photo.
Entries = Iterator[tuple[str, str, Points, bool]]
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Landmarks(Mapping[str, Points]):
    """Name → float64 (5, 2) points: eyes, nose, mouth corners, left in the picture first.

    Attributes:
        points: these.
        upright: names whose points are of the photo turned upright by its EXIF orientation; those of all others are of
            the pixels as they are stored.
    """

    points: Mapping[str, Points] = field(default_factory=dict)
    upright: frozenset[str] = frozenset()

    def of(self, names: Iterable[str]) -> Landmarks:
        """Return those of photos, under the photos' names; see `match`."""
        lines = match(names, {line: line for line in self.points})
        upright = frozenset(name for name, line in lines.items() if line in self.upright)
        return Landmarks({name: self.points[line] for name, line in lines.items()}, upright)

    def __getitem__(self, name: str) -> Points:
        return self.points[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)


def read_landmarks(file: StoredFile) -> Landmarks:
    """Return the points that a table names, by the names in it.

    The name's end decides how it is read:

    - `.csv`: a header with `image_id`, `file` or `name` and `lefteye_x`, `lefteye_y`, … `rightmouth_y`: Kaggle's
      edition, and the manifest of a build, of which photos without points and further faces of a photo are left out,
      and the points that facexlib found are of the upright photo;
    - `.json`: `{name: points, …}` or `[{"file": name, "landmarks": points}, …]`, points as ten numbers or five pairs;
    - any other: CelebA's text: the number of photos, the names of the columns, then a name and ten numbers a line.

    Args:
        file: the table.

    Raises:
        InputError: it cannot be read, is not such a table, or names a photo twice; the first bad line is named.
    """
    where = str(file)
    text = decoded(_bytes(file), where)
    suffix = where.lower().rpartition(".")[2]
    if suffix == "json":
        entries = _of_json(text, where)
    else:
        entries = _of_csv(text, where) if suffix == "csv" else _of_text(text, where)
    points: dict[str, Points] = {}
    turned: set[str] = set()
    for place, name, found, upright in entries:
        if name in points:
            raise InputError(f"{where}: {place} names {name[:80]!r} a second time.", hint="Keep one of the two.")
        points[name] = found
        if upright:
            turned.add(name)
    return Landmarks(points, frozenset(turned))


def match(names: Iterable[str], known: Mapping[str, Value]) -> dict[str, Value]:
    """Return photo → value for those photos that a table knows.

    A photo without a line of its own has the line of the same name with another suffix, as CelebA's tables say .jpg of
    its PNG edition too; unless that line is another photo's, or there are two of them.

    Args:
        names: of the photos.
        known: the table: name → value.
    """
    photos = dict.fromkeys(names)
    lines: dict[str, str | None] = {}
    for line in known:
        if line not in photos:
            lines[_stem(line)] = None if _stem(line) in lines else line
    found = {name: name if name in known else lines.get(_stem(name)) for name in photos}
    return {name: known[line] for name, line in found.items() if line is not None}


@dataclass(frozen=True)
class Annotations:
    """What CelebA's own tables say of photos.

    Attributes:
        tables: those that are there, by their names without suffix.
        lines: of each table: photo → its row.
    """

    tables: dict[str, Table] = field(default_factory=dict)
    lines: dict[str, dict[str, int]] = field(default_factory=dict)

    def of(self, name: str) -> dict[str, bool | int | str]:
        """Return what is known of a photo.

        The 40 attributes as bools, `identity` as int, and `split` as "train", "valid" or "test"; a table that is not
        there, or does not list the photo, gives nothing.

        Args:
            name: of the photo.
        """
        told: dict[str, bool | int | str] = {}
        for stem, table in self.tables.items():
            if name not in self.lines[stem]:
                continue
            values = table.values[self.lines[stem][name]].tolist()
            if stem == ATTRIBUTES:
                told |= {column: value > 0 for column, value in zip(table.columns, values, strict=True)}
            elif stem == IDENTITIES:
                told["identity"] = values[0]
            elif stem == PARTITION:
                told["split"] = PARTS[values[0]]
        return told


def read_annotations(photos: PhotoSet) -> Annotations:
    """Return what CelebA's tables beside the photos say; empty where there are none.

    Raises:
        InputError: a table cannot be read or is damaged; the first bad line is named.
    """
    tables = {stem: READERS[stem](_bytes(file), str(file)) for stem, file in photos.tables.items()}
    return Annotations(tables, {stem: match(photos.files, table.rows) for stem, table in tables.items()})


def _stem(name: str) -> str:
    """Return a name without its suffix."""
    return name[: name.rindex(".")] if "." in name.rpartition("/")[2] else name


def _bytes(file: StoredFile) -> bytes:
    try:
        return file.read()
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}).") from None


def _of_text(text: str, where: str) -> Entries:
    lines = text.split("\n")
    counted = COUNT.fullmatch(lines[0])
    if counted is None:
        raise InputError(f"{where}: line 1 is {lines[0].strip()[:40]!r}; expected the number of photos.")
    found = 0
    for number, line in enumerate(lines[2:], start=3):
        if line.strip():
            words = line.strip().rsplit(None, len(COLUMNS))  # a name may hold spaces
            yield f"line {number}", words[0], _points(words[1:], f"{where}: line {number}", line), False
            found += 1
    if found != int(counted[1]):
        raise InputError(f"{where}: line 1 says {counted[1]} photos; {found} follow.", hint="Is it cut short?")


def _of_csv(text: str, where: str) -> Entries:
    rows = csv_rows(text, where)
    _, header = next(rows, (1, ()))
    places = {column.strip(): i for i, column in enumerate(header)}
    name = next((places[one] for one in NAMES if one in places), None)
    if name is None or not places.keys() >= set(COLUMNS):
        raise InputError(
            f"{where}: line 1 is {','.join(header)[:80]!r}; expected the columns {NAMES[0]} (or {NAMES[1]}), "
            f"{COLUMNS[0]}, {COLUMNS[1]}, … {COLUMNS[-1]}."
        )
    columns, face, source = [places[column] for column in COLUMNS], places.get("face"), places.get(SOURCE)
    for number, row in rows:
        if len(row) != len(header):
            raise InputError(f"{where}: line {number} has {len(row)} cells; its header has {len(header)}.")
        words = [row[i] for i in columns]
        if any(words) and (face is None or row[face] in ("", "1")):
            points = _points(words, f"{where}: line {number}", ",".join(row))
            yield f"line {number}", row[name], points, source is not None and row[source] == FOUND


def _of_json(text: str, where: str) -> Entries:
    try:
        # Pairs, as a dict would drop the first of two equal keys in silence.
        told = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is no JSON ({error}).") from None
    if not isinstance(told, (tuple, list)):
        raise InputError(f"{where}: is {str(told)[:40]!r}; expected {{name: points, …}} or a list of such.")
    for number, one in enumerate(told, start=1):
        name, values = one if isinstance(told, tuple) else _listed(one)
        place = f"entry {number}"
        if not isinstance(name, str):
            raise InputError(
                f'{where}: {place} is {str(one)[:80]!r}; expected {{"{NAMES[1]}": name, "landmarks": points}}.'
            )
        yield place, name, _points(_flat(values), f"{where}: {place} ({name[:80]!r})", str(values)), False


def _listed(entry: object) -> tuple[object, object]:
    """Return name and points of one entry of a list; the name is None if there is none."""
    cells = dict(entry) if isinstance(entry, tuple) else {}
    return next((cells[one] for one in NAMES if one in cells), None), cells.get("landmarks")


def _flat(values: object) -> list[object]:
    """Return ten numbers, or five pairs, as a list of ten; what is neither as a list of another length."""
    if not isinstance(values, list):
        return []
    if len(values) == len(POINTS) and all(isinstance(pair, list) and len(pair) == 2 for pair in values):
        return [value for pair in values for value in pair]
    return values


def _points(values: Sequence[object], where: str, found: str) -> Points:
    try:
        numbers = [float(value) for value in values if type(value) in (str, int, float)]  # type: ignore[arg-type]
    except (ValueError, OverflowError):
        numbers = []
    if len(numbers) != len(COLUMNS) or len(values) != len(COLUMNS) or not all(abs(x) <= FARTHEST for x in numbers):
        text = re.sub(r"\s+", " ", found.strip())
        raise InputError(f"{where} is {text[:80]!r}; expected a photo's name and ten numbers of pixels.")
    return np.array(numbers).reshape(len(POINTS), 2)
