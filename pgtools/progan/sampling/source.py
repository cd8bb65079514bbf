"""Images from a generator: image i of a seed is made from latent i of that seed alone."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError
from pgtools.imaging.conventions import quantise
from pgtools.progan.generator import Generator
from pgtools.progan.karras.reading import read_average
from pgtools.progan.layers import enlarge
from pgtools.progan.run.folder import RunFolder, is_run
from pgtools.progan.run.snapshot import Snapshot, read_snapshot
from pgtools.progan.sampling.conditions import Conditions, Truncation, one_hot
from pgtools.runtime.device import repeatable
from pgtools.runtime.run_format import SNAPSHOT_SUFFIX
from pgtools.runtime.seeds import stream
from pgtools.stores.layout import Record
from pgtools.stores.source import ImageSource, check_index

# Of a run: the number of images it had been shown, or a name; None for the latest.
WhichSnapshot = int | Literal["best", "latest"] | None
PICKLE_SUFFIX = ".pkl"
# Pixels a network makes at once, and images: 32 of 64², one of 512².
PIXELS_AT_ONCE, IMAGES_AT_ONCE = 1 << 18, 32


class GeneratorSource(ImageSource):
    """The images of a generator as a source like any other: any metric takes it.

    Image i depends on the seed, on i and on what is asked of all images, not on which others are made with it: the
    network always runs on batches of the same size, filled up with zeros, as its libraries sum in another order for
    another size. On one machine with one number of threads the bytes are the same, whatever is read in whatever
    order (measured on x86 CPUs, and tested; on CUDA cuDNN is held to its deterministic algorithms). Between devices
    and numbers of threads a few channels in a thousand may differ by 1 of 255.

    Convention: while a run still grows, images are nearest-enlarged to the full resolution. A generator of one
    channel makes grey images.

    Args:
        snapshot: the generator and how far it had grown.
        name: what the source is called in results.
        count: number of images, those of the numbers 0 to count - 1; see `picked` for others.
        seed: image i comes from stream(seed, "latents", i), its class from stream(seed, "labels", i).
        device: where the network runs.
        conditions: classes and truncation.

    Attributes:
        numbers: of the images, in index order.

    Raises:
        InputError: the network does not know the classes that are asked for.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        name: str,
        count: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        conditions: Conditions | None = None,
    ) -> None:
        self.name, self.resolution = name, snapshot.generator.shape.resolution
        self.colour = "grey" if snapshot.generator.shape.channels == 1 else "rgb"
        self._generator, self._lod = snapshot.generator.to(device), snapshot.lod
        self._seed, self._device = seed, torch.device(device)
        self._conditions = conditions or Conditions()
        self._conditions.check(self._generator.shape.labels, name)
        self._truncated = Truncation(self._generator, self._conditions.truncation)
        self.numbers: Sequence[int] = range(count)

    def __len__(self) -> int:
        return len(self.numbers)

    def picked(self, numbers: Sequence[int], *, classes: tuple[int, ...] | None = None) -> GeneratorSource:
        """Return a source of the same generator and seed with the images of these numbers.

        Args:
            numbers: 0 or more, any order.
            classes: that they have in turn, in place of those asked for before.

        Raises:
            InputError: the network does not know the classes.
        """
        other = copy.copy(self)
        other.numbers = numbers
        other.__dict__.pop("labels", None)  # those of other images
        if classes is not None:
            other._conditions = replace(self._conditions, classes=classes)
            other._conditions.check(self._generator.shape.labels, self.name)
        return other

    @property
    def classes(self) -> int | None:
        """Number of classes that the network knows; None if it knows none."""
        return self._generator.shape.labels or None

    def read_labels(self) -> NDArray[np.int64] | None:
        """Return the images' classes, int64 (N,); None for a network that knows none."""
        return self._classes_of(self.numbers)

    def records(self, indices: Sequence[int]) -> list[Record]:
        """Return the images' names, which are their numbers: 000042.png."""
        return [Record(f"{self.numbers[check_index(i, self)]:06d}.png") for i in indices]

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images, uint8 (N, 3, R, R), in the order of `indices`."""
        if any(not 0 <= i < len(self) for i in indices):
            raise InputError(f"{self.name} was opened for images 0 to {len(self) - 1}.")
        numbers, size = [self.numbers[i] for i in indices], images_at_once(self.resolution)
        images = np.empty((len(numbers), 3, self.resolution, self.resolution), np.uint8)
        for start in range(0, len(numbers), size):
            images[start : start + size] = self._make(numbers[start : start + size], size)
        return images

    def fingerprint(self) -> str:
        """Return the SHA-256 of what determines the images: weights, level of detail, seed, numbers, conditions."""
        digest = hashlib.sha256(f"{self._lod} {self._seed} {self._conditions} ".encode())
        digest.update(_text(self.numbers).encode())
        for name, tensor in sorted(self._generator.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def known_fingerprint(self) -> str:
        """Return the fingerprint, for which no image must be made."""
        return self.fingerprint()

    def origin(self) -> dict[str, str | int | float]:
        """Return what the images come from, as plain JSON for the header of a store."""
        told: dict[str, str | int | float] = {"name": Path(self.name).name, "made": "generate", "seed": self._seed}
        if self._conditions.truncation != 1:
            told["truncation"] = self._conditions.truncation
        return {**told, "generator": self.fingerprint()}

    def _make(self, numbers: Sequence[int], size: int) -> NDArray[np.uint8]:
        """The images of up to `size` numbers, made in a batch of just that size."""
        shape, classes = self._generator.shape, self._classes_of(numbers)
        latents = self._truncated(latents_of(self._seed, numbers, shape.latent), classes)
        labels = None if classes is None else one_hot(classes, shape.labels)
        missing = (0, 0, 0, size - len(numbers))
        with repeatable():
            images = images_of(
                self._generator,
                F.pad(latents, missing).to(self._device),
                self._lod,
                None if labels is None else F.pad(labels, missing).to(self._device),
            )
        return images[: len(numbers)]

    def _classes_of(self, numbers: Sequence[int]) -> NDArray[np.int64] | None:
        return self._conditions.classes_of(numbers, seed=self._seed, labels=self._generator.shape.labels)


def images_at_once(resolution: int) -> int:
    """Return how many images of a resolution a network makes at once."""
    return max(1, min(IMAGES_AT_ONCE, PIXELS_AT_ONCE // resolution**2))


def latents_of(seed: int, indices: Sequence[int], size: int) -> Tensor:
    """Return the latents of numbered images, float32 (N, size), on the CPU."""
    rows = [stream(seed, "latents", int(i)).standard_normal(size, dtype=np.float32) for i in indices]
    return torch.from_numpy(np.stack(rows))


@torch.no_grad()
def images_of(generator: Generator, latents: Tensor, lod: float, labels: Tensor | None = None) -> NDArray[np.uint8]:
    """Return uint8 images (N, C, R, R) at full resolution; [-1, 1] becomes 0..255, rounded half-to-even.

    Args:
        generator: in evaluation mode.
        latents: (N, latent), on the generator's device.
        lod: level of detail it had grown to.
        labels: (N, labels) one-hot, if the network knows classes.
    """
    images = enlarge(generator(latents, lod, labels), generator.shape.resolution)
    pixels: NDArray[np.float32] = ((images + 1) * 127.5).float().cpu().numpy()
    return quantise(pixels)


def grid_count(resolution: int) -> int:
    """Return how many images a grid of a run shows: 64 up to 128², fewer above, 4 at least."""
    return max(2, min(8, 1024 // resolution)) ** 2


def holds_generator(path: Path) -> bool:
    """Return whether `path` is a run folder, a snapshot file or the authors' pickle."""
    return path.suffix in (SNAPSHOT_SUFFIX, PICKLE_SUFFIX) or is_run(path)


