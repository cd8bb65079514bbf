"""The random numbers of a training step, each named by what it is for."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pgtools.runtime.seeds import integer_seed


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step, named by the seed, the real images shown before it and the rollbacks.

    They are drawn on the CPU for the whole minibatch, of which a process takes its places: so every device and every
    number of processes gets the same, and a resumed run needs no generator's state.

    Attributes:
        places: of this process in the minibatch, int64 (n,).
    """

    seed: int
    images: int
    count: int
    places: Tensor
    device: torch.device
    rollbacks: int = 0

    def latents(self, purpose: str, size: int) -> Tensor:
        """Return standard normal latents (n, size)."""
        return self._taken(torch.randn(self.count, size, generator=self._stream(purpose)))

    def classes(self, purpose: str, known: Tensor) -> Tensor:
        """Return class numbers for fakes, int64 (n,), as often as among the known ones of the reals."""
        stream = self._stream(f"{purpose} classes")
        return self._taken(known[torch.randint(len(known), (self.count,), generator=stream)])

    def shares(self) -> Tensor:
        """Return each mixed image's share of the fake, (n,) uniform in [0, 1)."""
        return self._taken(torch.rand(self.count, generator=self._stream("mix")))

    def mirrored(self) -> Tensor:
        """Return which images to mirror, bool (n,), half of them on average."""
        return self._taken(torch.rand(self.count, generator=self._stream("mirror")) < 0.5)

    def noise(self, purpose: str, process: int) -> torch.Generator:
        """Return the generator of the discriminator's noise, which is drawn where the network is."""
        seed = integer_seed(self.seed, "step", f"{purpose} noise", self.images, self.rollbacks, process)
        return torch.Generator(self.device).manual_seed(seed)

    def _taken(self, drawn: Tensor) -> Tensor:
        return on_device(drawn if len(self.places) == self.count else drawn[self.places], self.device)

    def _stream(self, purpose: str) -> torch.Generator:
        names = (purpose, self.images) if not self.rollbacks else (purpose, self.images, self.rollbacks)
        return torch.Generator().manual_seed(integer_seed(self.seed, "step", *names))


def on_device(drawn: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on the device, without waiting for what a GPU still has to do."""
    # From pageable memory the host would wait.
    return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn
