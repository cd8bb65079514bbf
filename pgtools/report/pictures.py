"""Image grids made small enough to travel inside a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgtools.imaging.resample import enlarge_nearest

# Bytes before base64. Eight small grids and two large ones, or sixty crops, then make a page of at most 3 MB.
LARGE, SMALL, CROP = 480_000, 140_000, 34_000
_SIDES = {LARGE: 1024, SMALL: 512, CROP: 320}


@dataclass(frozen=True)
class Picture:
    """An image for a page.

    Attributes:
        uri: the whole image as a data URI.
        width, height: its pixels.
        alt: what it shows, for those who do not see it.
        caption: the line below it; may be empty.
        level: index of the live resolution's colour (0 for 4², 1 for 8², …); None for no swatch.
    """

    uri: str
    width: int
    height: int
    alt: str
    caption: str = ""
    level: int | None = None


def picture(image: NDArray[np.uint8], *, budget: int, alt: str, caption: str = "", level: int | None = None) -> Picture:
    """Return a uint8 RGB image (H, W, 3) as a WebP of at most `budget` bytes (LARGE, SMALL or CROP).

    A larger image is averaged down (box filter, which keeps the blocks of nearest-enlarged pixels clean); a
    smaller one is enlarged by whole pixels, so that browsers have nothing to blur. Lossless where that fits
    the budget, else at the best quality that does; a crop that is not enlarged is a photograph and never lossless.
    """
    fitted = _fit(image, _SIDES[budget])
    data = _encode(fitted, budget, lossless=budget != CROP or 2 * max(image.shape[:2]) <= _SIDES[CROP])
    uri = "data:image/webp;base64," + base64.b64encode(data).decode("ascii")
    return Picture(uri, fitted.width, fitted.height, alt, caption, level)


def _fit(image: NDArray[np.uint8], side: int) -> Image.Image:
    longest = max(image.shape[:2])
    if longest <= side:
        return Image.fromarray(enlarge_nearest(image, side // longest))
    size = (max(1, round(image.shape[1] * side / longest)), max(1, round(image.shape[0] * side / longest)))
    return Image.fromarray(image).resize(size, Image.Resampling.BOX)


def _encode(image: Image.Image, budget: int, *, lossless: bool) -> bytes:
    ways: list[dict[str, Any]] = [{"lossless": True}] if lossless else []
    for way in [*ways, *({"quality": quality} for quality in (92, 85, 75, 60, 40, 20, 5))]:
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", method=4, **way)
        if buffer.tell() <= budget:
            break
    return buffer.getvalue()
