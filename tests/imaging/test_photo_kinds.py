"""Every kind of photo that people have: what becomes of its pixels, or why it is refused."""

from __future__ import annotations

import importlib.util
import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from pgtools.errors import InputError
from pgtools.imaging import photo
from pgtools.imaging.photo import (
    LOSSY,
    SUFFIXES,
    MissingReaderError,
    decode,
    photos_in,
    read_photo,
    read_regular,
    size_of,
)
from tests.pictures import astronaut

FACE = astronaut()[60:140, 180:268]
AVIF = pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
HEIF = pytest.mark.skipif(not importlib.util.find_spec("pillow_heif"), reason="pillow-heif is not installed")


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG written by hand; `rows` with their filter bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(tags: dict[int, tuple[int, list[int]]], pixels: bytes) -> bytes:
    """A little-endian TIFF of one strip, written by hand: tag → type (3 short, 4 long) and values."""
    tags = {**tags, 273: (4, [8]), 279: (4, [len(pixels)])}
    extra, entries = b"", b""
    start = 8 + len(pixels)
    after = start + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        data = struct.pack(f"<{len(values)}{'H' if kind == 3 else 'I'}", *values)
        if len(data) > 4:
            data, extra = struct.pack("<I", after + len(extra)), extra + data
        entries += struct.pack("<HHI", tag, kind, len(values)) + data.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", start) + pixels + struct.pack("<H", len(tags)) + entries + b"\0" * 4 + extra


def test_cmyk_comes_out_in_its_colours_from_jpeg_and_tiff() -> None:
    """Adobe's JPEGs are inverted; read plainly they would be negatives."""
    cmyk = Image.fromarray(FACE).convert("CMYK")
    data = encoded(cmyk, "JPEG", quality=95)
    assert b"Adobe" in data[:200]
    np.testing.assert_allclose(decode(data, where="x").astype(int), FACE, atol=40)
    assert np.abs(decode(data, where="x").astype(int) - FACE).mean() < 2
    np.testing.assert_array_equal(decode(encoded(cmyk, "TIFF"), where="x"), FACE)


def test_grey_is_repeated_whatever_holds_it() -> None:
    grey = np.asarray(Image.fromarray(FACE).convert("L"))
    for kind in ("PNG", "TIFF", "BMP", "PPM"):
        np.testing.assert_array_equal(decode(encoded(Image.fromarray(grey), kind), where="x"), np.dstack([grey] * 3))
    bits = (grey > 128).astype(np.uint8) * 255
    found = decode(encoded(Image.fromarray(bits).convert("1"), "PNG"), where="x")
    np.testing.assert_array_equal(found, np.dstack([bits] * 3))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_alpha_is_dropped_and_leaves_the_colour_beneath(mode: str) -> None:
    plain = Image.fromarray(FACE).convert({"RGBA": "RGB", "LA": "L", "P": "P"}[mode])
    expected = np.asarray(plain.convert("RGB"))
    if mode == "P":
        # A list of transparencies, of which Pillow would warn where they are dropped: here a warning is a failure.
        data = encoded(plain, "PNG", transparency=bytes(range(0, 256, 2)))
    else:
        plain.putalpha(Image.fromarray((FACE[:, :, 0] // 64 * 64).astype(np.uint8)))
        data = encoded(plain, "PNG")
    np.testing.assert_array_equal(decode(data, where="x"), expected)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_of_grey_become_the_nearest_eight(kind: str) -> None:
    values = np.linspace(0, 65535, 64 * 32).astype(np.uint16).reshape(32, 64)
    if kind == "PPM":
        data = b"P5\n64 32\n65535\n" + values.astype(">u2").tobytes()
    else:
        data = encoded(Image.fromarray(values), kind)
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(decode(data, where="x"), np.dstack([expected] * 3))


def sixteen() -> NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 65536, (16, 16, 3)).astype(np.uint16)


def test_of_sixteen_bits_of_colour_the_upper_eight_count() -> None:
    values = sixteen()
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    np.testing.assert_array_equal(decode(png(16, 16, 16, 2, rows), where="x"), values >> 8)
    shape = {256: (4, [16]), 257: (4, [16]), 258: (3, [16] * 3), 259: (3, [1]), 262: (3, [2]), 277: (3, [3])}
    data = tiff({**shape, 278: (4, [16])}, values.astype("<u2").tobytes())
    np.testing.assert_array_equal(decode(data, where="x"), values >> 8)


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (Image.fromarray(np.ones((4, 4), np.float32)), "floating-point numbers"),
        (Image.fromarray(np.ones((4, 4), np.int32)), "numbers of 32 bits"),
        (Image.new("LAB", (4, 4)), "LAB colours"),
    ],
)
def test_numbers_without_a_brightest_value_are_refused(image: Image.Image, what: str) -> None:
    with pytest.raises(InputError, match=f"x: holds {what}; expected 8 or 16 bits"):
        decode(encoded(image, "TIFF"), where="x")


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "PNG", "MPO", pytest.param("AVIF", marks=AVIF)])
def test_of_several_frames_the_first_is_taken(kind: str) -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in (40, 200)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode(data, where="x").astype(int), 40, atol=3)


