"""What a new store's header tells of where its images come from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pgtools.stores.format import Reading
from pgtools.stores.formats.file_names import valid_text
from pgtools.stores.jobs.settings import ConvertSettings, SelectionSettings
from pgtools.stores.source import ImageSource

# HDF5 keeps a header of 64 KiB at most, so what it tells of the sources stays well below.
MAX_TOLD, MAX_NAME, MAX_HISTORY_BYTES, MAX_HISTORY_PARTS = 200, 1000, 16 << 10, 200
# What names an origin that is too long to be kept.
NAMING = ("name", "made", "sha256", "by")


def origin_of(
    names: Sequence[str],
    formats: Sequence[str],
    opened: Sequence[ImageSource],
    reading: Reading,
    settings: ConvertSettings,
) -> dict[str, Any]:
    """Return the origin of converted images, as plain JSON: what they were made from, and what was not default.

    Args:
        names: of the sources, without their folders.
        formats: of the sources.
        opened: the sources; `from` is what the headers of stores among them tell of their own origin, a list where
            there are several sources.
        reading: how they were opened.
        settings: what was asked for; long texts are shortened.
    """
    origin: dict[str, Any] = {"name": _shortened(" + ".join(names), MAX_NAME), "made": "store convert"}
    known = list(dict.fromkeys(formats))
    origin["format"] = known[0] if len(known) == 1 else known
    if reading.fit:
        origin["fit"] = reading.fit.as_dict()
    selection = {name: getattr(settings, name) for name in SelectionSettings.__dataclass_fields__}
    told: dict[str, Any] = {
        "split": settings.split and _shortened(settings.split),
        "level": settings.level,
        "selection": {name: _plain(value) for name, value in selection.items() if value is not None},
        "shuffle": settings.shuffle,
        "from": _history(opened),
    }
    return origin | {name: value for name, value in told.items() if value}


def _history(opened: Sequence[ImageSource]) -> dict[str, Any] | list[dict[str, Any]]:
    """What the sources' own headers tell of where they came from; a list where there are several; empty if none does.

    What is too long is cut to what names it, and of a long list the first are kept, with the number of the others.
    """
    headers = [getattr(source, "header", None) for source in opened]
    origins: list[dict[str, Any]] = [dict(header.origin) if header else {} for header in headers]
    if not any(origins):
        return []
    if not _is_short(origins):
        origins = [_naming(origin) for origin in origins]
    kept = origins
    while not _is_short(kept):
        kept = kept[: len(kept) // 2]
    if len(kept) < len(origins):
        return [*kept, {"more": len(origins) - len(kept)}]
    return kept if len(kept) > 1 else kept[0]


def _naming(origin: dict[str, Any]) -> dict[str, Any]:
    return {name: _shortened(origin[name]) for name in NAMING if isinstance(origin.get(name), str)}


def _is_short(origins: list[dict[str, Any]]) -> bool:
    try:
        text = json.dumps(origins)
    except RecursionError:
        return False
    return len(text) < MAX_HISTORY_BYTES - MAX_TOLD and text.count("{") + text.count("[") < MAX_HISTORY_PARTS


def _plain(value: Any) -> Any:
    text = value.name if isinstance(value, Path) else value
    return _shortened(text) if isinstance(text, str) else text


def _shortened(text: str, limit: int = MAX_TOLD) -> str:
    text = valid_text(text)
    return text if len(text) <= limit else f"{text[:limit]}…"
