"""Which of many results are meant: one a metric, of one set of images."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import PurePath

from pgtools.errors import InputError, UsageError
from pgtools.gate.words import last_part
from pgtools.runtime.results import MetricResult

# So many names are listed whole; of more, the first and the last.
_LISTED = 6


def by_metric(results: Sequence[MetricResult]) -> dict[str, MetricResult]:
    """Return metric → result.

    Raises:
        InputError: two results are of one metric.
    """
    found: dict[str, MetricResult] = {}
    for result in results:
        if result.metric in found:
            raise _several(result.metric, [one for one in results if one.metric == result.metric])
        found[result.metric] = result
    return found


def choose(results: Sequence[MetricResult], *, only: Sequence[str] = (), fake: str | None = None) -> list[MetricResult]:
    """Return those of the results that are asked for.

    Args:
        results: all of them.
        only: metrics to keep; all if empty.
        fake: keep results of these generated images: their name, what the path ends in, a snapshot's kimg, or any end
            of the name, with or without its suffix, that is of one set alone; all if None.

    Raises:
        UsageError: none is left of a file that held some, or those left are of several sets.
    """
    left = [result for result in results if not only or result.metric in only]
    if fake is None or not left:
        return left
    # The more exact way to name a set counts before the others: 200 is 200 kimg rather than the end of 1200.
    ways: tuple[Callable[[MetricResult], bool], ...] = (
        lambda result: fake == _name(result),
        lambda result: fake in (last_part(_name(result)), _kimg(result)),
        lambda result: any(end.endswith(fake) for end in (_name(result), PurePath(_name(result)).stem)),
    )
    named = next((chosen for way in ways if (chosen := list(filter(way, left)))), [])
    if not named or not fake:
        raise UsageError(
            f"--fake is {fake!r}, which none of the results is of.", hint=f"They are of {_listed(_names(left))}."
        )
    # The same images may have gone by several paths, and a choice of them has another fingerprint.
    if len(_names(named)) > 1 and len({str(_facts(result).get("fingerprint")) for result in named}) > 1:
        raise UsageError(
            f"--fake is {fake!r}, which several results are of: {_listed(_names(named))}.",
            hint="Give more of the name.",
        )
    return named


def _facts(result: MetricResult) -> dict[str, str]:
    return result.data.get("fake", {})


def _name(result: MetricResult) -> str:
    return str(PurePath(str(_facts(result).get("name", "(not named)"))))


def _kimg(result: MetricResult) -> str | None:
    return _facts(result).get("kimg")


def _names(results: Sequence[MetricResult]) -> list[str]:
    """Return the names of the generated images, each once: what the paths end in, where that tells them apart."""
    names = list(dict.fromkeys(map(_name, results)))
    short = list(map(last_part, names))
    return short if len(set(short)) == len(names) else names


def _listed(names: Sequence[str]) -> str:
    if len(names) <= _LISTED:
        return ", ".join(names)
    half = _LISTED // 2
    return f"{', '.join(names[:half])}, … {', '.join(names[-half:])} ({len(names)} in all)"


def _several(metric: str, results: Sequence[MetricResult]) -> InputError:
    names = _names(results)
    if len(names) == 1:
        return InputError(
            f"{len(results)} results are of {metric} of {names[0]}; a baseline holds one a metric.",
            hint="Keep figures of different protocols in different baseline files.",
        )
    return InputError(
        f"{len(results)} results are of {metric}: of {_listed(names)}; a baseline holds one a metric.",
        hint=f"Choose one by its name, e.g. the last: --fake {shlex.quote(names[-1])}.",
    )
