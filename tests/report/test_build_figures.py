"""Figures of a build: the same bytes for the same scores, bars that add up, crops where they belong."""

from __future__ import annotations

import base64
import io
import itertools
import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from pgtools.errors import InputError
from pgtools.report.build_figures import (
    _draw_histogram,
    _mark_quantiles,
    _name_between,
    histogram,
    moved_apart,
    quality_figure,
)
from pgtools.report.build_pictures import SIDE, marked
from pgtools.report.build_rows import Cut, gather
from pgtools.report.figures import COLOURS
from pgtools.report.pictures import CROP, picture
from tests.report.build_drawn import crop_of, drawn_rows, row

CROPS = gather(drawn_rows())
CUT = Cut(0.61, is_asked=False)


def test_the_element_is_fit_for_html_and_has_the_pages_colours() -> None:
    svg = histogram("scores", CROPS, cut=CUT)
    assert ElementTree.fromstring(svg).tag == "svg"  # noqa: S314
    assert re.findall(r"#[0-9a-f]{6}\b", svg) == []
    assert all(f"var(--{name})" in svg for name in ("series-0", "level-0", "series-1", "muted"))
    assert "var(--series-1)" not in histogram("scores", CROPS, cut=None)
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert len(ids) == len(set(ids))
    assert all(name.startswith("scores-") for name in ids)
    assert "50 %" in svg


def test_the_same_scores_give_the_same_bytes_whatever_matplotlibrc_says() -> None:
    svg, png = histogram("scores", CROPS, cut=CUT), quality_figure(drawn_rows(), crop_of, {"keep": 30})
    with mpl.rc_context({"font.size": 40, "svg.fonttype": "path", "axes.facecolor": "red", "savefig.dpi": 20}):
        assert histogram("scores", CROPS, cut=CUT) == svg
        assert quality_figure(drawn_rows(), crop_of, {"keep": 30}) == png
    assert histogram("scores", gather(drawn_rows(kept=29)), cut=CUT) != svg
    assert b"Software" not in png  # another matplotlib is no reason for other bytes


def test_the_bars_add_up_to_all_crops() -> None:
    axes = Figure().subplots()
    _draw_histogram(axes, CROPS, cut=None, colours=COLOURS)
    heights = dict.fromkeys(("series-0", "level-0"), 0.0)
    for bar in axes.patches:
        colour = next(name for name in heights if np.allclose(bar.get_facecolor(), mpl.colors.to_rgba(COLOURS[name])))
        heights[colour] += bar.get_height()
    assert heights == {"series-0": 30, "level-0": 10}


def test_a_cut_below_all_scores_is_seen() -> None:
    axes = Figure().subplots()
    _draw_histogram(axes, CROPS, cut=Cut(0.1, is_asked=True), colours=COLOURS)
    assert axes.get_xlim()[0] <= 0.1


@pytest.mark.parametrize(
    "scores", [[0.759, 0.769, 0.769, 0.771, 0.794], [0.5, 0.5, 0.5], [0.1, 0.9], np.linspace(0.4, 0.8, 32).tolist()]
)
def test_every_quantile_has_a_name_and_no_names_overlap(scores: list[float]) -> None:
    """Five crops had "1 %50 %", and marks without a name that looked like dirt."""
    crops = gather([row(f"{i}.jpg", score, index=i) for i, score in enumerate(scores)])
    figure = Figure(figsize=(4.6, 2.55))
    axes = figure.subplots(gridspec_kw={"left": 0.13, "right": 0.975})
    _draw_histogram(axes, crops, cut=None, colours=COLOURS)
    _mark_quantiles(axes, crops)
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = sorted((text.get_window_extent(renderer).extents.tolist() for text in axes.texts), key=lambda box: box[0])
    assert len(boxes) == len(axes.lines) == len(crops.quantiles())
    assert all(left[2] < right[0] for left, right in itertools.pairwise(boxes))
    assert figure.bbox.x0 <= boxes[0][0]
    assert boxes[-1][2] <= figure.bbox.x1


@example([0.2, 0.2, 0.21, 0.9])
@given(st.lists(st.floats(0, 1), min_size=1, max_size=7).map(sorted))
def test_places_move_apart_and_no_further_than_needed(places: list[float]) -> None:
    moved = moved_apart(places, 0.1)
    assert min(moved) >= 0
    assert max(moved) <= 1 + 1e-9
    assert all(b - a >= 0.1 - 1e-9 for a, b in itertools.pairwise(moved))
    if all(b - a >= 0.1 for a, b in itertools.pairwise(places)):
        np.testing.assert_allclose(moved, places, atol=1e-9)


