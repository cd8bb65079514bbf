"""The compact network of our own: residual, without normalisation, of finite reach, fast on a CPU.

It sees `unshuffle`² pixels as one with more channels, corrects a simply enlarged copy of its input, and what one
output pixel depends on lies within `reach` input pixels. So an image may be cut into tiles without a trace.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pgtools.errors import InputError
from pgtools.runtime.files import written_aside

FORMAT = "pgtools-compact"
VERSION = 1
# What a file may ask for: least and most.
BOUNDS = {"scale": (1, 8), "channels": (1, 512), "blocks": (1, 64), "unshuffle": (1, 8)}
# A strength of so many levels is 1 to the network.
STRENGTH_UNIT = 8.0
# Side of the square whose mean counts as the ground of a pixel.
NEAR = 9


@dataclass(frozen=True)
class Shape:
    """What a compact network is built from.

    Attributes:
        scale: how many times larger the output is; 1 restores.
        channels: feature maps of every layer.
        blocks: residual blocks of two 3×3 convolutions.
        unshuffle: side of the squares of pixels that become channels; height and width must be multiples of it.
        guided: whether it is told how far the image is off, and counts its correction in units of that.
    """

    scale: int
    channels: int = 64
    blocks: int = 8
    unshuffle: int = 1
    guided: bool = False


class Block(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features after the block; (N, C, H, W) -> (N, C, H, W)."""
        out: Tensor = x + self.second(F.relu(self.first(x)))
        return out


class CompactNetwork(nn.Module):
    """Restores (scale 1) or enlarges RGB images.

    An untrained network returns its input, bilinearly enlarged: the last convolution begins at zero.

    Args:
        shape: see Shape.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.head = nn.Conv2d((6 + shape.guided) * shape.unshuffle**2, shape.channels, 3, padding=1)
        self.body = nn.Sequential(*(Block(shape.channels) for _ in range(shape.blocks)))
        self.tail = nn.Conv2d(shape.channels, 3 * (shape.unshuffle * shape.scale) ** 2, 3, padding=1)
        for weights in self.tail.parameters():
            nn.init.zeros_(weights)

    @property
    def reach(self) -> int:
        """Input pixels around a pixel that can change it."""
        convolutions = 2 * self.shape.blocks + 2
        return (convolutions + 1) * self.shape.unshuffle + NEAR // 2

    def forward(self, image: Tensor, strength: Tensor | None = None) -> Tensor:
        """Return the restored image, float32.

        The correction is computed in the weights' own precision and added in float32. A guided network's correction
        is counted in units of `strength`: at 0 the image comes back as it is, bit for bit.

        Args:
            image: float (N, 3, H, W) in [0, 1]; H and W multiples of `shape.unshuffle`.
            strength: for a guided network, float (N,): RMS error of each image, in levels of 255.

        Returns:
            float32 (N, 3, H·scale, W·scale), about [0, 1], not clipped.
        """
        shape = self.shape
        base = image.float()
        # Detail and ground apart: artifacts of a few levels are seen beside any colour, also in half precision, where
        # a bright pixel is known to a whole level only.
        ground = F.avg_pool2d(base, NEAR, stride=1, padding=NEAR // 2, count_include_pad=False)
        parts = torch.cat([(base - ground) * 8, ground * 2 - 1], dim=1)  # (N, 6, H, W)
        if strength is not None:
            plane = strength.float().view(-1, 1, 1, 1)
            parts = torch.cat([parts, (plane / STRENGTH_UNIT).expand(-1, 1, *base.shape[2:])], dim=1)
        features = F.pixel_unshuffle(parts.to(self.head.weight.dtype), shape.unshuffle)
        features = self.head(features)  # (N, (6 + guided)·u², H/u, W/u) -> (N, C, H/u, W/u)
        correction = self.tail(features + self.body(features))
        correction = F.pixel_shuffle(correction, shape.unshuffle * shape.scale).float()  # -> (N, 3, H·s, W·s)
        if shape.scale > 1:
            base = F.interpolate(base, scale_factor=shape.scale, mode="bilinear")
        return base + (correction if strength is None else correction * (plane / 255))


def write_compact(path: Path, network: CompactNetwork, made: dict[str, Any]) -> None:
    """Write a network as safetensors: weights in float16, and how they were made in the metadata.

    Args:
        path: the file; whole or not at all.
        network: its weights.
        made: plain values that say how; kept as they are.
    """
    header = {"format": FORMAT, "version": VERSION, "shape": asdict(network.shape), "made": made}
    tensors = {name: weights.detach().cpu().half().contiguous() for name, weights in network.state_dict().items()}
    with written_aside(path) as aside:
        safetensors.torch.save_file(tensors, aside, {"pgtools": json.dumps(header)})


def is_compact(path: Path) -> bool:
    """Return whether a file says that it is a compact network."""
    return _header(path).get("format") == FORMAT


def read_made(path: Path) -> dict[str, Any]:
    """Return how the network in a file was made: command, settings, photographs."""
    made: dict[str, Any] = _header(path).get("made", {})
    return made


def read_compact(path: Path) -> CompactNetwork:
    """Return the network in a file, float32, in evaluation mode, on the CPU.

    Raises:
        InputError: the file is damaged, foreign, or of another version.
    """
    header = _header(path)
    if header.get("format") != FORMAT:
        raise InputError(f"{path} is no compact network of pgtools.")
    if header.get("version") != VERSION:
        raise InputError(f"{path} has version {header.get('version')}; this pgtools reads {VERSION}.")
    try:
        with torch.device("meta"):  # a header takes no memory: what is allocated is what the file holds
            network = CompactNetwork(_shape_in(header["shape"]))
        network.load_state_dict(safetensors.torch.load_file(path), assign=True)
    except (TypeError, ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} is a damaged network ({str(error).splitlines()[0]}).") from None
    return network.float().eval().requires_grad_(False)


def _shape_in(values: dict[str, Any]) -> Shape:
    """Return the shape that a header states.

    Raises:
        TypeError: it states something else.
        ValueError: a value is of another kind or out of bounds.
    """
    shape = Shape(**values)
    for name, (low, high) in BOUNDS.items():
        value = getattr(shape, name)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{name} is {value!r:.40}; expected {low} to {high}")
    if not isinstance(shape.guided, bool):
        raise ValueError(f"guided is {shape.guided!r:.40}; expected true or false")
    return shape


def _header(path: Path) -> dict[str, Any]:
    """Return the entry `pgtools` of a safetensors file's metadata; empty where there is none."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("pgtools", "{}"))
    except (OSError, ValueError, RecursionError, safetensors.SafetensorError):
        return {}
    return header if isinstance(header, dict) else {}


def parameter_count(network: nn.Module) -> int:
    """Return the number of trained values."""
    return sum(weights.numel() for weights in network.parameters())
