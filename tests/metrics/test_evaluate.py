"""One pass over each set feeds all metrics, and the result says all that made it."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from pgtools.errors import InputError, OutputError, PgtoolsError
from pgtools.metrics import held
from pgtools.metrics.catalogue import FID, INCEPTION_SCORE, KID, Metric
from pgtools.metrics.evaluate import Evaluator, PartlyScoredError, Reading
from pgtools.metrics.held import Budget
from pgtools.metrics.measure import Collector, Measure, Parts, Recipe, Role, SetOfImages
from pgtools.metrics.settings import MsssimSettings, SwdSettings
from pgtools.metrics.swd.descriptors import DescriptorSet
from pgtools.metrics.swd.measure import SwdMeasure
from pgtools.runtime.results import Figures, MetricResult, result_from_dict
from tests.metrics.sets import ArraySource, photographs

CPU = torch.device("cpu")
SMALL = SwdMeasure(SwdSettings(neighbourhoods=8, repeats=3, directions=16, replicates=50))


@pytest.fixture
def real() -> ArraySource:
    return ArraySource(photographs(20, 32, 1), "reals")


@pytest.fixture
def fake() -> ArraySource:
    return ArraySource(photographs(20, 32, 2), "fakes")


@dataclass(frozen=True)
class Means(Recipe):
    """The mean of each image; counts what it began and closed."""

    order: tuple[int, ...] | None = None

    def begin(self, images: SetOfImages, device: torch.device, budget: Budget | None = None) -> MeansOfSet:
        MeansOfSet.budgets.append(budget)
        return MeansOfSet(images)

    def reading_order(self, count: int) -> Sequence[int] | None:
        return self.order


class MeansOfSet(Collector):
    open = 0
    budgets: ClassVar[list[Budget | None]] = []

    def __init__(self, images: SetOfImages) -> None:
        self.images, self.means, self.came = images, np.zeros(images.count), []
        MeansOfSet.open += 1

    def update(self, images: Tensor, indices: Sequence[int]) -> None:
        self.means[list(indices)] = images.double().mean((1, 2, 3)).numpy()
        self.came += indices

    def parts(self) -> Iterator[Parts]:
        raise NotImplementedError

    def absorb(self, parts: Parts) -> None:
        raise NotImplementedError

    def close(self) -> None:
        MeansOfSet.open -= 1


@dataclass(frozen=True)
class Brightness(Measure):
    """The mean of all pixels; `like` lends it the name of another metric."""

    like: Metric = INCEPTION_SCORE
    order: tuple[int, ...] | None = None
    takes_real = False

    @property
    def metric(self) -> Metric:  # type: ignore[override]
        return self.like

    def recipe(self, role: Role) -> Means:
        return Means(self.order)

    def protocol(self) -> dict[str, Any]:
        return {"of": "pixels"}

    def compute(self, real: MeansOfSet | None, fake: MeansOfSet, *, progress: bool = False) -> Figures:
        return Figures({"value": float(fake.means.mean())})


@dataclass(frozen=True)
class Difference(Brightness):
    """The same, less that of the real images."""

    takes_real = True

    def compute(self, real: MeansOfSet | None, fake: MeansOfSet, *, progress: bool = False) -> Figures:
        assert real is not None
        return Figures({"value": float(fake.means.mean() - real.means.mean())})


def score(measures: list[Measure], real: ArraySource | None, fake: ArraySource, **reading: Any) -> list[MetricResult]:
    with Evaluator(measures, real, Reading(**reading), CPU) as evaluator:
        return evaluator.score(fake)


def test_the_result_says_all_that_made_it(real: ArraySource, fake: ArraySource):
    (result,) = score([SMALL], real, fake)
    assert list(result.values) == list(result.spread) == list(result.floor) == ["32", "16", "average"]
    assert result.protocol == {
        "version": 1, "num_images": 20, "resolution": 32, "seed": 0, "seeds": 1,
        "neighbourhoods": 8, "size": 7, "repeats": 3, "directions": 16,
    }  # fmt: skip
    assert result.data["real"] == {"name": "reals", "fingerprint": real.fingerprint()}
    assert result.data["fake"] == {"name": "fakes", "fingerprint": fake.fingerprint()}
    assert result.environment["device"] == "cpu"
    assert result_from_dict(json.loads(json.dumps(result.as_dict())), where="here") == result


def test_one_pass_over_each_set_feeds_all_metrics(real: ArraySource, fake: ArraySource):
    measures: list[Measure] = [SMALL, Brightness(), Difference(FID)]
    found = score(measures, real, fake, batch=7)
    assert [result.metric for result in found] == ["swd", "inception-score", "fid"]
    # Fingerprints included: each image is read once.
    assert real.reads == fake.reads == 20
    assert found[0] == score([SMALL], real, fake)[0]
    assert found[1].values["value"] == pytest.approx(fake.images.mean())
    assert found[2].values["value"] == pytest.approx(fake.images.mean() - real.images.mean())


def test_metrics_that_want_the_same_share_it_and_let_it_go(real: ArraySource, fake: ArraySource):
    MeansOfSet.open = 0
    with Evaluator([Brightness(), Difference(FID)], real, Reading(), CPU) as evaluator:
        evaluator.score(fake)
        assert MeansOfSet.open == 1  # of the real images
    assert MeansOfSet.open == 0


def test_the_real_set_is_read_once_for_many_scores(real: ArraySource, fake: ArraySource):
    with Evaluator([SMALL], real, Reading(), CPU) as evaluator:
        first = evaluator.score(fake)
        assert evaluator.score(fake) == first
        assert evaluator.score(ArraySource(real.images[::-1].copy()))[0].values != first[0].values
    assert real.reads == 20


def test_images_are_read_in_the_order_that_a_metric_likes(fake: ArraySource):
    order = tuple(np.random.default_rng(0).permutation(20).tolist())
    (plain,), (ordered,) = (score([Brightness(order=some)], None, fake, batch=6) for some in (None, order))
    assert plain == ordered
    assert ordered.data["fake"]["fingerprint"] == fake.fingerprint()


def test_metrics_without_real_images_need_none(fake: ArraySource):
    assert score([Brightness()], None, fake)[0].data.keys() == {"fake"}
    with pytest.raises(InputError, match="swd compares with real images; none were given"):
        score([SMALL, Brightness()], None, fake)


def test_unequal_counts_are_refused_only_where_a_metric_wants_equal_ones(real: ArraySource):
    fewer = ArraySource(photographs(12, 32, 2), "fewer")
    with pytest.raises(InputError, match="20 images, fewer 12; swd compares") as caught:
        score([Difference(FID), SMALL], real, fewer)
    assert caught.value.hint == "Pass --num-images 12."
    assert real.reads == fewer.reads == 0
    assert score([SMALL], real, fewer, num_images=12)[0].protocol["num_images"] == 12
    protocol = score([Difference(FID)], real, fewer)[0].protocol
    assert (protocol["num_images"], protocol["num_real"]) == (12, 20)
    with pytest.raises(InputError, match="12 images; 15 were asked for"):
        score([SMALL], real, fewer, num_images=15)


def test_unequal_and_small_sizes_are_refused_before_the_sets_are_read(real: ArraySource):
    other, tiny = ArraySource(photographs(200, 16), "others"), ArraySource(photographs(20, 8), "tiny")
    with pytest.raises(InputError, match="reals has 32² images, others 16²"):
        score([SMALL], real, other)
    with pytest.raises(InputError, match="8² pixels"):
        score([SMALL], tiny, tiny)
    # Unequal sets are looked into: one of them may hold two sizes itself.
    assert other.reads <= 64
    assert tiny.reads == 0


def test_a_set_that_fails_half_way_leaves_nothing_behind(real: ArraySource, fake: ArraySource):
    class Broken(ArraySource):
        def read_top(self, indices: Sequence[int]) -> np.ndarray:
            if 11 in indices:
                raise InputError("image 11 is damaged")
            return super().read_top(indices)

    MeansOfSet.open = 0
    with (
        Evaluator([Difference(FID)], real, Reading(batch=4), CPU) as evaluator,
        pytest.raises(InputError, match="11 is damaged"),
    ):
        evaluator.score(Broken(fake.images))
    assert MeansOfSet.open == 0


NO_FIGURE = InputError("no figure", hint="take more images")


@dataclass(frozen=True)
class Failing(Difference):
    """A metric without a figure."""

    error: Exception = NO_FIGURE

    def compute(self, real: MeansOfSet | None, fake: MeansOfSet, *, progress: bool = False) -> Figures:
        raise self.error


def test_metrics_that_fail_leave_the_figures_of_the_others(real: ArraySource, fake: ArraySource):
    MeansOfSet.open = 0
    measures: list[Measure] = [Failing(FID), Brightness(), Failing(KID, error=ZeroDivisionError("by 0")), SMALL]
    with pytest.raises(PartlyScoredError) as caught:
        score(measures, real, fake)
    failed = caught.value
    assert failed.results == score([Brightness(), SMALL], real, fake)
    assert failed.message == "fid failed: no figure. kid failed: ZeroDivisionError: by 0."
    assert failed.hint == "take more images" and failed.exit_code == 1
    assert list(failed.faults) == ["fid", "kid"] and failed.__cause__ is failed.faults["fid"]
    assert MeansOfSet.open == 0


def test_what_the_only_metric_raises_comes_as_it_is(real: ArraySource, fake: ArraySource):
    with pytest.raises(PgtoolsError, match="no figure") as caught:
        score([Failing(FID)], real, fake)
    assert type(caught.value) is InputError


def test_all_metrics_and_both_sets_share_one_budget(
    real: ArraySource, fake: ArraySource, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(held, "available_memory", lambda: 4000)
    for memory, allowed, expected in ((None, None, 2000), (None, 3e-6, 3000), (5e-6, 3e-6, 5000), (0.0, None, 0)):
        MeansOfSet.budgets.clear()
        swd = replace(SMALL, settings=replace(SMALL.settings, memory=allowed))
        with Evaluator([swd, Difference(FID)], real, Reading(memory=memory), CPU) as evaluator:
            evaluator.check(fake)
            begun: list[Any] = []
            monkeypatch.setattr(DescriptorSet, "__init__", noting(DescriptorSet.__init__, begun))
            evaluator.score(fake)
            budgets = {id(budget) for budget in [*MeansOfSet.budgets, *begun]}
            assert budgets == {id(evaluator._budget)} and len(begun) == 2
        assert evaluator._budget.left == expected


def test_room_for_both_sets_is_looked_for_before_an_image_is_read(
    real: ArraySource, fake: ArraySource, monkeypatch: pytest.MonkeyPatch
):
    # 20 images, 8 patches of 147 floats at two levels: 188 kB a set.
    room = [300_000]

    def reserve(file: Any, count: int) -> None:
        room[0] -= count
        if room[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        file.truncate(count)

    monkeypatch.setattr(held, "_reserve", reserve)
    with Evaluator([SMALL], real, Reading(memory=0.0), CPU) as evaluator:
        with pytest.raises(OutputError, match="no room for a temporary file"):
            evaluator.check(fake)
        room[0] = 400_000
        evaluator.check(fake)
    assert real.reads == fake.reads == 0


def noting(init: Any, begun: list[Any]) -> Any:
    def noted(self: Any, images: Any, settings: Any, device: Any, budget: Any) -> None:
        begun.append(budget)
        init(self, images, settings, device, budget)

    return noted


def test_swd_and_msssim_together_are_those_alone(real: ArraySource, fake: ArraySource):
    from pgtools.metrics.msssim.measure import MsssimMeasure

    pairs = MsssimMeasure(MsssimSettings(seed=3))
    together = score([SMALL, pairs], real, fake, batch=6)
    alone = [*score([SMALL], real, fake), *score([pairs], None, fake)]
    assert together == alone


def test_a_number_of_images_is_a_seeded_choice(real: ArraySource, fake: ArraySource):
    found = [score([SMALL], real, fake, num_images=10, seed=seed)[0] for seed in (0, 0, 1)]
    assert found[0] == found[1]
    assert found[0].data["fake"]["fingerprint"] != found[2].data["fake"]["fingerprint"]


def test_results_of_the_first_version_are_still_read():
    old = {
        "format": "pgtools-result", "version": 1, "metric": "swd", "direction": "lower", "values": {"16": 1.5},
        "spread": {"16": 0.1}, "floor": {}, "protocol": {}, "data": {}, "environment": {},
    }  # fmt: skip
    assert result_from_dict(old, where="here").values == {"16": 1.5}
    for name, bad in {"interval": {"16": [1]}, "scatter": {"over": 3}, "verdict": {"16": 4}}.items():
        with pytest.raises(InputError, match="damaged metric result"):
            result_from_dict(old | {name: bad}, where="here")


def test_settings_are_part_of_the_protocol_and_memory_is_not():
    told = SMALL.protocol()
    assert replace(SMALL.settings, memory=3.0, batch=5, replicates=7).protocol() == told
    assert replace(SMALL.settings, directions=5).protocol() != told
