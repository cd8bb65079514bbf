"""Generated sets to evaluate, one after the other, and the file of results that lets an interrupted one go on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgtools.cli._output import print_table
from pgtools.cli._results import print_tables
from pgtools.errors import OutputError, UsageError
from pgtools.metrics.catalogue import CATALOGUE

if TYPE_CHECKING:
    from pgtools.metrics.evaluate import Evaluator
    from pgtools.runtime.result_log import ResultLog
    from pgtools.runtime.results import MetricResult
    from pgtools.stores.source import ImageSource


@dataclass(frozen=True)
class Target:
    """A generated set.

    Attributes:
        path: of images or of a generator.
        images: real images shown to a run's generator until this snapshot; None for anything but a snapshot of a run.
    """

    path: Path
    images: int | None = None

    @property
    def kimg(self) -> str:
        """Thousands of real images shown, as text; "" for anything but a snapshot of a run."""
        return "" if self.images is None else f"{self.images / 1000:g}"

    def open(self, *, count: int | None, seed: int, device: str) -> ImageSource:
        """Return the images; a generator makes `count`."""
        from pgtools.cli._sources import open_images

        return open_images(self.path, count=count, seed=seed, device=device)

    def mark(self, result: MetricResult) -> MetricResult:
        """Return the result with the snapshot's place in the training."""
        if self.images is None:
            return result
        return replace(result, data={**result.data, "fake": {**result.data["fake"], "kimg": self.kimg}})


def targets_of(fake: Path, snapshots: str | None) -> list[Target]:
    """Return the sets that FAKE stands for: itself, or a run's snapshots in the order of training.

    Args:
        fake: images, a generator's file or a run folder.
        snapshots: all, last, or numbers of images between commas; all if None.

    Raises:
        UsageError: snapshots are chosen of what is no run, or the choice is none.
        InputError: the run has no snapshot, or not those named.
    """
    from pgtools.progan.run.folder import RunFolder, is_run

    if not is_run(fake):
        if snapshots is not None:
            raise UsageError(f"--snapshots is for the folder of a run; {fake} is none.", hint="Leave it out.")
        return [Target(fake)]
    run = RunFolder(fake)
    last = run.find_snapshot()
    if snapshots in (None, "all"):
        chosen = run.snapshots()
    elif snapshots == "last":
        chosen = [last]
    else:
        chosen = [run.find_snapshot(images) for images in sorted(set(_numbers(str(snapshots))))]
    return [Target(file, int(file.stem)) for file in chosen]


