"""Standard errors against the scatter of fresh draws, and the floor against fresh real sets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pgtools.metrics.inception import intervals, manifold, scores
from pgtools.metrics.settings import InceptionSettings, KidSettings

DRAWS = 120
# How far the deviation of 120 draws is off by itself: 1/√240 = 6 %, twice that, beside the 20 % that are promised.
LOW, HIGH = 0.8 * 0.87, 1.2 * 1.13
MIX = np.random.default_rng(5).standard_normal((24, 96)) / 5


def images_like(count: int, numbers: np.random.Generator, *, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Features shaped as a network's: not negative, correlated, of few directions."""
    latent = numbers.standard_normal((count, 24)) * scale * np.linspace(1.5, 0.3, 24) + shift
    noise = 0.05 * numbers.standard_normal((count, 96))
    return np.maximum(latent @ MIX + 0.2 + noise, 0).astype(np.float32)


def ratio(measure: Callable[[np.ndarray], float], error: Callable[[np.ndarray], float], **drawn: float) -> float:
    """Return the mean told standard error over the scatter of the figure."""
    numbers = np.random.default_rng(1)
    count = int(drawn.pop("count"))
    sets = [images_like(count, numbers, **drawn) for _ in range(DRAWS)]
    told = np.mean([error(each) for each in sets[::12]])
    return float(told / np.std([measure(each) for each in sets], ddof=1))


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, 300, 1000])
@pytest.mark.parametrize("unlike", [{}, {"scale": 1.2, "shift": 0.1}])
def test_the_frechet_error_is_the_scatter(count: int, unlike: dict[str, float]):
    real = scores.feature_statistics(images_like(count, np.random.default_rng(0)))
    root = intervals.root(real.sigma)

    def measure(fake: np.ndarray) -> float:
        return scores.frechet_distance(scores.feature_statistics(fake), real)

    def error(fake: np.ndarray) -> float:
        return intervals.frechet_error(fake, scores.feature_statistics(fake), real, root)

    assert LOW < ratio(measure, error, count=count, **unlike) < HIGH


@pytest.mark.slow
@pytest.mark.parametrize("settings", [(100, 150), (20, 50), (10, 300)], ids=str)
@pytest.mark.parametrize("unlike", [{}, {"scale": 0.8, "shift": 0.2}])
def test_the_kernel_error_is_the_scatter(settings: tuple[int, int], unlike: dict[str, float]):
    subsets = KidSettings(subsets=settings[0], subset_size=settings[1])
    real = images_like(500, np.random.default_rng(0))

    def measure(fake: np.ndarray) -> float:
        return scores.kernel_distance(fake, real, subsets)[0]

    assert (
        LOW < ratio(measure, lambda fake: intervals.kernel_errors(fake, real, subsets)[0], count=400, **unlike) < HIGH
    )


@pytest.mark.slow
def test_a_perfect_generator_s_kernel_distance_scatters_as_told():
    settings, numbers = KidSettings(subsets=20, subset_size=100), np.random.default_rng(2)
    pairs = [(images_like(300, numbers), images_like(400, numbers)) for _ in range(DRAWS)]
    told = np.mean([intervals.kernel_errors(*pair, settings)[1] for pair in pairs[::12]])
    found = [scores.kernel_distance(*pair, settings)[0] for pair in pairs]
    assert LOW < told / np.std(found, ddof=1) < HIGH
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(DRAWS)


@pytest.mark.slow
@pytest.mark.parametrize("unlike", [{}, {"scale": 0.8}])
def test_the_errors_of_precision_and_recall_are_the_scatter(unlike: dict[str, float]):
    real = images_like(400, np.random.default_rng(0))

    def found(fake: np.ndarray, wide: int = 0) -> manifold.Membership:
        return manifold.membership(fake, real, neighbourhood=3, wide=wide)

    def of_recall(fake: np.ndarray) -> float:
        return intervals.recall_draws(found(fake, intervals.WIDE), 3, 100, 0)[1].std(ddof=1)

    def of_precision(fake: np.ndarray) -> float:
        return intervals.binomial_error(found(fake).fake_inside).spread

    assert LOW < ratio(lambda fake: found(fake).real_inside.mean(), of_recall, count=400, **unlike) < HIGH
    assert LOW < ratio(lambda fake: found(fake).fake_inside.mean(), of_precision, count=400, **unlike) < HIGH


