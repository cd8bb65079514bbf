from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.metrics import evaluate
from pgtools.metrics.catalogue import CATALOGUE
from pgtools.metrics.evaluate import SwdAgainst, score_msssim
from pgtools.metrics.settings import MsssimSettings, SwdSettings
from pgtools.runtime.results import result_from_dict
from tests.metrics.sets import ArraySource, photographs

CPU = torch.device("cpu")
SMALL = SwdSettings(neighbourhoods=8, repeats=3, directions=16)


@pytest.fixture
def real() -> ArraySource:
    return ArraySource(photographs(20, 32, 1), "reals")


@pytest.fixture
def fake() -> ArraySource:
    return ArraySource(photographs(20, 32, 2), "fakes")


class TestSwd:
    def test_the_result_says_all_that_made_it(self, real: ArraySource, fake: ArraySource):
        result = SwdAgainst(real, SMALL, CPU).score(fake)
        assert result.metric in CATALOGUE
        assert list(result.values) == list(result.spread) == ["32", "16", "average"]
        assert result.values["average"] == pytest.approx((result.values["32"] + result.values["16"]) / 2)
        assert result.protocol == {
            "version": 1, "num_images": 20, "resolution": 32, "seed": 0,
            "neighbourhoods": 8, "size": 7, "repeats": 3, "directions": 16,
        }  # fmt: skip
        assert result.data["real"] == {"name": "reals", "fingerprint": real.fingerprint()}
        assert result.data["fake"] == {"name": "fakes", "fingerprint": fake.fingerprint()}
        assert result_from_dict(json.loads(json.dumps(result.as_dict())), where="here") == result

    def test_one_repeat_has_no_spread(self, real: ArraySource, fake: ArraySource):
        assert SwdAgainst(real, replace(SMALL, repeats=1), CPU).score(fake).spread == {}

    def test_little_memory_means_more_passes_and_the_same_figure(self, real: ArraySource, fake: ArraySource):
        roomy = SwdAgainst(real, SMALL, CPU).score(fake)
        real.reads = 0
        tight = SwdAgainst(real, replace(SMALL, memory=0), CPU).score(fake)
        assert tight.values == roomy.values
        # A pass for each of two levels; the fingerprint reads them once more.
        assert real.reads == 3 * 20

    def test_the_real_set_is_read_once_for_many_scores(self, real: ArraySource, fake: ArraySource):
        against = SwdAgainst(real, SMALL, CPU)
        first = against.score(fake)
        reads = real.reads
        assert against.score(fake) == first
        assert against.score(real).values != first.values
        assert real.reads == reads + 2 * 20  # as the second argument: described, and its fingerprint

    def test_unequal_counts_are_refused_unless_a_number_is_named(self, real: ArraySource):
        fewer = ArraySource(photographs(12, 32, 2), "fewer")
        with pytest.raises(InputError, match="20 images, fewer 12") as caught:
            SwdAgainst(real, SMALL, CPU).score(fewer)
        assert caught.value.hint == "Pass --num-images 12."
        result = SwdAgainst(real, replace(SMALL, num_images=12), CPU).score(fewer)
        assert result.protocol["num_images"] == 12
        with pytest.raises(InputError, match="12 images; 15 were asked for"):
            SwdAgainst(real, replace(SMALL, num_images=15), CPU).score(fewer)

    def test_unequal_and_small_sizes_are_refused_before_an_image_is_read(self, real: ArraySource):
        other, tiny = ArraySource(photographs(20, 16), "others"), ArraySource(photographs(20, 8), "tiny")
        with pytest.raises(InputError, match="reals has 32² images, others 16²"):
            SwdAgainst(real, SMALL, CPU).score(other)
        with pytest.raises(InputError, match="8² pixels"):
            SwdAgainst(tiny, SMALL, CPU).score(tiny)
        assert other.reads == tiny.reads == 0

    def test_the_floor_is_of_other_real_images(self, real: ArraySource, fake: ArraySource):
        half = replace(SMALL, num_images=10)
        against = SwdAgainst(real, half, CPU)
        others = against._other_reals()
        assert len(others) == 10
        known = {image.tobytes() for image in against.real.read(range(10))}
        assert not known & {image.tobytes() for image in others.read(range(10))}
        result = against.score(fake, floor=True)
        assert result.floor == SwdAgainst(against.real, half, CPU).score(others).values
        assert result.values == against.score(fake).values
        damaged = result.as_dict() | {"floor": {"32": "0.1"}}
        with pytest.raises(InputError, match="floors are no numbers"):
            result_from_dict(damaged, where="here")

    def test_a_floor_without_enough_real_images_is_refused(self, real: ArraySource, fake: ArraySource):
        with pytest.raises(InputError, match="the floor of 20 takes 40") as caught:
            SwdAgainst(real, SMALL, CPU).score(fake, floor=True)
        assert "--num-images 10" in caught.value.hint


class TestMsssim:
    def test_the_result_says_all_that_made_it(self, fake: ArraySource):
        result = score_msssim(fake, MsssimSettings(seed=3), CPU)
        assert result.metric in CATALOGUE
        assert result.protocol == {"version": 1, "num_images": 20, "resolution": 32, "pairs": 10, "seed": 3}
        assert result.data == {"fake": {"name": "fakes", "fingerprint": fake.fingerprint()}}
        assert result_from_dict(json.loads(json.dumps(result.as_dict())), where="here") == result

    def test_more_pairs_than_half_the_images_can_be_asked_for(self, fake: ArraySource):
        few, many = (score_msssim(fake, MsssimSettings(pairs=pairs), CPU) for pairs in (10, 100))
        assert many.protocol["pairs"] == 100
        assert many.values != few.values

    def test_pairs_are_never_more_than_the_papers_unless_asked_for(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(evaluate.msssim, "MOST_PAIRS", 4)
        assert score_msssim(ArraySource(photographs(20, 16)), MsssimSettings(), CPU).protocol["pairs"] == 4

    def test_one_pair_has_no_error(self):
        two = ArraySource(photographs(2, 16))
        assert score_msssim(two, MsssimSettings(), CPU).spread == {}

    def test_one_image_is_refused(self):
        with pytest.raises(InputError, match="1 image"):
            score_msssim(ArraySource(photographs(1, 16)), MsssimSettings(), CPU)

    def test_a_set_of_fewer_kinds_scores_higher(self):
        varied = ArraySource(photographs(64, 32, 1))
        repeated = ArraySource(np.tile(photographs(8, 32, 1), (8, 1, 1, 1)))
        low, high = (score_msssim(images, MsssimSettings(), CPU).values["value"] for images in (varied, repeated))
        assert high > low
