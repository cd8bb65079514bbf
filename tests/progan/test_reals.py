from __future__ import annotations

import numpy as np
import pytest

from pgtools.imaging.pyramid import mean_pyramid
from pgtools.progan.reals import Reals
from tests.progan.conftest import Pictures


def test_an_epoch_shows_every_image_once(source: Pictures) -> None:
    reals = Reals(source, seed=0)
    first, second = reals.indices(0, 20), reals.indices(20, 20)
    assert sorted(first) == sorted(second) == list(range(20))
    assert list(first) != list(second)
    assert list(Reals(source, seed=1).indices(0, 20)) != list(first)


def test_the_order_depends_on_what_was_shown_not_on_the_batches(source: Pictures) -> None:
    whole = Reals(source, seed=0).indices(0, 64)
    parts = [Reals(source, seed=0).indices(start, 8) for start in range(0, 64, 8)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_kept_and_streamed_batches_are_the_same(source: Pictures) -> None:
    kept, streamed = Reals(source, seed=0), Reals(source, seed=0, cache_bytes=0)
    # In order, as training asks, then with jumps: a level ends, a run resumes.
    for shown, count, level in [(0, 8, 4), (8, 8, 4), (16, 8, 8), (24, 4, 8), (40, 4, 16), (12, 4, 16)]:
        wanted = mean_pyramid(source.images)[level][kept.indices(shown, count)]
        np.testing.assert_array_equal(kept.batch(shown, count, level), wanted)
        np.testing.assert_array_equal(streamed.batch(shown, count, level), wanted)


def test_images_are_read_in_portions_of_bounded_bytes(source: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    # Room for five and a half images of the top level, whatever level is read.
    monkeypatch.setattr("pgtools.progan.reals.READ_BYTES", 11 * 3 * source.resolution**2 // 2)
    asked, read_top = [], source.read_top
    monkeypatch.setattr(source, "read_top", lambda indices: asked.append(len(indices)) or read_top(indices))
    Reals(source, seed=0).prepare(4)
    assert asked == [5, 5, 5, 5]
