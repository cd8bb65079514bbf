"""Curves over training as inline SVG: arrays in, text out; the same arrays give the same bytes.

Colours are CSS variables, so that a figure follows the page into the dark and onto paper. Text stays text,
in the page's own font.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import blended_transform_factory
from numpy.typing import NDArray

# Matplotlib wants numbers: each stands for a variable of the page's style sheet and is replaced by it.
_VARIABLES = {f"#0000{i:02x}": f"var(--{name})" for i, name in enumerate(("ink", "muted", "rule"), start=1)}
_VARIABLES |= {f"#0001{i:02x}": f"var(--series-{i})" for i in range(8)}
_VARIABLES |= {f"#0002{i:02x}": f"var(--level-{i})" for i in range(9)}
COLOURS = {value[6:-1]: key for key, value in _VARIABLES.items()}
_NAMES = {colour: name for name, colour in COLOURS.items()}
INK, MUTED, RULE = (COLOURS[name] for name in ("ink", "muted", "rule"))

# Inches; drawn about 1.3 times as large on a desktop, at its size on a phone.
_SIZE = (4.6, 2.55)
# Fixed, so that the axes of neighbouring figures stand in line whatever their numbers are.
_MARGINS = {"left": 0.13, "right": 0.975, "bottom": 0.165, "top": 0.935, "hspace": 0.09}
_MOST_POINTS = 400
_RC: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 8.0,
    "axes.facecolor": "none",
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 8.0,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "lines.solid_capstyle": "round",
    "text.color": INK,
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "text.parse_math": False,
}
# Without the user's own matplotlibrc: figures look alike everywhere. The backend is not for us to set.
_DEFAULTS: dict[str, Any] = {key: value for key, value in mpl.rcParamsDefault.items() if not key.startswith("backend")}


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: what the page's legend calls it; the figure itself has none.
        x: float64 (N,), ascending.
        y: float64 (N,); gaps where it is not finite.
        colour: "ink", "series-0" … "series-7" or "level-0" … "level-8", as the page's style sheet names them.
        floor: what a perfect generator would get, drawn dashed in the same colour; None for no such line.
        ringed: an entry of x whose point is ringed; None for none.
    """

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: str = "series-0"
    floor: float | None = None
    ringed: float | None = None


@dataclass(frozen=True)
class Phase:
    """Training at one live resolution: fading in from `start` to `faded`, then stable to `end` (kimg)."""

    resolution: int
    start: float
    faded: float
    end: float


def phases(kimg: NDArray[np.float64], lod: NDArray[np.float64], resolution: NDArray[np.float64]) -> list[Phase]:
    """Return the phases that the ticks went through.

    Args:
        kimg: float64 (T,), one entry a tick, as all three; ticks where one is not finite are passed over.
        lod: halvings from the full resolution to the live one.
        resolution: side of the live level, in pixels.

    Convention: with a fractional lod the live resolution, 2^floor(lod) below the full one, is being faded in.
    """
    known = np.isfinite(kimg) & np.isfinite(lod) & np.isfinite(resolution)
    kimg, lod, resolution = kimg[known], lod[known], resolution[known]
    cuts = [0, *(np.flatnonzero(np.diff(resolution)) + 1), len(kimg)] if len(kimg) else []
    found: list[Phase] = []
    for first, after in pairwise(cuts):
        start = found[-1].end if found else 0.0
        fading = np.flatnonzero(lod[first:after] % 1 > 0)
        faded = float(kimg[first + fading[-1]]) if len(fading) else start
        found.append(Phase(int(resolution[first]), start, faded, float(kimg[after - 1])))
    return found


def curves(name: str, lines: Sequence[Line], *, ylabel: str, schedule: Sequence[Phase] = (), log: bool = False) -> str:
    """Return a chart of lines over kimg as an `<svg>` element.

    Args:
        name: prefix of every id in it, unique in its page; letters, digits and hyphens.
        lines: what to draw, in the order of the legend.
        ylabel: quantity and unit.
        schedule: phases for the strip along the top; may be empty.
        log: logarithmic y axis, where values that are not positive become gaps; linear if none is positive.
    """
    with style(name):
        figure = Figure(figsize=_SIZE, facecolor="none")
        strip, axes = figure.subplots(2, 1, sharex=True, height_ratios=(1, 14), gridspec_kw=_MARGINS)
        _draw_strip(strip, schedule)
        _draw_lines(axes, lines, log=log)
        axes.set_xlabel("real images shown (kimg)")
        axes.set_ylabel(ylabel)
        axes.yaxis.set_label_coords(0.025, 0.5, transform=blended_transform_factory(figure.transFigure, axes.transAxes))
        _set_limits(axes, lines, schedule)
        return inline_svg(figure, name)


