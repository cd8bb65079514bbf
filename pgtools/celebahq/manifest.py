"""The manifest of a build: every face, where it is, what was done to it, its score, and why it was kept or not."""

from __future__ import annotations

import contextlib
import csv
import importlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pgtools.celebahq.manifest_columns import OWN, Column, attribute_columns, header_columns
from pgtools.errors import InputError
from pgtools.runtime.build_format import Network
from pgtools.runtime.files import remove, written_aside

# Lines at once in memory, and in a row group of the Parquet file.
CHUNK = 10_000

Outcome = dict[str, Any]
Row = dict[str, bool | int | float | str | None]
Attributes = Callable[[str], Mapping[str, bool | int | str]]


@dataclass(frozen=True)
class Keeping:
    """Which crops are kept.

    Attributes:
        rank: crops have scores; without, all are kept, and the manifest has no ranks.
        min_score: the least score that is kept, or None.
        keep: the best so many are kept; None keeps all.
    """

    rank: bool = True
    min_score: float | None = None
    keep: int | None = None


BY_SCORE = Keeping()


def manifest_path(store: Path) -> Path:
    """Return where the manifest of a build stands: NAME-manifest.csv beside its first store."""
    return store.with_name(f"{store.stem}-manifest.csv")


def parquet_path(manifest: Path) -> Path:
    """Return where the Parquet copy of a manifest stands: beside the CSV."""
    return manifest.with_suffix(".parquet")


def crop_name(photo: str, face: int) -> str:
    """Return what a store calls a crop: as its photo, with #2, #3, … for further faces of the same photo."""
    return photo if face == 1 else f"{photo}#{face}"


def write_manifest(
    path: Path,
    names: Sequence[str],
    outcomes: Mapping[str, Outcome],
    kept: Sequence[str],
    *,
    attributes: Attributes | None = None,
    models: Mapping[str, Network] | None = None,
    choice: Keeping = BY_SCORE,
) -> None:
    """Write the manifest as CSV and, where pyarrow is installed, as Parquet beside it; docs/formats.md has the columns.

    One line a face, in the order of `names`, and one for each photo that gave none. Equal arguments give equal bytes.
    Without pyarrow, a Parquet file of an earlier build is removed, as it would tell of other crops than the CSV.

    Args:
        path: of the CSV; each file is written aside and renamed.
        names: all photos.
        outcomes: name → {"sha256", "size", "faces": [...]} or {"reason"}. A face is {"face", "score", "landmarks",
            "quad", "source", "zoom", "steps", "sha256"}, or {"face", "source", "landmarks", "reason"}.
        kept: names of the crops in the store, in its order; see `crop_name`.
        attributes: what is known of a photo: CelebA's attributes as bool (the manifest has CelebA's own 1 and −1),
            "identity" and "split".
        models: "detector", "restore", "superres" → network; told of the faces that it took part in.
        choice: see Keeping.
    """
    known = attributes or (lambda _: {})
    columns = (*OWN, *attribute_columns(map(known, names)))
    rows = _rows(names, outcomes, {name: place for place, name in enumerate(kept)}, models or {}, choice)
    asked = [column.source for column in columns[len(OWN) :]]
    lines = ((*row, *_signs(known(row[1]), asked)) for row in rows)
    with contextlib.ExitStack() as stack:
        add_to_parquet = _parquet_writer(stack, parquet_path(path), columns)
        file = stack.enter_context(stack.enter_context(written_aside(path)).open("w", newline="", encoding="utf-8"))
        file.write(",".join(column.name for column in columns) + "\n")
        while chunk := list(islice(lines, CHUNK)):
            transposed = zip(*chunk, strict=True)
            table = [column.rounded(values) for column, values in zip(columns, transposed, strict=True)]
            texts = [column.texts(values) for column, values in zip(columns, table, strict=True)]
            file.writelines(",".join(cells) + "\n" for cells in zip(*texts, strict=True))
            add_to_parquet(table)


def is_manifest(path: Path) -> bool:
    """Return whether a file begins as the manifest of a build does."""
    try:
        with path.open("rb") as file:
            return file.read(16).startswith(b"index,file,face,")
    except OSError:
        return False


