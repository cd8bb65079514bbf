"""Two sets in, the nearest training images of some generated ones out: the training set is read once, in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError, UsageError
from pgtools.metrics.measure import Collector, Recipe, SetOfImages, shown_bar
from pgtools.metrics.neighbours import search
from pgtools.metrics.neighbours.picture import sheet
from pgtools.metrics.neighbours.settings import INCEPTION, NeighboursSettings
from pgtools.runtime.seeds import stream
from pgtools.stores.source import ImageSource

# Pixels that are read at once at most: 64 images of 256², 4 of 1024².
PIXELS_AT_ONCE = 1 << 22
# The features that FID compares.
LAYER = "2048"
Distances = Callable[[Tensor, Tensor], NDArray[np.float64]]


@dataclass(frozen=True)
class Neighbour:
    """A training image beside a generated one.

    Attributes:
        index: its number in the training set.
        name: its name there.
        distance: from the generated image.
        is_copy: every pixel of the whole image is equal.
    """

    index: int
    name: str
    distance: float
    is_copy: bool


@dataclass(frozen=True)
class Found:
    """A generated image and its nearest training images, the nearest first.

    Attributes:
        index: its number in the generated set.
        name: its name there.
        nearest: see Neighbour.
    """

    index: int
    name: str
    nearest: tuple[Neighbour, ...]

    @property
    def is_copy(self) -> bool:
        """Whether a training image equals it."""
        return any(neighbour.is_copy for neighbour in self.nearest)


def check(training: ImageSource, fake: ImageSource, settings: NeighboursSettings) -> None:
    """Raise before anything is read if two sets cannot be compared so.

    Raises:
        InputError: sizes differ, a level is not there, or there are too few images.
        UsageError: options are of another space.
    """
    if training.resolution != fake.resolution:
        raise InputError(
            f"{training.name} has {training.resolution}² images, {fake.name} {fake.resolution}².",
            hint="Give both one size: `pgtools store convert --level` lowers the larger.",
        )
    training.check_level(settings.level)
    if len(training) < settings.nearest:
        raise InputError(f"{training.name} has {len(training)} images; --nearest is {settings.nearest}.")
    if len(fake) < settings.count:
        raise InputError(f"{fake.name} has {len(fake)} images; --count is {settings.count}.")
    if settings.space == INCEPTION and settings.distance != "l2":
        raise UsageError("--distance l1 is of pixels; features are compared by their Euclidean distance.")


def chosen(fake: ImageSource, settings: NeighboursSettings) -> list[int]:
    """Return the numbers of the generated images that are looked at: a seeded choice, in order."""
    if len(fake) == settings.count:
        return list(range(settings.count))
    return sorted(stream(settings.seed, "neighbours").permutation(len(fake))[: settings.count].tolist())


def find_neighbours(
    training: ImageSource,
    fake: ImageSource,
    settings: NeighboursSettings,
    device: torch.device,
    *,
    features: Recipe | None = None,
    progress: bool = False,
) -> list[Found]:
    """Return the nearest training images of the chosen generated ones.

    Args:
        training: the images that the generator was trained on.
        fake: its images, of the same size.
        settings: see NeighboursSettings.
        device: where distances are computed.
        features: collects the network's features; for the space "inception".
        progress: show a bar on stderr.

    Raises:
        InputError: see `check`.
    """
    check(training, fake, settings)
    numbers = chosen(fake, settings)
    if settings.space == INCEPTION:
        if features is None:
            raise UsageError("The space of Inception's features needs its weights.", hint="Pass --weights FILE.")
        nearest = _by_features(training, fake, numbers, settings, device, features, progress)
    else:
        nearest = _by_pixels(training, fake, numbers, settings, device, progress)
    return [
        _told(training, fake, number, *row)
        for number, *row in zip(numbers, nearest.numbers, nearest.distances, strict=True)
    ]


def picture_of(training: ImageSource, fake: ImageSource, found: Sequence[Found]) -> NDArray[np.uint8]:
    """Return the picture of what was found, see `sheet`, with distances for captions; images are read again."""
    generated = fake.read([one.index for one in found])
    neighbours = np.stack([training.read([neighbour.index for neighbour in one.nearest]) for one in found])
    captions = [[f"{n.distance:.3f}" + " (copy)" * n.is_copy for n in one.nearest] for one in found]
    return sheet(generated, neighbours, captions)


def _by_pixels(
    training: ImageSource,
    fake: ImageSource,
    numbers: Sequence[int],
    settings: NeighboursSettings,
    device: torch.device,
    progress: bool,
) -> search.Nearest:
    measure: Distances = search.mean_difference if settings.distance == "l1" else search.root_mean_square
    queries = _pixels(fake, numbers, settings, device)
    nearest = search.Nearest(len(numbers), settings.nearest)

    def compare(chunk: range) -> None:
        nearest.update(measure(queries, _pixels(training, chunk, settings, device)), chunk)

    _stream(training, settings, progress, compare)
    return nearest


def _by_features(
    training: ImageSource,
    fake: ImageSource,
    numbers: Sequence[int],
    settings: NeighboursSettings,
    device: torch.device,
    recipe: Recipe,
    progress: bool,
) -> search.Nearest:
    # What features are known by from one command to the next: only those of whole images, as other metrics want them.
    fingerprint = training.known_fingerprint() if settings.crop == 1 and settings.level is None else None
    of_fake = recipe.begin(SetOfImages(fake.name, "fake", len(numbers), fake.resolution), device)
    try:
        of_fake.update(_pixels(fake, numbers, settings, device), range(len(numbers)))
        of_fake.finish()
        of_training = recipe.begin(
            SetOfImages(training.name, "real", len(training), training.resolution, fingerprint or ""), device
        )
        try:
            if not of_training.complete:
                _stream(
                    training,
                    settings,
                    progress,
                    lambda chunk: of_training.update(_pixels(training, chunk, settings, device), chunk),
                )
                of_training.finish()
            return _nearest_features(_features(of_fake), _features(of_training), settings)
        finally:
            of_training.close()
    finally:
        of_fake.close()


def _nearest_features(
    queries: NDArray[np.float32], rows: NDArray[np.float32], settings: NeighboursSettings
) -> search.Nearest:
    nearest = search.Nearest(len(queries), settings.nearest)
    for start in range(0, len(rows), 1024):
        part = np.asarray(rows[start : start + 1024])
        distances = search.euclidean(torch.from_numpy(queries), torch.from_numpy(part))
        nearest.update(distances, range(start, start + len(part)))
    return nearest


def _stream(training: ImageSource, settings: NeighboursSettings, progress: bool, take: Callable[[range], None]) -> None:
    side = settings.level or training.resolution
    batch = max(1, min(settings.batch, PIXELS_AT_ONCE // side**2))
    with shown_bar("reading training images", len(training), progress) as advance:
        for start in range(0, len(training), batch):
            chunk = range(start, min(start + batch, len(training)))
            take(chunk)
            advance(len(chunk))


def _pixels(source: ImageSource, numbers: Sequence[int], settings: NeighboursSettings, device: torch.device) -> Tensor:
    images = torch.from_numpy(source.read(numbers, settings.level)).to(device)
    return search.middle(images, settings.crop).contiguous()


def _features(collector: Collector) -> NDArray[np.float32]:
    whole: Any = collector
    features: NDArray[np.float32] = whole.features(LAYER)
    return features


def _told(
    training: ImageSource, fake: ImageSource, number: int, indices: NDArray[np.int64], distances: NDArray[np.float64]
) -> Found:
    image, found = fake.read([number])[0], indices.tolist()
    names = [record.name for record in training.records(found)]
    # The whole images are compared: the distance may be of less, and of features that two batches round differently.
    copies = [bool(np.array_equal(other, image)) for other in training.read(found)]
    nearest = tuple(map(Neighbour, found, names, distances.tolist(), copies))
    return Found(number, fake.records([number])[0].name, nearest)
