import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgtools.errors import InputError
from pgtools.imaging.photo import decode, encode_png, read_photo
from tests.pictures import astronaut, jpeg, noise_images


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_png_is_lossless() -> None:
    image = noise_images(1, 33)[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(decode(encode_png(image), where="x"), image)


def test_exif_orientation_is_applied() -> None:
    image = Image.fromarray(astronaut()[:100, :50])
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    upright = decode(encoded(image, "PNG", exif=exif), where="x")
    np.testing.assert_array_equal(upright, np.rot90(np.asarray(image), -1))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = Image.fromarray(astronaut()[:16, :16])
    source = Image.new("I;16", (16, 16), 300) if mode == "I;16" else image.convert(mode)
    assert decode(encoded(source, "PNG"), where="x").shape == (16, 16, 3)


def test_sixteen_bits_keep_their_brightness() -> None:
    grey = Image.fromarray(np.full((4, 4), 128 * 257, np.uint16))
    np.testing.assert_array_equal(decode(encoded(grey, "PNG"), where="x"), np.full((4, 4, 3), 128))


def test_cut_short_is_refused_with_the_name(tmp_path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(jpeg(astronaut())[:5000])
    with pytest.raises(InputError, match=r"cut\.jpg: is damaged"):
        read_photo(path)


def test_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="is not an image"):
        decode(b"hello", where="x")


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    header = encoded(Image.new("1", (8, 8)), "PNG")
    huge = header[:16] + (60000).to_bytes(4, "big") * 2 + header[24:]
    with pytest.raises(InputError, match="x: "):
        decode(huge, where="x")


def test_a_missing_file_is_an_input_error(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_photo(tmp_path / "none.jpg")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("MPO", {"save_all": True}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("PPM", {}),
    ],
)
def test_the_kinds_that_the_suffixes_promise(kind: str, options: dict) -> None:
    image = astronaut()[100:132, 200:240]
    more = {"append_images": [Image.fromarray(image)]} if kind == "MPO" else {}
    found = decode(encoded(Image.fromarray(image), kind, **options, **more), where="x")
    assert found.shape == image.shape
    np.testing.assert_allclose(found.astype(int), image, atol=80 if kind in ("JPEG", "MPO") else 0)


@pytest.mark.parametrize("kind", ["EPS", "GIF", "ICO", "TGA", "PCX", "JPEG2000"])
def test_no_other_plug_in_of_pillow_sees_the_bytes(kind: str) -> None:
    """EPS starts Ghostscript; each plug-in is one more parser for strangers' bytes."""
    with pytest.raises(InputError, match=r"x: is not an image that pgtools reads \(JPEG, PNG, WebP, BMP, TIFF, PPM"):
        decode(encoded(Image.fromarray(astronaut()[:32, :32]), kind), where="x")


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png: is no regular file"):
        read_photo(tmp_path / "b.png")
    with pytest.raises(InputError, match="cannot be read"):
        read_photo(tmp_path)
    (tmp_path / "c.png").symlink_to(tmp_path / "real")
    (tmp_path / "real").write_bytes(encode_png(noise_images(1, 8)[0].transpose(1, 2, 0)))
    assert read_photo(tmp_path / "c.png").shape == (8, 8, 3)