def read_manifest(path: Path, *, only: Collection[str] | None = None) -> Iterator[Row]:
    """Yield the lines of a manifest's CSV as column → value; None where a column is empty.

    Values are typed: `kept` is a bool, numbers are int or float, CelebA's attributes 1 or −1. Manifests of 202,599
    photos are large, so they are read line by line.

    Args:
        path: of the CSV.
        only: the columns that are wanted, which is faster; all if None. Those it does not have are passed over.

    Raises:
        InputError: the file is no manifest, or a line of it is damaged; the line is named.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            columns = header_columns(next(reader, []))
            if columns is None:
                raise InputError(f"{path} is not the manifest of a build.", hint="Name a NAME-manifest.csv.")
            wanted = [(i, column) for i, column in enumerate(columns) if only is None or column.name in only]
            for cells in reader:
                if len(cells) != len(columns):
                    found = f"{len(cells)} cells; expected {len(columns)}"
                    raise InputError(f"{path}: line {reader.line_num} has {found}.", hint="Is it cut short?")
                yield _read_row(path, reader.line_num, wanted, cells)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a manifest ({error}).") from None


def _read_row(path: Path, line: int, wanted: Sequence[tuple[int, Column]], cells: Sequence[str]) -> Row:
    try:
        return {column.name: column.value(cells[i]) for i, column in wanted}
    except ValueError as error:
        raise InputError(f"{path}: line {line}: {error}.") from None


def _rows(
    names: Sequence[str],
    outcomes: Mapping[str, Outcome],
    index: Mapping[str, int],
    models: Mapping[str, Network],
    choice: Keeping,
) -> Iterator[tuple[Any, ...]]:
    """Yield the values of the manifest's own columns, a tuple a face or photo without one."""
    ranks = _ranks(names, outcomes) if choice.rank else {}
    for name in names:
        photo = outcomes[name]
        width, height = photo.get("size") or (None, None)
        for face in photo.get("faces") or [photo]:
            number = face.get("face")
            crop = crop_name(name, number or 1)
            yield (
                *(index.get(crop), name, number, crop in index, face.get("score"), ranks.get(crop)),
                face.get("note") if crop in index else face.get("reason") or _why_not(face, choice),
                *(photo.get("sha256"), width, height, face.get("source")),
                *(face.get("landmarks") or [None] * 10),
                *(face.get("quad") or [None] * 8),
                face.get("zoom"),
                *_done(face, models),
                face.get("sha256") if "quad" in face else None,
            )


def _ranks(names: Sequence[str], outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    """Return crop → place by score; ties go to the earlier."""
    scores = {
        crop_name(name, face["face"]): face["score"]
        for name in names
        for face in outcomes[name].get("faces", [])
        if "score" in face
    }
    return {crop: place for place, crop in enumerate(sorted(scores, key=lambda crop: -scores[crop]), start=1)}


def _why_not(face: Outcome, choice: Keeping) -> str:
    if choice.min_score is not None and face.get("score", choice.min_score) < choice.min_score:
        return f"its score is below {choice.min_score:g}"
    return "below the best K" if choice.rank else "after the first K"


def _done(face: Outcome, models: Mapping[str, Network]) -> list[str | None]:
    """Return the steps of a face as text, and name and hash of the networks that took part."""
    steps = list(face.get("steps") or [])
    ran = {"restore": "restore" in steps, "superres": "superres" in steps, "detector": face.get("source") == "facexlib"}
    cells: list[str | None] = ["+".join(steps) or None]
    for role, took_part in ran.items():
        network = models.get(role) if took_part else None
        cells += [network.name, network.sha256] if network else [None, None]
    return cells


def _signs(attributes: Mapping[str, bool | int | str], asked: Sequence[str]) -> list[int | str | None]:
    """Return the attributes that are asked for, true and false as CelebA's own 1 and −1."""
    values = (attributes.get(name) for name in asked)
    return [(1 if value else -1) if isinstance(value, bool) else value for value in values]


def _parquet_writer(
    stack: contextlib.ExitStack, path: Path, columns: Iterable[Column]
) -> Callable[[Sequence[Sequence[Any]]], None]:
    """Return what adds columns of values to a Parquet file, which is whole once `stack` closes; or does nothing."""
    try:
        arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    except ImportError:
        remove(path)
        return lambda table: None
    types = {bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64(), str: arrow.string()}
    schema = arrow.schema([(column.name, types[column.kind]) for column in columns])
    writer = stack.enter_context(parquet.ParquetWriter(stack.enter_context(written_aside(path)), schema))

    def add(table: Sequence[Sequence[Any]]) -> None:
        arrays = [arrow.array(values, type=field.type) for values, field in zip(table, schema, strict=True)]
        writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))

    return add
