"""torch-fidelity's Inception-v3: images in, the features of every layer out, in one run.

Convention: the TensorFlow graph of 2015-12-05 (1008 logits, without their bias) with its own bilinear resize
to 299², not torchvision's network.
"""

from __future__ import annotations

import functools
import io
import pickle
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgtools.errors import InputError
from pgtools.metrics.tensors import undisturbed
from pgtools.runtime.files import sha256_of

with warnings.catch_warnings():
    # Importing it puts its own filters before the user's; this takes them back.
    from torch_fidelity import FeatureExtractorInceptionV3

MODEL = "inception-2015-12-05"
LOGITS = "logits_unbiased"
# Layer → its number of features, in the network's order. All are collected, since that costs a third more room than
# the two that most metrics ask for, and then every metric on this network shares one run of it.
WIDTHS = {"64": 64, "192": 192, "768": 768, "2048": 2048, LOGITS: 1008}
# torch-fidelity's own batch. Another one would give the same features to float32 rounding only.
MOST_IMAGES = 64
# What torch.load and load_state_dict raise on files that are something else: text is read as a pickle's codes.
_GARBAGE = (
    pickle.UnpicklingError,
    RuntimeError,  # and NotImplementedError, RecursionError
    TypeError,
    AttributeError,
    EOFError,
    OSError,
    ValueError,  # and UnicodeDecodeError
    LookupError,  # KeyError, IndexError, an unknown encoding
    AssertionError,
    ArithmeticError,
    MemoryError,
    struct.error,
)


@dataclass(frozen=True)
class NetworkFile:
    """A file of weights, and the hash that results record of it.

    Attributes:
        path: a state dict in torch-fidelity's form.
        sha256: of the file, 64 hex digits.
    """

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path) -> NetworkFile:
        """Return the file at `path` with its hash.

        Raises:
            InputError: it cannot be read.
        """
        try:
            return cls(path, sha256_of(path))
        except OSError as error:
            raise _refused(path, error) from None


def load_network(weights: Path, device: torch.device) -> Any:
    """Return the network with the given weights: a torch module, see `run`.

    Args:
        weights: a state dict in torch-fidelity's form. It is read with `weights_only`; torch-fidelity, which
            reads without, is handed our own copy of the tensors.
        device: where the network goes.

    Raises:
        InputError: the file holds anything else.
    """
    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        safe = io.BytesIO()
        torch.save(state, safe)
        safe.seek(0)
        network = FeatureExtractorInceptionV3(MODEL, list(WIDTHS), feature_extractor_weights_path=safe)
    except _GARBAGE as error:
        raise _refused(weights, error) from None
    return network.to(device)


@functools.lru_cache(maxsize=1)
def shared_network(weights: NetworkFile, device: torch.device) -> Any:
    """Return the network; the last one stays loaded, for the next set.

    Raises:
        InputError: see `load_network`.
    """
    return load_network(weights.path, device)


def run(network: Any, images: Tensor) -> dict[str, Tensor]:
    """Return layer → features, float32 (N, width) on the network's device.

    Args:
        network: of `load_network`.
        images: uint8 (N, 3, H, W) on the network's device.
    """
    with undisturbed(images.device):
        found = [network(some) for some in torch.split(images, MOST_IMAGES)]
        return {layer: torch.cat(some) for layer, some in zip(WIDTHS, zip(*found, strict=True), strict=True)}


def _refused(weights: Path, error: Exception) -> InputError:
    first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
    return InputError(
        f"{weights} is not the Inception-v3 state dict of torch-fidelity ({first_line}).",
        hint=f"`pgtools models fetch {MODEL}` gets it.",
    )
