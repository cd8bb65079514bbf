"""Restoration and super-resolution by any network that spandrel loads, in tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from spandrel import ImageModelDescriptor, ModelLoader
from torch.nn import functional as F

from pgtools.errors import InputError
from pgtools.imaging.conventions import quantise
from pgtools.runtime.device import resolve_device

# Context around a tile, in photo pixels, computed and thrown away so that tiles do not show.
OVERLAP = 32


class ImageNetwork:
    """A network from image to image; loaded when first used, so that it travels to workers as a file name.

    Args:
        weights: a .pth or .safetensors file of any architecture spandrel knows.
        device: auto, cpu, cuda, cuda:N.
        tile: side of the tiles in pixels of the input.
    """

    def __init__(self, weights: Path, *, device: str, tile: int) -> None:
        self.weights, self.device, self.tile = weights, device, tile
        self._model: ImageModelDescriptor[Any] | None = None

    def load(self) -> ImageModelDescriptor[Any]:
        """Load the network now and return spandrel's description of it.

        Raises:
            InputError: the file is missing, is no file of weights, or of no architecture spandrel knows.
        """
        if self._model is None:
            try:
                described = ModelLoader().load_from_state_dict(_read_state(self.weights))
            except Exception as error:  # spandrel, torch, safetensors and zip errors alike
                reason = (str(error) or repr(error)).splitlines()[0][:120]
                raise InputError(
                    f"{self.weights} is no network that spandrel loads ({reason}).",
                    hint="Name a .pth or .safetensors file of a restoration or super-resolution network.",
                ) from None
            if not isinstance(described, ImageModelDescriptor) or described.input_channels != 3:
                raise InputError(f"{self.weights} is no network from one RGB image to another.")
            self._model = described.to(resolve_device(self.device)).float().eval()
        return self._model

    @property
    def scale(self) -> int:
        """How many times larger the output is."""
        return int(self.load().scale)

    def __call__(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        """Return the network's output, uint8 (H·scale, W·scale, 3), and its scale."""
        model = self.load()
        with torch.inference_mode():
            whole = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].to(model.device).float() / 255
            return quantise(self._tiled(model, whole).cpu().numpy() * 255), self.scale

    def _tiled(self, model: ImageModelDescriptor[Any], image: torch.Tensor) -> torch.Tensor:
        scale, tile = self.scale, self.tile
        height, width = image.shape[2:]
        output = torch.empty((height * scale, width * scale, 3), device=image.device)
        extended = F.pad(image, (OVERLAP,) * 4, mode="replicate")
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                bottom, right = min(top + tile, height), min(left + tile, width)
                region = extended[:, :, top : bottom + 2 * OVERLAP, left : right + 2 * OVERLAP]
                result = model(region)[0].permute(1, 2, 0)  # (1, 3, h, w) -> (h·scale, w·scale, 3)
                inner = result[OVERLAP * scale : -OVERLAP * scale, OVERLAP * scale : -OVERLAP * scale]
                output[top * scale : bottom * scale, left * scale : right * scale] = inner
        return output.clamp_(0, 1)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_model": None}


def _read_state(path: Path) -> dict[str, Any]:
    """Return the tensors of a weights file; nothing in the file is run."""
    if path.suffix == ".safetensors":
        return dict(safetensors.torch.load_file(path))
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    # Trainers wrap the weights; BasicSR's names, in the order of preference.
    for key in ("params_ema", "params", "state_dict", "model"):
        if isinstance(state.get(key), dict):
            return dict(state[key])
    return state
