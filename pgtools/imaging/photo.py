"""Photos in and out: the only place where an image file is decoded or a PNG encoded."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, PpmImagePlugin, TiffImagePlugin, WebPImagePlugin

from pgtools.errors import InputError

# Those that usually hold less than the photograph was.
LOSSY = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif", ".heic", ".heif", ".hif"})
SUFFIXES = LOSSY | {".png", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm"}
# What reads each kind: Pillow's plug-ins of these and no others, which are as many parsers more for strangers' bytes;
# EPS starts Ghostscript. A phone's MPO is a JPEG with another behind it.
READERS: dict[str, Any] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
}
# Kinds that not every installation reads → module and class that do, and how to get them.
OPTIONAL = {
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile", "pip install 'pillow>=11.3'"),
    "HEIF": ("pillow_heif", "HeifImageFile", "pip install pillow-heif"),
}
KINDS = (*READERS, *OPTIONAL)
# Pillow's own limit, whatever the program that uses pgtools has set; CelebA's largest photo has 60 million.
MOST_PIXELS = 178_956_970
# What JPEG can name; decoders set several rows aside.
LONGEST_SIDE = 65_535
# A photo of more is converted a strip at a time, as Pillow's own way takes three times its bytes beside it.
STRIP_PIXELS = 1 << 22
# Bytes by which a kind is recognised: the longest list of brands that is looked at.
HEAD = 256
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class MissingReaderError(InputError):
    """A photo of a kind that this installation lacks the reader of; it is read once what is named is installed."""


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
        return read_regular(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None


def read_regular(path: Path, *, limit: int | None = None) -> bytes:
    """Return what `read_file` does, and leave faults of the disk or the network, which may pass, as they are.

    Args:
        path: a regular file.
        limit: most bytes it may have.

    Raises:
        InputError: it is no regular file, or has more bytes.
        OSError: it cannot be read.
    """
    with open(path, "rb", opener=_without_waiting) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"{path}: is no regular file.", hint="Move it away.")
        if limit is not None and status.st_size > limit:
            raise InputError(f"{path}: has {status.st_size} bytes; expected a photo of at most {limit >> 20} MiB.")
        return file.read()


def decode(data: bytes, *, where: str, upright: bool = True, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Return an encoded image (JPEG, PNG, WebP, BMP, TIFF, PPM, AVIF, HEIF) as uint8 RGB (H, W, 3).

    The bytes decide which it is, not the file's name. AVIF needs Pillow 11.3, HEIF the package pillow-heif.

    Convention: values are taken as stored, as the released CelebA-HQ builder and PIL's `convert("RGB")` take them.
    Grey is repeated; CMYK is converted plainly, inverted first where it is Adobe's JPEG; colour profiles are ignored;
    alpha is dropped, so that a transparent pixel shows the colour stored beneath it. Of 16 bits, grey is divided by 257
    and rounded, of colour the upper 8 count. Of several frames or pages the first is taken.

    Args:
        data: the file's bytes.
        where: named in errors.
        upright: turn it by its EXIF orientation; without, pixels stand as stored, which is what annotations name. HEIF
            keeps its turn outside of EXIF and is always upright.
        size: (width, height) it has to have, if that is known; another is refused before it is decoded.

    Raises:
        InputError: the bytes are no such image, are cut short, are of another size, hold numbers that are no levels of
            brightness (floating point, 32 bits, LAB), or announce more than 178,956,970 pixels or a side
            beyond 65,535.
        MissingReaderError: they are AVIF or HEIF, which this installation does not read.
    """
    with _told(where), _opened(io.BytesIO(data), where) as opened:
        if size and opened.size != size:
            width, height = opened.size
            raise InputError(f"{where}: is {width}×{height} pixels; expected {size[0]}×{size[1]}.")
        opened.load()
        turn = TURNS.get(_orientation(opened)) if upright else None
        image = opened if turn is None else opened.transpose(turn)
        return _rgb(image)


