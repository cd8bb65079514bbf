"""What a network in training is worth, on photographs it does not see."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pgtools.imaging.conventions import quantise
from pgtools.restoration.compact import CompactNetwork
from pgtools.restoration.degrade import jpeg, shrink
from pgtools.restoration.measure import luminance, psnr, ssim
from pgtools.restoration.strength import usual_error
from pgtools.restoration.training.patches import Image8
from pgtools.restoration.training.settings import SCALE

QUALITIES = (10, 30, 75, 95)
# One photograph in so many is kept from training.
SHARE = 12
_SIDE = 256


def choose(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return (to learn from, to validate on): every twelfth photograph is kept; of fewer, all serve both."""
    kept = [file for i, file in enumerate(files) if i % SHARE == SHARE - 1]
    learnt = [file for i, file in enumerate(files) if i % SHARE != SHARE - 1]
    return (learnt, kept) if kept else (list(files), list(files))


def validate(
    network: CompactNetwork, photos: Sequence[Sequence[Image8]], *, task: str, device: torch.device
) -> dict[str, dict[str, float]]:
    """Return what was done to the photographs → means of PSNR and SSIM, and the PSNR of doing nothing.

    Args:
        network: in evaluation mode.
        photos: each at several sizes; the centre of the largest is used.
        task: dejpeg (in RGB, for several qualities) or sr4 (luminance, after antialiased bicubic).
        device: where it runs.
    """
    centres = [_centre(max(sizes, key=lambda image: image.size)) for sizes in photos]
    if task == "sr4":
        shrunk = [(shrink(clean, SCALE[task]), clean) for clean in centres]
        return {"bicubic": _figures(network, shrunk, None, device)}
    return {
        f"q{quality}": _figures(network, [(jpeg(c, quality), c) for c in centres], usual_error(quality), device)
        for quality in QUALITIES
    }


def _figures(
    network: CompactNetwork, pairs: Sequence[tuple[Image8, Image8]], strength: float | None, device: torch.device
) -> dict[str, float]:
    untrained = CompactNetwork(network.shape).eval()
    rows = []
    for seen, wanted in pairs:
        given = _through(network, seen, strength, device)
        plain = _through(untrained, seen, strength, torch.device("cpu"))
        grey = network.shape.scale > 1
        score = [psnr(*((luminance(a), luminance(wanted)) if grey else (a, wanted))) for a in (given, plain)]
        rows.append((*score, ssim(given, wanted)))
    means = np.mean(rows, axis=0)
    return {"psnr": float(means[0]), "psnr_before": float(means[1]), "ssim": float(means[2])}


@torch.inference_mode()
def _through(network: CompactNetwork, image: Image8, strength: float | None, device: torch.device) -> Image8:
    batch = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].to(device).float() / 255
    told = None if strength is None else torch.tensor([strength], device=device)
    return quantise(network(batch, told)[0].permute(1, 2, 0).cpu().numpy() * 255)


def _centre(image: Image8) -> Image8:
    side = min(min(image.shape[:2]) // 8 * 8, _SIDE)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])
