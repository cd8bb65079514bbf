"""A measured figure and all that made it: what metric commands print, runs log, the gate compares, reports show."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from pgtools.errors import InputError

FORMAT = "pgtools-result"
VERSION = 1


@dataclass(frozen=True)
class MetricResult:
    """One metric, measured once.

    Attributes:
        metric: its name in the catalogue, e.g. "swd".
        direction: "lower" or "higher": which way is better.
        values: part → figure in the unit people print (SWD × 1000), e.g. {"32": 5.1, "16": 7.9, "average": 6.5};
            a metric of one number has the single part "value".
        spread: part → standard deviation over the metric's own repeats, or standard error; may lack parts.
        floor: part → what a perfect generator would get under this protocol (real against other real images), if it
            was measured; recorded, not compared.
        protocol: everything that must agree for two figures to be comparable: metric version, number of images,
            seed, resolution, settings, hash of weights.
        data: role ("real", "fake") → {"name": …, "fingerprint": …}.
        environment: pgtools and torch versions, device: recorded, not compared.
    """

    metric: str
    direction: Literal["lower", "higher"]
    values: dict[str, float]
    spread: dict[str, float] = field(default_factory=dict)
    floor: dict[str, float] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    data: dict[str, dict[str, str]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}


def result_from_dict(value: Any, *, where: str) -> MetricResult:
    """Return the result that `as_dict` gave.

    Raises:
        InputError: the value is no metric result, or of a newer version.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InputError(f"{where} is not a metric result.", hint="Make one with e.g. `pgtools swd … --json`.")
    if value.get("version") != VERSION:
        raise InputError(f"{where} has result version {value.get('version')}; this pgtools reads {VERSION}.")
    if fault := _fault(value):
        raise InputError(f"{where} is a damaged metric result: {fault}.")
    return MetricResult(**{name: value[name] for name in value if name not in ("format", "version")})


def _fault(value: dict[str, Any]) -> str:
    """Return what keeps a JSON object from being a result, "" if nothing does."""
    known = {"format", "version", *(entry.name for entry in fields(MetricResult))}
    if unknown := sorted(value.keys() - known):
        return f"it has {', '.join(unknown)}, which no result has"
    if not isinstance(value.get("metric"), str) or value.get("direction") not in ("lower", "higher"):
        return "its metric is no name, or its direction neither lower nor higher"
    figures = [value.get("values"), value.get("spread", {}), value.get("floor", {})]
    if not value.get("values") or not all(_is_table(table, (int, float)) for table in figures):
        return "its values, spreads or floors are no numbers"
    if not isinstance(value.get("protocol", {}), dict) or not _is_table(value.get("environment", {}), (str,)):
        return "its protocol or environment is no table of names"
    if not _is_table(value.get("data", {}), (dict,)):
        return "its data are no table of roles"
    return ""


def _is_table(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, dict) and all(type(entry) in kinds for entry in value.values())


def read_result(path: Path) -> MetricResult:
    """Return the metric result in a JSON file.

    Raises:
        InputError: the file is missing, is no JSON, or holds no metric result.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}).") from None
    return result_from_dict(value, where=str(path))
