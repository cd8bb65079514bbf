"""The small network that names a digit, and the file it lies in.

File: safetensors; the tensors are the network's `state_dict` in float32, the metadata entry `pgtools` is JSON with
`format`, `version`, `accuracy` (share of the held-out digits named right) and `made` (how it was trained).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pgtools.errors import InputError, MissingModelError
from pgtools.runtime.files import written_aside

FORMAT, VERSION = "pgtools-digits", 1
SIDE, DIGITS = 32, 10
# Side of the kernel and maps of each convolution.
KERNELS, CHANNELS = (5, 3, 3), (24, 48, 64)
HIDDEN = 64
# So few planes stay in a core's cache from layer to layer.
PLANES_AT_ONCE = 192
# Ours have 0.2 MB; what is larger by far is something else, and is not read into memory.
MOST_BYTES = 16 << 20


class DigitNetwork(nn.Module):
    """Three convolutions of stride 2 with batch normalisation, then two full layers; 1.3 million products a digit."""

    def __init__(self) -> None:
        super().__init__()
        widths = (1, *CHANNELS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False)
            for before, after, kernel in zip(widths, CHANNELS, KERNELS, strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in CHANNELS)
        self.hidden = nn.Linear(CHANNELS[-1] * (SIDE >> len(CHANNELS)) ** 2, HIDDEN)
        self.digits = nn.Linear(HIDDEN, DIGITS)

    def forward(self, grey: Tensor) -> Tensor:
        """Return logits (N, 10) of grey images, float32 (N, 1, 32, 32) in [0, 1]."""
        x = grey
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))  # (N, C, H, W) -> (N, C', H/2, W/2)
        logits: Tensor = self.digits(F.relu(self.hidden(x.flatten(1))))
        return logits


@dataclass(frozen=True)
class Classifier:
    """A digit classifier; two are equal if their files are.

    Attributes:
        sha256: of its file.
        accuracy: share of the held-out digits that it named right.
        network: in evaluation mode, on the CPU.
        made: how it was trained: settings, data, pgtools' version.
    """

    sha256: str
    accuracy: float
    network: DigitNetwork = field(compare=False, repr=False)
    made: dict[str, Any] = field(compare=False, repr=False)


def stacked_classes(network: DigitNetwork, images: Tensor) -> Tensor:
    """Return 100·r + 10·g + b of each image, int64 (N,), where r, g, b are the digits its planes show.

    To be called without gradients.

    Args:
        network: in evaluation mode, on the images' device.
        images: uint8 (N, 3, 32, 32).
    """
    planes = images.reshape(-1, 1, SIDE, SIDE)
    at_once = PLANES_AT_ONCE if images.device.type == "cpu" else len(planes) or 1
    named = [network(part.float() / 255).argmax(1) for part in torch.split(planes, at_once)]
    digits = torch.cat(named).view(-1, 3)
    classes: Tensor = digits[:, 0] * 100 + digits[:, 1] * 10 + digits[:, 2]
    return classes


def to_bytes(network: DigitNetwork, accuracy: float, made: dict[str, Any]) -> bytes:
    """Return a classifier's file."""
    header = {"format": FORMAT, "version": VERSION, "accuracy": accuracy, "made": made}
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    data: bytes = safetensors.torch.save(tensors, {"pgtools": json.dumps(header)})
    return data


def write_classifier(path: Path, data: bytes) -> None:
    """Write a classifier's file, whole or not at all."""
    with written_aside(path) as aside:
        aside.write_bytes(data)


def read_classifier(path: Path) -> Classifier:
    """Return the classifier in a file; nothing in the file is run.

    Raises:
        MissingModelError: there is no such file.
        InputError: it is no digit classifier of this version, or damaged.
    """
    if not path.is_file():
        raise MissingModelError(
            f"{path} is not a file; expected a digit classifier.",
            hint=f"`pgtools recovered-modes … --train-on MNIST --classifier {path}` trains one from MNIST's files.",
        )
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _foreign(str(path))
        return from_bytes(path.read_bytes(), where=str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None


def from_bytes(data: bytes, *, where: str) -> Classifier:
    """Return the classifier in the bytes of a file.

    Raises:
        InputError: it is no digit classifier of this version, or damaged.
    """
    header = _header(data)
    if header.get("format") != FORMAT:
        raise _foreign(where)
    if header.get("version") != VERSION:
        raise InputError(f"{where} has version {header.get('version')!s:.20}; this pgtools reads {VERSION}.")
    accuracy, made = header.get("accuracy"), header.get("made")
    if type(accuracy) is not float or not 0 <= accuracy <= 1 or not isinstance(made, dict):
        raise InputError(f"{where} is a damaged classifier: its accuracy or its origin is missing.")
    with torch.device("meta"):
        network = DigitNetwork()
    try:
        tensors = safetensors.torch.load(data)
        _check_tensors(tensors, network.state_dict())
        network.load_state_dict(tensors, assign=True)
    except (ValueError, RuntimeError, safetensors.SafetensorError) as error:
        raise InputError(f"{where} is a damaged classifier ({str(error).splitlines()[0]:.120}).") from None
    network.eval().requires_grad_(False)
    return Classifier(hashlib.sha256(data).hexdigest(), accuracy, network, made)


def _check_tensors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise ValueError unless all tensors are there, of the right type and finite; shapes are checked in loading."""
    for name, tensor in expected.items():
        if name in found and found[name].dtype != tensor.dtype:
            raise ValueError(f"{name} is {found[name].dtype}; expected {tensor.dtype}")
        if name in found and not bool(torch.isfinite(found[name]).all()):
            raise ValueError(f"{name} holds values that are no numbers")


def _foreign(where: str) -> InputError:
    return InputError(
        f"{where} is no digit classifier of pgtools.",
        hint="`pgtools recovered-modes … --train-on MNIST --classifier FILE.safetensors` trains one.",
    )


def _header(data: bytes) -> dict[str, Any]:
    """Return the entry `pgtools` of a safetensors file's metadata; empty where there is none."""
    try:
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
        header = json.loads(metadata.get("pgtools", "{}"))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}
    return header if isinstance(header, dict) else {}
