"""A network from image to image: found by name, read from its file, run by the engine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from pgtools.errors import InputError, MissingModelError, UsageError
from pgtools.models.entry import SUFFIXES
from pgtools.models.registry import registry
from pgtools.models.weights import find
from pgtools.restoration.compact import is_compact, read_compact
from pgtools.restoration.description import PRECISIONS, Description
from pgtools.restoration.engine import SMALLEST_TILE, Limits, Pixels, Traits, restore_many
from pgtools.restoration.strength import jpeg_strength
from pgtools.runtime.device import repeatable, resolve_device


class ImageNetwork:
    """A network from image to image; loaded when first used, so that it travels to workers as a file name.

    The same image gives the same bytes on the same machine; another batch, tile, number of threads or device moves
    values by float rounding: one level where the network's reach is known (our own), hardly ever more elsewhere.
    float16 and bfloat16 move them further; docs/celebahq.md has the measured figures.

    Args:
        weights: a compact network of ours, or a .pth or .safetensors file of an architecture that spandrel knows.
        device: auto, cpu, cuda, cuda:N.
        tile: side of the tiles in pixels of the input.
        batch: tiles computed at once.
        precision: float32, float16 (CUDA only), bfloat16, or auto: float32 on the CPU; on CUDA the first of float16,
            bfloat16 and float32 that the network and the device support.
        threads: on the CPU, cores to compute with; torch's own number if None.

    Raises:
        UsageError: a number is out of range, or the precision is unknown.
    """

    def __init__(
        self,
        weights: Path,
        *,
        device: str = "auto",
        tile: int = 256,
        batch: int = 1,
        precision: str = "auto",
        threads: int | None = None,
    ) -> None:
        if tile < SMALLEST_TILE or batch < 1:
            raise UsageError(f"tile is {tile}, batch {batch}; expected {SMALLEST_TILE} and 1, or more.")
        if precision not in ("auto", *PRECISIONS):
            raise UsageError(f"precision is {precision!r}; expected auto, {', '.join(PRECISIONS)}.")
        self.weights, self.device = weights, device
        self.tile, self.batch, self.wanted_precision, self.threads = tile, batch, precision, threads
        self._loaded: Description | None = None
        self._precision = ""

    def load(self) -> Description:
        """Load the network now and return its description, on its device and in its precision.

        Raises:
            InputError: the file is missing, is no file of weights, or of no architecture that is known.
            UsageError: there is no such device, or the network does not compute in this precision there.
        """
        if self._loaded is None:
            device = resolve_device(self.device)
            described = _described(self.weights)
            self._precision = _resolved(self.wanted_precision, device, described.precisions, self.weights)
            described.module.to(device=device, dtype=PRECISIONS[self._precision])
            if self.is_light and (device.type == "cpu" or self._precision != "float32"):
                # Convolutions are faster so; strangers' networks may not bear it.
                described.module.to(memory_format=torch.channels_last)
            self._loaded = described
        return self._loaded

    @property
    def scale(self) -> int:
        """How many times larger the output is."""
        return self.load().traits.scale

    @property
    def precision(self) -> str:
        """What the network computes in: float32, float16 or bfloat16."""
        self.load()
        return self._precision

    @property
    def is_light(self) -> bool:
        """Whether it is one of our compact networks, which need little memory: a process a core can have its own."""
        return is_compact(self.weights)

    def __call__(self, image: Pixels) -> tuple[Pixels, int]:
        """Return the network's output, uint8 (H·scale, W·scale, 3), and its scale; `image` is uint8 (H, W, 3)."""
        return self.restore_many([image])[0], self.scale

    def restore_many(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Return the outputs of several images; tiles of equal size are computed together.

        Raises:
            InputError: the network takes only images of another size.
            ComputeError: memory does not suffice, or the precision is too coarse for the network.
        """
        loaded = self.load()
        for image in images:
            height, width = image.shape[:2]
            if loaded.side and (height, width) != (loaded.side, loaded.side):
                raise InputError(
                    f"{self.weights.name} takes images of {loaded.side}×{loaded.side}, not {width}×{height}."
                )
        device, limits = resolve_device(self.device), Limits(self.tile, self.batch)
        with repeatable(threads=self.threads):
            strengths = [loaded.strength_of(image) for image in images] if loaded.strength_of else None
            return restore_many(
                images,
                loaded.run,
                loaded.traits,
                limits=limits,
                device=device,
                strengths=strengths,
                told=self._shrink,
            )

    def _shrink(self, limits: Limits) -> None:
        """Go on with less at once, from now on."""
        self.tile, self.batch = limits.tile, limits.batch
        print(
            f"{self.weights.name} ran out of memory; it goes on with tiles of {self.tile}, {self.batch} at a time.",
            file=sys.stderr,
        )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_loaded": None}


def find_network(name: str, *, others: Sequence[str] = (), enlarging: bool | None = None) -> Path:
    """Return the weights file that a user means: one of the registry's networks by its name, or a file.

    Args:
        name: of a network, or the path of a file.
        others: what else the user may say, for the error.
        enlarging: the error lists only networks that enlarge, or only those that do not; None lists both. Those of
            which no scale is known are not listed, but found all the same.

    Raises:
        MissingModelError: the network is known and not on this machine, or the file is not there.
        UsageError: it is neither a name nor a file; the message lists the names.
    """
    models = registry()
    if name in models:
        return find(name)
    path = Path(name)
    if path.is_file():
        return path
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        raise MissingModelError(f"{name} is not a file; expected the weights of a network.", hint="Check the path.")
    # Face restorers take one size only; they can be named, and need not be offered.
    scales = {known: model.scale for known, model in models.items() if model.scale and "face" not in model.task}
    fitting = [known for known, scale in scales.items() if enlarging is None or enlarging == (scale > 1)]
    raise UsageError(
        f"{name!r} is no network; expected {', '.join((*others, *fitting))}, or a weights file.",
        hint="`pgtools models list` says which of them are on this machine.",
    )


def _described(weights: Path) -> Description:
    if not is_compact(weights):
        from pgtools.restoration.foreign import read_foreign  # spandrel's many architectures take a second to import

        return read_foreign(weights)
    network = read_compact(weights)
    grid = network.shape.unshuffle
    traits = Traits(network.shape.scale, context=network.reach, multiple=grid, align=grid, minimum=grid)
    return Description(network, network, traits, strength_of=jpeg_strength if network.shape.guided else None)


def _resolved(precision: str, device: torch.device, supported: Sequence[str], weights: Path) -> str:
    """Return the precision's own name."""
    if precision == "auto":
        if device.type == "cpu":
            return "float32"
        fast = ["float16", *(["bfloat16"] if torch.cuda.is_bf16_supported(including_emulation=False) else [])]
        return next((name for name in fast if name in supported), "float32")
    if precision == "float16" and device.type == "cpu":
        raise UsageError("--precision float16 needs CUDA.", hint="Pass bfloat16 or float32 on the CPU.")
    if precision not in supported:
        raise UsageError(f"{weights.name} does not compute in {precision}; expected {' or '.join(supported)}.")
    return precision
