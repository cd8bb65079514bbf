"""A build as it ends, drawn instead of built: record, lines of the manifest, crops and photos of a few pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.report.build_rows import COLUMNS
from pgtools.runtime.build_format import BuildRecord, Network, StepTime

Row = dict[str, Any]
DEFAULTS: dict[str, Any] = {"resolution": 1024, "keep": None, "superres": "pgtools-sr4", "detector_weights": None}


def row(file: str, score: float | None = None, *, index: int | None = None, face: int = 1, reason: str = "") -> Row:
    """Return a line of a manifest: a crop if it has a score, and in the store if it has an index."""
    line: Row = dict.fromkeys(COLUMNS)
    line |= {"file": file, "kept": index is not None, "index": index, "reason": reason or None}
    if score is not None:
        places = [name for name in COLUMNS if name.endswith(("_x", "_y")) and not name.startswith("quad_")]
        line |= {name: 10.0 + 2 * i for i, name in enumerate(places)}
        square = (6.0, 4.0, 6.0, 34.0, 36.0, 34.0, 36.0, 4.0)
        line |= dict(zip([name for name in COLUMNS if name.startswith("quad_")], square, strict=True))
        line |= {"score": score, "face": face}
    return line


def drawn_rows(kept: int = 30, dropped: int = 10) -> list[Row]:
    """Return lines whose scores fall with the photo's number: 0.90, 0.89, …; the last photo gave no crop."""
    lines = [row(f"{i:03d}.jpg", 0.9 - i / 100, index=i) for i in range(kept)]
    lines += [row(f"{i:03d}.jpg", 0.9 - i / 100, reason="below the best K") for i in range(kept, kept + dropped)]
    return [*lines, row("none.jpg", reason="no face was found")]


def drawn_record(**words: Any) -> BuildRecord:
    """Return the record of the build that `drawn_rows` is the manifest of."""
    fields: dict[str, Any] = {
        "source": "celeba photos/",
        "stores": ["sets/celeba-hq.lmdb", "hq.h5"],
        "settings": {"resolution": 16, "keep": 30, "superres": "lanczos", "detector_weights": Path("w/retina.pth")},
        "networks": {"restore": Network("pgtools-dejpeg", "9f" * 32)},
        "facts": {"definition": 3},
        "photos": 41,
        "crops": 40,
        "kept": 30,
        "reasons": {"no face was found": 1},
        "steps": {"read": StepTime(0.5, 40), "restore": StepTime(30.0, 40), "crop": StepTime(9.5, 38)},
        "seconds": 20.5,
        "workers": 2,
        "started": "2026-11-22T08:14:10Z",
        "finished": "2026-11-22T08:14:30Z",
    }
    return BuildRecord(**{**fields, **words})


def crop_of(index: int) -> NDArray[np.uint8]:
    """Return a crop that tells its place in the store by its red."""
    image = np.full((16, 16, 3), 100, np.uint8)
    image[..., 0] = index
    return image


def photo_of(file: str) -> NDArray[np.uint8]:
    """Return a photo, the same whatever its file."""
    return np.full((50, 40, 3), 200, np.uint8)
