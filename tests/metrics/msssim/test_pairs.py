from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError
from pgtools.metrics.msssim import draw_pairs, standard_error
from pgtools.metrics.msssim.pairs import usual_pairs


class TestPairs:
    @settings(max_examples=30, deadline=None)
    @given(images=st.integers(2, 50), pairs=st.integers(1, 120), seed=st.integers(0, 99))
    def test_images_are_used_up_before_they_are_shuffled_again(self, images: int, pairs: int, seed: int):
        found = draw_pairs(images, pairs, seed)
        assert found.shape == (pairs, 2)
        assert (found[:, 0] != found[:, 1]).all()
        for start in range(0, pairs, images // 2):
            used = found[start : start + images // 2].ravel()
            assert len(set(used.tolist())) == len(used)
            assert set(used.tolist()) <= set(range(images))
        np.testing.assert_array_equal(found, draw_pairs(images, pairs + 7, seed)[:pairs])

    def test_the_seed_names_them(self):
        assert not np.array_equal(draw_pairs(50, 25, 0), draw_pairs(50, 25, 1))

    @pytest.mark.parametrize(("images", "pairs", "said"), [(1, 1, "1 image; a pair takes two"), (4, 0, "0 pairs")])
    def test_what_gives_no_pair_is_refused(self, images: int, pairs: int, said: str):
        with pytest.raises(InputError, match=said):
            draw_pairs(images, pairs, 0)

    def test_they_are_never_more_than_the_papers_unless_asked_for(self):
        assert [usual_pairs(images) for images in (2, 3, 1000, 20_001, 50_000)] == [1, 1, 500, 10_000, 10_000]


class TestStandardError:
    def test_without_shared_images_it_is_the_usual_one(self):
        scores = np.random.default_rng(0).random(30)
        found = standard_error(scores, draw_pairs(60, 30, 0))
        assert found == pytest.approx(scores.std(ddof=1) / 30**0.5)

    def test_it_is_the_scatter_of_the_mean_where_images_are_shared(self):
        # A pair's score is the sum of its images' own parts: 60 images tell no more however they are paired.
        rng, pairs = np.random.default_rng(0), draw_pairs(60, 600, 0)
        trials = rng.normal(size=(1000, 60))[:, pairs].sum(-1)
        told = np.mean([standard_error(scores, pairs) for scores in trials])
        scatter = trials.mean(1).std()
        # 2.2 % of scatter from 1,000 trials, and about 2 % too low because the mean is the sample's own.
        assert told == pytest.approx(scatter, rel=0.08)
        # The mistake it keeps out: pairs taken for independent.
        assert trials[0].std(ddof=1) / 600**0.5 < 0.4 * scatter