def _numbers(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise UsageError(f"--snapshots is {text!r}; expected all, last, or numbers of images as 64000,128000.")
    return [int(word) for word in words]


class GoingOn:
    """What an earlier, interrupted evaluation left in a file of results.

    Args:
        log: the file, there or not.
        evaluator: of this evaluation.
    """

    def __init__(self, log: ResultLog, evaluator: Evaluator) -> None:
        self._log, self._evaluator, self._lines = log, evaluator, log.read()

    def take_over(self, names: Sequence[str], sources: Iterable[ImageSource]) -> dict[str, list[MetricResult]]:
        """Return name → results of the sets whose every metric stands in the file, measured just so.

        Lines of sets that lack a metric are taken out of the file, since these sets are measured again.

        Args:
            names: of the sets, as their sources say them.
            sources: the sets, opened one after the other.

        Raises:
            OutputError: the file holds other results too, e.g. of other settings or data.
        """
        found: dict[str, list[MetricResult]] = {}
        ours: set[int] = set()
        alike: set[str] = set()
        for name, source in zip(names, sources if self._lines else (), strict=False):
            wanted = self._identities(source)
            alike |= {_without_fake(identity) for identity in wanted}
            places = [i for i, line in enumerate(self._lines) if _identity(line) in wanted]
            ours |= set(places)
            own = {_identity(self._lines[i]): self._lines[i] for i in places}
            if len(own) == len(wanted):
                found[name] = [own[identity] for identity in wanted]
        self._check_others(set(range(len(self._lines))) - ours, names, alike)
        again = set(names) - found.keys()
        self._log.rewrite([line for line in self._lines if line.data.get("fake", {}).get("name") not in again])
        return found

    def _identities(self, source: ImageSource) -> list[str]:
        fingerprints = self._evaluator.fingerprints(source)
        roles = {True: ("real", "fake"), False: ("fake",)}
        return [
            _text(
                measure.metric.name,
                self._evaluator.protocol(measure, source),
                {role: fingerprint for role, fingerprint in fingerprints.items() if role in roles[measure.takes_real]},
            )
            for measure in self._evaluator.measures
        ]

    def _check_others(self, others: Iterable[int], names: Sequence[str], alike: set[str]) -> None:
        """Raise OutputError if a line is not of another snapshot of the same run, measured alike."""
        folder = Path(names[0]).parent
        for line in (self._lines[i] for i in sorted(others)):
            fake = line.data.get("fake", {})
            name = str(fake.get("name", "?"))
            same_run = "kimg" in fake and Path(name).parent == folder and name not in names
            if not same_run or _without_fake(_identity(line)) not in alike:
                raise OutputError(
                    f"{self._log.path} holds other results than these, e.g. {line.metric} of {name}.",
                    hint="Run with the settings of before to go on, name another file, or pass --overwrite.",
                )


def _identity(line: MetricResult) -> str:
    return _text(line.metric, line.protocol, {role: data.get("fingerprint") for role, data in line.data.items()})


def _without_fake(identity: str) -> str:
    metric, protocol, fingerprints = json.loads(identity)
    return _text(metric, protocol, {**fingerprints, "fake": ""})


def _text(*parts: Any) -> str:
    return json.dumps(parts, sort_keys=True)


def print_results(results: Sequence[MetricResult]) -> None:
    """Print the results of one set, each as the metric's own command prints it."""
    for place, result in enumerate(results):
        if place:
            click.echo()
        print_tables(result)


def print_trajectory(results: Sequence[tuple[Target, Sequence[MetricResult]]]) -> None:
    """Print the results of a run's snapshots as one table, a row a snapshot; "-" where it lacks a metric.

    The last row and the verdicts below are the newest snapshot's.
    """
    newest = {result.metric: result for _, measured in results for result in measured}
    for result in newest.values():
        click.echo(_head(result))
    parts = [(result, part) for result in newest.values() for part in result.values]
    rows = []
    for target, measured in results:
        by_metric = {result.metric: result for result in measured}
        rows.append([target.kimg, *(_figure(by_metric.get(last.metric), part) for last, part in parts)])
    if any(result.floor for result in newest.values()):
        floors = (_number(last.floor.get(part), CATALOGUE[last.metric].decimals) for last, part in parts)
        rows.append(["floor", *floors])
    click.echo()
    print_table(("kimg", *(_name(last.metric, part) for last, part in parts)), rows)
    verdicts = [(_name(last.metric, part), last.verdict[part]) for last, part in parts if part in last.verdict]
    if verdicts:
        click.echo(f"\nAt {results[-1][0].kimg} kimg:")
    for name, verdict in verdicts:
        click.echo(f"{name}: {verdict}")


def one_line(results: Sequence[MetricResult]) -> str:
    """Return the figures of a set in a few words: each metric's average or only part, or all of its parts."""
    told: list[str] = []
    for result in results:
        main = {"average", "value"} & result.values.keys()
        told += [f"{_name(result.metric, part)} {_figure(result, part)}" for part in main or result.values]
    return ", ".join(told)


def _head(result: MetricResult) -> str:
    metric = CATALOGUE[result.metric]
    title = f"{metric.title} in {metric.unit}" if metric.unit else metric.title
    told = ", ".join(
        f"{name} {value[:12] if isinstance(value, str) else value}"
        for name, value in result.protocol.items()
        if name != "version" and value is not None
    )
    return f"{result.metric}: {title}, {metric.direction} is better ({told})"


def _name(metric: str, part: str) -> str:
    return metric if part == "value" else f"{metric} {part}"


def _figure(result: MetricResult | None, part: str) -> str:
    if result is None or part not in result.values:
        return "-"
    decimals = CATALOGUE[result.metric].decimals
    error = result.spread.get(part)
    return _number(result.values[part], decimals) + ("" if error is None else f" ± {_number(error, decimals)}")


def _number(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