def test_places_that_crowd_share_the_way() -> None:
    np.testing.assert_allclose(moved_apart([0.5, 0.5, 0.5], 0.1), [0.4, 0.5, 0.6])
    np.testing.assert_allclose(moved_apart([0.0, 0.0, 0.9], 0.1), [0.0, 0.1, 0.9])


@pytest.mark.parametrize("shares", [[0.03, 0.2, 0.5, 0.9], [0.01, 0.99], [0.5], np.linspace(0, 1, 7).tolist()])
def test_no_line_to_a_crop_passes_through_the_name_of_the_axis(shares: list[float]) -> None:
    figure = Figure(figsize=(10, 3))
    axes = figure.add_axes((0.06, 0.3, 0.9, 0.6))
    axes.set_xlabel("quality score", fontsize=8)
    _name_between(axes, shares)  # of an axis from 0 to 1
    figure.draw(renderer := FigureCanvasAgg(figure).get_renderer())
    low, _, high, _ = axes.xaxis.label.get_window_extent(renderer).extents
    x = axes.transData.transform([(share, 0) for share in shares])[:, 0]
    assert not ((x > low - 2) & (x < high + 2)).any()


def test_the_picture_holds_the_crops_from_the_store() -> None:
    seen: list[int] = []
    png = quality_figure(drawn_rows(), lambda index: seen.append(index) or crop_of(index), {"keep": 30})
    assert seen == [29, 26, 22, 15, 7, 3, 0, *range(8), *range(29, 21, -1)]
    picture = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))
    assert picture.shape[1] == 1200
    found = {tuple(colour) for colour in picture.reshape(-1, 3)[::7].tolist()}
    assert {(index, 100, 100) for index in seen} <= found


def test_a_crop_that_cannot_be_had_leaves_its_place_empty() -> None:
    assert quality_figure(drawn_rows(), lambda _: None, {}).startswith(b"\x89PNG")


def test_there_is_no_picture_without_scores() -> None:
    with pytest.raises(InputError, match="no scores"):
        quality_figure([], crop_of, {})


def test_the_square_is_drawn_where_it_is() -> None:
    photo = np.full((160, 160, 3), 200, np.uint8)
    quad = np.array([[40.0, 40], [40, 120], [120, 120], [120, 40]])
    found = marked(photo, quad, np.array([[80.0, 80.0]])).astype(int)
    assert found.shape == (SIDE, SIDE, 3)
    yellow = (found[..., 0] > 220) & (found[..., 2] < 120)
    y, x = np.nonzero(yellow & (np.hypot(*(np.mgrid[:SIDE, :SIDE] - 160)) > 20))
    assert (x.min(), y.min(), x.max(), y.max()) == pytest.approx((80, 80, 240, 240), abs=3)
    assert yellow[159:161, 159:161].all()
    assert not yellow[100:140, 100:140].any()


def test_a_square_beyond_the_photo_is_shown_whole_on_grey() -> None:
    photo = np.full((100, 100, 3), 200, np.uint8)
    quad = np.array([[-50.0, 10], [-50, 90], [30, 90], [30, 10]])
    for side, shift in ((1, 0.0), (-1, 120.0)):  # beyond the left, then beyond the right
        found = marked(photo, quad + np.array([shift, 0.0]), np.zeros((0, 2)))
        assert found.shape[:2] == (pytest.approx(SIDE / 1.5, abs=1), SIDE)
        assert found[5, 5 * side].tolist() == [128, 128, 128]
        assert found[5, -5 * side].tolist() == [200, 200, 200]


@pytest.mark.parametrize(
    ("quad", "shape"),
    [(np.nan, (250, 320)), (1e9, (250, 320)), (-1e9, (250, 320))],
)
def test_an_odd_square_hides_no_photo_and_costs_no_memory(quad: float, shape: tuple[int, int]) -> None:
    found = marked(np.zeros((43, 55, 3), np.uint8), np.full((4, 2), quad), np.full((5, 2), np.nan))
    assert found.shape[:2] == pytest.approx(shape, abs=1)
    assert (found[::7, ::7] == 0).all(axis=2).mean() > 0.2


@pytest.mark.parametrize(("side", "lossless"), [(16, True), (160, True), (300, False), (1024, False)])
def test_a_crop_is_lossless_only_where_its_pixels_are_enlarged(side: int, lossless: bool) -> None:
    smooth = np.broadcast_to(np.linspace(0, 255, side).astype(np.uint8)[:, None, None], (side, side, 3))
    data = base64.b64decode(picture(smooth, budget=CROP, alt="").uri.split(",")[1])
    assert (data[12:16] == b"VP8L") == lossless
    assert len(data) <= CROP