def open_generator(
    path: Path,
    *,
    count: int | None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    snapshot: WhichSnapshot = None,
    conditions: Conditions | None = None,
) -> GeneratorSource:
    """Return `count` images of a generator on disk.

    Args:
        path: a run folder, a snapshot, networks or checkpoint file, or the authors' pickle.
        count: number of images.
        seed: of the latents.
        device: where the network runs.
        snapshot: of a run: "best", "latest" or the number of images it had been shown; the latest if not given.
        conditions: classes and truncation.

    Raises:
        InputError: there is no snapshot, it is damaged, no count is given, or the network does not know the classes.
    """
    if count is None:
        raise InputError(f"{path} holds a generator, which makes any number of images.", hint="Pass --num-images N.")
    found = read_generator(path, snapshot)
    return GeneratorSource(found, name=str(path), count=count, seed=seed, device=device, conditions=conditions)


def read_generator(path: Path, which: WhichSnapshot = None) -> Snapshot:
    """Return the generator in a file, or a run folder's latest or named snapshot.

    Raises:
        InputError: there is none, it is damaged, or a snapshot is named of what is no run folder.
    """
    if path.suffix in (SNAPSHOT_SUFFIX, PICKLE_SUFFIX) and which is not None:
        raise InputError(
            f"{path} is one network; only a run folder has snapshots to choose from.", hint="Name the run."
        )
    if path.suffix == PICKLE_SUFFIX:
        return read_average(path)
    if path.suffix == SNAPSHOT_SUFFIX:
        return read_snapshot(path)
    if path.is_file():
        known = f"a run folder, a snapshot (*{SNAPSHOT_SUFFIX}) or the authors' pickle (*{PICKLE_SUFFIX})"
        name = f"the run folder {path.parent}" if is_run(path.parent) else "one of these"
        raise InputError(f"{path} is no generator; expected {known}.", hint=f"Name {name}.")
    return read_snapshot(RunFolder(path).find_snapshot(which))


def _text(numbers: Sequence[int]) -> str:
    """Numbers as text that tells them apart, short for a range."""
    return repr(numbers) if isinstance(numbers, range) else ",".join(map(str, numbers))
