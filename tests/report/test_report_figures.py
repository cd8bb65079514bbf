"""Charts: known phases, honest thinning, and the same bytes for the same arrays."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtools.report.figures import Line, Phase, curves, phases, thinned

X = np.arange(1.0, 61.0)
SCHEDULE = [Phase(4, 0, 0, 20), Phase(8, 20, 40, 60)]


def chart(y: np.ndarray = X, name: str = "a", **words: object) -> str:
    return curves(name, [Line("y", X, y)], ylabel="y", schedule=SCHEDULE, **words)  # type: ignore[arg-type]


def test_phases_of_a_known_schedule() -> None:
    kimg = np.arange(1.0, 9.0)
    lod = np.array([2, 2, 1.5, 1.2, 1, 1, 0.5, 0])
    resolution = np.array([4, 4, 8, 8, 8, 8, 16, 16])
    expected = [Phase(4, 0, 0, 2), Phase(8, 2, 4, 6), Phase(16, 6, 7, 8)]
    assert phases(kimg, lod, resolution) == expected


def test_ticks_without_a_resolution_are_passed_over() -> None:
    nothing = np.full(3, np.nan)
    assert phases(np.arange(3.0), nothing, nothing) == []
    assert phases(np.arange(3.0), np.zeros(3), np.array([4, np.nan, 4])) == [Phase(4, 0, 0, 2)]


@settings(deadline=None)
@given(st.integers(401, 3000))
def test_thinned_curves_keep_their_ends_and_their_mean(count: int) -> None:
    x, y = thinned(np.arange(count, dtype=float), np.ones(count))
    assert len(x) == 400
    assert x[0] < 10
    assert x[-1] > count - 10
    assert np.all(np.diff(x) > 0)
    np.testing.assert_allclose(y, 1.0)


def test_thinning_leaves_out_what_is_not_finite() -> None:
    y = np.ones(800)
    y[1], y[10:12] = np.nan, np.nan
    _, thin = thinned(np.arange(800.0), y)
    assert thin[0] == 1.0
    assert np.flatnonzero(np.isnan(thin)).tolist() == [5]


def test_the_same_arrays_give_the_same_bytes_whatever_matplotlibrc_says() -> None:
    first = chart()
    with mpl.rc_context({"xtick.direction": "in", "svg.fonttype": "path", "font.size": 40}):
        assert chart() == first
    assert chart(X + 1) != first


def test_the_element_is_fit_for_html() -> None:
    svg = chart()
    root = ElementTree.fromstring(svg)  # noqa: S314
    assert root.tag == "svg"
    assert "://" not in svg
    assert "<style" not in svg
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert len(ids) == len(set(ids))
    assert all(name.startswith("a-") for name in ids)
    assert {ref for ref in re.findall(r"#([\w.-]+)", svg) if not ref.startswith("ffffff")} <= set(ids)


def test_every_colour_is_one_of_the_page() -> None:
    svg = chart()
    assert re.findall(r"#[0-9a-f]{6}\b", svg) == []
    assert "var(--series-0)" in svg
    assert "var(--level-1)" in svg


def test_words_are_text_and_markup_is_not() -> None:
    svg = curves("a", [Line("y", X, X)], ylabel="<b>$x$ & y</b>")
    assert "&lt;b&gt;$x$ &amp; y&lt;/b&gt;" in svg
    assert "4²" in chart()


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("y", [np.full(60, np.nan), np.zeros(60), -X, np.where(X > 30, np.inf, X), X * 1e30])
def test_odd_values_are_gaps_and_not_errors(y: np.ndarray, log: bool) -> None:
    assert chart(y, log=log).startswith("<svg")


def test_a_floor_is_dashed_in_the_colour_of_its_line() -> None:
    svg = curves("a", [Line("32²", X, X, "level-3", floor=5.0)], ylabel="y")
    assert re.search(r"stroke-dasharray[^\"]*var\(--level-3\)", svg)
    assert "stroke-dasharray" not in chart()
