"""The charts of a run's log, in words that are true of the loss it was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Panel:
    """One chart of the log.

    Attributes:
        columns: (column of log.jsonl, label) of each line.
        title, ylabel: of the chart and of its axis.
        caption: what it says.
        log: whether decades matter where the figures span some.
    """

    columns: tuple[tuple[str, str], ...]
    title: str
    ylabel: str
    caption: str
    log: bool = False


_LOSSES = (("loss_generator", "generator"), ("loss_discriminator", "discriminator"))
_WGAN_GP = (
    Panel(
        (("wasserstein", "Wasserstein estimate"),),
        "Wasserstein estimate",
        "E[D(real)] − E[D(fake)]",
        "How far the discriminator tells real from generated images; usually it falls as the generator "
        "learns and rises when a new resolution gives it more to see.",
    ),
    Panel(
        _LOSSES,
        "Losses",
        "loss",
        "Only their trend is meaningful: a Wasserstein critic's scores have no fixed zero.",
    ),
)
_LSGAN = (
    Panel(
        (("wasserstein", "gap between scores"),),
        "Gap between scores",
        "E[D(fake)] − E[D(real)]",
        "How far the discriminator tells generated images, which it is to score 1, from real ones, which it is to "
        "score 0. At 0 it tells nothing.",
    ),
    Panel(
        _LOSSES,
        "Losses",
        "loss",
        "Least squares: the generator's is 0 while its images score as real ones should, and 1 where all are found "
        "out.",
    ),
)
_NORMS = Panel(
    (("gradient_norm_generator", "generator"), ("gradient_norm_discriminator", "discriminator")),
    "Gradient norms",
    "norm",
    "Length of each network's gradient, before Adam: a sudden rise comes before most divergences.",
    log=True,
)
_PENALTY = Panel(
    (("gradient_penalty", "gradient penalty"),),
    "Gradient penalty",
    "penalty",
    "Near zero while the discriminator keeps to its Lipschitz bound.",
    log=True,
)
_THROUGHPUT = Panel(
    (("images_per_second", "images/s"),),
    "Throughput",
    "images/s",
    "Real images shown each second of training; growing makes the early resolutions cheap.",
    log=True,
)


def panels(settings: Mapping[str, Any]) -> tuple[Panel, ...]:
    """Return the charts of a run's log, in their order.

    Args:
        settings: of the run, as config.json has them; a run that names no loss is of the time when WGAN-GP was the
            only one. LSGAN has no gradient penalty.
    """
    if settings.get("loss") == "lsgan":
        return (*_LSGAN, _NORMS, _THROUGHPUT)
    return (*_WGAN_GP, _NORMS, _PENALTY, _THROUGHPUT)
