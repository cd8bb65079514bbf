"""Inception Score: torch-fidelity's network and torch-fidelity's formula, fed from any image source.

Convention: the TensorFlow graph of 2015-12-05 (1008 logits, without their bias) with its own bilinear resize
to 299², not torchvision's network.

Source: Salimans et al. 2016.
"""

from __future__ import annotations

import io
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgtools.errors import InputError
from pgtools.metrics.settings import InceptionSettings
from pgtools.stores.source import ImageSource

with warnings.catch_warnings():
    # Importing it puts its own filters before the user's; this takes them back.
    from torch_fidelity import FeatureExtractorInceptionV3
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

_MODEL = "inception-2015-12-05"
_FEATURES = "logits_unbiased"


def load_network(weights: Path, device: torch.device) -> Any:
    """Return the network with the given weights: a torch module, uint8 (N, 3, H, W) → (float32 (N, 1008),).

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
        network = FeatureExtractorInceptionV3(_MODEL, [_FEATURES], feature_extractor_weights_path=safe)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        TypeError,
        AttributeError,
        EOFError,
        OSError,
        ValueError,
    ) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{weights} is not the Inception-v3 state dict of torch-fidelity ({first_line}).",
            hint=f"`pgtools models fetch {_MODEL}` gets it.",
        ) from None
    return network.to(device)


def read_logits(
    source: ImageSource, network: Any, *, batch: int, device: torch.device, advance: Callable[[int], None]
) -> Tensor:
    """Return the logits of every image, float32 (N, 1008) on the CPU, in the source's order.

    Args:
        source: the images.
        network: what `load_network` gave, on `device`.
        batch: images in the network at once.
        device: where the network is.
        advance: told the number of images after each batch.
    """
    found = []
    with torch.no_grad():
        for images in source.batches(batch):
            (logits,) = network(torch.from_numpy(images).to(device))
            found.append(logits.cpu())
            advance(len(images))
    return torch.cat(found)


def check_count(images: int, splits: int) -> None:
    """Raise InputError if there are fewer images than splits."""
    if images < splits:
        raise InputError(
            f"Found {images} images for {splits} splits; a split needs at least one.",
            hint="Give more images (the paper takes 50000), or pass fewer --splits.",
        )


def inception_score(logits: Tensor, settings: InceptionSettings) -> tuple[float, float]:
    """Return the Inception Score and its population standard deviation over the splits: exp(mean KL) of each.

    Args:
        logits: float32 (N, 1008), N ≥ splits.
        settings: splits, and whether and by which seed the rows are shuffled before they are split.

    Raises:
        InputError: fewer rows than splits.
    """
    check_count(len(logits), settings.splits)
    found = isc_features_to_metric(logits, splits=settings.splits, shuffle=settings.shuffle, rng_seed=settings.seed)
    return found[KEY_METRIC_ISC_MEAN], found[KEY_METRIC_ISC_STD]
