"""How one image becomes bytes in a store, and bytes an image: raw, PNG, lossless WebP, JPEG.

All of them are what Pillow opens, raw included: it is a binary PPM (PGM for grey) whose comment is the CRC-32 of its
pixels, so that reading it checks it without looking anything up. docs/decisions/0007-codecs.md has the measurements
behind `codec_for`.
"""

from __future__ import annotations

import functools
import io
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgtools.errors import InputError
from pgtools.imaging.photo import decode

CODECS = ("auto", "raw", "png", "webp", "jpeg")
LOSSLESS = frozenset({"raw", "png", "webp"})
# Up to this side reading without decoding is worth its bytes: about a fifth of what a 1024² image takes in all.
RAW_UP_TO = 256
# How a raw image begins; the CRC-32 follows in hex, then its size.
RGB_HEAD, GREY_HEAD = b"P6\n# crc32 ", b"P5\n# crc32 "
RAW_CRC = slice(len(RGB_HEAD), len(RGB_HEAD) + 8)
# From this side on OpenCV separates the channels faster than NumPy copies them.
SPLIT_FROM = 64


def codec_for(level: int, top: int, codec: str, quality: int) -> str:
    """Return the codec of one level: "raw", "png", "webp" or "jpeg-QUALITY".

    "auto" is raw up to 256² and lossless WebP above. A codec asked for by name holds for every level, except JPEG: it
    is the top's alone, and the levels below are means of what it gives, stored without further loss.
    """
    if codec == "jpeg" and level == top:
        return f"jpeg-{quality}"
    if codec in ("auto", "jpeg"):
        return "raw" if level <= RAW_UP_TO else "webp"
    return codec


def encode(image: NDArray[np.uint8], codec: str) -> bytes:
    """Return one image as bytes that Pillow opens.

    Args:
        image: uint8 (C, R, R), C = 3 or 1.
        codec: as `codec_for` gives it.
    """
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    if codec == "raw":
        head = RGB_HEAD if len(image) == 3 else GREY_HEAD
        return b"".join((head, b"%08x" % zlib.crc32(pixels.data), _raw_tail(image.shape[-1]), pixels.data))
    if codec == "png":
        ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if len(image) == 3 else pixels
        return cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels if len(image) == 3 else pixels[:, :, 0])
    if codec == "webp":
        # The fastest method: slower ones take ten times as long for 10% less.
        picture.save(buffer, "WEBP", lossless=True, quality=0, method=0)
    else:
        picture.save(buffer, "JPEG", quality=int(codec.removeprefix("jpeg-")), subsampling=0)
    return buffer.getvalue()


def decode_into(data: bytes, out: NDArray[np.uint8], *, where: str, checked: bool = False) -> None:
    """Decode one image that has to have the size of `out`; larger ones are refused before they are decoded.

    Args:
        data: what `encode` gave, or any image that Pillow opens.
        out: uint8 (3, R, R), filled; a grey image is repeated.
        where: named in errors.
        checked: hold a raw image against its own checksum.

    Raises:
        InputError: the bytes are no image, are damaged, or are of another size.
    """
    side = out.shape[-1]
    size, pixels = _raw(data, side, checked=checked, where=where) or _lossless_webp(data, side) or ((side, side), None)
    if size != (side, side):
        raise InputError(f"{where}: is {size[0]}×{size[1]} pixels; expected {side}×{side}.")
    if pixels is None:
        pixels = decode(data, where=where, size=size, upright=False)
    if pixels.shape[2] == 1:
        out[:] = pixels[:, :, 0]
    elif side < SPLIT_FROM:
        out[:] = pixels.transpose(2, 0, 1)
    else:
        cv2.split(pixels, [out[0], out[1], out[2]])


Decoded = tuple[tuple[int, int], NDArray[np.uint8] | None]


def _raw(data: bytes, side: int, *, checked: bool, where: str) -> Decoded | None:
    """A PPM or PGM as this file writes them: no copy, no decoder. Others are Pillow's."""
    channels = 3 if data.startswith(RGB_HEAD) else 1 if data.startswith(GREY_HEAD) else 0
    tail = _raw_tail(side)
    start = RAW_CRC.stop + len(tail)
    if not channels or data[RAW_CRC.stop : start] != tail or len(data) != start + channels * side * side:
        return None
    if checked and data[RAW_CRC] != b"%08x" % zlib.crc32(memoryview(data)[start:]):
        raise InputError(f"{where}: is damaged (its checksum differs).")
    return (side, side), np.frombuffer(data, np.uint8, offset=start).reshape(side, side, channels)


@functools.cache
def _raw_tail(side: int) -> bytes:
    return b"\n%d %d\n255\n" % (side, side)


def _lossless_webp(data: bytes, side: int) -> Decoded | None:
    """A simple lossless WebP: OpenCV decodes it in half of Pillow's time, from the same library."""
    if data[:4] != b"RIFF" or data[8:16] != b"WEBPVP8L" or len(data) < 25:
        return None
    bits = int.from_bytes(data[21:25], "little")
    size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if size != (side, side):
        return size, None
    return size, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
