"""Lines of a manifest gathered: counts by hand, and which crops are shown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgtools.report.build_rows import QUANTILES, Cut, bin_edges, cut_of, gather
from tests.report.build_drawn import drawn_rows, row


def test_photos_and_crops_are_counted() -> None:
    lines = [
        row("a.jpg", 0.5, index=0),
        row("a.jpg", 0.25, face=2, index=1),
        row("b.jpg", reason="no face was found"),
        row("c.jpg", reason="face is small"),
        row("c.jpg", 0.125, face=2, reason="below the best K"),
        row("d.jpg", 0.0625, reason="its score is below 0.1"),
    ]
    crops = gather(lines)
    assert (crops.photos, crops.empty) == (4, 1)
    assert crops.names == [("a.jpg", 1), ("a.jpg", 2)]
    np.testing.assert_array_equal(crops.scores, [0.5, 0.25])
    np.testing.assert_array_equal(crops.others, [0.125, 0.0625])
    assert crops.dropped == {"below the best K": 1, "its score is below 0.1": 1}
    assert gather(reversed(lines[:2])).photos == 1


def test_a_crop_keeps_its_place_its_points_and_its_square() -> None:
    crop = gather([row("a.jpg", 0.5, index=7, face=2)]).best(1)[0]
    assert (crop.index, crop.file, crop.face, crop.score) == (7, "a.jpg", 2, 0.5)
    np.testing.assert_array_equal(crop.points, 10 + np.arange(0, 20, 2).reshape(5, 2))
    np.testing.assert_array_equal(crop.quad, [[6, 4], [6, 34], [36, 34], [36, 4]])


def test_quantiles_best_and_worst_of_a_hundred_and_one() -> None:
    crops = gather(row(f"{i}.jpg", i / 100, index=i) for i in np.random.default_rng(0).permutation(101).tolist())
    assert [(percent, crop.index) for percent, crop in crops.quantiles()] == [(p, p) for p in QUANTILES]
    assert [crop.index for crop in crops.best(3)] == [100, 99, 98]
    assert [crop.index for crop in crops.worst(3)] == [0, 1, 2]
    assert [crop.index for crop in crops.spread(3)] == [100, 50, 0]


@given(st.integers(0, 40))
def test_few_crops_are_shown_once_each(count: int) -> None:
    crops = gather(drawn_rows(kept=count, dropped=0))
    best, worst = crops.best(8), crops.worst(8)
    shown = [crop.index for crop in best + worst]
    assert len(shown) == len(set(shown)) == min(16, count)
    assert (
        len({crop.index for _, crop in crops.quantiles()})
        == len(crops.quantiles())
        == min(count, len(crops.quantiles()))
    )
    assert len({crop.index for crop in crops.spread(12)}) == min(12, count)


def test_crops_without_scores_are_spread_over_the_store() -> None:
    lines = [{**row(f"{i}.jpg", 0.5, index=i), "score": None} for i in range(5)]
    crops = gather(lines)
    assert not crops.are_scored
    assert crops.quantiles() == crops.best(8) == crops.worst(8) == []
    assert [crop.index for crop in crops.spread(3)] == [0, 2, 4]


def test_the_cut_is_where_the_score_decides() -> None:
    crops = gather(drawn_rows(kept=3, dropped=2))
    least = Cut(pytest.approx(0.88), is_asked=False)
    assert cut_of(crops, {"keep": 3}) == least
    assert cut_of(crops, {"keep": 3, "min_score": 0.1}) == least
    assert cut_of(crops, {"keep": None, "min_score": 0.875}) == Cut(0.875, is_asked=True)
    assert cut_of(crops, {"keep": 3, "rank": "none"}) is None
    assert cut_of(gather(drawn_rows(kept=3, dropped=0)), {"keep": 9}) is None
    mixed = gather([row("a.jpg", 0.1, index=0), row("b.jpg", 0.9, reason="after the first K")])
    assert cut_of(mixed, {"keep": 1}) is None


def test_a_cut_is_called_what_it_is() -> None:
    assert Cut(0.05, is_asked=True).label == "--min-score, 0.050"
    assert Cut(0.116, is_asked=False).label == "least score kept, 0.116"


@example([0.35, 0.42])  # whose first edge, 70 * 0.005, would lie above the first score
@given(st.lists(st.floats(0, 1), min_size=1, max_size=300))
def test_every_score_has_a_bin_and_there_are_not_too_many(scores: list[float]) -> None:
    edges = bin_edges([np.array(scores), np.array([])])
    assert np.histogram(scores, edges)[0].sum() == len(scores)
    assert 2 <= len(edges) <= 52
    assert np.diff(edges).min() > 0
