"""A photo becomes a crop: the function that a build maps over a data set.

Photos come in groups, so that the networks see several at once; what one of them gives does not depend on the others,
and an error of one is its own.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.cropping.crop import Engine, Framing, crop_quad, finish, frame, side_of, steps_of
from pgtools.celebahq.faces import Choice, Limits, choose, fault
from pgtools.celebahq.quality import quality_score
from pgtools.errors import InputError, PgtoolsError

if TYPE_CHECKING:  # networks import torch, which a worker without them does without
    from pgtools.celebahq.landmarks import FaceDetector
    from pgtools.restoration.network import ImageNetwork

Pixels = NDArray[np.uint8]
T = TypeVar("T")
# The steps that a crop may take, in their order.
ORDER = ("restore", "reduce", "superres", "lanczos", "padding")
NOTHING: Pixels = np.empty((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Steps:
    """What is done to every photo.

    Attributes:
        resolution: side of the crops.
        engine: how the square is resampled.
        faces: which of the faces that the detector finds become crops: "largest", "centre" or "all".
        limits: which faces are left out.
        scored: whether crops get a quality score.
        detector: finds the points of photos that come without; None where all come with them.
        restore: JPEG-artifact removal at the photo's own size, or None.
        superres: super-resolution of photos smaller than the crop, or None for Lanczos.
    """

    resolution: int
    engine: Engine = "fast"
    faces: Choice = "largest"
    limits: Limits = field(default_factory=Limits)
    scored: bool = True
    detector: FaceDetector | None = None
    restore: ImageNetwork | None = None
    superres: ImageNetwork | None = None


@dataclass
class Crop:
    """What becomes of one face of a photo; filled in on its way.

    Attributes:
        landmarks: float64 (5, 2) in the photo.
        reason: why there is no crop; "" where there is one.
        image: uint8 (resolution, resolution, 3); empty without a crop.
        quad: float64 (4, 2) in the photo: TL, BL, BR, TR.
        zoom: crop pixels per pixel of the photo.
        score: quality in [0, 1]; None if it was not asked for.
        steps: what was done, of `ORDER`.
    """

    landmarks: NDArray[np.float64]
    reason: str = ""
    image: Pixels = field(default_factory=lambda: NOTHING)
    quad: NDArray[np.float64] = field(default_factory=lambda: np.zeros((4, 2)))
    zoom: float = 0.0
    score: float | None = None
    steps: list[str] = field(default_factory=list)


@dataclass
class Passage:
    """A photo on its way through the steps.

    Attributes:
        photo: uint8 RGB (H, W, 3); empty once the faces are cut out of it.
        landmarks: its five points, (5, 2), or None to have its faces found.
        crops: one a face, in the order in which they were chosen.
        error: why the photo as a whole gives nothing.
        seconds: step → time it took; a network's time is shared equally by what it saw together.
    """

    photo: Pixels
    landmarks: NDArray[np.float64] | None
    crops: list[Crop] = field(default_factory=list)
    error: Exception | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def good(self) -> list[Crop]:
        """The faces that are not left out."""
        return [] if self.error else [crop for crop in self.crops if not crop.reason]

    def attempt(self, step: str, do: Callable[[], T], otherwise: T) -> T:
        """Return `do()` and add its time to a step (none if ""); where it fails, keep the error, return `otherwise`."""
        if self.error is not None:
            return otherwise
        start = time.perf_counter()
        try:
            return do()
        except Exception as error:  # out of memory, say: it is this photo's alone
            self.error = error
            return otherwise
        finally:
            if step:
                self.took(step, time.perf_counter() - start)

    def took(self, step: str, seconds: float) -> None:
        """Add to the time of a step."""
        self.seconds[step] = self.seconds.get(step, 0.0) + seconds


@dataclass(frozen=True)
class _Cut:
    """One face of one photo, and the neighbourhood of its square."""

    passage: Passage
    crop: Crop
    framing: Framing


def process(photo: Pixels, landmarks: NDArray[np.float64] | None, steps: Steps) -> list[Crop]:
    """Return the crops of a photo: one of its given points, or of each face that is found and chosen.

    Args:
        photo: uint8 RGB (H, W, 3).
        landmarks: its five points, or None to have its faces found.
        steps: what to do.

    Raises:
        InputError: no face is found.
        ComputeError: a network cannot be computed on this machine.
    """
    passage = Passage(photo, landmarks)
    process_together([passage], steps)
    if passage.error is not None:
        raise passage.error
    return passage.crops


def process_together(
    passages: Sequence[Passage], steps: Steps, *, turn: AbstractContextManager[object] | None = None
) -> None:
    """Take photos through the steps; each ends with its crops, or with its error.

    Args:
        passages: the photos; all are in memory at once, and so is what networks make of them.
        steps: what to do.
        turn: held while a network runs, where threads share one.
    """
    turn = turn or contextlib.nullcontext()
    with turn:
        for passage in passages:
            step = "find faces" if passage.landmarks is None else ""
            passage.crops = passage.attempt(step, partial(_found, passage, steps), [])
        _restore([passage for passage in passages if passage.good], steps.restore)
    cuts: list[_Cut] = []
    for passage in passages:
        cuts += passage.attempt("crop", partial(_cut_out, passage, steps), [])
    with turn:
        cuts = _enlarged(cuts, steps.superres)
    for cut in cuts:
        cut.passage.attempt("crop", partial(_finish, cut, steps), None)
        if steps.scored:
            cut.passage.attempt("score", partial(_score, cut.crop), None)


def _found(passage: Passage, steps: Steps) -> list[Crop]:
    height, width = passage.photo.shape[:2]
    if passage.landmarks is not None:
        faces = [passage.landmarks]
    elif steps.detector is None:
        raise InputError("The photo has no landmarks.")
    else:
        faces = [face.points for face in choose(steps.detector.faces(passage.photo), steps.faces, (width, height))]
    if not faces:
        raise InputError("No face was found.")
    return [Crop(points, fault(points, (width, height), steps.limits) or "") for points in faces]


def _restore(passages: Sequence[Passage], network: ImageNetwork | None) -> None:
    if network is None:
        return
    images = _through(network, [passage.photo for passage in passages], passages, "restore")
    for passage, image in zip(passages, images, strict=True):
        passage.photo = image
        for crop in passage.good:
            crop.steps.append("restore")


def _cut_out(passage: Passage, steps: Steps) -> list[_Cut]:
    cuts = []
    for crop in passage.good:
        try:
            crop.quad = crop_quad(crop.landmarks)
            crop.zoom = steps.resolution / side_of(crop.quad)
            cuts.append(_Cut(passage, crop, frame(passage.photo, crop.quad, resolution=steps.resolution)))
        except InputError as error:
            crop.reason = reason_of(error)
    passage.photo = NOTHING  # its memory is wanted for what is made of it
    return cuts


def _enlarged(cuts: Sequence[_Cut], network: ImageNetwork | None) -> list[_Cut]:
    """Return the cuts with those that are smaller than the crop enlarged."""
    small = [cut for cut in cuts if network and cut.framing.wants_enlarging]
    if network is None or not small:
        return list(cuts)
    images = _through(network, [cut.framing.image for cut in small], [cut.passage for cut in small], "enlarge")
    larger: dict[int, Framing] = {}
    for cut, image in zip(small, images, strict=True):
        if cut.passage.error is None:
            larger[id(cut.crop)] = cut.framing.enlarged(image, network.scale)
            cut.crop.steps.append("superres")
    return [replace(cut, framing=larger.get(id(cut.crop), cut.framing)) for cut in cuts]


def reason_of(error: PgtoolsError) -> str:
    """Return an error's message as a reason in a list: without its full stop, in small letters."""
    message = error.message.rstrip(".")
    return message[:1].lower() + message[1:]


def _through(network: ImageNetwork, images: Sequence[Pixels], owners: Sequence[Passage], step: str) -> list[Pixels]:
    """Return what a network makes of images, all at once; where that fails each by itself, with its owner's error."""
    start = time.perf_counter()
    try:
        results = network.restore_many(images)
    except Exception as error:
        if len(images) > 1:
            return [_through(network, [image], [owner], step)[0] for image, owner in zip(images, owners, strict=True)]
        owners[0].error = error
        return [NOTHING]
    share = (time.perf_counter() - start) / len(owners)
    for owner in owners:
        owner.took(step, share)
    return results


def _finish(cut: _Cut, steps: Steps) -> None:
    taken = {*cut.crop.steps, *steps_of(cut.framing)}
    cut.crop.steps = [step for step in ORDER if step in taken]
    cut.crop.image = finish(cut.framing, resolution=steps.resolution, engine=steps.engine)


def _score(crop: Crop) -> None:
    crop.score = quality_score(crop.image)