def style(name: str, *, colours: Mapping[str, str] = COLOURS) -> AbstractContextManager[None]:
    """Return the context in which figures are drawn and written; they look alike whatever matplotlibrc says.

    Args:
        name: see `curves`.
        colours: name of a variable of the style sheet → colour.
    """
    own = {key: colours[_NAMES[value]] if str(value) in _NAMES else value for key, value in _RC.items()}
    options: Any = {**_DEFAULTS, **own, "svg.hashsalt": name}
    return mpl.rc_context(options)


def inline_svg(figure: Figure, name: str) -> str:
    """Return a figure as an `<svg>` element fit for a page; `name` as for `curves`, within `style(name)`."""
    text = io.StringIO()
    # None leaves the entry out: a date or a program's version would make equal figures differ.
    figure.savefig(text, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return _inline(text.getvalue(), name)


def thinned(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return at most 400 points: means over equal runs of ticks, NaN left out; a short one stays as it is."""
    if len(x) <= _MOST_POINTS:
        return x, y
    groups = np.array_split(np.arange(len(x)), _MOST_POINTS)
    finite = [group[np.isfinite(y[group])] for group in groups]
    means = [y[group].mean() if len(group) else math.nan for group in finite]
    return np.array([x[group].mean() for group in groups]), np.array(means)


def ring(axes: Axes, x: float, y: float, colour: str) -> None:
    """Draw a ring around a point, clear of its own marker."""
    axes.plot(
        [x], [y], "o", markersize=8, markerfacecolor="none", markeredgecolor=colour, markeredgewidth=1.3, clip_on=False
    )


def _draw_lines(axes: Axes, lines: Sequence[Line], *, log: bool) -> None:
    log = log and any((line.y > 0).any() for line in lines)
    if log:
        axes.set_yscale("log", nonpositive="mask")
    for line in lines:
        x, y = thinned(line.x, np.where(np.isfinite(line.y), line.y, np.nan))
        colour = COLOURS[line.colour]
        width = 1.9 if line.colour == "ink" else 1.4
        marker = "o" if len(x) <= 40 else ""
        axes.plot(x, y, color=colour, linewidth=width, marker=marker, markersize=2.6, clip_on=False)
        if line.floor is not None:
            axes.axhline(line.floor, color=colour, linewidth=0.9, linestyle=(0, (3, 2.2)))
        if line.ringed is not None:
            for at in np.flatnonzero(line.x == line.ringed)[:1]:
                ring(axes, line.x[at], line.y[at], colour)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=6) if log else MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(_tick))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(_tick))


def _draw_strip(axes: Axes, schedule: Sequence[Phase]) -> None:
    """Draw the live resolution along the top: a wedge while it fades in, a block while it is stable."""
    for i, phase in enumerate(schedule):
        colour = COLOURS[f"level-{min(8, int(math.log2(phase.resolution)) - 2)}"]
        # Each block reaches below the wedge of the next, so that no seam shows between them.
        end = schedule[i + 1].faded if i + 1 < len(schedule) else phase.end
        axes.fill([phase.start, end, end, phase.faded], [0, 0, 1, 1], color=colour, linewidth=0)
        if phase.end - phase.start > 0.055 * schedule[-1].end:
            x, text = (phase.start + phase.end) / 2, f"{phase.resolution}²"
            axes.text(x, 1.15, text, ha="center", va="bottom", fontsize=7, color=MUTED)
    axes.set_ylim(0, 1)
    axes.set_axis_off()


def _tick(value: float, _: object) -> str:
    return f"{value:,.6g}".replace("-", "−")


def _set_limits(axes: Axes, lines: Sequence[Line], schedule: Sequence[Phase]) -> None:
    ends = [line.x[-1] for line in lines if len(line.x)] + [phase.end for phase in schedule]
    axes.set_xlim(0, max(ends, default=1) or 1)


def _inline(document: str, name: str) -> str:
    """Return the svg element of a document, ready for HTML: own ids, the page's colours, no namespaces."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (xmlns(:\w+)?|version)="[^"]*"', "", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1).replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub("#[0-9a-f]{6}", lambda match: _VARIABLES.get(match.group(), match.group()), svg)
    svg = re.sub(r"(\d\.\d\d)\d+", r"\1", svg)
    return re.sub(r"\s*\n\s*", "\n", svg)
