"""What a file of weights becomes: a network that can be called, and what has to be known to call it well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from pgtools.restoration.engine import Network, Pixels, Traits

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Description:
    """A network as its file describes it, in float32 on the CPU.

    Attributes:
        module: the weights.
        run: calls the module; takes float32, gives any float.
        traits: for the engine.
        precisions: what it computes in: names from `PRECISIONS`.
        side: the one height and width it takes, None for any.
        strength_of: for a guided network: looks at a whole image and says how strongly to correct it.
    """

    module: torch.nn.Module
    run: Network
    traits: Traits
    precisions: tuple[str, ...] = tuple(PRECISIONS)
    side: int | None = None
    strength_of: Callable[[Pixels], float] | None = None