def size_of(path: Path) -> tuple[int, int]:
    """Return the width and height that an image file announces, as its pixels are stored; nothing is decoded.

    Args:
        path: a regular file.

    Raises:
        InputError: the file cannot be read, is no image that pgtools reads, or announces absurdly many pixels.
    """
    with _told(str(path)), path.open("rb") as file, _opened(file, str(path)) as opened:
        return opened.size


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    """Whatever Pillow raises, as one InputError."""
    try:
        yield
    except (MemoryError, InputError):
        raise
    except Exception as error:  # Pillow's plug-ins raise OSError, SyntaxError, ValueError, struct.error, …
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{where}: is damaged ({reason}).") from None


def _opened(file: IO[bytes], where: str) -> Image.Image:
    """Return an image whose header is read and whose pixels are not.

    `Image.open` would do the same with a warning from half the limit on, which is another program's to silence.
    """
    kind = _kind(file.read(HEAD))
    file.seek(0)
    if kind is None:
        raise InputError(f"{where}: is not an image that pgtools reads ({', '.join(KINDS)}).")
    try:
        opened: Image.Image = _reader(kind, where)(file, "")
    except Image.DecompressionBombError as error:  # WebP asks before it sets memory aside
        raise InputError(f"{where}: announces too many pixels to be a photo ({error}).") from None
    width, height = opened.size
    if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
        raise InputError(
            f"{where}: announces too many pixels to be a photo ({width}×{height}; expected {MOST_PIXELS} at most, and "
            f"sides up to {LONGEST_SIDE})."
        )
    # What has 32 bits a pixel has no brightest value to go by; 16 bits of PNG and PPM may be called "I" too.
    if opened.mode in ("F", "LAB") or (kind == "TIFF" and opened.mode == "I"):
        what = {"F": "floating-point numbers", "LAB": "LAB colours", "I": "numbers of 32 bits"}[opened.mode]
        raise InputError(f"{where}: holds {what}; expected 8 or 16 bits a channel.", hint="Convert it.")
    return opened


def _kind(head: bytes) -> str | None:
    """Return the kind that the first bytes tell, None if they tell none."""
    if head[4:8] == b"ftyp":  # a box of its length, the main brand, a version and more brands of four letters
        length = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12]} | {head[i : i + 4] for i in range(16, length, 4)}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIF" if brands & {b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc"} else None
    if head[:4] == b"RIFF":
        return "WebP" if head[8:12] == b"WEBP" else None
    if head[:1] == b"P":
        return "PPM" if head[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6") and head[2:3].isspace() else None
    starts = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n", "BMP": b"BM"}
    tiff = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    return (
        "TIFF" if head[:4] in tiff else next((kind for kind, start in starts.items() if head.startswith(start)), None)
    )


def _reader(kind: str, where: str) -> Any:
    if kind in READERS:
        return READERS[kind]
    module, name, install = OPTIONAL[kind]
    try:
        plugin = importlib.import_module(module)
    except ImportError:
        plugin = None
    if plugin is None or not getattr(plugin, "SUPPORTED", True):  # a Pillow may be built without the library
        raise MissingReaderError(f"{where}: is {kind}, which is not read here ({install} helps).")
    return getattr(plugin, name)


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 to 8; 1 where there is none, or none that can be read.

    Args:
        image: a loaded one: a PNG's EXIF may stand behind the pixels, whose damage is no matter of EXIF.
    """
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # EXIF is a TIFF of its own, with as many ways to be damaged
        return 1


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Return a uint8 RGB image (H, W, 3) as PNG bytes (lossless, fastest compression)."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return data.tobytes()


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    image.info.pop("transparency", None)  # of a palette, it would be warned of where it is dropped
    width, height = image.size
    rows = max(1, STRIP_PIXELS // width)
    if rows >= height:
        return _converted(image)
    whole = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, rows):
        whole[top : top + rows] = _converted(image.crop((0, top, width, min(top + rows, height))))
    return whole


def _converted(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion clips them at 255
        levels = np.rint(np.arange(1 << 16) / 257).astype(np.uint8)
        grey: NDArray[np.uint8] = levels[np.clip(np.asarray(image), 0, 65535)]
        return grey[:, :, None].repeat(3, axis=2)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
