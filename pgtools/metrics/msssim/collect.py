"""Scores of pairs, while the images stream by in any order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError
from pgtools.metrics.held import Budget
from pgtools.metrics.measure import Collector, Parts, Recipe, SetOfImages, in_pieces
from pgtools.metrics.msssim.pairs import draw_pairs, usual_pairs
from pgtools.metrics.msssim.score import check_side, ms_ssim
from pgtools.metrics.msssim.waiting import Waiting

# Bytes of one side of the pairs that are measured in one go.
AT_ONCE = 1 << 25


@dataclass(frozen=True)
class RandomPairs(Recipe):
    """Scores of random pairs of one set.

    Attributes:
        pairs: their number; half as many as images if None, at most the paper's 10,000.
        seed: names them.
    """

    pairs: int | None
    seed: int

    def begin(self, images: SetOfImages, device: torch.device, budget: Budget | None = None) -> PairScores:
        """Return a collector of scores.

        Raises:
            InputError: fewer than two images, or of a size without MS-SSIM.
        """
        check_side(images.resolution)
        return PairScores(images, self.draw(images.count), device, budget)

    def draw(self, count: int) -> NDArray[np.int64]:
        """Return the pairs of so many images, int64 (P, 2)."""
        return draw_pairs(count, self.pairs or max(1, usual_pairs(count)), self.seed)

    def reading_order(self, count: int) -> Sequence[int]:
        """Return the images in the order of their pairs, then those in none: partners come together."""
        paired = dict.fromkeys(self.draw(count).ravel().tolist())
        return [*paired, *(number for number in range(count) if number not in paired)]


class PairScores(Collector):
    """Measures each pair when its second image comes; an image is kept only until its last partner came.

    Args:
        images: the set.
        pairs: int64 (P, 2), numbers in the set.
        device: where to measure.
        budget: memory for images that wait; half of what is free if not given.

    Attributes:
        pairs: see there.
        scores: float64 (P,), NaN where a pair has not come yet.
    """

    def __init__(
        self, images: SetOfImages, pairs: NDArray[np.int64], device: torch.device, budget: Budget | None = None
    ) -> None:
        self.images, self.pairs, self.device = images, pairs, device
        self.scores = np.full(len(pairs), np.nan)
        self._waiting = Waiting((3, images.resolution, images.resolution), budget or Budget())
        # The pairs of each image stand together in `_of_images`, from `_starts` on.
        self._of_images = np.argsort(pairs.ravel(), kind="stable") // 2
        self._starts = np.cumsum([0, *np.bincount(pairs.ravel(), minlength=images.count)])

    def update(self, images: Tensor, indices: Sequence[int]) -> None:
        """Take some images and measure the pairs that they complete."""
        places = {int(number): place for place, number in enumerate(indices)}
        # A pair of two new images is found twice, and kept once.
        found = dict.fromkeys(pair for number in places for pair in self._open_pairs(number))
        ready = [pair for pair in found if self._is_here(pair, places)]
        at_once = max(1, AT_ONCE // (images[0].numel() if len(images) else 1))
        for start in range(0, len(ready), at_once):
            some = np.array(ready[start : start + at_once])
            a, b = (self._gather(numbers.tolist(), images, places) for numbers in self.pairs[some].T)
            self.scores[some] = ms_ssim(a, b).cpu().numpy()
        for number in dict.fromkeys(self.pairs[ready].ravel().tolist()):
            if number in self._waiting and not self._open_pairs(number):
                self._waiting.drop(number)
        for number, place in places.items():
            if number not in self._waiting and self._open_pairs(number):
                self._waiting.put(number, images[place].cpu().numpy())

    def parts(self) -> Iterator[Parts]:
        """Yield the scores found here, then the images whose partners are elsewhere."""
        for found in in_pieces(np.flatnonzero(~np.isnan(self.scores)), self.scores.itemsize):
            yield {"scores": (found, self.scores[found])}
        for numbers in in_pieces(np.array(self._waiting.numbers, np.int64), 3 * self.images.resolution**2):
            yield {"images": (numbers, self._waiting.get(numbers.tolist()))}

    def absorb(self, parts: Parts) -> None:
        """Take another process' scores, or its images, which find their partners here or wait for a third's."""
        if "scores" in parts:
            found, scores = parts["scores"]
            self.scores[found] = scores
            return
        numbers, images = parts["images"]
        step = max(1, AT_ONCE // (3 * self.images.resolution**2))
        for start in range(0, len(numbers), step):
            some = torch.from_numpy(np.ascontiguousarray(images[start : start + step]))
            self.update(some.to(self.device), numbers[start : start + step].tolist())

    def finish(self) -> None:
        """Let go of images that no pair waits for any more.

        Raises:
            InputError: images are missing.
        """
        if missing := int(np.isnan(self.scores).sum()):
            raise InputError(f"{self.images.name}: {missing} of {len(self.pairs)} pairs lack an image.")
        self._waiting.close()

    def close(self) -> None:
        """Let go of the images that wait."""
        self._waiting.close()

    def _open_pairs(self, number: int) -> list[int]:
        own = self._of_images[self._starts[number] : self._starts[number + 1]]
        return [int(pair) for pair in own[np.isnan(self.scores[own])]]

    def _is_here(self, pair: int, places: dict[int, int]) -> bool:
        return all(number in places or number in self._waiting for number in self.pairs[pair].tolist())

    def _gather(self, numbers: Sequence[int], images: Tensor, places: dict[int, int]) -> Tensor:
        """Return images by number, on the device: from the batch, else from those that wait."""
        new = [i for i, number in enumerate(numbers) if number in places]
        old = [i for i, number in enumerate(numbers) if number not in places]
        gathered = images.new_empty((len(numbers), *images.shape[1:]))
        gathered[new] = images[[places[numbers[i]] for i in new]]
        if old:
            gathered[old] = torch.from_numpy(self._waiting.get([numbers[i] for i in old])).to(images.device)
        return gathered
