"""Counts in, figures out: known answers, a plain twin, and the scatter against that of many draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError
from pgtools.metrics.modes import counts
from pgtools.metrics.modes.measure import figures_of, in_sets
from pgtools.metrics.modes.ratios import estimate_ratios

UNIFORM = counts.uniform()


def table(**hits: int) -> np.ndarray:
    """`table(c7=3)` is three images of class 7."""
    found = np.zeros(counts.MODES, np.int64)
    for name, number in hits.items():
        found[int(name[1:])] = number
    return found


def plain_kl(hits: np.ndarray, data: np.ndarray) -> float:
    """The definition, class by class."""
    total = 0.0
    for number, share in zip(hits.tolist(), data.tolist(), strict=True):
        if number:
            p = number / hits.sum()
            total += p * math.log(p / share)
    return total


def shares(name: str) -> np.ndarray:
    """Generators that a test draws from: none has the data's distribution but the first."""
    rng = np.random.default_rng(1)
    if name == "perfect":
        return UNIFORM
    if name == "a hundred dropped":
        found = np.where(np.arange(counts.MODES) < 100, 0.0, 1.0)
    elif name == "ten kept":
        found = np.where(np.arange(counts.MODES) < 10, 1.0, 0.0)
    elif name == "a hundred kept":
        found = np.where(np.arange(counts.MODES) < 100, 1.0, 0.0)
    elif name == "1/rank":
        found = 1 / np.arange(1, counts.MODES + 1)
    elif name == "uneven":
        found = rng.dirichlet(np.full(counts.MODES, 0.5))
    else:
        found = rng.dirichlet(np.full(counts.MODES, 0.05))
    return found / found.sum()


def test_known_answers() -> None:
    assert counts.modes_hit(table(c0=1, c999=5)) == 2
    # All on one class: ln 1000. Half on each of two: ln 500. Evenly on all: 0.
    assert counts.kl_to_data(table(c3=40), UNIFORM) == pytest.approx(math.log(1000))
    assert counts.kl_to_data(table(c3=20, c4=20), UNIFORM) == pytest.approx(math.log(500))
    assert counts.kl_to_data(np.full(1000, 7), UNIFORM) == pytest.approx(0, abs=1e-12)
    # The model comes first: KL(data || model) would be infinite here.
    data = np.zeros(1000)
    data[:2] = 0.25, 0.75
    assert counts.kl_to_data(table(c0=10), data) == pytest.approx(math.log(4))


def test_classes_are_counted() -> None:
    found = counts.class_counts(np.array([5, 5, 999, 0]))
    assert (found[5], found[999], found[0], found.sum(), len(found)) == (2, 1, 1, 4, 1000)
    for wrong in ([1000], [-1]):
        with pytest.raises(InputError, match="expected 0 to 999"):
            counts.class_counts(np.array(wrong))


def test_a_class_that_the_data_lack_is_an_error() -> None:
    data = np.full(1000, 1 / 999)
    data[17] = 0
    with pytest.raises(InputError, match="class 017, the data none of it"):
        counts.kl_to_data(table(c17=1, c18=5), data)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), images=st.integers(1, 5000))
