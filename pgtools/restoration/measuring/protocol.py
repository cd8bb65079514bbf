"""What is measured on one photograph: how a network undoes JPEG, leaves clean pixels alone, enlarges. Pure.

The protocol, the same for every network:

1. A restorer (scale 1) sees the photo as JPEG at each of `QUALITIES`: PSNR over RGB, SSIM and blockiness, before and
   after.
2. A restorer sees it clean: how much it changes, and what that means for an enlargement that follows. The photo is
   shrunk 4 times, restored or not, enlarged again; `later` is the difference of the two PSNRs of luminance.
3. An enlarger sees it shrunk by antialiased bicubic (Pillow): PSNR and SSIM of luminance against the photo, without
   `scale` pixels along the border, beside Pillow's bicubic and Lanczos.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgtools.imaging.resample import FILTERS, lanczos
from pgtools.restoration.degrade import jpeg, shrink
from pgtools.restoration.measuring.figures import blockiness, luminance, psnr, ssim

Image8 = NDArray[np.uint8]
# uint8 (H, W, 3) -> uint8 (H·scale, W·scale, 3), scale; an `ImageNetwork` is one.
Network = Callable[[Image8], tuple[Image8, int]]

QUALITIES = (10, 20, 30, 40, 50, 60, 75, 85, 95)
# How often a clean photo is shrunk and enlarged again to see what a restorer in front does to it.
LATER_SCALE = 4


@dataclass(frozen=True)
class AtQuality:
    """A photo as JPEG of one quality, against the photo: before and after the restorer; PSNR in dB, over RGB."""

    quality: float
    psnr_before: float
    psnr_after: float
    gain: float
    ssim_before: float
    ssim_after: float
    blockiness_before: float
    blockiness_after: float


@dataclass(frozen=True)
class OnClean:
    """What a restorer does to a photo that needs none.

    Attributes:
        psnr: of what comes out against the photo, in dB over RGB; None where nothing changed.
        changed: share of values that are not what they were.
        largest: greatest change, in levels of 255.
        later: PSNR of luminance of the photo shrunk 4 times, restored and enlarged, less the same without restoring.
        blockiness_before: of the photo itself.
        blockiness_after: of what comes out.
    """

    psnr: float | None
    changed: float
    largest: float
    later: float
    blockiness_before: float
    blockiness_after: float


@dataclass(frozen=True)
class Enlargement:
    """PSNR (dB) and SSIM of luminance of an enlarged photo: by the network, by Pillow's bicubic and Lanczos."""

    psnr: float
    psnr_bicubic: float
    psnr_lanczos: float
    gain: float
    ssim: float
    ssim_bicubic: float
    ssim_lanczos: float


def restore_at(photo: Image8, restore: Network, quality: int, *, subsampling: str = "4:2:0") -> AtQuality:
    """Return how a restorer does on a photo as JPEG of one quality."""
    before = jpeg(photo, quality, subsampling=subsampling)
    after, _ = restore(before)
    figures = [(psnr(photo, image), ssim(photo, image), blockiness(image)) for image in (before, after)]
    (psnr_before, ssim_before, blocks_before), (psnr_after, ssim_after, blocks_after) = figures
    # A flat photo comes through JPEG unharmed; equal is no gain.
    gain = 0.0 if psnr_before == psnr_after else psnr_after - psnr_before
    return AtQuality(quality, psnr_before, psnr_after, gain, ssim_before, ssim_after, blocks_before, blocks_after)


def restore_clean(photo: Image8, restore: Network, enlarge: Network) -> OnClean:
    """Return what a restorer does to a clean photo; `enlarge` follows it, 4 times."""
    after, _ = restore(photo)
    change = np.abs(after.astype(np.int16) - photo)
    found = psnr(photo, after)
    small = shrink(photo, LATER_SCALE)
    without, with_it = (_luma_psnr(photo, enlarge(image)[0], LATER_SCALE) for image in (small, restore(small)[0]))
    return OnClean(
        psnr=found if math.isfinite(found) else None,
        changed=float((change > 0).mean()),
        largest=float(change.max()),
        later=0.0 if with_it == without else with_it - without,
        blockiness_before=blockiness(photo),
        blockiness_after=blockiness(after),
    )


def enlarge_again(photo: Image8, enlarge: Network, scale: int) -> Enlargement:
    """Return how well a network enlarges a photo that was shrunk `scale` times, beside Pillow's filters.

    What of the photo's sides is no multiple of `scale` is cut off first.
    """
    height, width = (side // scale * scale for side in photo.shape[:2])
    photo = np.ascontiguousarray(photo[:height, :width])
    small = shrink(photo, scale)
    bicubic = np.asarray(Image.fromarray(small).resize((width, height), FILTERS["bicubic"]))
    images = (enlarge(small)[0], bicubic, lanczos(small, width, height))
    own, plain, sharper = (_luma_psnr(photo, image, scale) for image in images)
    window = np.s_[scale:-scale, scale:-scale]
    alike = [ssim(photo[window], image[window]) for image in images]
    return Enlargement(own, plain, sharper, 0.0 if own == plain else own - plain, *alike)


def enlarge_by_lanczos(image: Image8) -> tuple[Image8, int]:
    """Return the image 4 times larger by Pillow's Lanczos, and 4: what follows a restorer where no network does."""
    height, width = image.shape[:2]
    return lanczos(image, LATER_SCALE * width, LATER_SCALE * height), LATER_SCALE


def _luma_psnr(photo: Image8, image: Image8, border: int) -> float:
    window = np.s_[border:-border, border:-border]
    return psnr(luminance(photo[window]), luminance(image[window]))