@AVIF
def test_avif_is_read_as_other_photos_are() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(FACE), "AVIF", quality=95, exif=exif)
    np.testing.assert_allclose(decode(data, where="x", upright=False).astype(int), FACE, atol=60)
    assert decode(data, where="x").shape == (88, 80, 3)


@HEIF
def test_heif_is_read_where_pillow_heif_is_there() -> None:
    import pillow_heif

    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(FACE)).save(buffer, quality=95)
    np.testing.assert_allclose(decode(buffer.getvalue(), where="x").astype(int), FACE, atol=60)


@pytest.mark.parametrize(
    ("brand", "kind", "hint"),
    [(b"heic", "HEIF", "pip install pillow-heif"), (b"avif", "AVIF", "pillow>=11.3")],
)
def test_a_kind_that_this_installation_lacks_is_named_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, brand: bytes, kind: str, hint: str
) -> None:
    lacking = {name: ("pgtools.nowhere", *rest) for name, (_, *rest) in photo.OPTIONAL.items()}
    monkeypatch.setattr(photo, "OPTIONAL", lacking)
    data = struct.pack(">I", 24) + b"ftyp" + brand + b"\0\0\0\0mif1" + brand + bytes(100)
    with pytest.raises(MissingReaderError, match=f"x: is {kind}, which is not read here") as caught:
        decode(data, where="x")
    assert hint in caught.value.message
    with pytest.raises(InputError) as damaged:
        decode(b"BM" + bytes(9), where="x")
    assert not isinstance(damaged.value, MissingReaderError)  # nothing that is installed will read it


def test_the_bytes_and_not_the_suffix_decide(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(Image.fromarray(FACE), "PNG"))
    np.testing.assert_array_equal(read_photo(tmp_path / "a.jpg"), FACE)
    assert size_of(tmp_path / "a.jpg") == (88, 80)


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_of_exif(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(Image.fromarray(FACE), "PNG", exif=exif)
    rotated = np.rot90(FACE, {3: 2, 4: 2, 5: -1, 6: -1, 7: 1, 8: 1}.get(turn, 0))
    np.testing.assert_array_equal(decode(data, where="x"), rotated[:, ::-1] if turn in (2, 4, 5, 7) else rotated)
    np.testing.assert_array_equal(decode(data, where="x", upright=False), FACE)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("what", [(b"MM\0*", b"MX\0*"), (b"\x01\x12\0\x03", b"\x01\x12\0\x01")])
def test_damaged_exif_beside_whole_pixels_does_not_lose_the_photo(kind: str, what: tuple[bytes, bytes]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(FACE), kind, exif=exif.tobytes().replace(*what))
    assert decode(data, where="x").shape == FACE.shape


@pytest.mark.parametrize("upright", [True, False])
def test_damaged_pixels_are_refused_with_exif_and_without(upright: bool) -> None:
    """Pillow reads a PNG's pixels to find its EXIF; asked a second time, it gave what it had of them without a word."""
    data = bytearray(encoded(Image.fromarray(FACE), "PNG"))
    at = data.index(b"IDAT") + len(data) // 2
    data[at : at + 8] = bytes(8)
    with pytest.raises(InputError, match="x: is damaged"):
        decode(bytes(data), where="x", upright=upright)


def huge(kind: str, side: int) -> bytes:
    """A small file that announces side × side pixels."""
    data = bytearray(encoded(Image.fromarray(FACE), kind, **({"lossless": True} if kind == "WEBP" else {})))
    if kind == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", side, side)
    elif kind == "PNG":
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", side, side)
    elif kind == "PPM":
        data = bytearray(b"P6\n%d %d\n255\n" % (side, side))
    elif kind == "WEBP":  # 14 bits each, so 16,383 at most
        at, most = data.index(b"VP8L") + 9, min(side, 16383) - 1
        data[at : at + 4] = struct.pack("<I", most | most << 14)
    elif kind == "TIFF":
        data = bytearray(tiff({256: (4, [side]), 257: (4, [side]), 258: (3, [8]), 262: (3, [1])}, b"\0" * 64))
    else:
        at = data.index(b"ispe") + 8
        data[at : at + 8] = struct.pack(">II", side, side)
    return bytes(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "PPM", "WEBP", "TIFF", pytest.param("AVIF", marks=AVIF)])
