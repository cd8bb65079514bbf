"""Images become descriptors: random patches of every level of their Laplacian pyramids."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError
from pgtools.imaging.threads import opencv_alone
from pgtools.metrics.held import Budget, Held
from pgtools.metrics.measure import Collector, Parts, Recipe, SetOfImages, in_pieces
from pgtools.metrics.phases import timed
from pgtools.metrics.settings import SwdSettings
from pgtools.metrics.swd.draws import draw_positions
from pgtools.metrics.swd.pyramid import laplacian_levels, laplacian_levels_of, pyramid_levels
from pgtools.runtime.workers import cpu_count

# Taken off every image, so that float32 keeps the digits of images without contrast; no figure depends on it, as
# differences have no mean and descriptors are normalised.
_MIDDLE = 128
# Images in a thread's hands at once: enough that NumPy's calls are few, few enough for the cache.
_TOGETHER = 8
# A deviation under this part of the mean is told from rounding by a second look.
_SUSPICIOUS = 1e-6


@dataclass(frozen=True)
class Descriptors(Recipe):
    """The descriptors of a set under some settings."""

    settings: SwdSettings

    def begin(self, images: SetOfImages, device: torch.device, budget: Budget | None = None) -> DescriptorSet:
        """Return the collector; without a budget it has one of its own, of the memory that the settings allow.

        Raises:
            InputError: the images are under 16², or smaller than a patch.
        """
        return DescriptorSet(images, self.settings, device, budget or Budget(self.settings.memory))


class Drawn:
    """The patches of one seed at one level.

    Attributes:
        centres: int16 (N, P, 2), see `draw_positions`.
        patches: float32 (N, P, C·size²) as they are in the pyramid of the image less 128, the channel the slowest of
            the axes within.
        sums: of each image's patches by channel, and of their squares, float64 (N, 2, C).
    """

    def __init__(self, images: SetOfImages, level: int, settings: SwdSettings, budget: Budget) -> None:
        self.centres = draw_positions(level, images.count, settings, images.role).astype(np.int16)
        width = images.channels * settings.size**2
        self.patches = Held(images.count, (settings.neighbourhoods, width), np.float32, budget)
        self.sums = np.zeros((images.count, 2, images.channels))


class DescriptorSet(Collector):
    """The descriptors of one set, by seed and level.

    Args:
        images: the set.
        settings: see SwdSettings.
        device: where the pyramids are built.
        budget: memory for the patches; what does not fit lies on disk.
    """

    def __init__(self, images: SetOfImages, settings: SwdSettings, device: torch.device, budget: Budget) -> None:
        self.images, self.settings, self.device = images, settings, device
        self.levels = pyramid_levels(images.resolution)
        if settings.size > self.levels[-1]:
            raise InputError(f"A patch of {settings.size} pixels does not fit the {self.levels[-1]}² level.")
        self.drawn: list[dict[int, Drawn]] = []
        self._seen = np.zeros(images.count, bool)
        try:
            for offset in range(settings.seeds):
                own = replace(settings, seed=settings.seed + offset)
                self.drawn.append({})
                for level in self.levels:
                    self.drawn[-1][level] = Drawn(images, level, own, budget)
        except BaseException:
            self.close()
            raise

    def update(self, images: Tensor, indices: Sequence[int]) -> None:
        """Cut the patches of some images, (N, C, R, R) in 0..255."""
        self._seen[list(indices)] = True
        if images.device.type == "cpu":
            pixels, numbers = images.numpy(), np.asarray(indices)
            threads = min(cpu_count(), len(indices)) or 1
            starts = range(0, len(indices), _TOGETHER)
            with opencv_alone(), ThreadPoolExecutor(threads) as pool:
                list(
                    pool.map(
                        lambda at: self._cut(pixels[at : at + _TOGETHER], numbers[at : at + _TOGETHER], threads), starts
                    )
                )
        else:
            self._cut_on_device(images, list(indices))
        self.page_out()

    def parts(self) -> Iterator[Parts]:
        """Yield the patches and sums of the images that came."""
        of_an_image = sum(drawn.patches.row_bytes for _, _, drawn in self._all())
        for numbers in in_pieces(np.flatnonzero(self._seen), of_an_image):
            found: Parts = {"images": (numbers, numbers)}
            for seed, level, drawn in self._all():
                found[f"patches-{seed}-{level}"] = numbers, drawn.patches.array[numbers]
                found[f"sums-{seed}-{level}"] = numbers, drawn.sums[numbers]
            yield found

    def absorb(self, parts: Parts) -> None:
        """Take the patches of another process."""
        self._seen[parts["images"][0]] = True
        for seed, level, drawn in self._all():
            numbers, rows = parts[f"patches-{seed}-{level}"]
            drawn.patches.array[numbers] = rows
            drawn.sums[numbers] = parts[f"sums-{seed}-{level}"][1]

    def page_out(self) -> None:
        """Let patches that lie on disk leave the memory."""
        for _, _, drawn in self._all():
            drawn.patches.page_out()

    def close(self) -> None:
        """Let go of all patches."""
        for _, _, drawn in self._all():
            drawn.patches.close()

    def moments(self, seed: int, level: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and (population) standard deviation of each channel over all descriptors, float64 (C,) each.

        A constant channel has a deviation of 1: there is nothing to scale.
        """
        drawn = self.drawn[seed][level]
        numbers = drawn.patches.array.size / self.images.channels
        mean, square = drawn.sums.sum(0) / numbers
        variance = square - mean**2
        if (variance < _SUSPICIOUS * square).any():
            variance = self._variance_again(drawn, mean)
        deviation = np.sqrt(np.maximum(variance, 0))
        return mean, np.where(deviation > 0, deviation, 1.0)

    def _variance_again(self, drawn: Drawn, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros(len(mean))
        first = drawn.patches.array[0].reshape(-1, len(mean), drawn.patches.array.shape[-1] // len(mean))[0, :, 0]
        constant = np.ones(len(mean), bool)
        for image in drawn.patches.array:
            values = image.reshape(len(image), len(mean), -1)
            constant &= (values == first[:, None]).all((0, 2))
            total += np.square(values.astype(np.float64) - mean[:, None]).sum((0, 2))
        return np.where(constant, 0.0, total * len(mean) / drawn.patches.array.size)

    def _all(self) -> list[tuple[int, int, Drawn]]:
        return [(seed, level, drawn) for seed, levels in enumerate(self.drawn) for level, drawn in levels.items()]

    def _cut(self, images: NDArray[np.uint8], numbers: NDArray[np.int64], threads: int) -> None:
        size, channels = self.settings.size, self.images.channels
        planes = [np.ascontiguousarray(image.transpose(1, 2, 0)).astype(np.float32) - _MIDDLE for image in images]
        pyramids = [laplacian_levels_of(plane) for plane in planes]
        for side in self.levels:
            with timed("pyramid", threads):
                bands = np.stack([next(levels)[1] for levels in pyramids])  # (n, side, side, C)
            with timed("patches", threads):
                image = np.arange(len(images))[:, None] * side**2
                for levels_drawn in self.drawn:
                    drawn = levels_drawn[side]
                    corners = image + (drawn.centres[numbers].astype(np.int64) - size // 2) @ (side, 1)  # (n, P)
                    # Channels lie side by side in a band: (n, P, 1) + (C·size²) → places of (n, P, C·size²).
                    places = corners[..., None] * channels + _offsets(side, size, channels)
                    patches = bands.ravel().take(places)
                    drawn.patches.array[numbers] = patches
                    drawn.sums[numbers] = _sums(patches, channels)

    def _cut_on_device(self, images: Tensor, indices: list[int]) -> None:
        with torch.no_grad():
            for level, band in laplacian_levels(images.float() - _MIDDLE):
                for levels_drawn in self.drawn:
                    drawn = levels_drawn[level]
                    centres = torch.from_numpy(drawn.centres[indices]).to(images.device, torch.int64)
                    patches = cut_patches(band, centres, self.settings.size)
                    exact = patches.double().view(*patches.shape[:2], self.images.channels, -1)
                    drawn.patches.array[indices] = patches.cpu().numpy()
                    sums = torch.stack((exact.sum((1, 3)), exact.square().sum((1, 3))), 1)
                    drawn.sums[indices] = sums.cpu().numpy()


def cut_patches(images: Tensor, centres: Tensor, size: int) -> Tensor:
    """Return the size × size patches around the centres, (N, C, H, W) and (N, P, 2) → (N, P, C·size²)."""
    windows = images.unfold(2, size, 1).unfold(3, size, 1)  # (N, C, H', W', size, size), a view
    corners = centres - size // 2
    image = torch.arange(len(images), device=images.device)[:, None]
    return windows[image, :, corners[..., 0], corners[..., 1]].flatten(2)


@functools.lru_cache(maxsize=64)
def _offsets(side: int, size: int, channels: int) -> NDArray[np.int64]:
    channel, row, column = np.indices((channels, size, size))
    places: NDArray[np.int64] = ((row * side + column) * channels + channel).ravel()
    return places


def _sums(patches: NDArray[np.float32], channels: int) -> NDArray[np.float64]:
    """Return the sums of each channel and of its squares, (n, P, C·size²) → float64 (n, 2, C)."""
    exact = patches.astype(np.float64)
    sums = np.stack((exact.sum(1), np.einsum("npk,npk->nk", exact, exact)), 1)  # (n, 2, C·size²)
    of_channels: NDArray[np.float64] = sums.reshape(len(patches), 2, channels, -1).sum(3)
    return of_channels
