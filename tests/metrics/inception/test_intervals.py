"""Standard errors against the scatter of fresh draws, and the floor against fresh real sets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pgtools.metrics.inception import intervals, kernels, manifold, perfect, scores
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

    assert LOW < ratio(measure, lambda fake: kernels.kernel_error(fake, real, subsets), count=400, **unlike) < HIGH


@pytest.mark.slow
def test_a_perfect_generator_s_kernel_distance_scatters_as_told():
    settings, numbers = KidSettings(subsets=20, subset_size=100), np.random.default_rng(2)
    pairs = [(images_like(300, numbers), images_like(400, numbers)) for _ in range(DRAWS)]
    told = np.mean([kernels.kernel_limit(*pair, settings)[0] for pair in pairs[::12]])
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


def floor_of(real: np.ndarray, fakes: int, seed: int = 0) -> perfect.FrechetFloor | None:
    stats = scores.feature_statistics(real)
    axes = perfect.axes_of(stats.sigma)
    return perfect.frechet_floor(real, axes, perfect.frechet_kernel(real, stats, axes, seed), fakes, seed)


def frechet(first: np.ndarray, second: np.ndarray) -> float:
    return scores.frechet_distance(scores.feature_statistics(first), scores.feature_statistics(second))


@pytest.mark.slow
@pytest.mark.parametrize(("fakes", "reals"), [(64, 128), (64, 800), (300, 200), (150, 600)])
def test_the_frechet_floor_is_a_perfect_generator_s_distance_and_its_limit_exceeds_99_of_100(fakes: int, reals: int):
    numbers, found, floors, alarms = np.random.default_rng(3), [], [], []
    for seed in range(50):
        real = images_like(reals, numbers)[:, :32]
        floor = floor_of(real, fakes, seed)
        assert floor is not None
        got = [frechet(images_like(fakes, numbers)[:, :32], real) for _ in range(10)]
        found.append(np.mean(got))
        floors.append(floor.mean)
        alarms += [value > floor.limit for value in got]
    assert np.mean(floors) == pytest.approx(np.mean(found), rel=0.07)
    assert np.mean(alarms) < 0.03  # 1 % promised; the ten that share a real set rise together


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fakes", "reals", "settings"),
    [(20, 20, (100, 20)), (20, 20, (20, 10)), (30, 60, (50, 20)), (150, 300, (20, 100)), (400, 400, (1, 400))],
    ids=str,
)
def test_a_perfect_generator_is_called_different_by_kid_once_in_a_hundred(
    fakes: int, reals: int, settings: tuple[int, int]
):
    numbers, subsets, alarms = np.random.default_rng(3), KidSettings(subsets=settings[0], subset_size=settings[1]), []
    for _ in range(150 if fakes + reals <= kernels._EXCHANGED else 300):
        fake, real = images_like(fakes, numbers), images_like(reals, numbers)
        limit = kernels.kernel_limit(fake, real, subsets)[1]
        alarms.append(scores.kernel_distance(fake, real, subsets)[0] > limit)
    assert np.mean(alarms) < 0.034  # of 150 draws at 1 %, more than 5 are over it once in 500 times


def test_the_second_order_is_the_distance_of_sets_nearly_equal():
    numbers = np.random.default_rng(0)
    real = images_like(1000, numbers)[:, :16].astype(np.float64)
    fake = real * 1.01 + 0.002
    stats = scores.feature_statistics(real)
    axes = perfect.axes_of(stats.sigma)
    assert perfect.second_order(fake, real, axes) == pytest.approx(frechet(fake, real), rel=0.03)
    # The kernel's mean over its diagonal is the distance of a set of one image, to second order.
    kernel = perfect.frechet_kernel(real, stats, axes, 0)
    centred = real - real.mean(0)
    single = []
    for row in centred @ axes.vectors:
        apart = np.outer(row, row) - np.diag(axes.values)
        single.append(row @ row + 0.5 * (apart**2 / np.add.outer(axes.values, axes.values)).sum())
    assert np.sort(kernel.diagonal) == pytest.approx(np.sort(single), rel=1e-6)
    two = [np.outer(r, r) - np.diag(axes.values) for r in (centred @ axes.vectors)]
    weighed = np.stack([(each / np.sqrt(2 * np.add.outer(axes.values, axes.values))).ravel() for each in two])
    table = centred @ centred.T + weighed @ weighed.T
    off = table[~np.eye(1000, dtype=bool)]
    assert kernel.square == pytest.approx((off**2).mean(), rel=0.02)


def test_the_upper_limit_is_that_of_a_gamma_distribution():
    for shape in (2, 8, 100):
        draws = np.random.default_rng(0).gamma(shape, 1, 400_000)
        told = perfect.upper_limit(shape, shape, 2 * shape)
        assert told == pytest.approx(np.quantile(draws, 0.99), rel=0.01)
    assert perfect.upper_limit(1, 4, 0) == pytest.approx(1 + 2 * 2.3263, abs=1e-3)
    assert perfect.upper_limit(0, 0, 0) == 0


def test_the_kernel_limit_s_cumulants_are_those_of_the_weights():
    """Against the sums over all pairs and triples, written out."""
    numbers = np.random.default_rng(0)
    fake, real = images_like(230, numbers), images_like(220, numbers)
    settings = KidSettings(subsets=6, subset_size=40)
    weights = np.zeros((450, 450))
    draw = np.random.RandomState(settings.seed)
    for _ in range(6):
        a, b = draw.choice(230, 40, replace=False), 230 + draw.choice(220, 40, replace=False)
        weights[np.ix_(a, a)] += 1 / (6 * 40 * 39)
        weights[np.ix_(b, b)] += 1 / (6 * 40 * 39)
        weights[np.ix_(a, b)] -= 1 / (6 * 40**2)
        weights[np.ix_(b, a)] -= 1 / (6 * 40**2)
    np.fill_diagonal(weights, 0)
    kernel = perfect.moments(kernels._kernel(real, real, settings))
    spread, limit = kernels.kernel_limit(fake, real, settings)
    assert spread**2 == pytest.approx(2 * kernel.square * (weights**2).sum(), rel=1e-9)
    third = 8 * kernel.triangle * np.trace(weights @ weights @ weights)
    assert limit == pytest.approx(perfect.upper_limit(0, spread**2, third), rel=1e-9)
    # Of independent images, the distance is this sum; its own subsets are scores.kernel_distance's.
    both = np.concatenate([fake, real])
    value = (weights * kernels._kernel(both, both, settings)).sum()
    assert value == pytest.approx(scores.kernel_distance(fake, real, settings)[0], rel=1e-3, abs=1e-7)


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


@pytest.mark.parametrize("k", [3, 60, 150])
def test_halves_are_those_of_the_manifold_at_any_neighbourhood(k: int):
    numbers = np.random.default_rng(k)
    real = numbers.standard_normal((200, 24)).astype(np.float32)
    fake = (0.7 * numbers.standard_normal((700, 24)) + 0.2).astype(np.float32)
    found = manifold.membership(fake, real, neighbourhood=k, wide=max(intervals.WIDE, 8 * k))
    drawn = intervals.recall_draws(found, k, 3, seed=4)[1]
    for draw, recall in enumerate(drawn):
        half = intervals.stream(4, "precision-recall", "halves", draw).permutation(700)[:350]
        assert manifold.precision_recall(fake[half], real, neighbourhood=k)[1] == pytest.approx(recall, abs=1e-6)
    assert 0.05 < drawn.mean() < 0.99


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


def test_no_floor_where_images_are_fewer_than_twice_the_features():
    real = images_like(400, np.random.default_rng(0))
    assert floor_of(real, 191) is None and floor_of(real[:383], 1000) is None
    assert floor_of(real, 192) is not None


def test_images_all_alike_have_a_floor_of_0():
    real = np.ones((20, 4), np.float32)
    assert floor_of(real, 20) == perfect.FrechetFloor(0, 0, 0)
    assert kernels.kernel_limit(real, real, KidSettings(subsets=2, subset_size=10)) == pytest.approx((0, 0))
