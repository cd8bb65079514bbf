"""A run becomes the content of its page: which figures, which grids, which words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.photo import read_photo
from pgtools.report.figures import Line, curves, phases
from pgtools.report.page import Chart, Fact, Key, Page, ScoreGroup, ScorePart
from pgtools.report.panels import panels
from pgtools.report.pictures import LARGE, SMALL, Picture, picture
from pgtools.report.provenance import commands, origins, protocol, split_settings
from pgtools.report.run import Run
from pgtools.runtime.results import MetricResult

MOST_GRIDS = 8


@dataclass(frozen=True)
class Knowledge:
    """What a report says beyond what the run folder holds.

    Attributes:
        titles: metric → (title, unit).
        reference: name of the settings that the run's are told apart from, e.g. "compact"; "" for none.
        usual: those settings.
    """

    titles: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    reference: str = ""
    usual: Mapping[str, Any] = field(default_factory=dict)


def compose(
    run: Run, results: Sequence[tuple[str, MetricResult]], knowledge: Knowledge, *, title: str | None = None
) -> Page:
    """Return the content of a run's page.

    Args:
        run: what the run folder holds.
        results: (where it comes from, figure) of further figures; a metric given here replaces the run's own.
        knowledge: see Knowledge.
        title: heading; the folder's name if not given.
    """
    notes = list(run.notes)
    final = _final_results(run, results)
    if not final:
        notes.append("No scores: pass results of metric commands with --metrics.")
    differing, same = split_settings(run.settings, knowledge.usual)
    return Page(
        title=title or run.name,
        lead=_lead(run),
        facts=_facts(run),
        newest=_newest(run, notes),
        reals=_grid(run.reals, "Grid of real images from the training data.", "Real images", notes),
        strip=_strip(run, notes),
        curves=_curves(run),
        score_curves=_score_curves(run, knowledge),
        scores=[_score_group(result, where, knowledge) for where, result in final],
        protocols={_title(result, knowledge)[0]: protocol(result) for _, result in final},
        differing=differing,
        settings=same,
        reference=f"the preset {knowledge.reference}" if knowledge.reference else "",
        commands=commands(run, [result for _, result in final], differing, knowledge.reference),
        origins=origins(run),
        notes=notes,
    )


def _lead(run: Run) -> str:
    resolution, name = run.data.get("resolution"), run.data.get("name")
    size = f" of {resolution}² pixels" if resolution else ""
    subject = f"A Progressive GAN for images{size}"
    return f"{subject}, trained on {Path(str(name)).name}." if name else f"{subject}."


def _facts(run: Run) -> list[Fact]:
    seconds = run.column("seconds")
    taken = float(seconds[-1]) if len(seconds) else math.nan
    facts = [Fact("Real images shown", _kimg(run.images / 1000), "kimg")]
    if taken > 0:
        rate = run.images / taken
        facts.append(Fact("Training time", duration(taken)))
        facts.append(Fact("Mean throughput", f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}", "images/s"))
    if _is_number(run.data.get("count")):
        facts.append(Fact("Data set", f"{run.data['count']:,}", "images"))
    facts += _machine_facts(run)
    sizes: list[Any] = [run.parameters.get(network) for network in ("generator", "discriminator")]
    if all(map(_is_number, sizes)):
        unit, size = ("M", 1e6) if max(sizes) >= 1e6 else ("k", 1e3)
        facts.append(Fact("Parameters, G + D", " + ".join(f"{count / size:.3g}" for count in sizes), unit))
    return facts


def _machine_facts(run: Run) -> list[Fact]:
    """What the run cost the machine, where its log tells: waiting for data, memory, roll-backs."""
    wait, memory, rollbacks = (run.column(name) for name in ("data_wait", "memory_gb", "rollbacks"))
    # A tick's share counts as long as the tick took; the clock begins at 0.
    took = np.diff(run.column("seconds"), prepend=0.0)
    known = np.isfinite(wait) & np.isfinite(took) & (took > 0)
    facts = []
    if known.any():
        facts.append(
            Fact("Waiting for data", f"{100 * np.average(wait[known], weights=took[known]):.2g}", "% of the time")
        )
    if np.isfinite(memory).any():
        facts.append(Fact("Memory, at most", f"{np.nanmax(memory):.3g}", "GB"))
    if np.isfinite(rollbacks).any() and np.nanmax(rollbacks) > 0:
        facts.append(Fact("Roll-backs", f"{np.nanmax(rollbacks):.0f}"))
    return facts


def _newest(run: Run, notes: list[str]) -> Picture | None:
    if not run.grids:
        return None
    images, path = run.grids[-1]
    moment = f"{_kimg(images / 1000)} kimg"
    return _grid(path, f"Grid of generated images after {moment}.", f"Generated, {moment}", notes)


def _grid(path: Path | None, alt: str, caption: str, notes: list[str]) -> Picture | None:
    image = _read_grid(path, notes) if path else None
    return None if image is None else picture(image, budget=LARGE, alt=alt, caption=caption)


def _strip(run: Run, notes: list[str]) -> list[Picture]:
    """At most eight grids, evenly spread over the images shown; the first and the last are among them."""
    if len(run.grids) < 2:
        return []
    moments = np.array([images for images, _ in run.grids])
    wanted = np.linspace(moments[0], moments[-1], MOST_GRIDS)
    chosen = sorted({int(np.abs(moments - moment).argmin()) for moment in wanted})
    strip = []
    for images, path in (run.grids[i] for i in chosen):
        image = _read_grid(path, notes)
        if image is not None:
            caption, level = _moment(run, images)
            alt = f"Grid of generated images at {caption}."
            strip.append(picture(image, budget=SMALL, alt=alt, caption=caption, level=level))
    return strip


def _moment(run: Run, images: int) -> tuple[str, int | None]:
    text, resolution, lod = (
        f"{_kimg(images / 1000)} kimg",
        run.at(images, "resolution"),
        run.at(images, "lod"),
    )
    if not (math.isfinite(resolution) and resolution >= 4):
        return text, None
    fading = math.isfinite(lod) and lod % 1 > 0
    state = f"{resolution:.0f}² fading in" if fading else f"{resolution:.0f}²"
    state += ", best" if run.best and run.best.images == images else ""
    return f"{text}, {state}", min(8, int(math.log2(resolution)) - 2)


def _read_grid(path: Path, notes: list[str]) -> NDArray[np.uint8] | None:
    try:
        return read_photo(path)
    except InputError as error:
        notes.append(error.message)
        return None


def _curves(run: Run) -> list[Chart]:
    kimg = run.column("kimg")
    schedule = phases(kimg, run.column("lod"), run.column("resolution"))
    charts = []
    for i, panel in enumerate(panels(run.settings)):
        lines = [Line(label, kimg, run.column(name), f"series-{k}") for k, (name, label) in enumerate(panel.columns)]
        lines = [line for line in lines if np.isfinite(line.y).any()]
        if lines:
            log = panel.log and _spans_decades(lines)
            svg = curves(f"curve-{i}", lines, ylabel=panel.ylabel, schedule=schedule, log=log)
            charts.append(Chart(svg, panel.title, panel.caption, _alt(panel.title, lines), _keys(lines)))
    return charts


def _score_curves(run: Run, knowledge: Knowledge) -> list[Chart]:
    schedule = phases(run.column("kimg"), run.column("lod"), run.column("resolution"))
    charts = []
    for i, metric in enumerate(dict.fromkeys(score.result.metric for score in run.scores)):
        scores = [score for score in run.scores if score.result.metric == metric]
        kimg = np.array([score.kimg for score in scores])
        newest = scores[-1].result
        best = run.best if run.best and run.best.metric == metric else None
        floor = next((score.result.floor for score in reversed(scores) if score.result.floor), {})
        lines = [
            Line(
                _part(part),
                kimg,
                np.array([s.result.values.get(part, np.nan) for s in scores]),
                colour,
                floor.get(part),
                best.images / 1000 if best and best.part == part else None,
            )
            for part, colour in zip(newest.values, _colours(newest.values), strict=True)
        ]
        title, unit = _title(newest, knowledge)
        ylabel = f"{title} ({unit})" if unit else title
        svg = curves(f"score-{i}", lines, ylabel=ylabel, schedule=schedule, log=_spans_decades(lines))
        floor_text = " Dashed: the floor, what other real images get." if floor else ""
        best_text = (
            f" Ringed: the best snapshot, {_part(best.part)} at {_kimg(best.images / 1000)} kimg." if best else ""
        )
        caption = f"{newest.direction.capitalize()} is better.{floor_text}{best_text}"
        charts.append(Chart(svg, f"{title} over training", caption, _alt(title, lines), _keys(lines)))
    return charts


def _spans_decades(lines: Sequence[Line]) -> bool:
    values = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
    return bool(len(values) and values.min() > 0 and values.max() > 20 * values.min())


def _colours(parts: Sequence[str] | Mapping[str, float]) -> list[str]:
    """A level has its resolution's colour, as in the strip above each chart; an average is ink."""
    found, others = [], 0
    for part in parts:
        if part.isascii() and part.isdigit() and 4 <= int(part) <= 1024:
            found.append(f"level-{int(math.log2(int(part))) - 2}")
        elif part == "average":
            found.append("ink")
        else:
            found.append(f"series-{others % 8}")
            others += 1
    return found


