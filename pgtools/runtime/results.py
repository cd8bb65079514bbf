"""A measured figure and all that made it: what metric commands print, runs log, the gate compares, reports show."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from pgtools.errors import InputError

FORMAT = "pgtools-result"
VERSION = 2
# Version 1 has the same fields and fewer; its spread was over the metric's own repeats, no standard error.
READABLE = (1, 2)
_MEASURE = "Results come from e.g. `pgtools swd … --json > swd.json` or `pgtools evaluate … --out scores.json`."
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder()

Direction = Literal["lower", "higher"]


@dataclass(frozen=True)
class Figures:
    """What a metric found, part by part, in the unit people print (SWD × 1000).

    A part is a level or one of several numbers, e.g. {"32": 5.1, "16": 7.9, "average": 6.5}; a metric of one number
    has the single part "value". Every table but `values` may lack parts.

    Attributes:
        values: the figures.
        spread: standard error over the generated images: how far the figure would scatter if others were generated,
            as many, while the real images and the seed stay. The gate's tolerances count in it.
        interval: [low, high], the 95 % interval of what the generator gets on average under this protocol, at this
            number of images. Another measurement scatters about that average too, so it may well fall outside.
        scatter: name → part → another deviation, e.g. {"over splits": {"value": 0.1}}; told, not compared.
        floor: what a perfect generator would get under this protocol (real images against other real ones).
        floor_spread: standard deviation of the floor over other choices of the images.
        verdict: a few plain words.
        directions: the parts whose better way is not that of the metric.
    """

    values: dict[str, float]
    spread: dict[str, float] = field(default_factory=dict)
    interval: dict[str, list[float]] = field(default_factory=dict)
    scatter: dict[str, dict[str, float]] = field(default_factory=dict)
    floor: dict[str, float] = field(default_factory=dict)
    floor_spread: dict[str, float] = field(default_factory=dict)
    verdict: dict[str, str] = field(default_factory=dict)
    directions: dict[str, Direction] = field(default_factory=dict)


@dataclass(frozen=True)
class MetricResult(Figures):
    """One metric, measured once: its figures, and all that must be known to compare them with others.

    Attributes:
        metric: its name in the catalogue, e.g. "swd".
        direction: "lower" or "higher": which way is better.
        protocol: everything that must agree for two figures to be comparable: metric version, number of images,
            seed, resolution, settings, hash of weights.
        data: role ("real", "fake") → {"name": …, "fingerprint": …}.
        environment: pgtools and torch versions, device: recorded, not compared.
    """

    metric: str = field(kw_only=True)
    direction: Direction = field(kw_only=True)
    protocol: dict[str, Any] = field(default_factory=dict)
    data: dict[str, dict[str, str]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def direction_of(self, part: str) -> Direction:
        """Return which way is better for a part."""
        return self.directions.get(part, self.direction)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON, the name first."""
        fields = asdict(self)
        first = {name: fields.pop(name) for name in ("metric", "direction")}
        return {"format": FORMAT, "version": VERSION, **first, **fields}


def result_from_dict(value: Any, *, where: str, oldest: int = READABLE[0]) -> MetricResult:
    """Return the result that `as_dict` gave.

    Args:
        value: the JSON object.
        where: what messages call it.
        oldest: the oldest version that will do.

    Raises:
        InputError: the value is no metric result, or of a newer version, or of one older than `oldest`.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        raise InputError(f"{where} is not a metric result.", hint="Make one with e.g. `pgtools swd … --json`.")
    if value.get("version") not in READABLE:
        raise InputError(f"{where} has result version {value.get('version')}; this pgtools reads {VERSION} and older.")
    if value["version"] < oldest:
        raise InputError(
            f"{where} is a result of version {value['version']}, which has no standard errors; {oldest} is needed.",
            hint="Measure again with this pgtools.",
        )
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
    figures = [value.get(name, {}) for name in ("values", "spread", "floor", "floor_spread")]
    if not value.get("values") or not all(_is_table(table, (int, float)) for table in figures):
        return "its values, spreads or floors are no numbers"
    if not _is_table(value.get("interval", {}), (list,)) or not all(map(_is_range, value.get("interval", {}).values())):
        return "its intervals are no pairs of numbers"
    scatter = value.get("scatter", {})
    if not _is_table(scatter, (dict,)) or not all(_is_table(table, (int, float)) for table in scatter.values()):
        return "its scatter is no table of numbers"
    if not _is_table(value.get("verdict", {}), (str,)) or not _is_table(value.get("directions", {}), (str,)):
        return "its verdicts or directions are no words"
    if not isinstance(value.get("protocol", {}), dict) or not _is_table(value.get("environment", {}), (str,)):
        return "its protocol or environment is no table of names"
    if not _is_table(value.get("data", {}), (dict,)):
        return "its data are no table of roles"
    return ""


def _is_table(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, dict) and all(type(entry) in kinds for entry in value.values())


def _is_range(value: list[Any]) -> bool:
    return len(value) == 2 and all(type(number) in (int, float) for number in value)


def read_result(path: Path) -> MetricResult:
    """Return the metric result in a JSON file.

    Raises:
        InputError: the file is missing, is no JSON, or holds no metric result.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None
    return result_from_dict(value, where=str(path))


def read_results(path: Path, *, oldest: int = READABLE[0]) -> list[MetricResult]:
    """Return the metric results in a file: one JSON object, a list of them, or several one after the other.

    JSON-lines, as `pgtools evaluate` writes them, are the last kind; so is what `--json >> FILE` adds up to.

    Args:
        path: the file.
        oldest: the oldest version that will do.

    Raises:
        InputError: the file is missing, is no JSON, or holds anything but metric results, or none.
    """
    found = []
    for line, value in _json_values(path):
        several = value if isinstance(value, list) else [value]
        for number, entry in enumerate(several, start=1):
            where = f"{path}" if line == 1 else f"{path}, line {line}"
            where += f", entry {number}" if isinstance(value, list) else ""
            found.append(result_from_dict(entry, where=where, oldest=oldest))
    if not found:
        raise InputError(f"{path} holds no metric result.", hint="Make one with e.g. `pgtools swd … --json`.")
    return found


def _json_values(path: Path) -> list[tuple[int, Any]]:
    """Return (line, value) of the JSON values that follow each other in a file."""
    found: list[tuple[int, Any]] = []
    line, end = 1, 0
    try:
        text = path.read_text("utf-8-sig")
        while (start := end + len(_SPACE.match(text, end)[0])) < len(text):  # type: ignore[index]
            line += text.count("\n", end, start)
            value, end = _DECODER.raw_decode(text, start)
            found.append((line, value))
            line += text.count("\n", start, end)
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from None
    return found


def _unreadable(path: Path, error: Exception) -> InputError:
    if path.is_dir():  # the error is another one on Windows
        return InputError(
            f"{path} is a folder; expected a JSON file of results.",
            hint=f"If it holds images, measure them first: `pgtools evaluate REAL {path} --out scores.json`.",
        )
    if isinstance(error, OSError):
        return InputError(f"{path}: cannot be read ({error.strerror}).", hint=_MEASURE)
    return InputError(f"{path} is not JSON ({error}).", hint=_MEASURE)
