"""What images are drawn with beside their latents: classes, and less variety.

An image's class and its truncated latent depend on the seed, on the image's number and on the network, never on the
other images that are made with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError, UsageError
from pgtools.progan.generator import Generator
from pgtools.progan.schedule import Live
from pgtools.runtime.seeds import stream

# Latents among which the most typical one is looked for, and how many of them pass the network at once.
CANDIDATES, AT_ONCE = 1024, 64


@dataclass(frozen=True)
class Conditions:
    """What is asked of the images of a generator.

    Attributes:
        truncation: in (0, 1], see `Truncation`; 1 for none.
        classes: image i is of class classes[i mod len(classes)]; of a class drawn by the seed if there are none.
    """

    truncation: float = 1.0
    classes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.truncation <= 1:
            raise UsageError(f"The truncation is {self.truncation:g}; expected a number above 0, 1 at most.")

    def check(self, labels: int, name: str) -> None:
        """Raise InputError if a network cannot make images of these classes.

        Args:
            labels: how many classes the network knows.
            name: of the network.

        Raises:
            InputError: it knows no classes, or not these.
        """
        if self.classes and not labels:
            raise InputError(f"{name} knows no classes; it was trained without labels.", hint="Leave --labels out.")
        if wrong := [number for number in self.classes if not 0 <= number < labels]:
            raise InputError(
                f"{name} knows the classes 0 to {labels - 1}; {wrong[0]} was asked for.",
                hint=f"Pass --labels with numbers up to {labels - 1}, or leave it out.",
            )

    def classes_of(self, numbers: Sequence[int], *, seed: int, labels: int) -> NDArray[np.int64] | None:
        """Return the classes of numbered images, int64 (N,); None for a network that knows none."""
        if not labels:
            return None
        if self.classes:
            return np.array([self.classes[number % len(self.classes)] for number in numbers], np.int64)
        return np.array([stream(seed, "labels", int(i)).integers(labels) for i in numbers], np.int64)


def one_hot(classes: NDArray[np.int64], labels: int) -> Tensor:
    """Return classes as a network takes them, float32 (N, labels), on the CPU."""
    rows: Tensor = F.one_hot(torch.from_numpy(classes), labels).float()
    return rows


class Truncation:
    """Latents nearer to the network's most typical one, for images of less variety.

    A latent keeps a share `strength` of its angle to the centre, and its length: the paper's networks normalise
    latents, so that their length has no effect, nor has drawing their numbers from a truncated normal distribution
    much (docs/decisions/0017). What comes out is a latent that could have been drawn.

    The centre is, of 1024 latents that are the same for every seed, the one whose features at 4×4 are nearest to
    their mean over all of them; a network with classes has a centre for each.

    Args:
        generator: in evaluation mode, on the device where it is to run.
        strength: in (0, 1]; 1 leaves latents as they are, bit for bit.
    """

    def __init__(self, generator: Generator, strength: float) -> None:
        self._generator, self._strength = generator, strength
        self._centres: dict[int | None, Tensor] = {}

    def __call__(self, latents: Tensor, classes: NDArray[np.int64] | None = None) -> Tensor:
        """Return truncated latents, float32 (N, latent), on the CPU.

        Args:
            latents: float32 (N, latent), on the CPU.
            classes: int64 (N,), if the network knows classes.
        """
        if self._strength == 1:
            return latents
        wanted = [None] * len(latents) if classes is None else classes.tolist()
        return towards(latents, torch.stack([self._centre(one) for one in wanted]), self._strength)

    def _centre(self, number: int | None) -> Tensor:
        if number not in self._centres:
            self._centres[number] = typical_latent(self._generator, number)
        return self._centres[number]


def towards(latents: Tensor, centres: Tensor, share: float) -> Tensor:
    """Return each latent moved along the great circle to its centre until `share` of the angle is left; lengths stay.

    Args:
        latents: float32 (N, latent).
        centres: (N, latent), of any length but 0.
        share: in [0, 1].
    """
    length = latents.double().norm(dim=1, keepdim=True)
    here, there = F.normalize(latents.double()), F.normalize(centres.double())
    cosine = (here * there).sum(dim=1, keepdim=True).clamp(-1, 1)
    angle = share * cosine.acos()
    away = F.normalize(here - cosine * there)  # at the centre, the direction in which the latent lies
    moved: Tensor = (length * (angle.cos() * there + angle.sin() * away)).float()
    return moved


@torch.no_grad()
def typical_latent(generator: Generator, number: int | None = None) -> Tensor:
    """Return the centre that `Truncation` describes, float32 (latent,), on the CPU.

    Args:
        generator: in evaluation mode.
        number: the class, of a network that knows classes.
    """
    shape, device = generator.shape, next(generator.parameters()).device
    drawn = stream(0, "typical latent").standard_normal((CANDIDATES, shape.latent), dtype=np.float32)
    candidates = torch.from_numpy(drawn)
    labels = None if number is None else one_hot(np.full(AT_ONCE, number, np.int64), shape.labels).to(device)
    features: list[Tensor] = []
    # The colours of 4×4 are not trained any more once the network has grown, but what they would be made from is.
    hook = generator.to_rgb["4"].register_forward_pre_hook(lambda _, given: features.append(given[0].float().cpu()))
    try:
        for start in range(0, CANDIDATES, AT_ONCE):
            generator(candidates[start : start + AT_ONCE].to(device), Live(4, 4, 0.0), labels)
    finally:
        hook.remove()
    found = torch.cat(features).flatten(1).double()
    nearest = (found - found.mean(dim=0)).square().sum(dim=1).argmin()
    return candidates[nearest]
