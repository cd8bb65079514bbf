"""Networks of other people: weights of any architecture that spandrel knows, and what the engine must know of them."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from spandrel import ImageModelDescriptor, ModelLoader, ModelTiling
from torch import nn

from pgtools.errors import InputError
from pgtools.restoration.description import PRECISIONS, Description
from pgtools.restoration.engine import Traits

# Pixels around a tile that it is computed with. Deep networks reach over hundreds, but hardly look that far.
# Real-ESRGAN ×4 on photographs, against the whole image: see docs/celebahq.md.
CONTEXT = 64
# Attention looks through windows of 8 or 16 pixels, counted from where the tile begins.
GRID = 16
# Face restorers answer with a face that fills the picture, and know one size.
FACE_SIDE = 512
# A value that depends on every pixel: such a network must see the whole image. FBCNN estimates the JPEG quality so.
WHOLE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.GroupNorm, nn.InstanceNorm2d)


def read_foreign(weights: Path) -> Description:
    """Return the network in a .pth or .safetensors file; nothing in the file is run.

    A network is run on whole images where spandrel discourages tiles, or where one of its layers sees all of them.

    Raises:
        InputError: the file is missing, is no file of weights, or of no architecture spandrel knows.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of foreign pickles, which are refused here
            described = ModelLoader().load_from_state_dict(_read_state(weights))
    except MemoryError:
        raise
    except Exception as error:  # spandrel, torch, safetensors and zip errors alike
        said = "" if isinstance(error, KeyError) else str(error)
        reason = (said or type(error).__name__).splitlines()[0][:120]
        raise InputError(
            f"{weights} is no network that spandrel loads ({reason}).",
            hint="Name a .pth or .safetensors file of a restoration or super-resolution network.",
        ) from None
    channels = (described.input_channels, described.output_channels)
    if not isinstance(described, ImageModelDescriptor) or channels != (3, 3):
        raise InputError(f"{weights} is no network from one RGB image to another.")
    described.float().eval().model.requires_grad_(False)
    side = FACE_SIDE if described.purpose == "FaceSR" else None
    return Description(described.model, _Run(described), _traits(described), _precisions(described), side)


class _Run:
    """Calls a network in its own precision."""

    def __init__(self, described: ImageModelDescriptor[Any]) -> None:
        self._described = described

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self._described(batch.to(self._described.dtype))
        return output


def _traits(described: ImageModelDescriptor[Any]) -> Traits:
    needs = described.size_requirements
    sees_all = any(isinstance(layer, WHOLE) for layer in described.model.modules())
    whole = sees_all or described.tiling is not ModelTiling.SUPPORTED
    return Traits(
        scale=int(described.scale),
        context=None if whole else CONTEXT,
        multiple=needs.multiple_of,
        align=math.lcm(needs.multiple_of, GRID),
        minimum=max(needs.minimum, 1),
        square=needs.square,
    )


def _precisions(described: ImageModelDescriptor[Any]) -> tuple[str, ...]:
    lacking = {"float16": not described.supports_half, "bfloat16": not described.supports_bfloat16}
    return tuple(name for name in PRECISIONS if not lacking.get(name))


def _read_state(path: Path) -> dict[str, Any]:
    """Return the tensors of a weights file."""
    if path.suffix == ".safetensors":
        return dict(safetensors.torch.load_file(path))
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    # Trainers wrap the weights; BasicSR's names, in the order of preference.
    for key in ("params_ema", "params", "state_dict", "model"):
        if isinstance(state.get(key), dict):
            return dict(state[key])
    return state