def test_kl_is_that_of_the_plain_twin_and_never_negative(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    data = rng.dirichlet(np.full(1000, 2.0))
    hits = rng.multinomial(images, shares("uneven"))
    found = counts.kl_to_data(hits, data)
    assert found == pytest.approx(plain_kl(hits, data), rel=1e-12, abs=1e-12)
    assert found >= 0


@pytest.mark.parametrize("images", [1, 2, 500, 25_600])
def test_a_perfect_generator_gets_the_floor(images: int) -> None:
    """The paper's N: 1,000 modes, and KL near (K − 1) / 2N = 0.0195; the exact mean is 0.0196."""
    rng, draws = np.random.default_rng(images), 400
    data = shares("uneven") if images == 500 else UNIFORM
    drawn = rng.multinomial(images, data, size=draws)
    modes, kl = (
        np.array([f(hits) for hits in drawn]) for f in (counts.modes_hit, lambda h: counts.kl_to_data(h, data))
    )
    mean, scatter = counts.perfect(images, data), counts.perfect_scatter(images, data)
    assert mean.modes == pytest.approx(modes.mean(), abs=4 * modes.std() / 20 + 0.01)
    assert mean.kl == pytest.approx(kl.mean(), abs=4 * kl.std() / 20 + 0.003)
    if images >= 500:
        assert scatter.kl == pytest.approx(kl.std(), rel=0.15)
    if images == 500:
        assert scatter.modes == pytest.approx(modes.std(), rel=0.15)
    if images == 25_600:
        assert mean.modes == pytest.approx(1000 * (1 - 0.999**25_600), rel=1e-12)
        assert mean.kl == pytest.approx(999 / 51_200, rel=0.02)


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("perfect", 25_600),
        ("perfect", 2560),
        ("a hundred dropped", 25_600),
        ("ten kept", 25_600),
        ("a hundred kept", 2560),
        ("1/rank", 26_000),
        ("1/rank", 50),
        ("uneven", 25_600),
        ("uneven", 2560),
        ("collapsed", 25_600),
    ],
)
def test_the_standard_error_is_the_scatter_of_many_generated_sets(name: str, images: int) -> None:
    """Within 15 %, of which 2.2 % is the 1,000 sets'; ten classes tell too little of how shares are distributed."""
    p = shares(name)
    drawn = np.random.default_rng(7).multinomial(images, p, size=1000)
    told = [counts.standard_error(hits, images, UNIFORM) for hits in drawn[:12]]
    kl = np.std([counts.kl_to_data(hits, UNIFORM) for hits in drawn])
    modes = np.std([counts.modes_hit(hits) for hits in drawn])
    assert np.mean([one.kl for one in told]) == pytest.approx(kl, rel=0.4 if name == "ten kept" else 0.15)
    assert np.mean([one.modes for one in told]) == pytest.approx(modes, rel=0.15, abs=0.05)


def test_the_error_is_to_unequal_data_too() -> None:
    data = np.random.default_rng(4).dirichlet(np.full(1000, 3.0))
    kept = np.where(np.arange(counts.MODES) < 300, data, 0.0)
    for p in (data, kept / kept.sum()):
        drawn = np.random.default_rng(5).multinomial(5000, p, size=400)
        kl = np.std([counts.kl_to_data(hits, data) for hits in drawn])
        told = np.mean([counts.standard_error(hits, 5000, data).kl for hits in drawn[:8]])
        assert told == pytest.approx(kl, rel=0.15)


def test_several_sets_tell_of_one() -> None:
    drawn = np.random.default_rng(6).multinomial(2560, shares("uneven"), size=400)
    kl = np.std([counts.kl_to_data(hits, UNIFORM) for hits in drawn])
    assert counts.standard_error(drawn[:10].sum(axis=0), 2560, UNIFORM).kl == pytest.approx(kl, rel=0.15)


def test_one_image_is_always_one_mode_as_far_from_equal_data() -> None:
    for error in (counts.standard_error(table(c7=1), 1, UNIFORM), counts.perfect_scatter(1, UNIFORM)):
        assert (error.modes, error.kl) == pytest.approx((0, 0), abs=1e-6)


def test_ratios_of_perfect_counts_are_1_and_those_of_dropped_classes_0() -> None:
    hits = np.random.default_rng(8).multinomial(25_600, shares("a hundred dropped"))
    found = estimate_ratios(hits, UNIFORM)
    assert found.weights.sum() == pytest.approx(1000)
    by_ratio = found.weights.sum(axis=0)
    assert by_ratio[found.ratios == 0] == pytest.approx(100, abs=0.01)
    mean = by_ratio @ found.ratios / 1000
    deviation = np.sqrt(by_ratio[1:] @ (found.ratios[1:] - 10 / 9) ** 2 / 900)
    assert mean == pytest.approx(1, abs=0.01)
    # The counts scatter by 0.21 of their mean, of which nothing is the generator's.
    assert deviation < 0.08


