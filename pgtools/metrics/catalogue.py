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
MSSSIM_AGAINST = Metric(
    name="msssim-against",
    title="MS-SSIM between the images of two sets",
    version=1,
    direction="higher",
    low=0.0,
    high=1.0,
    unit="",
    decimals=4,
    source="Wang et al. 2003",
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

FID = Metric(
    name="fid",
    title="Fréchet Inception distance",
    version=1,
    direction="lower",
    low=0.0,
    high=None,
    unit="",
    decimals=3,
    source="Heusel et al. 2017; network of 2015-12-05 as carried by torch-fidelity",
)
KID = Metric(
    name="kid",
    title="Kernel Inception distance",
    version=1,
    direction="lower",
    # The unbiased estimate of a squared distance may fall below 0.
    low=float("-inf"),
    high=None,
    unit="",
    decimals=6,
    source="Bińkowski et al. 2018; network of 2015-12-05 as carried by torch-fidelity",
)
PRECISION_RECALL = Metric(
    name="precision-recall",
    title="Precision and recall",
    version=1,
    direction="higher",
    low=0.0,
    high=1.0,
    unit="",
    decimals=4,
    source="Kynkäänniemi et al. 2019, on the Inception features of torch-fidelity",
)
RECOVERED_MODES = Metric(
    name="recovered-modes",
    title="Recovered modes of stacked MNIST",
    version=1,
    direction="higher",
    low=0.0,
    high=1000.0,
    unit="",
    decimals=3,
    source="Metz et al. 2017; Karras et al. 2018, appendix D",
)

CATALOGUE = {
    metric.name: metric
    for metric in (SWD, MSSSIM, MSSSIM_AGAINST, INCEPTION_SCORE, FID, KID, PRECISION_RECALL, RECOVERED_MODES)
}
