from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError
from pgtools.metrics.msssim import draw_pairs, standard_error
from pgtools.metrics.msssim.pairs import _expectations, usual_pairs


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

    @pytest.mark.parametrize(("images", "pairs"), [(5, 10), (6, 9), (10, 300), (60, 600), (100, 51)])
    @pytest.mark.parametrize(("of_images", "of_pairs"), [(1, 0), (0.5, 1)])
    def test_it_is_the_scatter_of_the_mean_where_images_are_shared(
        self, images: int, pairs: int, of_images: float, of_pairs: float
    ):
        """A score is the sum of its images' own parts and one of the pair's: 60 images tell no more however paired."""
        drawn, rng = draw_pairs(images, pairs, 0), np.random.default_rng(0)
        own = of_images * rng.normal(size=(400, images))[:, drawn].sum(-1)
        table = rng.normal(size=(400, images, images))
        trials = own + of_pairs * (table + table.transpose(0, 2, 1))[:, drawn[:, 0], drawn[:, 1]]
        told = [standard_error(scores, drawn) for scores in trials]
        # 400 trials know the truth to 3.5 %; few images: variances under 0 count as 0, which is a tenth more or less.
        assert np.sqrt(np.mean(np.square(told))) == pytest.approx(
            trials.mean(1).std(), rel=0.2 if images < 10 else 0.12
        )
        if pairs > 2 * images:
            # The mistake it keeps out: pairs taken for independent.
            assert trials[0].std(ddof=1) / pairs**0.5 < 0.5 * trials.mean(1).std()

    @settings(max_examples=20, deadline=None)
    @given(images=st.integers(3, 9), pairs=st.integers(2, 30), seed=st.integers(0, 99))
    def test_the_expectations_are_those_of_the_whole_covariance(self, images: int, pairs: int, seed: int):
        drawn = draw_pairs(images, pairs, seed)
        _, places = np.unique(drawn, return_inverse=True)
        drawn = places.reshape(drawn.shape)
        stands = np.zeros((pairs, drawn.max() + 1))
        np.add.at(stands, (np.arange(pairs).repeat(2), drawn.ravel()), 1)
        shared = stands @ stands.T
        centre = np.eye(pairs) - 1 / pairs
        expected, wanted = _expectations(drawn)
        for column, covariance in enumerate((shared, (shared == 2).astype(float))):
            deviations = centre @ covariance @ centre
            assert expected[0, column] == pytest.approx(np.trace(deviations), abs=1e-9)
            assert expected[1, column] == pytest.approx(np.trace(stands.T @ deviations @ stands), abs=1e-9)
            assert wanted[column] == pytest.approx(covariance.mean())

    @pytest.mark.parametrize(("images", "pairs"), [(2, 1), (2, 50), (3, 2), (3, 10)])
    def test_what_cannot_be_known_is_not_told(self, images: int, pairs: int):
        drawn = draw_pairs(images, pairs, 0)
        assert standard_error(np.random.default_rng(0).random(pairs), drawn) is None

    def test_scores_that_are_equal_have_no_error(self):
        assert standard_error(np.full(20, 0.25), draw_pairs(6, 20, 0)) == 0
