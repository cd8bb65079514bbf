"""Files made to do harm: what they point to is not followed, what they announce is not believed."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zlib
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest

from pgtools.errors import InputError
from pgtools.stores import layout
from pgtools.stores.opening import open_source
from tests.pictures import noise_images
from tests.stores.sets import image_folder, written


def test_hdf5_links_that_lead_elsewhere_are_not_followed(tmp_path: Path) -> None:
    images = noise_images(2, 8)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data16x16"] = noise_images(2, 16)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data8x8"] = images
        file["data16x16"] = h5py.ExternalLink("secret.h5", "/data16x16")
        file["data32x32"] = h5py.SoftLink("/data32x32")  # a circle
        file["data64x64"] = h5py.SoftLink("/nothing")
        group = file.create_group("data128x128")
        group["data128x128"] = group  # a group inside itself
        virtual = h5py.VirtualLayout((2, 3, 256, 256), np.uint8)
        virtual[:] = h5py.VirtualSource(tmp_path / "secret.h5", "data16x16", (2, 3, 256, 256))
        file.create_virtual_dataset("data256x256", virtual)
        file.create_dataset("data512x512", (2, 3, 512, 512), np.uint8, external=[("/etc/passwd", 0, 1 << 21)])
    source = open_source(tmp_path / "x.h5")
    assert source.resolution == 8
    np.testing.assert_array_equal(source.read([0, 1]), images)


def test_an_hdf5_chunk_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        shape = (200_000, 3, 64, 64)
        file.create_dataset("data64x64", shape, np.uint8, chunks=(200_000, 3, 64, 64), compression="gzip")
    assert (tmp_path / "bomb.h5").stat().st_size < 1 << 16
    with pytest.raises(InputError, match="chunks of"):
        open_source(tmp_path / "bomb.h5")


def test_an_hdf5_header_of_any_length_is_not_read(tmp_path: Path) -> None:
    (path,) = written(tmp_path, noise_images(1, 8), "a.h5")
    with h5py.File(path, "a") as file:
        file.attrs[layout.HDF5_HEADER] = np.zeros(1000, "S10")
    with pytest.raises(InputError, match="header is damaged"):
        open_source(path)


def test_an_hdf5_file_that_announces_billions_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "sparse.h5", "w") as file:
        file.create_dataset("data4x4", (2 * 10**9, 3, 4, 4), np.uint8, chunks=(1000, 3, 4, 4))
    with pytest.raises(InputError, match="announces 2000000000 images in"):
        open_source(tmp_path / "sparse.h5")


def test_an_lmdb_that_announces_billions_is_refused(tmp_path: Path) -> None:
    (path,) = written(tmp_path, noise_images(2, 8), "a.lmdb")
    file = path / "data.mdb"
    data = bytearray(file.read_bytes())
    for meta in (0, 4096):  # the number of entries of the main tree, in both meta pages
        data[meta + 120 : meta + 128] = (10**12).to_bytes(8, "little")
    file.write_bytes(data)
    with pytest.raises(InputError, match="announces 1000000000000 entries"):
        open_source(path)


def png_that_announces(side: int) -> bytes:
    """A PNG of a few bytes that says it is side × side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_a_picture_that_announces_gigapixels_is_refused(tmp_path: Path) -> None:
    (path,) = written(tmp_path, noise_images(1, 8), "a.lmdb")
    with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"8-00000", png_that_announces(5_000))
    with pytest.raises(InputError, match="image 0 at 8²: is 5000×5000 pixels; expected 8×8") as caught:
        open_source(path).read([0])
    assert "store verify" in caught.value.hint
    folder = image_folder(tmp_path / "f", noise_images(1, 8))
    (folder / "0000.png").write_bytes(png_that_announces(60_000))
    with pytest.raises(InputError, match="announces too many pixels"):
        open_source(folder).read([0])


def test_labels_that_announce_gigabytes_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data8x8"] = noise_images(2, 8)
    text = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 100000000000), }"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + text.ljust(117) + b"\n"
    (tmp_path / "a-labels.npy").write_bytes(head + b"\0" * 64)
    with pytest.raises(InputError, match="not a plain"):
        _ = open_source(tmp_path / "a.h5").labels


def test_a_header_that_counts_more_than_there_is(tmp_path: Path) -> None:
    (path,) = written(tmp_path, noise_images(2, 8), "a.lmdb")
    header = json.loads(open_source(path).header.to_json())
    with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"length", b"900000000")
        transaction.put(b"pgtools-header", json.dumps({**header, "count": 900_000_000}).encode())
    with pytest.raises(InputError, match="holds no images"):
        open_source(path)


def test_a_folder_that_links_to_itself_is_read_once(tmp_path: Path) -> None:
    images = noise_images(2, 8)
    folder = image_folder(tmp_path / "f", images)
    (folder / "again").symlink_to(folder)
    np.testing.assert_array_equal(open_source(folder).read(range(2)), images)
    assert len(open_source(folder)) == 2


def test_gzip_is_not_opened_for_its_name(tmp_path: Path) -> None:
    """A bomb that no format recognises is told so, without being unpacked."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as file:
        file.write(b"\0" * (1 << 24))
    (tmp_path / "x.gz").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=r"x\.gz is no image source"):
        open_source(tmp_path / "x.gz")
