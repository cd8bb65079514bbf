"""The formats, byte by byte, as docs/formats.md says: what a store holds may not change without a new version."""

from __future__ import annotations

import io
import json
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
from PIL import Image

from pgtools import __version__
from pgtools.stores.opening import open_source
from tests.pictures import smooth_images
from tests.stores.sets import written

# Two 4² images, one class each: everything below follows from them by hand.
IMAGES = np.stack([np.arange(48, dtype=np.uint8).reshape(3, 4, 4), np.full((3, 4, 4), 200, np.uint8)])
# Computed beside the code: SHA-256 of the bytes 0…47, and over the two images' hashes; CRC-32 as zlib gives it
# of the bytes that stand in the store, of the pixels, and of the text '["0.png","4dbd…",{"score":0.5},[[4,CRC]],1]'.
HASH = "4dbdc2b2b62cb00749785bc84202236dbc3777d74660611b8e58812f0cfde6c3"
CONTENT = "02e4064b50333357135e6006335112d0d13fabb3199b7e731cb484febba60e7f"


def stored(path: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return {bytes(key): bytes(value) for key, value in transaction.cursor()}


def test_an_lmdb_store_byte_by_byte(tmp_path) -> None:
    attributes = [{"score": 0.5}, {}]
    (path,) = written(tmp_path, IMAGES, "a.lmdb", labels=[1, 0], attributes=attributes, origin={"name": "x"})
    found = stored(path)
    raw = b"P6\n# crc32 3227c773\n4 4\n255\n" + IMAGES[0].transpose(1, 2, 0).tobytes()
    assert found[b"4-00000"] == raw
    assert found[b"4-00001"] == b"P6\n# crc32 9abe4ef5\n4 4\n255\n" + b"\xc8" * 48
    assert found[b"length"] == b"2"
    assert found[b"pgtools-labels"] == b"\x01" + b"\0" * 15
    assert json.loads(found[b"pgtools-record-00000"]) == {
        "attributes": {"score": 0.5},
        "check": 1460227499,
        "crc32": {"4": 2071033960},
        "name": "0.png",
        "sha256": HASH,
    }
    assert json.loads(found[b"pgtools-header"]) == {
        "classes": 2,
        "codecs": {"4": "raw"},
        "colour": "rgb",
        "content": CONTENT,
        "count": 2,
        "levels": [4],
        "origin": {"by": f"pgtools {__version__}", "name": "x", "sha256": CONTENT},
        "version": 2,
    }
    assert sorted(found) == [
        b"4-00000",
        b"4-00001",
        b"length",
        b"pgtools-header",
        b"pgtools-labels",
        b"pgtools-record-00000",
        b"pgtools-record-00001",
    ]


def test_an_hdf5_store_data_set_by_data_set(tmp_path) -> None:
    (path,) = written(tmp_path, IMAGES, "a.h5", labels=[1, 0], attributes=[{"score": 0.5}, {}])
    with h5py.File(path) as file:
        assert {name: (data.shape, data.dtype.str) for name, data in file.items()} == {
            "attributes": ((2, 1), "|S14"),
            "checks": ((2, 1), "<u4"),
            "crc32": ((2, 1), "<u4"),
            "data4x4": ((2, 3, 4, 4), "|u1"),
            "labels": ((2, 1), "<i8"),
            "names": ((2, 1), "|S5"),
            "sha256": ((2, 1), "|S64"),
        }
        assert file["names"][:, 0].tolist() == [b"0.png", b"1.png"]
        assert file["attributes"][:, 0].tolist() == [b'{"score": 0.5}', b""]
        assert file["labels"][:, 0].tolist() == [1, 0]
        assert file["crc32"][0, 0] == 85991793
        assert file["checks"][0, 0] == 532843057
        assert file["sha256"][0, 0] == HASH.encode()
        header = json.loads(bytes(file.attrs["pgtools-header"]))
        assert (header["codecs"], header["version"], header["classes"]) == ({"4": "raw"}, 2, 2)
    beside = np.load(tmp_path / "a-labels.npy", allow_pickle=False)
    assert beside.dtype == np.float32
    assert beside.tolist() == [[0, 1], [1, 0]]


def test_version_1_is_still_read(tmp_path) -> None:
    """As pgtools 0.1.0 wrote it: PNG at every level, one codec in the header, records without checksums."""
    (path,) = written(tmp_path, IMAGES, "a.lmdb")
    hashes = open_source(path).image_hashes([0, 1])
    content = open_source(path).fingerprint()
    with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
        for index, image in enumerate(IMAGES):
            picture = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(picture, "PNG")
            transaction.put(f"4-{index:05d}".encode(), picture.getvalue())
            record = {"name": f"{index}.jpg", "sha256": hashes[index]}
            transaction.put(f"pgtools-record-{index:05d}".encode(), json.dumps(record).encode())
        header = {"version": 1, "count": 2, "levels": [4], "codec": "png", "content": content}
        transaction.put(b"pgtools-header", json.dumps(header).encode())
    source = open_source(path)
    np.testing.assert_array_equal(source.read([0, 1]), IMAGES)
    assert source.fingerprint() == content
    assert [record.name for record in source.records([0, 1])] == ["0.jpg", "1.jpg"]
    assert source.labels is None


@pytest.mark.parametrize("name", ["a.lmdb", "a.h5"])
def test_grey_is_stored_once_and_read_three_times(tmp_path, name: str) -> None:
    grey = smooth_images(3, 8)[:, :1].repeat(3, axis=1)
    (path,) = written(tmp_path, grey, name, colour="grey")
    source = open_source(path)
    assert source.colour == "grey"
    np.testing.assert_array_equal(source.read(range(3)), grey)
    if name == "a.h5":
        with h5py.File(path) as file:
            assert file["data8x8"].shape == (3, 1, 8, 8)
    else:
        assert stored(path)[b"8-00000"].startswith(b"P5\n# crc32 ")


def test_a_jpeg_store_holds_what_its_jpegs_give(tmp_path) -> None:
    images = smooth_images(2, 512)
    (path,) = written(tmp_path, images, "a.lmdb", codec="jpeg", quality=80)
    found, source = stored(path), open_source(path)
    top = [np.asarray(Image.open(io.BytesIO(found[f"512-{i:05d}".encode()]))).transpose(2, 0, 1) for i in range(2)]
    np.testing.assert_array_equal(source.read([0, 1]), np.stack(top))
    half = np.stack(top).astype(float).reshape(2, 3, 256, 2, 256, 2).mean(axis=(3, 5))
    np.testing.assert_array_equal(source.read([0, 1], 256), np.rint(half))
    header = json.loads(found[b"pgtools-header"])
    assert header["codecs"]["512"] == "jpeg-80"
    assert header["codecs"]["256"] == "raw"
    assert header["content"] != header["origin"]["sha256"]


def test_a_store_is_not_larger_than_what_it_holds(tmp_path) -> None:
    """LMDB's map is 64 MiB from the start and doubles; the file is only as long as what was written."""
    (path,) = written(tmp_path, smooth_images(2, 16), "a.lmdb")
    assert (path / "data.mdb").stat().st_size < 100_000
