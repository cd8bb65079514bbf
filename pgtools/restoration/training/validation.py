"""What a network in training is worth, on photographs it does not see."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from pgtools.imaging.conventions import quantise
from pgtools.imaging.resample import FILTERS
from pgtools.restoration.compact import CompactNetwork
from pgtools.restoration.degrade import jpeg, shrink
from pgtools.restoration.measuring.figures import luminance, psnr, ssim
from pgtools.restoration.strength import jpeg_strength
from pgtools.restoration.training.patches import Image8
from pgtools.restoration.training.settings import SCALE

QUALITIES = (10, 30, 75, 95)
# One photograph in so many is kept from training.
SHARE = 12
_SIDE = 256


def choose(files: Sequence[Path], usable: Collection[Path]) -> tuple[list[Path], list[Path]]:
    """Return (to learn from, to validate on): every twelfth photograph is kept; of fewer, all serve both.

    Args:
        files: all photographs in their order.
        usable: those large enough; others are left out. Where that leaves nothing to validate on, or to learn from,
            every twelfth of the usable ones is kept.
    """
    found = [file for file in files if file in usable]
    for counted in (files, found):
        kept = [file for i, file in enumerate(counted) if i % SHARE == SHARE - 1 and file in usable]
        learnt = [file for i, file in enumerate(counted) if i % SHARE != SHARE - 1 and file in usable]
        if kept and learnt:
            return learnt, kept
    return found, found


def validate(
    network: CompactNetwork, photos: Sequence[Sequence[Image8]], *, task: str, device: torch.device
) -> dict[str, dict[str, float | None]]:
    """Return what was done to the photographs → means of PSNR and SSIM, and the PSNR without the network.

    That is the PSNR of the JPEG itself, or of Pillow's bicubic. Photographs of which either PSNR is infinite, as a flat
    one's after JPEG, are left out of both; where none is left, both are None.

    Args:
        network: in evaluation mode.
        photos: each at several sizes; the centre of the largest is used.
        task: dejpeg (in RGB, for several qualities) or sr4 (luminance, after antialiased bicubic).
        device: where it runs.
    """
    centres = [_centre(max(sizes, key=lambda image: image.size)) for sizes in photos]
    if task == "sr4":
        shrunk = [(shrink(clean, SCALE[task]), clean) for clean in centres]
        return {"bicubic": _figures(network, shrunk, device)}
    return {
        f"q{quality}": _figures(network, [(jpeg(clean, quality), clean) for clean in centres], device)
        for quality in QUALITIES
    }


def _figures(
    network: CompactNetwork, pairs: Sequence[tuple[Image8, Image8]], device: torch.device
) -> dict[str, float | None]:
    compared = luminance if network.shape.scale > 1 else np.asarray
    decibels, alike = [], []
    for seen, wanted in pairs:
        given = _through(network, seen, device)
        before = seen if network.shape.scale == 1 else _bicubic(seen, network.shape.scale)
        decibels.append([psnr(compared(image), compared(wanted)) for image in (given, before)])
        alike.append(ssim(given, wanted))
    finite = [row for row in decibels if np.isfinite(row).all()]
    after, without = (float(mean) for mean in np.mean(finite, axis=0)) if finite else (None, None)
    return {"psnr": after, "psnr_before": without, "ssim": float(np.mean(alike))}


def _bicubic(image: Image8, scale: int) -> Image8:
    size = (image.shape[1] * scale, image.shape[0] * scale)
    return np.asarray(Image.fromarray(image).resize(size, FILTERS["bicubic"]))


@torch.inference_mode()
def _through(network: CompactNetwork, image: Image8, device: torch.device) -> Image8:
    batch = torch.from_numpy(image.transpose(2, 0, 1).copy())[None].to(device).float() / 255
    # As when it restores: what it is told is read off the picture.
    told = torch.tensor([jpeg_strength(image)], device=device) if network.shape.guided else None
    return quantise(network(batch, told)[0].permute(1, 2, 0).cpu().numpy() * 255)


def _centre(image: Image8) -> Image8:
    side = min(min(image.shape[:2]) // 8 * 8, _SIDE)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])