def _keys(lines: Sequence[Line]) -> list[Key]:
    return [Key(line.label, line.colour) for line in lines] if len(lines) > 1 else []


def _alt(title: str, lines: Sequence[Line]) -> str:
    ends = [(line, line.y[np.isfinite(line.y)]) for line in lines]
    told = [f"{line.label} from {y[0]:.3g} to {y[-1]:.3g}" for line, y in ends if len(y)]
    return f"{title} over training: {', '.join(told)}."


def _final_results(run: Run, results: Sequence[tuple[str, MetricResult]]) -> list[tuple[str, MetricResult]]:
    """The run's newest score of each metric, unless a result of that metric is given, then what is given."""
    given = {result.metric for _, result in results}
    newest = {score.result.metric: score for score in run.scores if score.result.metric not in given}
    own = [(f"in the run at {_kimg(score.kimg)} kimg", score.result) for score in newest.values()]
    return own + list(results)


def _score_group(result: MetricResult, where: str, knowledge: Knowledge) -> ScoreGroup:
    title, unit = _title(result, knowledge)
    finite = [abs(value) for value in result.values.values() if math.isfinite(value)]
    digits = 2 if max(finite, default=0) >= 1 else 4

    def shown(figures: Mapping[str, float], part: str) -> str:
        return f"{figures[part]:,.{digits}f}" if part in figures else ""

    parts = [
        ScorePart(_part(part), shown(result.values, part), shown(result.spread, part), shown(result.floor, part))
        for part in result.values
    ]
    count, seed = (result.protocol.get(name) for name in ("num_images", "seed"))
    images = f"{count:,}" if _is_number(count) else "—"
    return ScoreGroup(title, unit, result.direction, images, "—" if seed is None else str(seed), where, parts)


def _title(result: MetricResult, knowledge: Knowledge) -> tuple[str, str]:
    return knowledge.titles.get(result.metric, (result.metric, ""))


def _part(part: str) -> str:
    return f"{part}²" if part.isascii() and part.isdigit() else part


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _kimg(kimg: float) -> str:
    return f"{kimg:,.1f}".removesuffix(".0")


def duration(seconds: float) -> str:
    """Return a time as people read it, e.g. '1 h 09 min'."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
