from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from pgtools.errors import InputError
from pgtools.metrics.catalogue import CATALOGUE, MSSSIM, MSSSIM_AGAINST
from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.msssim import draw_pairs, ms_ssim, standard_error
from pgtools.metrics.msssim.against import score_against
from pgtools.metrics.msssim.measure import MsssimMeasure
from pgtools.metrics.settings import MsssimSettings
from pgtools.runtime.results import MetricResult, result_from_dict
from pgtools.stores.source import ImageSource
from tests.metrics.sets import ArraySource, photographs

CPU = torch.device("cpu")


def varied(source: ImageSource, settings: MsssimSettings | None = None, batch: int = 8) -> MetricResult:
    settings = settings or MsssimSettings()
    with Evaluator([MsssimMeasure(settings)], None, Reading(settings.num_images, settings.seed, batch), CPU) as scoring:
        (result,) = scoring.score(source)
    return result


@pytest.fixture
def fake() -> ArraySource:
    return ArraySource(photographs(20, 32, 2), "fakes")


class TestOneSet:
    def test_the_result_says_all_that_made_it(self, fake: ArraySource):
        result = varied(fake, MsssimSettings(seed=3))
        assert result.metric == "msssim" and CATALOGUE["msssim"].direction == result.direction == "lower"
        assert result.protocol == {"version": 1, "num_images": 20, "resolution": 32, "pairs": 10, "seed": 3}
        assert result.data == {"fake": {"name": "fakes", "fingerprint": fake.fingerprint()}}
        assert result_from_dict(json.loads(json.dumps(result.as_dict())), where="here") == result

    def test_figures_are_those_of_the_scores(self, fake: ArraySource):
        result, pairs = varied(fake, MsssimSettings(pairs=30)), draw_pairs(20, 30, 0)
        scores = ms_ssim(*(torch.from_numpy(fake.images[numbers]) for numbers in pairs.T)).numpy()
        error = standard_error(scores, pairs)
        assert result.values == {"value": scores.mean()}
        assert result.spread == {"value": error}
        assert result.interval["value"] == pytest.approx(
            [scores.mean() - 1.96 * error, scores.mean() + 1.96 * error], 1e-4
        )
        assert result.scatter == {"over pairs": {"value": pytest.approx(scores.std(ddof=1))}}

    def test_the_batch_changes_nothing(self, fake: ArraySource):
        settings = MsssimSettings(pairs=33, num_images=17)
        first = varied(fake, settings)
        assert first.protocol["num_images"] == 17
        assert [varied(fake, settings, batch) for batch in (1, 5, 100)] == [first] * 3

    def test_each_image_is_read_once_however_many_pairs(self, fake: ArraySource):
        result = varied(fake, MsssimSettings(pairs=100))
        assert result.protocol["pairs"] == 100
        assert fake.reads == 20

    @pytest.mark.parametrize(("images", "pairs"), [(2, None), (2, 50), (3, 10)])
    def test_one_pair_and_few_images_have_no_error(self, images: int, pairs: int | None):
        result = varied(ArraySource(photographs(images, 16)), MsssimSettings(pairs=pairs))
        assert result.spread == result.interval == result.scatter == {}

    def test_one_image_is_refused_before_it_is_read(self):
        source = ArraySource(photographs(1, 16))
        with pytest.raises(InputError, match="1 image"):
            varied(source)
        assert source.reads == 0

    def test_fewer_modes_score_higher(self):
        repeated = [np.tile(photographs(64, 32, 1)[:kinds], (64 // kinds, 1, 1, 1)) for kinds in (64, 8, 2)]
        found = [varied(ArraySource(images), MsssimSettings(pairs=200)).values["value"] for images in repeated]
        assert found == sorted(found) and found[0] + 0.05 < found[1] < found[2] - 0.05


def blurred(images: np.ndarray, radius: float) -> np.ndarray:
    changed = [
        np.asarray(Image.fromarray(image.transpose(1, 2, 0)).filter(ImageFilter.GaussianBlur(radius)))
        for image in images
    ]
    return np.stack(changed).transpose(0, 3, 1, 2).copy()


def noisy(images: np.ndarray, sigma: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 1, images.shape)
    return np.clip(np.rint(images + sigma * noise), 0, 255).astype(np.uint8)


def near(images: np.ndarray, others: np.ndarray, reading: Reading | None = None) -> MetricResult:
    return score_against(ArraySource(images, "restored"), ArraySource(others, "originals"), reading or Reading(), CPU)


class TestTwoSets:
    def test_the_result_says_all_that_made_it(self, fake: ArraySource):
        changed = blurred(fake.images, 1)
        result = near(changed, fake.images)
        scores = ms_ssim(torch.from_numpy(changed), torch.from_numpy(fake.images)).numpy()
        assert result.metric == MSSSIM_AGAINST.name != MSSSIM.name and result.direction == "higher"
        assert result.values["value"] == scores.mean()
        assert result.spread["value"] == pytest.approx(scores.std(ddof=1) / 20**0.5)
        assert result.protocol == {"version": 1, "num_images": 20, "resolution": 32}
        assert result.data == {
            "real": {"name": "originals", "fingerprint": fake.fingerprint()},
            "fake": {"name": "restored", "fingerprint": ArraySource(changed).fingerprint()},
        }
        assert result_from_dict(json.loads(json.dumps(result.as_dict())), where="here") == result

    def test_a_set_against_itself_scores_1(self, fake: ArraySource):
        assert near(fake.images, fake.images).values == {"value": 1.0}

    @pytest.mark.parametrize(("change", "amounts"), [(blurred, (0.6, 1.2, 3)), (noisy, (3, 10, 30))])
    def test_blur_and_noise_of_one_set_lower_it(self, fake: ArraySource, change, amounts):
        found = [near(change(fake.images, amount), fake.images).values["value"] for amount in amounts]
        assert found == sorted(found, reverse=True) and found[0] > found[-1] + 0.05

    def test_another_order_lowers_it(self, fake: ArraySource):
        changed = blurred(fake.images, 0.5)
        assert (
            near(changed[::-1].copy(), fake.images).values["value"] < 0.8 * near(changed, fake.images).values["value"]
        )

    def test_the_same_images_of_both_are_chosen(self, fake: ArraySource):
        result = near(fake.images, fake.images, Reading(7, seed=2, batch=3))
        assert result.values == {"value": 1.0}
        assert result.protocol == {"version": 1, "num_images": 7, "resolution": 32, "seed": 2}
        assert result.data["fake"]["fingerprint"] == result.data["real"]["fingerprint"] != fake.fingerprint()

    def test_the_batch_changes_nothing(self, fake: ArraySource):
        changed = blurred(fake.images, 1)
        assert near(changed, fake.images, Reading(batch=3)) == near(changed, fake.images, Reading(batch=50))

    def test_sets_that_do_not_belong_together_are_refused_before_an_image_is_read(self, fake: ArraySource):
        for other, said in (
            (ArraySource(photographs(19, 32), "fewer"), "fakes has 20 images, fewer 19"),
            (ArraySource(photographs(20, 16), "smaller"), "fakes has 32² images, smaller 16²"),
        ):
            with pytest.raises(InputError, match=said):
                score_against(fake, other, Reading(), CPU)
            assert other.reads == fake.reads == 0
        small = ArraySource(photographs(4, 8))
        with pytest.raises(InputError, match="8² pixels"):
            score_against(small, small, Reading(), CPU)
