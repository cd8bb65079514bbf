"""Photos in and out: the only place where an image file is decoded or a PNG encoded."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pgtools.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})


def read_photo(path: Path, *, upright: bool = True) -> NDArray[np.uint8]:
    """Return the photo in a file as uint8 RGB (H, W, 3); see `decode`.

    Raises:
        InputError: the file cannot be read, is no image, is cut short, or is absurdly large.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    return decode(data, where=str(path), upright=upright)


def decode(data: bytes, *, where: str, upright: bool = True, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return an encoded image (JPEG, PNG, WebP, …) as uint8 RGB (H, W, 3).

    Grey is repeated, alpha is dropped, CMYK is converted, 16 bits become 8.

    Args:
        data: the file's bytes.
        where: named in errors.
        upright: turn it by its EXIF orientation; without, pixels stand as stored, which is what annotations name.
        size: (width, height) it has to have, if that is known; another is refused before it is decoded.

    Raises:
        InputError: the bytes are no image, are cut short, are of another size, or announce more pixels than Pillow's
            bomb limit.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            if size and opened.size != size:
                width, height = opened.size
                raise InputError(f"{where}: is {width}×{height} pixels; expected {size[0]}×{size[1]}.")
            return _rgb(ImageOps.exif_transpose(opened) if upright else opened)
    except Image.DecompressionBombError as error:
        raise InputError(f"{where}: announces too many pixels to be a photo ({error}).") from None
    except UnidentifiedImageError:
        raise InputError(f"{where}: is not an image (or of a kind Pillow does not read).") from None
    except (MemoryError, InputError):
        raise
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error, …
        raise InputError(f"{where}: is damaged ({error}).") from None


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return a uint8 RGB image (H, W, 3) as PNG bytes (lossless, fastest compression)."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data.tobytes()


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion clips them at 255
        grey = np.rint(np.asarray(image, dtype=np.float64) / 257)
        return np.clip(grey, 0, 255).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    return np.asarray(image.convert("RGB"))
