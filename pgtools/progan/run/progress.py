"""Where a run stands: what a checkpoint keeps beside networks and optimizers."""

from __future__ import annotations

from dataclasses import dataclass

from pgtools.progan.step import FIGURES

NONE_YET = (0.0,) * len(FIGURES)


@dataclass
class Progress:
    """Where a run stands; every field is a plain value.

    Attributes:
        images: real images shown.
        seconds: time spent training, with waiting for data; without drawing grids, scoring and pauses.
        waited: of it, waiting for data.
        live: levels that took part in the last step; Adam begins anew when they change.
        fooled: d̂ of the least-squares loss.
        rollbacks: how often training went back to a checkpoint.
        processes: that trained last.
        sums: sums of the figures since the last log line, in the order of FIGURES.
        steps: steps since then.
        since_images, since_seconds, since_waited: where the last log line stood.
    """

    images: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    live: tuple[int, ...] = ()
    fooled: float = 0.0
    rollbacks: int = 0
    processes: int = 1
    sums: tuple[float, ...] = NONE_YET
    steps: int = 0
    since_images: int = 0
    since_seconds: float = 0.0
    since_waited: float = 0.0

    def __post_init__(self) -> None:
        self.live, self.sums = tuple(self.live), tuple(self.sums)  # JSON has lists

    def line(self) -> dict[str, float]:
        """Return what the log says of the steps since its last line: means, speed and the share of waiting."""
        seconds = max(self.seconds - self.since_seconds, 1e-9)
        return {
            **{name: total / self.steps for name, total in zip(FIGURES, self.sums, strict=True)},
            "images_per_second": (self.images - self.since_images) / seconds,
            "data_wait": (self.waited - self.since_waited) / seconds,
            "seconds": self.seconds,
        }

    def begin_line(self) -> None:
        """Begin to sum anew, after a log line."""
        self.sums, self.steps = NONE_YET, 0
        self.since_images, self.since_seconds, self.since_waited = self.images, self.seconds, self.waited
