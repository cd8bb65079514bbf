"""Images as bytes: what Pillow opens, what comes back, what is refused."""

from __future__ import annotations

import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pgtools.errors import InputError
from pgtools.stores import codecs
from pgtools.stores.codecs import codec_for, decode_into, encode
from tests.pictures import noise_images, smooth_images


def decoded(data: bytes, side: int) -> np.ndarray:
    out = np.empty((3, side, side), np.uint8)
    decode_into(data, out, where="x")
    return out


@settings(max_examples=40, deadline=None)
@given(
    codec=st.sampled_from(sorted(codecs.LOSSLESS)),
    log_side=st.integers(2, 7),
    channels=st.sampled_from([1, 3]),
    smooth=st.booleans(),
    seed=st.integers(0, 99),
)
def test_lossless_codecs_give_back_what_they_got(codec, log_side, channels, smooth, seed) -> None:
    image = (smooth_images if smooth else noise_images)(1, 2**log_side, seed)[0][:channels]
    data = encode(image, codec)
    expected = image if channels == 3 else image.repeat(3, axis=0)
    np.testing.assert_array_equal(decoded(data, 2**log_side), expected)
    seen = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(seen, expected)


def test_bytes_of_each_codec_begin_as_its_file_format_says() -> None:
    image = smooth_images(1, 8)[0]
    starts = {"raw": b"P6\n# crc32 ", "png": b"\x89PNG", "webp": b"RIFF", "jpeg-90": b"\xff\xd8"}
    for codec, start in starts.items():
        assert encode(image, codec).startswith(start)
    assert encode(image, "webp")[12:16] == b"VP8L"  # the lossless kind
    grey = image[:1].tobytes()
    assert encode(image[:1], "raw") == b"P5\n# crc32 %08x\n8 8\n255\n" % zlib.crc32(grey) + grey


def test_a_raw_image_knows_when_its_pixels_have_changed() -> None:
    data = bytearray(encode(noise_images(1, 16)[0], "raw"))
    data[-5] ^= 1
    out = np.empty((3, 16, 16), np.uint8)
    decode_into(bytes(data), out, where="x")
    with pytest.raises(InputError, match=r"x: is damaged \(its checksum differs\)"):
        decode_into(bytes(data), out, where="x", checked=True)


def test_an_image_in_a_store_is_not_turned_by_its_exif() -> None:
    """A store's other readers do not: two readers of one store see the same bytes."""
    image = smooth_images(1, 8)[0]
    turned = Image.fromarray(image.transpose(1, 2, 0))
    turned.getexif()[0x0112] = 6
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=turned.getexif())
    np.testing.assert_array_equal(decoded(buffer.getvalue(), 8), image)


def test_jpeg_loses_little_and_its_quality_counts() -> None:
    image = smooth_images(1, 64)[0]
    far, near = (np.abs(decoded(encode(image, f"jpeg-{q}"), 64).astype(int) - image).mean() for q in (30, 95))
    assert 0 < near < 1.5
    assert near < far


@pytest.mark.parametrize(
    ("codec", "expected"),
    [
        ("auto", {1024: "webp", 512: "webp", 256: "raw", 4: "raw"}),
        ("jpeg", {1024: "jpeg-95", 512: "webp", 256: "raw", 4: "raw"}),
        ("png", {1024: "png", 256: "png", 4: "png"}),
        ("raw", {1024: "raw", 4: "raw"}),
    ],
)
def test_which_codec_a_level_gets(codec: str, expected: dict[int, str]) -> None:
    assert {level: codec_for(level, 1024, codec, 95) for level in expected} == expected


@pytest.mark.parametrize("codec", ["raw", "png", "webp", "jpeg-90"])
def test_an_image_of_another_size_is_refused_before_it_is_decoded(monkeypatch, codec: str) -> None:
    data = encode(smooth_images(1, 16)[0], codec)
    monkeypatch.setattr(cv2, "imdecode", None)
    monkeypatch.setattr(Image.Image, "load", None)
    with pytest.raises(InputError, match="x: is 16×16 pixels; expected 8×8"):
        decoded(data, 8)


@pytest.mark.parametrize("codec", ["raw", "png", "webp", "jpeg-90"])
def test_an_image_that_is_cut_short_is_refused(codec: str) -> None:
    data = encode(noise_images(1, 16)[0], codec)
    for length in (0, 5, 12, len(data) // 2):
        with pytest.raises(InputError, match=r"^x: is "):
            decoded(data[:length], 16)


def test_a_photo_with_alpha_or_16_bits_reads_as_pillow_does() -> None:
    """Only pgtools' own kinds of files take the fast ways: any other decoder might round differently."""
    deep = (np.arange(64, dtype=np.uint32).reshape(8, 8) * 1000).astype(np.uint16)
    alpha = np.dstack([smooth_images(1, 8)[0].transpose(1, 2, 0), np.full((8, 8), 7, np.uint8)])
    for picture in (Image.fromarray(deep), Image.fromarray(alpha)):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        expected = (
            np.rint(deep / 257)[None].repeat(3, 0) if picture.mode != "RGBA" else alpha[..., :3].transpose(2, 0, 1)
        )
        np.testing.assert_array_equal(decoded(buffer.getvalue(), 8), expected)
