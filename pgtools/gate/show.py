"""A baseline as people read it: what was accepted, how far it may move, what its gate can tell from chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pgtools.gate.baseline import Accepted, Baseline
from pgtools.gate.check import NOTICES, alarms_sentence, notices
from pgtools.gate.power import Power, chance_of_any, in_words
from pgtools.gate.tables import aligned
from pgtools.gate.words import number, printable

# So many times the images are no advice.
TOO_MANY = 100

COLUMNS = (
    "metric",
    "part",
    "accepted",
    "tolerance",
    "may change",
    "fails by chance",
    "notices",
    "better",
    "halved by",
)


def as_text(baseline: Baseline) -> str:
    """Return a table and the sentences that explain it."""
    figures = [(entry, part) for entry in baseline.values() for part in entry.result.values]
    lines = aligned(COLUMNS, [_row(entry, part) for entry, part in figures])
    powers = [entry.power(part) for entry, part in figures]
    if any(power.alarms is not None for power in powers):
        lines += ["", NOTICES, alarms_sentence(chance_of_any(power.alarms for power in powers), len(powers))]
    if missing := sum(power.alarms is None for power in powers):
        have, them = ("has", "it") if missing == 1 else ("have", "them")
        which = "The only figure" if len(powers) == 1 else f"{missing} of {len(powers)} figures"
        lines.append(f"{which} {have} no standard error, so that chance is not known for {them}.")
    return "\n".join([*lines, ""])


def as_dict(baseline: Baseline) -> dict[str, Any]:
    """Return plain values, ready for JSON: metric → what the baseline file holds, and each part's `power`."""
    return {
        name: entry.as_dict()
        | {"allowed": {part: entry.allowed(part) for part in entry.result.values}}
        | {"power": {part: entry.power(part).as_dict() for part in entry.result.values}}
        for name, entry in baseline.items()
    }


def _row(entry: Accepted, part: str) -> tuple[str, ...]:
    result, power = entry.result, entry.power(part)
    value, error, direction = result.values[part], result.spread.get(part), result.direction_of(part)
    shown = number(value) + (f" ± {error:.2g}" if error is not None else "")
    chance = "not known" if power.alarms is None else in_words(power.alarms)
    noticed = notices(power.notices, value, direction)
    cells = (str(entry.tolerance_of(part)), number(entry.allowed(part), "±"), chance, noticed, direction)
    return tuple(map(printable, (result.metric, part, shown, *cells, _remedy(power, result.protocol))))


def _remedy(power: Power, protocol: Mapping[str, Any]) -> str:
    """Return what would halve the change that is noticed: "4× the images (8,192)", or what else where that is many."""
    if not power.notices or power.halved_by is None:
        return "-"
    if power.halved_by < TOO_MANY:
        return _images(power.halved_by, protocol)
    if power.halved_at is not None:
        return f"a smaller tolerance ({number(power.halved_at, '±')})"
    return f"{_images(4, protocol)} and half the tolerance"


def _images(factor: float, protocol: Mapping[str, Any]) -> str:
    count = protocol.get("num_images")
    images = f" ({math.ceil(factor * count):,})" if isinstance(count, int) else ""
    return f"{factor:{'.0f' if factor >= 10 else '.2g'}}× the images{images}"
