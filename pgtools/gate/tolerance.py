"""How far a figure may move before it counts as moved, as a rule that people write and read."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from statistics import NormalDist

from pgtools.errors import UsageError

# Two results that measure the same scatter about each other by this times the standard error of one of them.
OF_TWO = math.sqrt(2)
TERMS = "relative, absolute or sigma, each 0 or more, or alarms under 0.5"


@dataclass(frozen=True)
class Tolerance:
    """The largest of its terms, 0 without any.

    Attributes:
        relative: fraction of the accepted value's magnitude, 0 or more.
        absolute: in the metric's own unit, 0 or more.
        sigma: multiple of the standard error of the difference of two results, 0 or more; adds nothing where the
            accepted result has no standard error.
        alarms: how often the figure may fail by chance, as a fraction from 0 to under 0.5: another way to say sigma,
            the normal quantile of one tail; 0 leaves it unsaid.
    """

    relative: float = 0.0
    absolute: float = 0.0
    sigma: float = 0.0
    alarms: float = 0.0

    def allowed(self, value: float, error: float | None) -> float:
        """Return the largest change that still counts as the same, in the metric's unit.

        Only the accepted figure and its standard error enter, so that a noisier result does not loosen its own gate.

        Args:
            value: the accepted figure.
            error: its standard error; None where it has none.
        """
        return max(self.fixed(value), self.sigmas() * OF_TWO * (error or 0.0))

    def fixed(self, value: float) -> float:
        """Return the part of `allowed` that does not depend on the standard error."""
        return max(self.relative * abs(value), self.absolute)

    def sigmas(self) -> float:
        """Return the multiple of the standard error of the difference that `sigma` and `alarms` allow."""
        return max(self.sigma, NormalDist().inv_cdf(1 - self.alarms) if self.alarms else 0.0)

    def is_sound(self) -> bool:
        """Return whether every term is a finite number in its range."""
        return all(0 <= getattr(self, entry.name) < math.inf for entry in fields(self)) and self.alarms < 0.5

    def as_dict(self) -> dict[str, float]:
        """Return the terms that are set; `{"absolute": 0.0}` when none is."""
        terms = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in terms.items() if value} or {"absolute": 0.0}

    def __str__(self) -> str:
        terms = [f"{100 * self.relative:.15g}%"] if self.relative else []
        terms += [f"{self.absolute:.15g}"] if self.absolute else []
        terms += [f"{self.sigma:.15g}sigma"] if self.sigma else []
        terms += [f"{100 * self.alarms:.15g}%alarms"] if self.alarms else []
        return ",".join(terms) or "0"


# A twentieth is what one sees in a table; three standard errors is what chance seldom does.
DEFAULT = Tolerance(relative=0.05, sigma=3.0)

Rule = tuple[str, str, Tolerance]
# A term's ending → its field and the number that it is divided by; the first that fits counts.
_ENDINGS = {"%alarms": ("alarms", 100), "%": ("relative", 100), "sigma": ("sigma", 1), "": ("absolute", 1)}


def parse_rule(text: str) -> Rule:
    """Return (metric, part, tolerance) of `[METRIC[.PART]=]TERM[,TERM…]`, "" for what is left out.

    A term is relative (`5%`), absolute in the metric's unit (`0.3`), in standard errors of the difference of two
    results (`3sigma`), or a share of false alarms (`1%alarms`).

    Raises:
        UsageError: the text is no such rule.
    """
    target, _, terms = text.rpartition("=")
    metric, _, part = target.partition(".")
    found: dict[str, float] = {}
    for term in terms.split(","):
        ending = next(ending for ending in _ENDINGS if term.endswith(ending))
        kind, divisor = _ENDINGS[ending]
        try:
            number = float(term.removesuffix(ending)) / divisor
        except ValueError:
            number = math.nan
        unsaid = kind == "alarms" and number == 0
        if kind in found or unsaid or not Tolerance(**{kind: number}).is_sound():
            raise UsageError(
                f"--tolerance is {text!r}; expected [METRIC[.PART]=]TERM[,TERM…].",
                hint="A term is 5% (relative), 0.3 (absolute), 3sigma (standard errors of the difference) or 1%alarms "
                "(false alarms, above 0 and under 50), one of each kind at most.",
            )
        found[kind] = number
    return metric, part, Tolerance(**found)
