"""The metrics: what each is called, which way is better, its range, its unit, where it is defined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One metric as results, docs and reports speak of it.

    Attributes:
        name: in results and baselines, and of the command.
        title: for people.
        version: of its definition here; a change that moves the figure raises it.
        direction: which way is better.
        low: smallest value it can take.
        high: largest value, or None if there is none.
        unit: what a printed figure counts; empty for a plain number.
        decimals: how many to print.
        source: where it is defined.
    """

    name: str
    title: str
    version: int
    direction: Literal["lower", "higher"]
    low: float
    high: float | None
    unit: str
    decimals: int
    source: str


SWD = Metric(
    name="swd",
    title="Sliced Wasserstein distance",
    version=1,
    direction="lower",
    low=0.0,
    high=None,
    unit="1e-3",
    decimals=2,
    source="Karras et al. 2018, section 5",
)
MSSSIM = Metric(
    name="msssim",
    title="MS-SSIM between generated images",
    version=1,
    direction="lower",
    low=0.0,
    high=1.0,
    unit="",
    decimals=4,
    source="Wang et al. 2003; Odena et al. 2017; Karras et al. 2018, section 5",
)
INCEPTION_SCORE = Metric(
    name="inception-score",
    title="Inception Score",
    version=1,
    direction="higher",
    low=1.0,
    # exp of the entropy of 1008 equally likely classes.
    high=1008.0,
    unit="",
    decimals=4,
    source="Salimans et al. 2016; network of 2015-12-05 as carried by torch-fidelity",
)

CATALOGUE = {metric.name: metric for metric in (SWD, MSSSIM, INCEPTION_SCORE)}
