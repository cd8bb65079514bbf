"""The networks of a build, found and tried before the first photo, so that a wrong file is told then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from pgtools.celebahq.cropping.crop import Engine
from pgtools.celebahq.faces import Choice, Limits
from pgtools.celebahq.input.given import Given
from pgtools.celebahq.process import Steps
from pgtools.celebahq.settings import BuildSettings
from pgtools.errors import MissingModelError, UsageError
from pgtools.models.weights import find
from pgtools.runtime.build_format import Network
from pgtools.runtime.files import sha256_of

if TYPE_CHECKING:  # networks import torch, which a build without them does without
    from pgtools.restoration.network import ImageNetwork


def find_steps(settings: BuildSettings, given: Given) -> Steps:
    """Return what is done to every photo; its networks are found, and loaded where they are first used.

    Args:
        settings: which networks.
        given: the photos; a detector is needed only where some come without landmarks.

    Raises:
        MissingModelError: a network that is needed is not on this machine.
        UsageError: there is no such network.
    """
    detector = restore = superres = None
    if given.unknown:
        from pgtools.celebahq.landmarks import FaceDetector

        detector = FaceDetector(settings.detector, _detector_weights(settings, given), settings.device)
    if settings.restore != "none" and not settings.deltas:
        restore = _network(settings.restore, settings, enlarging=False)
    if settings.superres != "lanczos" and not settings.deltas:
        superres = _network(settings.superres, settings, enlarging=True)
    return Steps(
        settings.resolution,
        cast(Engine, settings.engine),
        cast(Choice, settings.faces),
        Limits(settings.min_face, settings.max_turn, settings.max_outside),
        settings.rank != "none",
        detector,
        restore,
        superres,
    )


def load_steps(steps: Steps) -> dict[str, str | None]:
    """Load the networks now, where they are to run, and return "restore", "superres" → what they compute in.

    Raises:
        InputError: a file holds no network.
        UsageError: a network does not do what it is asked for, or not on this machine.
    """
    if steps.detector:
        steps.detector.load()
    for network in (steps.restore, steps.superres):
        if network and (side := network.load().side):
            name = network.weights.name
            raise UsageError(f"{name} takes only faces of {side}×{side} pixels; photos are of any size.")
    if (network := steps.restore) and network.scale != 1:
        raise UsageError(f"{network.weights.name} enlarges {network.scale} times; pass it as --superres.")
    if (network := steps.superres) and network.scale == 1:
        raise UsageError(f"{network.weights.name} does not enlarge; pass it as --restore.")
    networks = {"restore": steps.restore, "superres": steps.superres}
    return {role: network.precision if network else None for role, network in networks.items()}


def networks_of(steps: Steps, settings: BuildSettings) -> dict[str, Network]:
    """Return "detector", "restore", "superres" → name and hash of the networks that take part."""
    named = {
        "detector": (settings.detector, steps.detector),
        "restore": (settings.restore, steps.restore),
        "superres": (settings.superres, steps.superres),
    }
    return {role: Network(name, sha256_of(one.weights)) for role, (name, one) in named.items() if one}


def _detector_weights(settings: BuildSettings, given: Given) -> Path:
    try:
        return find(settings.detector, settings.detector_weights).absolute()  # workers may stand in another folder
    except MissingModelError as error:
        if given.table is None:
            raise
        raise MissingModelError(
            f"{given.unknown} of {len(given.photos.names)} photos are not in {given.table}, so their faces must be "
            f"found. {error.message}",
            hint=f"{error.hint} Or pass --landmarks celeba: it skips those photos.",
        ) from None


def _network(name: str, settings: BuildSettings, *, enlarging: bool) -> ImageNetwork:
    from pgtools.restoration.network import ImageNetwork, find_network

    network = ImageNetwork(
        find_network(name, others=["lanczos" if enlarging else "none"], enlarging=enlarging).absolute(),
        device=settings.device,
        tile=settings.tile,
        batch=settings.batch,
        precision=settings.precision,
    )
    if network.is_light:
        # As fast as all cores on one photo, since there is a process a core; and sums are rounded the same way
        # whatever the number of processes.
        network.threads = 1
    return network
