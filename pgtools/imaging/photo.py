"""Photos in and out: the only place where an image file is decoded or a PNG encoded."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pgtools.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
# Those that usually hold less than the photograph was.
LOSSY = frozenset({".jpg", ".jpeg", ".webp"})
# The plug-ins of Pillow that read them; the others are as many parsers more for strangers' bytes, and EPS starts
# Ghostscript. A phone's MPO is opened as JPEG.
KINDS = {"JPEG": "JPEG", "PNG": "PNG", "WEBP": "WebP", "BMP": "BMP", "TIFF": "TIFF", "PPM": "PPM"}


def photos_in(folder: Path) -> list[Path]:
    """Return the photographs in a folder and below, in the order of their names.

    Raises:
        InputError: it is no folder, or holds none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; expected one of photographs.")
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        raise InputError(f"{folder} holds no photographs ({', '.join(sorted(SUFFIXES))}).")
    return found


def read_photo(path: Path, *, upright: bool = True) -> NDArray[np.uint8]:
    """Return the photo in a file as uint8 RGB (H, W, 3); see `decode`.

    Raises:
        InputError: the file cannot be read, is no image, is cut short, or is absurdly large.
    """
    return decode(read_file(path), where=str(path), upright=upright)


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file; a pipe or a device would keep its reader waiting for good.

    Raises:
        InputError: it cannot be read, or is no regular file.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"{path}: is no regular file.", hint="Move it away.")
            return file.read()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None


def decode(data: bytes, *, where: str, upright: bool = True, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return an encoded image (JPEG, PNG, WebP, BMP, TIFF, PPM) as uint8 RGB (H, W, 3).

    Grey is repeated, alpha is dropped, CMYK is converted, 16 bits become 8.

    Args:
        data: the file's bytes.
        where: named in errors.
        upright: turn it by its EXIF orientation; without, pixels stand as stored, which is what annotations name.
        size: (width, height) it has to have, if that is known; another is refused before it is decoded.

    Raises:
        InputError: the bytes are no such image, are cut short, are of another size, or announce more pixels than
            Pillow's bomb limit.
    """
    with _told(where), Image.open(io.BytesIO(data), formats=tuple(KINDS)) as opened:
        if size and opened.size != size:
            width, height = opened.size
            raise InputError(f"{where}: is {width}×{height} pixels; expected {size[0]}×{size[1]}.")
        return _rgb(ImageOps.exif_transpose(opened) if upright else opened)


def size_of(path: Path) -> tuple[int, int]:
    """Return the width and height that an image file announces, as its pixels are stored; nothing is decoded.

    Args:
        path: a regular file.

    Raises:
        InputError: the file cannot be read, is no image that pgtools reads, or announces absurdly many pixels.
    """
    with _told(str(path)), Image.open(path, formats=tuple(KINDS)) as opened:
        return opened.size


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    """Whatever Pillow raises, as one InputError."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise InputError(f"{where}: announces too many pixels to be a photo ({error}).") from None
    except UnidentifiedImageError:
        raise InputError(f"{where}: is not an image that pgtools reads ({', '.join(KINDS.values())}).") from None
    except (MemoryError, InputError):
        raise
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error, …
        raise InputError(f"{where}: is damaged ({error}).") from None


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return a uint8 RGB image (H, W, 3) as PNG bytes (lossless, fastest compression)."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data.tobytes()


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion clips them at 255
        grey = np.rint(np.asarray(image, dtype=np.float64) / 257)
        return np.clip(grey, 0, 255).astype(np.uint8)[:, :, None].repeat(3, axis=2)
    return np.asarray(image.convert("RGB"))
