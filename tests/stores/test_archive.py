"""ZIPs of images that other people made, honest and hostile, built here with zipfile and by hand."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgtools.errors import InputError, PgtoolsError
from pgtools.stores.formats import archive
from pgtools.stores.opening import open_source
from tests.pictures import noise_images
from tests.stores.sets import written


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def zip_of(path: Path, files: dict[str, bytes], packed: int = zipfile.ZIP_STORED, front: bytes = b"") -> Path:
    with path.open("wb") as file:
        file.write(front)
        with zipfile.ZipFile(file, "w", packed) as opened:
            for name, data in files.items():
                opened.writestr(name, data)
    return path


def refuse(path: Path, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        open_source(path).read([0])
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("front", [b"", b"#!/bin/sh\n"])
def test_members_are_read_in_place_in_the_order_of_their_names(tmp_path, packed: int, front: bytes) -> None:
    images = noise_images(3, 8)
    files = {f"{'cab'[i]}/x.png": png(image) for i, image in enumerate(images)} | {"readme.txt": b"hello"}
    source = open_source(zip_of(tmp_path / "x.zip", files, packed, front))
    np.testing.assert_array_equal(source.read([0, 1, 2]), images[[1, 2, 0]])
    assert source.labels is not None
    assert source.labels.tolist() == [0, 1, 2]
    assert [record.name for record in source.records([2])] == ["c/x.png"]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read([0]), images[[1]])  # noqa: S301


@pytest.mark.parametrize("name", ["../x.png", "/x.png", "a/../../x.png"])
def test_a_name_that_leads_out_refuses_the_whole(tmp_path, name: str) -> None:
    data = png(noise_images(1, 4)[0])
    refuse(zip_of(tmp_path / "x.zip", {"0.png": data, name: data}), "names a file outside of itself")


def test_a_name_of_two_lines_is_refused_in_one(tmp_path) -> None:
    data = png(noise_images(1, 4)[0])
    refuse(zip_of(tmp_path / "x.zip", {"0.png": data, "a\nb.png": data}), "with control characters")


def central(path: Path, offset: int, format: str, value: int) -> Path:
    """Overwrite a number in the directory's entry of the first member."""
    data = bytearray(path.read_bytes())
    struct.pack_into(format, data, data.index(b"PK\x01\x02") + offset, value)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("lie", [-1, +1])
def test_a_lying_size_is_refused(tmp_path, packed: int, lie: int) -> None:
    data = png(noise_images(1, 4)[0])
    refuse(central(zip_of(tmp_path / "x.zip", {"0.png": data}, packed), 24, "<I", len(data) + lie), "is damaged")


def test_an_enormous_size_is_refused_before_it_is_read(tmp_path) -> None:
    path = zip_of(tmp_path / "x.zip", {"0.png": png(noise_images(1, 4)[0])})
    refuse(central(path, 24, "<I", 1 << 30), "announces more than 256 MiB")


def test_a_bomb_is_not_unpacked(tmp_path) -> None:
    """64 MiB of zeros in 64 KiB that claim to be 1,000 bytes: no more than those are made."""
    bomb = zip_of(tmp_path / "x.zip", {"0.png": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    central(bomb, 24, "<I", 1000)
    source = open_source(bomb)
    tracemalloc.start()
    with pytest.raises(InputError, match="is damaged"):
        source.read([0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_member_that_cannot_be_unpacked_is_named(tmp_path) -> None:
    path = zip_of(tmp_path / "x.zip", {"0.png": png(noise_images(1, 4)[0])})
    refuse(central(path, 10, "<H", zipfile.ZIP_DEFLATED), "x.zip/0.png: is damaged")
    refuse(central(path, 10, "<H", zipfile.ZIP_BZIP2), "encrypted or packed in a way")
    encrypted = zip_of(tmp_path / "x.zip", {"0.png": png(noise_images(1, 4)[0])})
    refuse(central(encrypted, 8, "<H", 1), "encrypted or packed in a way")
    refuse(zip_of(tmp_path / "x.zip", {"0.png": b"x" * 100}, zipfile.ZIP_LZMA), "encrypted or packed in a way")


def test_damage_in_a_member_is_found_by_its_checksum(tmp_path) -> None:
    image = noise_images(1, 4)[0]
    path = zip_of(tmp_path / "x.zip", {"0.png": png(image)})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"IDAT", b"IDAX"))
    refuse(path, "its checksum differs")
    path.write_bytes(data.replace(b"PK\x03\x04", b"PK\x03\x05"))
    refuse(path, "damaged .no header")
    crc = central(zip_of(path, {"0.png": png(image)}), 16, "<I", zlib.crc32(b"something else"))
    refuse(crc, "its checksum differs")


def test_a_member_beyond_the_end_is_refused(tmp_path) -> None:
    path = zip_of(tmp_path / "x.zip", {"0.png": png(noise_images(1, 4)[0])})
    refuse(central(path, 42, "<I", 1 << 20), "is cut short")


def test_an_archive_without_images_or_without_an_end_is_refused(tmp_path) -> None:
    refuse(zip_of(tmp_path / "x.zip", {"0.txt": b"", "d.png/": b""}), "holds no image files")
    path = zip_of(tmp_path / "y.zip", {"0.png": png(noise_images(1, 4)[0])})
    path.write_bytes(path.read_bytes()[:-30])
    refuse(path, "y.zip is no image source")


@pytest.mark.parametrize(
    "text",
    [b"{", b"[1]", b'{"labels": 3}', b'{"labels": [["0.png", [0, 1]]]}', b'{"labels": [["1.png", 0]]}', b"[" * 100_000],
)
def test_a_dataset_json_that_gives_no_class_numbers_is_refused(tmp_path, text: bytes) -> None:
    path = zip_of(tmp_path / "x.zip", {"0.png": png(noise_images(1, 4)[0]), "dataset.json": text})
    with pytest.raises(InputError, match=r"dataset\.json does not give one class number an image") as caught:
        _ = open_source(path).labels
    assert len(caught.value.message) < 1000


def test_a_limit_on_members_holds_for_dataset_json_too(tmp_path, monkeypatch) -> None:
    path = zip_of(tmp_path / "x.zip", {"0.png": png(noise_images(1, 4)[0]), "dataset.json": b" " * 2000})
    monkeypatch.setattr(archive, "MAX_MEMBER_BYTES", 1000)
    with pytest.raises(InputError, match=r"dataset\.json: announces more than"):
        _ = open_source(path).labels


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_no_flipped_byte_changes_an_image(tmp_path, packed: int) -> None:
    """Every member is under a checksum; a flip elsewhere may hide one, or change a name, and nothing else comes out."""
    images, rng = noise_images(3, 8), np.random.default_rng(0)
    (path,) = written(tmp_path, images, "a.zip", labels=[0, 1, 2])
    with zipfile.ZipFile(path) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    whole = zip_of(path, files, packed).read_bytes()
    refused = 0
    for _ in range(200):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        try:
            source = open_source(path)
            for image in source.read(range(len(source))):
                assert any((image == one).all() for one in images)
            _ = source.labels
        except PgtoolsError as error:
            refused += 1
            assert "\n" not in error.message
    assert refused > 50