def test_no_distribution_of_ratios_is_more_likely() -> None:
    """Where the gradient is 1 or less everywhere, and 1 where there is weight, the likelihood is at its highest."""
    hits = np.random.default_rng(9).multinomial(3000, shares("uneven"))
    found = estimate_ratios(hits, UNIFORM)
    weights = found.weights.sum(axis=0) / 1000
    likelihood = scipy.stats.poisson.pmf(hits[:, None], 3000 * UNIFORM[:, None] * found.ratios)
    gradient = np.mean(likelihood / (likelihood @ weights)[:, None], axis=0)
    assert gradient.max() < 1.001
    assert gradient[weights > 0.001] == pytest.approx(1, abs=0.001)


def test_sets_share_no_image_and_forget_the_order() -> None:
    numbers = np.arange(103)
    sets = in_sets(numbers, 4, seed=3)
    assert sets.shape == (4, 25)
    assert len(np.unique(sets)) == 100
    np.testing.assert_array_equal(sets, in_sets(numbers, 4, seed=3))
    assert not np.array_equal(sets, in_sets(numbers, 4, seed=4))
    # A store sorted by class would else give one class a set.
    assert len(np.unique(sets[0] // 26)) == 4
    np.testing.assert_array_equal(in_sets(numbers, 1, seed=3), numbers[None])


def test_figures_of_perfect_sets_are_indistinguishable_and_those_of_poor_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    good = figures_of(rng.integers(0, 1000, (10, 25_600)), UNIFORM)
    assert good.values["modes"] == 1000
    assert good.values["kl"] == pytest.approx(0.01964, abs=0.001)
    assert good.verdict == dict.fromkeys(("modes", "kl"), "indistinguishable from the data at this N")
    assert good.directions == {"kl": "lower"}
    assert good.interval["modes"][1] <= 1000
    assert good.interval["kl"][0] < good.values["kl"] < good.interval["kl"][1]
    assert good.scatter["over sets"]["kl"] == pytest.approx(good.spread["kl"] * math.sqrt(10), rel=0.6)
    poor = figures_of(rng.integers(100, 1000, (1, 25_600)), UNIFORM)
    assert poor.values["modes"] == 900
    assert poor.values["kl"] > good.values["kl"] + 0.09
    assert poor.verdict == {"modes": "100 modes fewer than the data give", "kl": "worse than the data"}
    assert poor.scatter == {}


def test_false_alarms_are_as_rare_as_promised() -> None:
    """A perfect generator of 2,560 images is called worse in about 2.5 of 100 cases (one side of 95 %)."""
    drawn = np.random.default_rng(5).integers(0, 1000, (200, 1, 2560))
    alarms = {"modes": 0, "kl": 0}
    for classes in drawn:
        for part, said in figures_of(classes, UNIFORM).verdict.items():
            alarms[part] += "indistinguishable" not in said
    assert alarms["modes"] <= 12
    assert alarms["kl"] <= 12


def test_few_real_images_raise_the_floor() -> None:
    """Shares that are counts of M real images are off themselves, which adds about (K − 1) / 2M to KL."""
    rng, real, each = np.random.default_rng(2), 40_000, 20_000
    found = []
    for _ in range(60):
        data = rng.multinomial(real, UNIFORM) / real
        found.append(counts.kl_to_data(rng.multinomial(each, UNIFORM), data))
    figures = figures_of(rng.integers(0, 1000, (1, each)), UNIFORM, real)
    assert figures.floor["kl"] == pytest.approx(np.mean(found), rel=0.03)
    assert figures.floor_spread["kl"] == pytest.approx(np.std(found), rel=0.35)
