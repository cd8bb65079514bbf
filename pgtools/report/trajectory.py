"""Figures of a run's snapshots against training as one picture: a panel a metric, PNG or SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import NDArray

from pgtools.report.build_figures import page_colours
from pgtools.report.figures import ring, style
from pgtools.runtime.results import Direction, MetricResult

# Inches: a picture 1000 pixels wide with two panels beside each other.
_WIDTH, _HEIGHT, _DPI = 10.0, 3.5, 100
_MARGINS = {"left": 0.075, "right": 0.985, "wspace": 0.17}
_ABOVE, _BELOW, _BETWEEN = 0.75, 0.55, 1.2
# Values that span more than this are drawn in decades.
_WIDE = 12.0
_DASHES = (0, (3, 2.2))
_LEGEND = 7.5
_WAYS: tuple[Direction, ...] = ("lower", "higher")
_ABOVE_AXES: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "bottom"}


@dataclass(frozen=True)
class Trace:
    """One part of a metric over training.

    Attributes:
        label: the part, as the legend calls it.
        colour: "ink", "series-0" … or "level-0" … of the page's style sheet.
        x: float64 (N,), ascending, in thousands of real images shown.
        y: float64 (N,), the figures.
        error: float64 (N,), their standard errors; NaN where there is none.
        floor: float64 (N,), what a perfect generator would get; NaN where that is not known.
    """

    label: str
    colour: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    error: NDArray[np.float64]
    floor: NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """The parts of a metric that share an axis.

    Attributes:
        title: of the metric, with its unit.
        better: "lower" or "higher".
        traces: its parts. The best figure of the first in ink, or of an only one, is ringed.
    """

    title: str
    better: Direction
    traces: tuple[Trace, ...]

    @property
    def best(self) -> tuple[float, float, str] | None:
        """The best moment, its figure and the colour of its trace; None where no part speaks for the whole metric.

        Of one moment alone there is nothing to tell apart, and of equal figures the earliest counts.
        """
        leading = [trace for trace in self.traces if trace.colour == "ink" or len(self.traces) == 1]
        if not leading or np.isfinite(leading[0].y).sum() < 2:
            return None
        trace = leading[0]
        at = int(np.nanargmin(trace.y) if self.better == "lower" else np.nanargmax(trace.y))
        return float(trace.x[at]), float(trace.y[at]), trace.colour


def panels_of(scores: Sequence[tuple[float, MetricResult]], titles: Mapping[str, tuple[str, str]]) -> list[Panel]:
    """Return the panels of a run: one a metric, and one for each direction where its parts have two.

    Args:
        scores: (thousands of real images shown, result) of any metrics, in any order.
        titles: metric → (title, unit).
    """
    panels = []
    for metric in dict.fromkeys(result.metric for _, result in scores):
        own = sorted(((kimg, result) for kimg, result in scores if result.metric == metric), key=lambda score: score[0])
        parts = list(dict.fromkeys(part for _, result in own for part in result.values))
        title, unit = titles.get(metric, (metric, ""))
        name = f"{title}, {unit}" if unit else title
        for better in _WAYS:
            chosen = [part for part in parts if own[0][1].direction_of(part) == better]
            traces = tuple(_trace(own, part, i) for i, part in enumerate(chosen))
            told = name if len(chosen) == len(parts) else f"{name}: {', '.join(chosen)}"
            if traces:
                panels.append(Panel(told, better, traces))
    return panels


def trajectory(panels: Sequence[Panel], *, kind: Literal["png", "svg"]) -> bytes:
    """Return the panels as one picture; the same panels give the same bytes.

    A line is a part, the band around it its standard error to either side, the dashed line what a perfect generator
    would get. Panels whose figures span more than a decade have a logarithmic axis.

    Args:
        panels: at least one.
        kind: what to write.
    """
    colours = page_colours()
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    height = rows * _HEIGHT
    with style("trajectory", colours=colours):
        figure = Figure(
            figsize=(_WIDTH if columns == 2 else 0.62 * _WIDTH, height), facecolor=colours["paper"], dpi=_DPI
        )
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=_place(columns, rows, height)).ravel()
        for place, panel in zip(axes, panels, strict=False):
            _draw(place, panel, colours)
        for place in axes[len(panels) :]:
            place.set_axis_off()
        buffer = io.BytesIO()
        # None leaves out the date and the program's version, which would make equal pictures differ.
        entries = ("Software",) if kind == "png" else ("Creator", "Date", "Format", "Type")
        figure.savefig(buffer, format=kind, dpi=_DPI, metadata=dict.fromkeys(entries))
    return buffer.getvalue()


def _trace(scores: Sequence[tuple[float, MetricResult]], part: str, number: int) -> Trace:
    shown = [(kimg, result) for kimg, result in scores if part in result.values]

    def column(name: str) -> NDArray[np.float64]:
        return np.array([getattr(result, name).get(part, math.nan) for _, result in shown], np.float64)

    return Trace(
        f"{part}²" if part.isdecimal() else part,
        _colour(part, number),
        np.array([kimg for kimg, _ in shown], np.float64),
        column("values"),
        column("spread"),
        column("floor"),
    )


def _colour(part: str, number: int) -> str:
    if part.isdecimal():
        return f"level-{min(8, max(0, int(math.log2(max(1, int(part)))) - 2))}"
    return "ink" if part in ("average", "value") else f"series-{number % 8}"


def _place(columns: int, rows: int, height: float) -> dict[str, float]:
    """Return margins and gaps, so that panels are as high in one row as in three."""
    panel = (height - _ABOVE - _BELOW - (rows - 1) * _BETWEEN) / rows
    margins = {**_MARGINS, "left": _MARGINS["left"] * (1 if columns == 2 else 1.6)}
    return {**margins, "top": 1 - _ABOVE / height, "bottom": _BELOW / height, "hspace": _BETWEEN / panel}


def _draw(axes: Axes, panel: Panel, colours: Mapping[str, str]) -> None:
    shown = np.concatenate([array for trace in panel.traces for array in (trace.y, trace.floor)])
    shown = shown[np.isfinite(shown)]
    log = len(shown) > 0 and shown.min() > 0 and shown.max() > _WIDE * shown.min()
    if log:
        axes.set_yscale("log", nonpositive="clip")
    for trace in panel.traces:
        _draw_trace(axes, trace, colours[trace.colour])
    if panel.best is not None:
        x, y, colour = panel.best
        ring(axes, x, y, colours[colour])
    _dress(axes, log=log)
    ends = [trace.x[-1] for trace in panel.traces if len(trace.x)]
    axes.set_xlim(0, max(ends, default=1) * 1.02 or 1)
    _name(axes, panel, colours)


def _draw_trace(axes: Axes, trace: Trace, colour: str) -> None:
    width = 2.0 if trace.colour == "ink" else 1.4
    if np.isfinite(trace.error).any():
        error = np.where(np.isfinite(trace.error), trace.error, 0.0)
        axes.fill_between(trace.x, trace.y - error, trace.y + error, color=colour, alpha=0.22, linewidth=0)
    axes.plot(trace.x, trace.y, color=colour, linewidth=width, marker="o", markersize=3.2)
    if np.isfinite(trace.floor).any():
        # Over the whole panel where there is only one snapshot: a line of one point is none.
        if len(trace.x) == 1:
            axes.axhline(trace.floor[0], color=colour, linewidth=0.9, linestyle=_DASHES)
        else:
            axes.plot(trace.x, trace.floor, color=colour, linewidth=0.9, linestyle=_DASHES)


def _dress(axes: Axes, *, log: bool) -> None:
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6) if log else MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(_number))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(_number))
    axes.set_xlabel("real images shown (kimg)")


def _name(axes: Axes, panel: Panel, colours: Mapping[str, str]) -> None:
    """Write above the axes what is drawn, which way is better, and what each colour is."""
    words = [("■", trace.label, colours[trace.colour]) for trace in panel.traces] if len(panel.traces) > 1 else []
    if any(np.isfinite(trace.floor).any() for trace in panel.traces):
        words.append(("- -", "a perfect generator", colours["muted"]))
    if panel.best is not None:
        words.append(("○", f"the best, at {_number(panel.best[0], None)} kimg", colours["muted"]))
    rows = _wrapped(axes, words, colours["muted"])
    for row, entries in enumerate(rows):
        up = 8 + 12 * (len(rows) - 1 - row)
        for left, text, colour in entries:
            axes.annotate(text, (0, 1), (left, up), color=colour, fontsize=_LEGEND, **_ABOVE_AXES)
    up = 10 + 12 * max(1, len(rows))
    axes.annotate(panel.title, (0, 1), (0, up), fontsize=9.5, fontweight="bold", color=colours["ink"], **_ABOVE_AXES)
    told = f"{panel.better} is better"
    axes.annotate(told, (1, 1), (0, up), fontsize=_LEGEND, ha="right", color=colours["muted"], **_ABOVE_AXES)


def _wrapped(axes: Axes, words: Sequence[tuple[str, str, str]], muted: str) -> list[list[tuple[float, str, str]]]:
    """Return rows of (left edge in points, text, colour): marks and labels in as many rows as the axes are wide."""
    rows: list[list[tuple[float, str, str]]] = []
    width, left = axes.get_window_extent().width * 72 / _DPI, 0.0
    for mark, label, colour in words:
        mark_width, label_width = _width(axes, mark) + 3, _width(axes, label) + 10
        if not rows or left + mark_width + label_width > width:
            rows.append([])
            left = 0.0
        rows[-1] += [(left, mark, colour), (left + mark_width, label, muted)]
        left += mark_width + label_width
    return rows


def _width(axes: Axes, text: str) -> float:
    """Return the width of a legend's text in points."""
    written = axes.figure.text(0, 0, text, fontsize=_LEGEND)
    found = written.get_window_extent().width * 72 / _DPI
    written.remove()
    return found


def _number(value: float, _: object) -> str:
    return f"{value:,.6g}".replace("-", "−")
