"""What a gate can tell from chance: how often it fails where nothing has changed, and what change it notices.

Two results that measure the same differ by chance, about normally, with √2 times the standard error of one of them.
The rates are those over many baselines: one that was accepted in a lucky moment fails more often until the next.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

from pgtools.gate.tolerance import OF_TWO, Tolerance

# A change counts as noticed where this share of checks fails on it.
SHARE = 0.8
_BEYOND = NormalDist().inv_cdf(SHARE)
# Chance fails a figure seldom where it does so no oftener than beyond three standard errors.
SELDOM = NormalDist().cdf(-3)
# Below this, the tail of a normal distribution says more about the formula than about a figure.
RAREST = 1e-6


@dataclass(frozen=True)
class Power:
    """What the gate of one figure can tell from chance; None throughout where the figure has no standard error.

    Attributes:
        noise: standard error of the difference of two results that measure the same, in the metric's unit.
        alarms: share of checks that fail by chance where nothing has changed.
        notices: the change for the worse that fails in 80 of 100 checks, in the metric's unit.
        halved_by: how many times the images would halve `notices`; inf where no number would, because a tolerance
            that does not shrink with the noise is the larger part of it.
        halved_at: the allowed change that would halve `notices` as well; None where chance would then fail the figure
            oftener than `SELDOM`, so that the noise has to come down first.
    """

    noise: float | None = None
    alarms: float | None = None
    notices: float | None = None
    halved_by: float | None = None
    halved_at: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON; an infinite number of images becomes null."""
        return {k: None if v is None or math.isinf(v) else v for k, v in asdict(self).items()}


def power(tolerance: Tolerance, value: float, error: float | None) -> Power:
    """Return what the gate of a figure can tell from chance.

    Args:
        tolerance: how far it may move.
        value: the accepted figure.
        error: its standard error, 0 or more; None where it has none.
    """
    if error is None:
        return Power()
    noise, allowed = OF_TWO * error, tolerance.allowed(value, error)
    if noise == 0:
        return Power(0.0, 0.0, allowed, math.inf, allowed / 2)
    notices = allowed + _BEYOND * noise
    tighter = notices / 2 - _BEYOND * noise
    halved_at = tighter if _alarms(tighter, noise) <= SELDOM else None
    return Power(noise, _alarms(allowed, noise), notices, _halved_by(tolerance, value, noise, notices / 2), halved_at)


def chance_of_any(alarms: Iterable[float | None]) -> float:
    """Return an upper bound for the share of checks in which at least one figure fails by chance.

    It is the sum (Bonferroni), which holds however the figures depend on each other; those without a rate are left out.
    """
    return min(1.0, sum(rate for rate in alarms if rate is not None))


def in_words(rate: float) -> str:
    """Return a rate as people say it: "1 check in 740"."""
    if rate < RAREST:
        return "less than 1 check in 1,000,000"
    if rate >= 0.5:
        return f"{100 * rate:.0f} checks in 100"
    once_in = math.floor(1 / rate + 1e-9 / rate)  # 0.01 is 1 in 100, whatever its last bit
    two_digits = 10 ** max(0, len(str(once_in)) - 2)  # rounded down, so that it is no understatement
    return f"1 check in {once_in // two_digits * two_digits:,}"


def fails(rate: float) -> str:
    """Return a rate with its verb: "1 check in 740 fails"."""
    return f"{in_words(rate)} fail{'' if rate >= 0.5 else 's'}"


def _alarms(allowed: float, noise: float) -> float:
    return math.erfc(allowed / noise / math.sqrt(2)) / 2


def _halved_by(tolerance: Tolerance, value: float, noise: float, half: float) -> float:
    """Return the factor k on the number of images at which `notices` is `half`; the noise falls as 1/√k.

    With s the multiple of the noise that is allowed and z the quantile, it is max(fixed, s·noise/√k) + z·noise/√k.
    """
    room = half - tolerance.fixed(value)
    if room <= 0:
        return math.inf
    return max(_BEYOND * noise / room, (tolerance.sigmas() + _BEYOND) * noise / half) ** 2
