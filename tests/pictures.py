"""Pictures for tests: random, smooth, photographic; nothing here needs a file."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def smooth_images(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coloured blobs, uint8 (count, 3, side, side)."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    large = [np.asarray(Image.fromarray(x).resize((side, side), Image.Resampling.BICUBIC)) for x in small]
    return np.stack(large).transpose(0, 3, 1, 2).copy()


def noise_images(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    """Uniform noise, uint8 (count, 3, side, side): the worst case for every codec."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), dtype=np.uint8)


def astronaut() -> NDArray[np.uint8]:
    """The public-domain portrait that scikit-image carries, uint8 (512, 512, 3); a real photograph with a face."""
    from skimage import data

    return np.asarray(data.astronaut())


# The five points of the astronaut's face, read off the picture: eyes, nose, mouth corners.
ASTRONAUT_POINTS = np.array([[203, 101], [248, 102], [226, 130], [202, 140], [247, 141]], dtype=np.float64)


def jpeg(image: NDArray[np.uint8], quality: int = 90) -> bytes:
    """Encode uint8 HWC as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def photo_like(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coloured detail at every scale, as photographs have it (1/f), with sharp edges; uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for octave in range(1, 7):
        cells = rng.integers(0, 256, (2**octave + 1, 2**octave + 1, 3), dtype=np.uint8)
        layer = Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC)
        total += (np.asarray(layer, dtype=np.float64) - 128) / octave
    rows, columns = np.mgrid[:height, :width]
    for _ in range(6):
        y, x, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(5, min(height, width) / 4)
        total[(rows - y) ** 2 + (columns - x) ** 2 < radius**2] += rng.uniform(-60, 60, 3)
    return np.clip(np.rint(total + 128), 0, 255).astype(np.uint8)
