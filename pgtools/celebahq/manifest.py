"""The manifest of a build: every photo, where its face is, its score, and why it was kept or not."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pgtools.runtime.files import written_aside

COLUMNS = ("index", "file", "kept", "score", "rank", "reason", "landmarks_source")
POINT_COLUMNS = tuple(
    f"{point}_{axis}" for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"
)
QUAD_COLUMNS = tuple(f"quad_{corner}_{axis}" for corner in ("tl", "bl", "br", "tr") for axis in "xy")


Outcome = dict[str, Any]


def manifest_path(store: Path) -> Path:
    """Return where the manifest of a build stands: NAME-manifest.csv beside its first store."""
    return store.with_name(f"{store.stem}-manifest.csv")


def write_manifest(path: Path, names: Sequence[str], outcomes: dict[str, Outcome], kept: Sequence[str]) -> None:
    """Write the CSV: one line a photo, in the order of `names`.

    Args:
        path: written aside and renamed.
        names: all photos.
        outcomes: name → {"score", "landmarks", "quad", "source"} or {"reason"}.
        kept: the names in the store, in its order.
    """
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow((*COLUMNS, *POINT_COLUMNS, *QUAD_COLUMNS))
        writer.writerows(_rows(names, outcomes, kept))


def _rows(names: Sequence[str], outcomes: dict[str, Outcome], kept: Sequence[str]) -> Iterator[list[Any]]:
    """Yield a line a photo: its index in the store if it is there, and otherwise the reason."""
    scored = [name for name in names if "score" in outcomes[name]]
    rank = {name: place for place, name in enumerate(sorted(scored, key=lambda n: -outcomes[n]["score"]), start=1)}
    index = {name: place for place, name in enumerate(kept)}
    for name in names:
        outcome = outcomes[name]
        if "score" not in outcome:
            yield ["", name, "no", "", "", outcome["reason"], "", *[""] * 18]
            continue
        reason = "" if name in index else "below the best K"
        head = [
            index.get(name, ""),
            name,
            "yes" if name in index else "no",
            f"{outcome['score']:.6f}",
            rank[name],
        ]
        coordinates = [f"{value:.3f}" for value in outcome["landmarks"] + outcome["quad"]]
        yield [*head, reason, outcome["source"], *coordinates]
