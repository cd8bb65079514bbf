"""The verdicts: known answers, and the properties that make a gate a gate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError
from pgtools.gate.baseline import Accepted, accept
from pgtools.gate.compare import changes, compare, differences, environment_notes, failures
from pgtools.gate.tolerance import DEFAULT, Tolerance
from pgtools.runtime.results import MetricResult

Make = Callable[..., MetricResult]
FIGURES = st.floats(-1e6, 1e6)


def verdicts(baseline: dict[str, Accepted], *results: MetricResult) -> dict[str, str]:
    return {move.part: move.verdict for move in compare(baseline, results)}


@pytest.mark.parametrize(
    ("tolerance", "expected"),
    [
        (Tolerance(relative=0.05), 0.5),
        (Tolerance(absolute=0.7), 0.7),
        (Tolerance(sigma=3), 0.6 * math.sqrt(2)),
        (Tolerance(relative=0.05, absolute=0.1, sigma=3), 0.6 * math.sqrt(2)),
        (Tolerance(), 0.0),
        (DEFAULT, 0.6 * math.sqrt(2)),
        (Tolerance(alarms=0.05), 1.6448536 * 0.2 * math.sqrt(2)),
        (Tolerance(sigma=3, alarms=0.05), 0.6 * math.sqrt(2)),
    ],
)
def test_a_part_may_move_by_the_largest_term(tolerance: Tolerance, expected: float) -> None:
    assert tolerance.allowed(-10.0, 0.2) == pytest.approx(expected)
    assert tolerance.allowed(-10.0, None) == pytest.approx(tolerance.fixed(-10.0))


def test_verdicts_of_known_figures(result: Make) -> None:
    baseline = accept({}, [result({"a": 10.0, "b": 10.0, "c": 10.0, "d": 10.0, "e": 10.0, "f": 10.0})])
    new = result({"a": 10.5, "b": 10.51, "c": 9.5, "d": 9.49, "e": math.nan, "g": 1.0})
    expected = {
        "a": "same",
        "b": "worse",
        "c": "same",
        "d": "better",
        "e": "worse",
        "f": "missing",
        "g": "new",
    }
    assert verdicts(baseline, new) == expected


def test_a_change_that_equals_the_allowed_one_is_allowed(result: Make) -> None:
    # 0.4 - 0.3 is 0.10000000000000003 in float64.
    baseline = {"swd": Accepted(result({"32": 0.3}), {"32": Tolerance(absolute=0.1)})}
    assert verdicts(baseline, result({"32": 0.4})) == {"32": "same"}


def test_a_metric_that_is_missing_fails_and_a_new_one_does_not(result: Make) -> None:
    moves = compare(accept({}, [result()]), [result(metric="fid")])
    assert [(move.metric, move.verdict) for move in moves] == [
        ("swd", "missing"),
        ("swd", "missing"),
        ("fid", "new"),
        ("fid", "new"),
    ]
    assert {move.metric for move in failures(moves)} == {"swd"}


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=4), FIGURES, min_size=1), st.sampled_from(["lower", "higher"]))
def test_a_result_compared_with_itself_never_fails(result: Make, values: dict[str, float], direction: str) -> None:
    same = result(values, direction=direction, spread={})
    moves = compare({"swd": Accepted(same, dict.fromkeys(values, Tolerance()))}, [same])
    assert [move.verdict for move in moves] == ["same"] * len(values)


@settings(deadline=None)
@given(FIGURES, st.floats(0, 1), st.floats(0, 100), st.floats(1e-3, 1e6), st.sampled_from([-1, 1]))
def test_worse_fails_beyond_the_tolerance_and_better_never(
    result: Make, value: float, relative: float, absolute: float, beyond: float, sign: int
) -> None:
    tolerance = Tolerance(relative=relative, absolute=absolute)
    moved = value + sign * (tolerance.allowed(value, 0.0) + beyond)
    for direction, worse in (("lower", 1), ("higher", -1)):
        baseline = {"swd": Accepted(result({"v": value}, direction=direction), {"v": tolerance})}
        found = verdicts(baseline, result({"v": moved}, direction=direction))
        assert found == {"v": "worse" if sign == worse else "better"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_a_value_that_is_not_finite_is_worse_and_becomes_null(result: Make, value: float, direction: str) -> None:
    baseline = accept({}, [result({"v": 1.0}, direction=direction)])
    (move,) = compare(baseline, [result({"v": value}, direction=direction)])
    assert move.verdict == "worse"
    assert move.as_dict()["value"] is None


def test_a_noisier_result_does_not_loosen_its_own_gate(result: Make) -> None:
    baseline = accept({}, [result({"32": 10.0}, spread={"32": 0.2})])
    assert verdicts(baseline, result({"32": 10.9}, spread={"32": 100.0})) == {"32": "worse"}


def test_every_field_of_a_different_protocol_is_named(result: Make) -> None:
    data = {"real": {"name": "a", "fingerprint": "ff"}, "fake": {"name": "b", "fingerprint": "cd"}}
    other = result(protocol={"version": 2, "num_images": 256, "seed": 0, "patch": 7}, data=data)
    with pytest.raises(InputError) as caught:
        compare(accept({}, [result()]), [other])
    for text in (
        "version: 1 → 2",
        "patch: (not given) → 7",
        "real images: a (ab) → a (ff)",
    ):
        assert text in caught.value.message
    assert "num_images" not in caught.value.message


def test_what_is_measured_may_change_and_what_it_is_measured_against_may_not(result: Make) -> None:
    fakes = {"real": {"name": "moved", "fingerprint": "ab"}, "fake": {"name": "z", "fingerprint": "99"}}
    assert differences(result(), result(data=fakes)) == []
    one = result(data={"real": {"name": "a", "fingerprint": "ab"}})
    assert differences(one, result(data={"real": {"name": "a", "fingerprint": "99"}})) == []
    assert differences(one, result()) == ["data: 'real' → 'fake + real'", "real images: (not given) → a (ab)"]
    assert differences(one, dataclasses.replace(one, direction="higher")) == ["direction: 'lower' → 'higher'"]


REAL = "4c5957615e697cee0a7513d7cb63ab006215c146eaaa9c96ceb7d929af197cf2"
OTHER = "80a435b3307c839f3275b1dbbc232a067f9d92075d28163e9a050cd3504c0293"


def measured(result: Make, real: str, fingerprint: str, metric: str = "swd", **protocol: object) -> MetricResult:
    data = {"real": {"name": real, "fingerprint": fingerprint}, "fake": {"name": "b", "fingerprint": "cd"}}
    return result(metric=metric, data=data, protocol={"num_images": 256, "seed": 0, **protocol})


def test_one_cause_is_told_once(result: Make) -> None:
    """Another number or seed takes other real images: their fingerprint is no second cause."""
    one = measured(result, "data/real.lmdb", REAL)
    for words in ({"num_images": 128}, {"seed": 3}):
        ((name, value),) = words.items()
        other = measured(result, "/elsewhere/real.lmdb", OTHER, **words)
        assert differences(one, other) == [f"{name}: {one.protocol[name]} → {value}"]
        baseline = accept({}, [one, measured(result, "real.lmdb", REAL, "kid")])
        with pytest.raises(InputError) as caught:
            compare(baseline, [other, measured(result, "real.lmdb", OTHER, "kid", **words)])
        assert caught.value.message == (
            f"These results and the baseline were not measured alike: kid, swd: {name}: {one.protocol[name]} → {value}."
        )
    # Another set is a cause of its own.
    assert differences(one, measured(result, "celeba.lmdb", OTHER, seed=3)) == [
        "real images: real.lmdb (4c5957615e69) → celeba.lmdb (80a435b3307c)",
        "seed: 0 → 3",
    ]
    assert differences(one, measured(result, "data/real.lmdb", OTHER)) == [
        "real images: real.lmdb (4c5957615e69) → real.lmdb (80a435b3307c)"
    ]


def test_hashes_are_told_by_their_first_digits(result: Make) -> None:
    one, two = (measured(result, "a", REAL, weights=text) for text in (REAL, OTHER))
    assert differences(one, two) == ["weights: 4c5957615e69 → 80a435b3307c"]


def test_what_changes_with_an_accept_is_told_with_the_old_verdict(result: Make) -> None:
    before = accept({}, [result({"32": 10.0, "16": 5.0, "8": 3.0})])["swd"]
    after = accept({}, [result({"32": 9.0, "16": 5.0, "4": 1.0})], [("swd", "16", Tolerance(absolute=1))])["swd"]
    assert changes(before, after) == [
        "32: 10 → 9 (better)",
        "8: 3 → - (missing)",
        "4: - → 1 (new)",
        "tolerance of 16: 5%,3sigma → 1",
    ]


def test_two_results_of_one_metric_are_refused(result: Make) -> None:
    with pytest.raises(InputError, match="2 results are of swd"):
        compare({}, [result(), result()])


def test_each_part_has_its_own_direction(result: Make) -> None:
    both = {"modes": 900.0, "kl": 1.0}
    accepted = result(both, direction="higher", directions={"kl": "lower"}, spread={})
    moved = result({"modes": 800.0, "kl": 0.5}, direction="higher", directions={"kl": "lower"}, spread={})
    assert verdicts(accept({}, [accepted]), moved) == {"modes": "worse", "kl": "better"}
    assert [move.direction for move in compare({}, [moved])] == ["higher", "lower"]
    turned = result(both, direction="higher", spread={})
    assert differences(accepted, turned) == ["direction of kl: 'lower' → (not given)"]


def test_a_field_inside_a_table_is_named(result: Make) -> None:
    one, two = (result(protocol={"resize": {"filter": name, "quantised": True}}) for name in ("lanczos", "area"))
    assert differences(one, two) == ["resize.filter: 'lanczos' → 'area'"]


def test_another_machine_is_told_and_not_compared(result: Make) -> None:
    here, there = {"torch": "2.6", "device": "cpu"}, {"torch": "2.6", "device": "H100", "host": "x"}
    baseline = accept({}, [result(environment=here), result(metric="fid", environment=here)])
    new = [result(environment=there), result(metric="fid", environment=there), result(metric="is", environment=there)]
    assert {move.verdict for move in compare(baseline, new)} == {"same", "new"}
    assert environment_notes(baseline, new) == ["swd, fid: measured elsewhere (device cpu → H100)"]
    assert environment_notes(baseline, [result(environment=here)]) == []
