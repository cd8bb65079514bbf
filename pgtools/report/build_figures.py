"""The scores of a build as figures: a histogram for its page, and one picture with crops beside it."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from pgtools.errors import InputError
from pgtools.report.build_rows import Crop, Crops, Cut, bin_edges, cut_of, gather
from pgtools.report.figures import COLOURS, inline_svg, style

KEPT, OTHERS = "series-0", "level-0"
CropOf = Callable[[int], "NDArray[np.uint8] | None"]

_SIZE = (4.6, 2.55)
_MARGINS = {"left": 0.13, "right": 0.975, "bottom": 0.165, "top": 0.9}
# Inches of the picture: its width, the space around, the heights of histogram and captions.
_WIDTH, _SPACE, _HISTOGRAM, _CAPTION = 10.0, 0.35, 2.6, 0.2
_GAP = 0.08
_ROW = 8
_DPI = 120


def histogram(name: str, crops: Crops, *, cut: Cut | None) -> str:
    """Return the histogram of all scores as an `<svg>` element; quantiles of the crops in the store stand on top.

    Args:
        name: prefix of every id in it, unique in its page.
        crops: some of them scored.
        cut: what parts the crops in the store from the others, drawn as a line; None for no such line.
    """
    with style(name):
        figure = Figure(figsize=_SIZE, facecolor="none")
        axes = figure.subplots(gridspec_kw=_MARGINS)
        _draw_histogram(axes, crops, cut=cut, colours=COLOURS)
        _mark_quantiles(axes, crops)
        axes.yaxis.set_label_coords(-0.115, 0.5)
        return inline_svg(figure, name)


def quality_figure(rows: Iterable[Mapping[str, Any]], crop_of: CropOf, settings: Mapping[str, Any]) -> bytes:
    """Return the scores of a build as one PNG: histogram, crops at its quantiles, the best and the worst kept.

    Args:
        rows: the manifest; see `gather`.
        crop_of: index in the store → uint8 (R, R, 3), or None where it cannot be had; its place stays empty.
        settings: the build's, which say whether the score decided; see `cut_of`.

    Raises:
        InputError: no crop in the store has a score.
    """
    crops = gather(rows)
    if not crops.are_scored:
        raise InputError("The manifest tells no scores of crops in the store, so there is nothing to draw.")
    colours = page_colours()
    with style("scores", colours=colours):
        figure = _draw_picture(crops, crop_of, cut_of(crops, settings), colours)
        buffer, smaller = io.BytesIO(), io.BytesIO()
        FigureCanvasAgg(figure)
        # None leaves the program's version out, which would make equal figures differ.
        figure.savefig(buffer, format="png", metadata={"Software": None})
    # Without matplotlib's fourth channel and packed tighter it is a seventh smaller.
    with Image.open(buffer) as drawn:
        drawn.convert("RGB").save(smaller, format="png", optimize=True)
    return smaller.getvalue()


def moved_apart(places: Sequence[float], gap: float) -> list[float]:
    """Return places moved as little as possible (least squares) to be `gap` or more apart, within 0 to 1.

    Args:
        places: ascending, 0 to 1; so few that they fit.
        gap: the least distance wanted.
    """
    # Less i gaps, they must only not fall: that is isotonic regression, here by its min-max formula.
    shifted, count = [place - i * gap for i, place in enumerate(places)], len(places)
    rising = [max(min(fmean(shifted[a : b + 1]) for b in range(i, count)) for a in range(i + 1)) for i in range(count)]
    return [min(max(place, 0.0), 1 - (count - 1) * gap) + i * gap for i, place in enumerate(rising)]


_MARK: dict[str, Any] = {"linewidth": 0.7, "clip_on": False, "solid_capstyle": "butt", "solid_joinstyle": "round"}
_LABEL: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 7}
# Shares of the axes' width: what a quantile's name takes above the histogram, and the axis' own name below the picture.
_NAME, _AXIS_NAME = 0.078, 0.1


def _mark_quantiles(axes: Axes, crops: Crops) -> None:
    """Mark the quantiles above the histogram, each with its name; names that would overlap stand apart."""
    (low, high), shown = axes.get_xlim(), crops.quantiles()
    places = [(crop.score - low) / (high - low) for _, crop in shown]
    for (percent, _), place, name in zip(shown, places, moved_apart(places, _NAME), strict=True):
        bent = [place, place, name], [1.0, 1.02, 1.06]
        axes.plot(*bent, transform=axes.transAxes, color=COLOURS["muted"], **_MARK)
        axes.text(name, 1.07, f"{percent} %", transform=axes.transAxes, color=COLOURS["muted"], **_LABEL)


def _draw_histogram(axes: Axes, crops: Crops, *, cut: Cut | None, colours: Mapping[str, str]) -> None:
    """Draw stacked bars: crops in the store below, the others on top of them."""
    edges = bin_edges([crops.scores, crops.others])
    below = np.zeros(len(edges) - 1)
    for scores, colour in ((crops.scores, KEPT), (crops.others, OTHERS)):
        counts = np.histogram(scores, edges)[0].astype(np.float64)
        full = counts > 0
        left, width = edges[:-1][full], np.diff(edges)[full]
        axes.bar(left, counts[full], width * 0.92, below[full], align="edge", color=colours[colour], linewidth=0)
        below += counts
    if cut is not None:
        axes.axvline(cut.score, color=colours["series-1"], linewidth=1.1, linestyle=(0, (3, 2.2)))
    axes.set_xlim(edges[0] if cut is None else min(edges[0], cut.score), edges[-1])
    axes.set_ylim(0, below.max() * 1.05)
    axes.set_xlabel("quality score")
    axes.set_ylabel("crops")
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(7))


def _draw_picture(crops: Crops, crop_of: CropOf, cut: Cut | None, colours: Mapping[str, str]) -> Figure:
    shown = crops.quantiles()
    rows = [("best", crops.best(_ROW)), ("worst kept", crops.worst(_ROW))]
    rows = [(label, row) for label, row in rows if row]
    side, large = _side(_ROW), _side(len(shown)) if len(shown) == 7 else _side(7)
    height = 3 * _SPACE + _HISTOGRAM + 0.45 + large + _CAPTION + len(rows) * (side + 2 * _CAPTION + 0.12)
    figure = Figure(figsize=(_WIDTH, height), facecolor=colours["paper"], dpi=_DPI)
    inner = (_SPACE + 0.25, height - _SPACE - _HISTOGRAM, _WIDTH - 2 * _SPACE - 0.25, _HISTOGRAM)
    axes = figure.add_axes(_fraction(inner, height))
    _draw_histogram(axes, crops, cut=cut, colours=colours)
    _legend(axes, crops, cut, colours)
    _name_between(axes, [crop.score for _, crop in shown])
    for number in axes.get_xticklabels():  # the lines to the crops pass behind them
        number.set_bbox({"facecolor": colours["paper"], "edgecolor": "none", "pad": 1.5})
    top = height - _SPACE - _HISTOGRAM - 0.85
    lefts = _place(figure, [crop for _, crop in shown], crop_of, top=top, side=large)
    for (percent, crop), left in zip(shown, lefts, strict=True):
        _caption(figure, left, top - large, f"{percent} %: {crop.score:.3f}", colours["muted"])
        _connect(figure, axes, crop.score, (left + large / 2, top + 0.02), colours["muted"])
    top -= large + _CAPTION + 0.12
    for label, row in rows:
        _caption(figure, _SPACE, top, label, colours["ink"])
        top -= _CAPTION
        for crop, left in zip(row, _place(figure, row, crop_of, top=top, side=side), strict=True):
            _caption(figure, left, top - side, f"{crop.score:.3f}", colours["muted"])
        top -= side + _CAPTION + 0.12
    return figure


def _name_between(axes: Axes, scores: Sequence[float]) -> None:
    """Move the axis' name to where no line to a crop passes: the left end, or the widest gap between the lines."""
    low, high = axes.get_xlim()
    lines = [0.0, *((score - low) / (high - low) for score in scores), 1.0]
    left, right = max(pairwise(lines), key=lambda gap: gap[1] - gap[0])
    x, alignment = (0.0, "left") if lines[1] > _AXIS_NAME else ((left + right) / 2, "center")
    axes.set_xlabel(axes.get_xlabel(), x=x, horizontalalignment=alignment)