def test_a_header_of_60_000_pixels_sets_no_memory_aside(kind: str, tmp_path: Path) -> None:
    data = huge(kind, 60_000)
    (tmp_path / "x").write_bytes(data)
    tracemalloc.start()
    try:
        message = "too many pixels|is damaged" if kind == "AVIF" else "announces too many pixels to be a photo"
        with pytest.raises(InputError, match=message):
            decode(data, where="x")
        with pytest.raises(InputError, match=message):
            size_of(tmp_path / "x")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_the_limit_is_where_it_is_said_to_be_and_a_half_of_it_is_no_failure() -> None:
    """Pillow warns from 89 million pixels on; where warnings are errors, as here, that would be a failure."""
    data = png(10_000, 9_000, 1, 0, bytes(9_000 * (10_000 // 8 + 1)))
    assert decode(data, where="x").shape == (9_000, 10_000, 3)
    assert photo.MOST_PIXELS == 2 * Image.MAX_IMAGE_PIXELS
    with pytest.raises(InputError, match="13378×13377; expected 178956970 at most"):
        decode(png(13_378, 13_377, 1, 0, b""), where="x")
    with pytest.raises(InputError, match="1×65536; expected 178956970 at most, and sides up to 65535"):
        decode(png(1, 65_536, 1, 0, bytes(2 * 65_536)), where="x")
    assert decode(png(1, 65_535, 1, 0, bytes(2 * 65_535)), where="x").shape == (65_535, 1, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16", "CMYK"])
def test_strips_are_the_whole(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    image = Image.fromarray(FACE).convert("L" if mode == "I;16" else mode)
    grey = Image.fromarray(np.asarray(image, dtype=np.uint16) * 200) if mode == "I;16" else image
    data = encoded(grey, "TIFF")
    expected = decode(data, where="x")
    monkeypatch.setattr(photo, "STRIP_PIXELS", 7 * FACE.shape[1] + 3)
    np.testing.assert_array_equal(decode(data, where="x"), expected)


def test_suffixes_are_of_kinds_that_are_read(tmp_path: Path) -> None:
    assert LOSSY < SUFFIXES
    kinds = {".avif": "AVIF", ".webp": "WEBP", ".pgm": "PPM", ".pnm": "PPM", ".tif": "TIFF", ".jpe": "JPEG"}
    for suffix, kind in kinds.items():
        if kind != "AVIF" or features.check("avif"):
            (tmp_path / f"a{suffix}").write_bytes(encoded(Image.fromarray(FACE), kind))
            assert read_photo(tmp_path / f"a{suffix}").shape == FACE.shape
    assert {file.suffix for file in photos_in(tmp_path)} == {file.suffix for file in tmp_path.iterdir()}


def test_a_file_too_large_for_a_photo_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.truncate(2 << 20)  # a hole
    assert len(read_regular(path, limit=2 << 20)) == 2 << 20
    with pytest.raises(InputError, match=r"a\.jpg: has 2097152 bytes; expected a photo of at most 1 MiB"):
        read_regular(path, limit=1 << 20)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none.jpg")
