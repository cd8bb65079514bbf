"""What a gate can tell from chance: the closed forms against known answers and against drawn figures."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtools.gate.baseline import Accepted, accept
from pgtools.gate.compare import Verdict, compare
from pgtools.gate.power import SELDOM, chance_of_any, fails, in_words, power
from pgtools.gate.show import as_text
from pgtools.gate.tolerance import Tolerance
from pgtools.runtime.results import MetricResult
from pgtools.runtime.seeds import stream

Make = Callable[..., MetricResult]
DRAWS = 4000


def share(verdict: Verdict, accepted: Iterable[float], now: Iterable[float], tolerance: Tolerance) -> float:
    """Return how often pairs of drawn figures of standard error 0.2 get a verdict."""
    figure = MetricResult({"v": 0.0}, {"v": 0.2}, metric="drawn", direction="lower")
    found = [
        compare(
            {"drawn": Accepted(dataclasses.replace(figure, values={"v": before}), {"v": tolerance})},
            [dataclasses.replace(figure, values={"v": after})],
        )
        for before, after in zip(accepted, now, strict=True)
    ]
    return sum(move.verdict == verdict for (move,) in found) / len(found)


def within_binomial(found: float, expected: float, draws: int) -> bool:
    """Return whether a share is within 3.3 standard deviations of a binomial one: misses 1 in 1000."""
    return abs(found - expected) <= 3.3 * math.sqrt(expected * (1 - expected) / draws)


@pytest.mark.parametrize(
    ("tolerance", "rate"),
    [(Tolerance(sigma=1.6448536), 0.05), (Tolerance(alarms=0.05), 0.05), (Tolerance(alarms=0.2), 0.2)],
)
def test_the_rate_of_false_alarms_is_what_the_level_says(tolerance: Tolerance, rate: float) -> None:
    before, after = stream(0, "gate", str(tolerance)).normal(10.0, 0.2, (2, DRAWS)).tolist()
    assert power(tolerance, 10.0, 0.2).alarms == pytest.approx(rate, abs=1e-6)
    for verdict in ("worse", "better"):
        assert within_binomial(share(verdict, before, after, tolerance), rate, DRAWS)


def test_three_sigma_fails_hardly_ever() -> None:
    before, after = stream(1, "gate").normal(10.0, 0.2, (2, DRAWS)).tolist()
    assert share("worse", before, after, Tolerance(sigma=3)) < 0.004


def test_a_tolerance_without_the_root_of_two_would_be_seen_here() -> None:
    """The error of one result in place of the difference's makes 12 false alarms of 5 in 100."""
    before, after = stream(2, "gate").normal(10.0, 0.2, (2, DRAWS)).tolist()
    too_small = Tolerance(absolute=1.6448536 * 0.2)
    assert share("worse", before, after, too_small) == pytest.approx(0.122, abs=0.02)


@pytest.mark.parametrize("tolerance", [Tolerance(sigma=3), Tolerance(relative=0.1), Tolerance(0.05, 0.3, 1, 0.01)])
def test_the_change_it_claims_to_notice_fails_in_80_of_100(tolerance: Tolerance) -> None:
    told = power(tolerance, 10.0, 0.2)
    rng = stream(3, "gate", str(tolerance))
    # The relative term counts from the accepted figure, which is drawn too: hold it still where that matters.
    before = np.full(DRAWS, 10.0) if tolerance.relative else rng.normal(10.0, 0.2, DRAWS)
    noise = 0.2 * math.sqrt(2) if tolerance.relative else 0.2
    after = rng.normal(10.0 + told.notices, noise, DRAWS)
    assert within_binomial(share("worse", before.tolist(), after.tolist(), tolerance), 0.8, DRAWS)


@settings(deadline=None)
@given(
    st.floats(0, 0.3), st.floats(0, 1), st.floats(0, 5), st.floats(1e-3, 0.49), st.floats(0.1, 100), st.floats(1e-3, 1)
)
def test_the_images_it_asks_for_halve_what_is_noticed(
    relative: float, absolute: float, sigma: float, alarms: float, value: float, error: float
) -> None:
    tolerance = Tolerance(relative, absolute, sigma, alarms)
    told = power(tolerance, value, error)
    assert told.notices is not None and told.halved_by is not None
    if math.isinf(told.halved_by):
        assert power(tolerance, value, 1e-9 * error).notices >= told.notices / 2 * (1 - 1e-6)
    else:
        assert told.halved_by >= 4 - 1e-9
        fewer_errors = power(tolerance, value, error / math.sqrt(told.halved_by)).notices
        assert fewer_errors == pytest.approx(told.notices / 2, rel=1e-6)


def test_noise_alone_is_halved_by_four_times_the_images() -> None:
    assert power(Tolerance(sigma=3), 10.0, 0.2).halved_by == pytest.approx(4)
    assert power(Tolerance(absolute=5), 10.0, 0.2).halved_by == math.inf