def _legend(axes: Axes, crops: Crops, cut: Cut | None, colours: Mapping[str, str]) -> None:
    """Write above the axes what each colour is."""
    words = [("in the store", KEPT)]
    words += [("not kept", OTHERS)] if len(crops.others) else []
    words += [(cut.label, "series-1")] if cut is not None else []
    place: dict[str, Any] = {"transform": axes.transAxes, "va": "bottom", "fontsize": 8}
    for i, (word, colour) in enumerate(words):
        axes.text(0.12 * i, 1.02, "■", color=colours[colour], **place)
        axes.text(0.12 * i + 0.015, 1.02, word, color=colours["muted"], **place)


def _place(figure: Figure, row: Sequence[Crop], crop_of: CropOf, *, top: float, side: float) -> list[float]:
    """Put crops side by side below `top` and return their left edges (inches)."""
    lefts = [_SPACE + i * (side + _GAP) for i in range(len(row))]
    for crop, left in zip(row, lefts, strict=True):
        image = crop_of(crop.index)
        if image is not None:
            axes = figure.add_axes(_fraction((left, top - side, side, side), figure.get_figheight()))
            axes.imshow(image, interpolation="antialiased")
            axes.set_axis_off()
    return lefts


def _connect(figure: Figure, axes: Axes, score: float, end: tuple[float, float], colour: str) -> None:
    """Draw a line from a score on the axis, past its numbers, to `end` (inches)."""
    box, (low, high) = axes.get_position(), axes.get_xlim()
    x = box.x0 + box.width * (score - low) / (high - low)
    heights = (box.y0, box.y0 - 0.42 / figure.get_figheight(), end[1] / figure.get_figheight())
    line = Line2D(
        (x, x, end[0] / _WIDTH), heights, color=colour, linewidth=0.6, transform=figure.transFigure, zorder=-1
    )
    figure.add_artist(line)


def _caption(figure: Figure, left: float, top: float, text: str, colour: str) -> None:
    height = figure.get_figheight()
    figure.text(left / _WIDTH, (top - 0.03) / height, text, color=colour, va="top", fontsize=7.5)


def _side(count: int) -> float:
    return (_WIDTH - 2 * _SPACE - (count - 1) * _GAP) / count


def _fraction(box: tuple[float, float, float, float], height: float) -> tuple[float, float, float, float]:
    return box[0] / _WIDTH, box[1] / height, box[2] / _WIDTH, box[3] / height


def page_colours() -> dict[str, str]:
    """Return the colours of the page's style sheet by day, so that they are said once."""
    css = (files("pgtools.report") / "templates" / "page.css").read_text("utf-8")
    light = css[: css.index("@media")]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})\b", light))
