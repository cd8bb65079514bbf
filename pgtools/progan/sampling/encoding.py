"""Frames into a video file: MP4 by PyAV, GIF and WebP by Pillow; one frame in memory at a time.

Pillow's own animations hold every frame until the last one is there. So it encodes each frame as a picture of its
own, and what stands in such a picture goes into the animation's container here: a few fields around bytes that stay
as they are. Sources: GIF89a Specification; WebP Container Specification.
"""

from __future__ import annotations

import importlib
import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from pgtools.errors import InputError, UsageError
from pgtools.runtime.files import written_aside
from pgtools.runtime.progress import track

Frames = Iterator[NDArray[np.uint8]]

# x264's constant quality: 18 looks like the original, 23 is its default.
CRF = 18
WEBP_QUALITY = 90
# What WebP can hold; H.264's encoder and GIF hold a little more.
LONGEST_SIDE = 16383
# A GIF's field for how long a frame stays ends at 655 seconds.
LONGEST_SECONDS = 600


def check_encoder(file: Path) -> None:
    """Raise InputError if what writes such a video is missing here.

    Raises:
        InputError: it is an MP4 and PyAV or its x264 is missing, or a WebP and Pillow was built without.
    """
    suffix = file.suffix.lower()
    if suffix == ".mp4":
        _pyav(file)
    elif suffix == ".webp" and not features.check("webp"):
        raise InputError(f"{file} is a WebP, which this Pillow was built without.", hint="Name a file ending in .gif.")


def check_size(file: Path, width: int, height: int) -> None:
    """Raise UsageError if frames of this size are larger than a video can be.

    Raises:
        UsageError: a side is longer than 16383 pixels.
    """
    if max(width, height) > LONGEST_SIDE:
        raise UsageError(
            f"{file} would have frames of {width}×{height} pixels; expected {LONGEST_SIDE} at most a side.",
            hint="Ask for fewer rows and columns.",
        )


def write_video(file: Path, frames: Frames, *, count: int, fps: int) -> None:
    """Write frames as a video, whole or not at all; GIF and WebP begin again at their end.

    Args:
        file: its suffix, .mp4, .gif or .webp, says how. MP4 is H.264 with 4:2:0 colours of BT.709, which browsers
            play from the first bytes on; an odd side gets its last row or column twice.
        frames: uint8 RGB (H, W, 3), all of one size, taken one at a time.
        count: how many come, for the progress bar.
        fps: frames a second. A GIF counts hundredths of a second, so frames there may stay one more or less.

    Raises:
        InputError: what writes such a file is missing.
    """
    check_encoder(file)
    write = {".mp4": _write_mp4, ".gif": _write_gif, ".webp": _write_webp}[file.suffix.lower()]
    with written_aside(file) as aside:
        write(aside, track(frames, f"Writing {file}", count), fps)


def _pyav(file: Path) -> ModuleType:
    try:
        av = importlib.import_module("av")
    except ImportError:
        raise InputError(
            f"{file} is an MP4, which needs the package av.",
            hint='pip install "pgtools[video]", or name a file ending in .webp or .gif',
        ) from None
    if "libx264" not in av.codecs_available:
        raise InputError(
            f"{file} is an MP4, but this av was built without x264.",
            hint="Install av from its wheels, or name a file ending in .webp or .gif.",
        )
    return av


def _write_mp4(aside: Path, frames: Frames, fps: int) -> None:
    av = _pyav(aside)
    # The index in front, so that a browser plays while it loads; players take the colours for BT.601 if not told.
    colours = "colorprim=bt709:transfer=bt709:colormatrix=bt709"
    with av.open(str(aside), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": str(CRF), "x264-params": colours})
        stream.pix_fmt = "yuv420p"
        for i, frame in enumerate(frames):
            even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")
            if i == 0:
                stream.height, stream.width = even.shape[:2]
            rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
            picture = rgb.reformat(format="yuv420p", dst_colorspace="ITU709")
            picture.pts, picture.time_base = i, Fraction(1, fps)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _write_gif(aside: Path, frames: Frames, fps: int) -> None:
    with aside.open("wb") as file:
        for i, (frame, begin, end) in enumerate(_timed(frames, fps)):
            height, width = frame.shape[:2]
            table_bits, table, data = _parts_of_gif(frame)
            if i == 0:
                file.write(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x70, 0, 0))
                file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")  # again and again
            delay = round(end * 100) - round(begin * 100)
            file.write(b"\x21\xf9\x04" + struct.pack("<BHBB", 0x04, delay, 0, 0))  # it stays until the next one
            file.write(b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0x80 | table_bits) + table + data)
        file.write(b"\x3b")


def _parts_of_gif(frame: NDArray[np.uint8]) -> tuple[int, bytes, bytes]:
    """Return the size field of a frame's own 256 colours, the colours, and the compressed pixels."""
    buffer = io.BytesIO()
    Image.fromarray(frame).quantize(256).save(buffer, "GIF", optimize=False, interlace=0)
    gif = buffer.getvalue()
    table_bits = gif[10] & 0x07
    at = 13 + 3 * 2 ** (table_bits + 1)
    table = gif[13:at]
    while gif[at] == 0x21:  # extensions: two bytes, then blocks that tell their length, the last one empty
        at += 2
        while gif[at]:
            at += 1 + gif[at]
        at += 1
    return table_bits, table, gif[at + 10 : -1]  # behind the frame's place and size, before the end mark


def _write_webp(aside: Path, frames: Frames, fps: int) -> None:
    with aside.open("wb") as file:
        for i, (frame, begin, end) in enumerate(_timed(frames, fps)):
            width, height = _three(frame.shape[1] - 1), _three(frame.shape[0] - 1)
            if i == 0:
                file.write(b"RIFF\0\0\0\0WEBP" + _chunk(b"VP8X", b"\x02\0\0\0" + width + height))
                file.write(_chunk(b"ANIM", b"\0\0\0\xff" + b"\0\0"))  # on black, again and again
            milliseconds = round(end * 1000) - round(begin * 1000)
            place = _three(0) + _three(0) + width + height + _three(milliseconds)
            file.write(_chunk(b"ANMF", place + b"\x02" + _pixels_of_webp(frame)))  # drawn over what was there
        length = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", length))


def _pixels_of_webp(frame: NDArray[np.uint8]) -> bytes:
    """Return the chunk of a WebP picture that holds its pixels."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "WEBP", quality=WEBP_QUALITY)
    webp, at = buffer.getvalue(), 12
    while webp[at : at + 4] not in (b"VP8 ", b"VP8L"):
        at += 8 + _padded(struct.unpack_from("<I", webp, at + 4)[0])
    return webp[at : at + 8 + _padded(struct.unpack_from("<I", webp, at + 4)[0])]


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def _padded(length: int) -> int:
    return length + length % 2


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")


def _timed(frames: Frames, fps: int) -> Iterator[tuple[NDArray[np.uint8], float, float]]:
    """Yield each frame with the seconds at which it comes and goes; one that repeats comes once and stays."""
    held: NDArray[np.uint8] | None = None
    begin = at = 0
    for frame in frames:
        if held is not None and (at - begin >= LONGEST_SECONDS * fps or not np.array_equal(frame, held)):
            yield held, begin / fps, at / fps
            held, begin = None, at
        held = frame if held is None else held
        at += 1
    if held is not None:
        yield held, begin / fps, at / fps