def test_what_has_no_standard_error_has_no_rate_and_what_has_none_left_is_certain() -> None:
    assert set(power(Tolerance(relative=0.1), 10.0, None).as_dict().values()) == {None}
    certain = power(Tolerance(relative=0.1), 10.0, 0.0)
    assert (certain.alarms, certain.notices) == (0.0, 1.0)
    assert certain.as_dict()["halved_by"] is None


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (1.0, "100 checks in 100"),
        (0.5, "50 checks in 100"),
        (0.05, "1 check in 20"),
        (0.01 + 1e-17, "1 check in 100"),
        (0.00135, "1 check in 740"),
        (1 / 7489, "1 check in 7,400"),
        (1e-7, "less than 1 check in 1,000,000"),
    ],
)
def test_rates_in_words(rate: float, words: str) -> None:
    assert in_words(rate) == words


def test_the_bound_for_all_figures_is_their_sum() -> None:
    assert chance_of_any([0.01, None, 0.02]) == pytest.approx(0.03)
    assert chance_of_any([0.9, 0.9]) == 1.0
    assert chance_of_any([]) == 0.0


def test_the_bound_holds_for_figures_that_move_together() -> None:
    rng = stream(4, "gate")
    common = rng.normal(0, 1, (DRAWS, 2, 1))
    drawn = (common + rng.normal(0, 1, (DRAWS, 2, 4))) / math.sqrt(2)
    failed = (drawn[:, 1] - drawn[:, 0] > 1.6448536 * math.sqrt(2)).any(axis=1).mean()
    assert 0.05 < failed <= chance_of_any([0.05] * 4)


def test_show_tells_all_of_it(result: Make) -> None:
    baseline = accept({}, [result()], [("", "", Tolerance(relative=0.05)), ("swd", "32", Tolerance(sigma=3))])
    text = as_text(baseline)
    row = next(line for line in text.splitlines() if line.startswith("swd     32"))
    for cell in ("10 ± 0.1", "3sigma", "±0.4243", "1 check in 740", "+0.5433 (5.4%)", "lower", "4× the images (1,024)"):
        assert cell in row
    assert "at most 1 check in 740 fails by chance, all figures together" in text
    assert "1 of 2 figures has no standard error, so that chance is not known for it." in text


def remedy(result: Make, value: float, error: float, rule: Tolerance) -> str:
    baseline = accept({}, [result({"32": value}, spread={"32": error})], [("", "", rule)])
    return as_text(baseline).splitlines()[1].split("  ")[-1].strip()


@pytest.mark.parametrize(
    ("value", "error", "rule", "words"),
    [
        (10.0, 0.2, Tolerance(sigma=3), "4× the images (1,024)"),
        (10.0, 1.5, Tolerance(absolute=1), "21× the images (5,293)"),
        # 296 times as many are no advice; and while 1 check in 4 fails by chance, neither is a smaller tolerance alone.
        (36.26, 4.754, Tolerance(absolute=5), "4× the images (1,024) and half the tolerance"),
        (24.14, 2.489, Tolerance(absolute=5), "4× the images (1,024) and half the tolerance"),
        (10.0, 0.1, Tolerance(absolute=5), "a smaller tolerance (±2.44)"),
        (10.0, 0.0, Tolerance(absolute=5), "a smaller tolerance (±2.5)"),
        (10.0, 0.0, Tolerance(), "-"),
    ],
)
def test_what_halves_the_change_that_is_noticed(
    result: Make, value: float, error: float, rule: Tolerance, words: str
) -> None:
    assert remedy(result, value, error, rule) == words


@settings(deadline=None)
@given(st.floats(0, 50), st.floats(0, 5), st.floats(0.1, 3))
def test_a_smaller_tolerance_is_advised_only_where_chance_still_fails_seldom(
    absolute: float, sigma: float, error: float
) -> None:
    told = power(Tolerance(absolute=absolute, sigma=sigma), 10.0, error)
    assert told.notices is not None and told.alarms is not None
    if told.halved_at is None:
        return
    tighter = power(Tolerance(absolute=told.halved_at), 10.0, error)
    assert tighter.notices == pytest.approx(told.notices / 2)
    assert tighter.alarms is not None and tighter.alarms <= SELDOM * (1 + 1e-9)


def test_half_the_tolerance_with_four_times_the_images_keeps_the_rate_of_false_alarms() -> None:
    before, after = power(Tolerance(absolute=5), 10.0, 4.0), power(Tolerance(absolute=2.5), 10.0, 2.0)
    assert before.notices is not None
    assert (after.alarms, after.notices) == (pytest.approx(before.alarms), pytest.approx(before.notices / 2))


def test_show_counts_in_words(result: Make) -> None:
    assert "The only figure has no standard error, so that chance is not known for it." in as_text(
        accept({}, [result({"average": 8.0})])
    )
    one = as_text(accept({}, [result({"32": 10.0})], [("", "", Tolerance(sigma=3))]))
    assert one.endswith("Where nothing has changed, at most 1 check in 740 fails by chance.\n")
    assert fails(0.6) == "60 checks in 100 fail"
