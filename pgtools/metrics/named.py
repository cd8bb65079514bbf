"""The metrics by name, for a training loop; and all at once for images in memory."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pgtools.errors import InputError
from pgtools.metrics.measure import Measure
from pgtools.metrics.settings import (
    FidSettings,
    InceptionSettings,
    KidSettings,
    MsssimSettings,
    PrecisionRecallSettings,
    SwdSettings,
)
from pgtools.metrics.streaming import Streaming
from pgtools.runtime.distributed import Processes
from pgtools.runtime.results import Figures

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from pgtools.metrics.inception.network import NetworkFile

_AT_ONCE = 64


class SlicedWasserstein(Streaming):
    """The sliced Wasserstein distance of generated from real images (SWD), as it streams by.

    Args:
        num_images: of each set, over all processes.
        resolution: side in pixels, a power of two from 16.
        settings: patches, directions, seed, memory; the paper's if not given.
        device: see `Streaming`.
        group: see `Streaming`.
    """

    def __init__(
        self,
        *,
        num_images: int,
        resolution: int,
        settings: SwdSettings | None = None,
        device: torch.device | str | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        from pgtools.metrics.swd.measure import SwdMeasure

        measure = SwdMeasure(settings or SwdSettings())
        super().__init__(measure, num_images=num_images, resolution=resolution, device=device, group=group)


class MultiScaleSsim(Streaming):
    """The mean MS-SSIM over random pairs of generated images, as they stream by.

    Args:
        num_images: over all processes.
        resolution: side in pixels, a power of two from 16.
        settings: pairs and seed; half as many pairs as images, at most 10,000, if not given.
        device: see `Streaming`.
        group: see `Streaming`.
    """

    def __init__(
        self,
        *,
        num_images: int,
        resolution: int,
        settings: MsssimSettings | None = None,
        device: torch.device | str | None = None,
        group: ProcessGroup | None = None,
    ) -> None:
        from pgtools.metrics.msssim.measure import MsssimMeasure

        measure = MsssimMeasure(settings or MsssimSettings())
        super().__init__(measure, num_images=num_images, resolution=resolution, device=device, group=group)


class FeatureStream(Streaming, ABC):
    """A metric on the Inception network's features, as they stream by.

    Args:
        num_images: of generated images, over all processes.
        resolution: side in pixels; the network enlarges or shrinks by itself.
        weights: the network's file; pgtools' own copy (`pgtools models fetch inception-2015-12-05`) if not given.
        num_real: of real images, over all processes; as many if not given.
        settings: the metric's own; torch-fidelity's if not given.
        **where: device and group, see `Streaming`.

    Raises:
        MissingModelError: there are no weights.
    """

    def __init__(
        self,
        *,
        num_images: int,
        resolution: int,
        weights: Path | str | None = None,
        num_real: int | None = None,
        settings: Any = None,
        **where: Any,
    ) -> None:
        measure = self._measure(settings, _network(weights))
        super().__init__(measure, num_images=num_images, resolution=resolution, num_real=num_real, **where)

    @staticmethod
    @abstractmethod
    def _measure(settings: Any, network: NetworkFile) -> Measure:
        """Return the metric with its settings, or its default ones for None."""


class InceptionScore(FeatureStream):
    """The Inception Score of generated images; see `FeatureStream`."""

    @staticmethod
    def _measure(settings: InceptionSettings | None, network: NetworkFile) -> Measure:
        from pgtools.metrics.inception.measure import InceptionScoreMeasure

        return InceptionScoreMeasure(settings or InceptionSettings(), network)


class FrechetInceptionDistance(FeatureStream):
    """The Fréchet distance between Inception features of generated and real images (FID); see `FeatureStream`."""

    @staticmethod
    def _measure(settings: FidSettings | None, network: NetworkFile) -> Measure:
        from pgtools.metrics.inception.measure import FidMeasure

        return FidMeasure(settings or FidSettings(), network)


class KernelInceptionDistance(FeatureStream):
    """The kernel distance between Inception features of generated and real images (KID); see `FeatureStream`."""

    @staticmethod
    def _measure(settings: KidSettings | None, network: NetworkFile) -> Measure:
        from pgtools.metrics.inception.measure import KidMeasure

        return KidMeasure(settings or KidSettings(), network)


class PrecisionRecall(FeatureStream):
    """Precision and recall of generated images among real ones, by Inception features; see `FeatureStream`."""

    @staticmethod
    def _measure(settings: PrecisionRecallSettings | None, network: NetworkFile) -> Measure:
        from pgtools.metrics.inception.measure import PrecisionRecallMeasure

        return PrecisionRecallMeasure(settings or PrecisionRecallSettings(), network)


def score_images(
    measure: Measure,
    fake: Tensor,
    real: Tensor | None = None,
    *,
    value_range: tuple[float, float] | None = None,
    device: torch.device | str | None = None,
) -> Figures:
    """Return a metric's figures for images in memory, in this process alone.

    Args:
        measure: the metric with its settings.
        fake: generated images, (N, 3, R, R) or grey (N, 1, R, R), uint8 or floats in `value_range`.
        real: real images of the same size; not needed by a metric that takes none.
        value_range: see `Streaming.update`.
        device: see `Streaming`.

    Raises:
        InputError: the metric needs real images or equal counts, or is not defined for such images.
    """
    if measure.takes_real and real is None:
        raise InputError(f"{measure.metric.name} compares with real images; none were given.")
    if fake.ndim != 4:
        raise InputError(f"Images have shape {tuple(fake.shape)}; expected (N, 3, R, R).")
    num_real = None if real is None else len(real)
    stream = Streaming(
        measure,
        num_images=len(fake),
        resolution=fake.shape[-1],
        num_real=num_real,
        device=fake.device if device is None else device,
        group=Processes.alone(),
    )
    with contextlib.closing(stream):
        if real is not None and measure.takes_real:
            for batch in torch.split(real, _AT_ONCE):
                stream.update(batch, real=True, value_range=value_range)
        for batch in torch.split(fake, _AT_ONCE):
            stream.update(batch, value_range=value_range)
        return stream.compute()


def swd_figures(real: Tensor, fake: Tensor, settings: SwdSettings | None = None, **how: Any) -> Figures:
    """Return the sliced Wasserstein distance (× 1000) of images in memory, with its error, floor and verdict.

    Args:
        real: uint8 or float (N, 3, R, R); see `score_images`.
        fake: as many generated images of the same size.
        settings: the paper's if not given.
        **how: value_range and device.

    Raises:
        InputError: unequal counts or sizes, or images under 16².
    """
    from pgtools.metrics.swd.measure import SwdMeasure

    return score_images(SwdMeasure(settings or SwdSettings()), fake, real, **how)


def _network(weights: Path | str | None) -> NetworkFile:
    from pgtools.metrics.inception.network import NetworkFile
    from pgtools.models.weights import find

    return NetworkFile.of(find("inception-2015-12-05", None if weights is None else Path(weights)))