@pytest.mark.slow
@pytest.mark.parametrize(("count", "splits"), [(100, 10), (1000, 2)])
def test_the_error_of_the_score_is_the_scatter(count: int, splits: int):
    settings = InceptionSettings(splits=splits)

    def logits(fake: np.ndarray) -> np.ndarray:
        return 4 * fake

    def error(fake: np.ndarray) -> float:
        return intervals.inception_score_draws(logits(fake), settings).std(ddof=1)

    assert LOW < ratio(lambda fake: scores.inception_score(logits(fake), settings)[0], error, count=count) < HIGH


@pytest.mark.slow
@pytest.mark.parametrize(("fakes", "reals"), [(100, 200), (300, 200), (200, 600)])
def test_the_floor_is_a_perfect_generator_s_distance(fakes: int, reals: int):
    numbers, found, floors = np.random.default_rng(3), [], []
    for seed in range(20):
        real, fake = images_like(reals, numbers), images_like(fakes, numbers)
        stats = scores.feature_statistics(real)
        found.append(scores.frechet_distance(scores.feature_statistics(fake), stats))
        floors.append(intervals.frechet_floor(real, stats, fakes, seed))
    assert np.mean(floors) == pytest.approx(np.mean(found), rel=0.1)


def test_the_frechet_error_is_the_change_with_an_image():
    numbers = np.random.default_rng(0)
    real, fake = (images_like(400, numbers)[:, :12] for _ in range(2))
    fake = fake * 1.5 + 0.2
    stats = scores.feature_statistics(real)
    told = intervals.frechet_error(fake, scores.feature_statistics(fake), stats, intervals.root(stats.sigma))
    # By leaving out one image at a time: the jackknife.
    without = [
        scores.frechet_distance(scores.feature_statistics(np.delete(fake, i, axis=0)), stats) for i in range(400)
    ]
    assert told == pytest.approx(np.sqrt(399**2 / 400 * np.var(without, ddof=1)), rel=0.05)


def test_halves_of_the_manifold_are_found_by_the_lists():
    numbers = np.random.default_rng(0)
    fake, real = images_like(120, numbers, scale=0.8), images_like(90, numbers)
    found = manifold.membership(fake, real, neighbourhood=2, wide=119)
    drawn = intervals.recall_draws(found, 2, 5, seed=4)
    for draw, recall in enumerate(drawn[1]):
        half = intervals.stream(4, "precision-recall", "halves", draw).permutation(120)[:60]
        assert manifold.precision_recall(fake[half], real, neighbourhood=2)[1] == pytest.approx(recall, abs=1e-6)
        assert drawn[0][draw] == pytest.approx(found.fake_inside[half].mean())
    assert drawn[1].std() > 0


def test_lists_stay_short_where_every_ball_holds_every_image(monkeypatch: pytest.MonkeyPatch):
    numbers = np.random.default_rng(0)
    real, fake = 0.01 * images_like(70, numbers), 10 * images_like(90, numbers)
    monkeypatch.setattr(manifold, "_PAIRS", 90 * 20)
    monkeypatch.setattr(manifold, "_LOOKUPS", 100)
    whole = manifold.membership(fake, real, neighbourhood=3, wide=32)
    monkeypatch.setattr(manifold, "MOST", 24)
    short = manifold.membership(fake, real, neighbourhood=3, wide=32)
    assert whole.cover is not None and short.cover is not None
    assert len(whole.cover.real) > 70 * 24 >= len(short.cover.real)
    assert np.array_equal(*(intervals.recall_draws(each, 3, 20, 0)[1] for each in (whole, short)))


def test_intervals_hold_the_figure_and_sure_shares_have_an_error():
    draws = np.random.default_rng(0).normal(3, 1, 2000)
    error = intervals.drawn_error(10.0, draws)
    assert (error.spread, error.low, error.high) == pytest.approx((1, 8.04, 11.96), abs=0.15)
    assert intervals.normal_error(2, 1).high == pytest.approx(3.96, abs=0.01)
    sure = intervals.binomial_error(np.ones(100, bool))
    assert 0 < sure.spread < 0.02 and sure.high == 1 and 0.95 < sure.low < 1


def test_no_floor_where_images_are_fewer_than_features():
    real = images_like(150, np.random.default_rng(0))
    stats = scores.feature_statistics(real)
    assert intervals.frechet_floor(real, stats, 1000, 0) is None
    assert intervals.frechet_floor(np.concatenate([real, real]), stats, 95, 0) is None
