"""What happens to photographs: JPEG, and shrinking. The networks learn to undo it, the tables measure how far."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgtools.imaging.resample import FILTERS

# Chroma subsampling as Pillow numbers it.
SUBSAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


def jpeg(image: NDArray[np.uint8], quality: int, *, subsampling: str = "4:2:0") -> NDArray[np.uint8]:
    """Return the image after a baseline JPEG round trip through Pillow's libjpeg.

    Args:
        image: uint8 RGB (H, W, 3).
        quality: 1..100, libjpeg's scale of its standard tables.
        subsampling: of the colour: 4:4:4, 4:2:2 or 4:2:0.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=SUBSAMPLINGS[subsampling])
    return np.asarray(Image.open(buffer).convert("RGB"))


def shrink(image: NDArray[np.uint8], factor: int, *, filter: str = "bicubic") -> NDArray[np.uint8]:
    """Return the image made `factor` times smaller, antialiased by Pillow; both sides must be multiples of it.

    Args:
        image: uint8 RGB (H, W, 3).
        factor: 2, 4, …
        filter: lanczos, bicubic, bilinear or box.
    """
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((width // factor, height // factor), FILTERS[filter]))
