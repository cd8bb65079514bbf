"""Stores damaged on purpose, by lmdb and h5py themselves."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import h5py
import lmdb
import numpy as np
from PIL import Image

COUNT, SIDE = 5, 32
ATTRIBUTES = [{"score": float(i), "split": "train" if i % 2 else "test"} for i in range(COUNT)]
LABELS = [0, 2, 1, 2, 0]


def edit_lmdb(path: Path, change: Callable[[Any], None]) -> None:
    """Change an LMDB store with the library itself; `change` gets the transaction."""
    with (
        lmdb.open(str(path), lock=False, map_size=1 << 28) as environment,
        environment.begin(write=True) as transaction,
    ):
        change(transaction)


def flip(transaction: Any, key: bytes, place: int = -7) -> None:
    data = bytearray(transaction.get(key))
    data[place] ^= 0x55
    transaction.put(key, bytes(data))


def flip_bit(transaction: Any, key: bytes, place: int, bit: int = 0) -> None:
    data = bytearray(transaction.get(key))
    data[place] ^= 1 << bit
    transaction.put(key, bytes(data))


def others_lmdb(
    path: Path, images: np.ndarray, sides: Sequence[int], format: str = "PNG", without: Collection[bytes] = ()
) -> None:
    """Write an LMDB as other people's programs do: levels by another filter, no header, no records.

    Keys in `without` are never written: what is deleted later leaves its pages, from which a salvage brings it back.
    """
    entries = {b"length": str(len(images)).encode()}
    for i, image in enumerate(images):
        for side in sides:
            data = io.BytesIO()
            picture = Image.fromarray(image.transpose(1, 2, 0)).resize((side, side), Image.Resampling.LANCZOS)
            picture.save(data, format, quality=95)
            entries[f"{side}-{i:05d}".encode()] = data.getvalue()

    def put(transaction: Any) -> None:
        for key, value in entries.items():
            if key not in without:
                transaction.put(key, value)

    edit_lmdb(path, put)


def swap(transaction: Any, *pairs: tuple[bytes, bytes]) -> None:
    for one, two in pairs:
        first, second = transaction.get(one), transaction.get(two)
        transaction.put(one, second), transaction.put(two, first)


def levels_of(one: int, two: int) -> list[tuple[bytes, bytes]]:
    return [(f"{side}-{one:05d}".encode(), f"{side}-{two:05d}".encode()) for side in (32, 16, 8, 4)]


def put_image(transaction: Any, level: int, index: int, data: bytes, label: int | None = None) -> None:
    """Store an image with the checksums it ought to have."""
    transaction.put(f"{level}-{index:05d}".encode(), data)
    key = f"pgtools-record-{index:05d}".encode()
    record = json.loads(transaction.get(key))
    record["crc32"][str(level)] = zlib.crc32(data)
    checksums = sorted(((int(side), crc32) for side, crc32 in record["crc32"].items()), reverse=True)
    told = [record["name"], record["sha256"], record["attributes"], checksums, label]
    record["check"] = zlib.crc32(json.dumps(told, sort_keys=True, separators=(",", ":")).encode())
    transaction.put(key, json.dumps(record).encode())


def edit_record(transaction: Any, index: int, **fields: Any) -> None:
    """Change fields of a record, and nothing else."""
    key = f"pgtools-record-{index:05d}".encode()
    transaction.put(key, json.dumps(json.loads(transaction.get(key)) | fields).encode())


def leaf_of(path: Path, key: bytes) -> tuple[int, int]:
    """Return where the last leaf page that lists a key begins in an LMDB's data file, and where the key stands."""
    data = (path / "data.mdb").read_bytes()
    found = []
    for at in range(8192, len(data), 4096):
        number, _, flags, end = struct.unpack_from("<QHHH", data, at)
        if number == at // 4096 and flags == 2:
            nodes = [at + pointer for (pointer,) in struct.iter_unpack("<H", data[at + 16 : at + end])]
            found += [
                (at, node + 8) for node in nodes if data[node + 6 : node + 8 + len(key)] == bytes([len(key), 0]) + key
            ]
    return found[-1]


def overwrite(path: Path, at: int, new: bytes) -> None:
    """Change bytes of an LMDB's data file."""
    with (path / "data.mdb").open("r+b") as file:
        file.seek(at)
        file.write(new)


def header(transaction: Any, **fields: Any) -> None:
    told = json.loads(transaction.get(b"pgtools-header"))
    transaction.put(b"pgtools-header", json.dumps(told | fields).encode())


# name → what is done to an LMDB store, a part of the fault's text, the images that cannot be saved
LMDB: dict[str, tuple[Callable[[Any], Any], str, set[int]]] = {
    "top": (lambda t: flip(t, b"32-00002"), "image 2 (2.png) at 32²: its pixels are not those", {2}),
    "lower": (lambda t: flip(t, b"8-00002"), "image 2 (2.png) at 8²: its stored bytes have changed", set()),
    "no top": (lambda t: t.delete(b"32-00000"), "image 0 (0.png) at 32²: is missing", {0}),
    "no lower": (lambda t: t.delete(b"4-00004"), "image 4 (4.png) at 4²: is missing", set()),
    "no image at all": (lambda t: t.put(b"32-00001", b""), "image 1 (1.png) at 32²", {1}),
    "cut top": (lambda t: t.put(b"32-00001", t.get(b"32-00001")[:99]), "image 1 (1.png) at 32²", {1}),
    "wrong size": (lambda t: t.put(b"32-00001", t.get(b"16-00001")), "is 16×16 pixels; expected 32×32", {1}),
    "another level": (
        lambda t: put_image(t, 8, 3, t.get(b"8-00001"), LABELS[3]),
        "image 3 (3.png) at 8²: differs from the means of the top",
        set(),
    ),
    "no record": (lambda t: t.delete(b"pgtools-record-00003"), "image 3: its record is missing", set()),
    "bad record": (lambda t: t.put(b"pgtools-record-00003", b"{"), "image 3: its record is damaged", set()),
    "another hash": (
        lambda t: edit_record(t, 2, sha256="7" * 64),
        "image 2 (2.png) at 32²: its record's SHA-256 is of other pixels",
        set(),
    ),
    "no hash": (lambda t: edit_record(t, 2, sha256="7"), "image 2 (2.png): its record is damaged (sha256)", set()),
    "other checksum": (
        lambda t: edit_record(t, 2, crc32={"32": 1, "16": 1, "8": 1, "4": 1}),
        "image 2 (2.png): its record or its label has changed",
        set(),
    ),
    "swapped tops": (lambda t: swap(t, *levels_of(1, 3)), "image 1 (1.png) at 32²: its pixels", {1, 3}),
    "swapped whole": (
        lambda t: swap(t, *levels_of(1, 3), (b"pgtools-record-00001", b"pgtools-record-00003")),
        "its header's fingerprint is that of other images",
        set(),
    ),
    "header": (lambda t: t.put(b"pgtools-header", b"{'"), "its pgtools header is damaged", set()),
    "no header": (lambda t: t.delete(b"pgtools-header"), "its header is missing", set()),
    "count": (lambda t: header(t, count=4), "its header counts 4 images, the key 'length' 5", set()),
    "content": (lambda t: header(t, content="0" * 63 + "1"), "its header's fingerprint", set()),
    "levels": (lambda t: header(t, levels=[8, 4], codecs={8: "raw", 4: "raw"}), "names the levels (8, 4)", set()),
    "grey": (lambda t: header(t, colour="grey"), "its header calls the images grey", set()),
    "length short": (lambda t: t.put(b"length", b"3"), "there are 5", set()),
    "length long": (lambda t: t.put(b"length", b"6"), "its key 'length' counts 6 images; there are 5", set()),
}

HDF5: dict[str, tuple[Callable[[h5py.File], Any], str, set[int]]] = {}


def _hdf5(name: str, text: str, lost: set[int]) -> Callable[[Callable[[h5py.File], None]], None]:
    def keep(change: Callable[[h5py.File], None]) -> None:
        HDF5[name] = change, text, lost

    return keep


@_hdf5("top", "image 2 (2.png) at 32²: its pixels are not those", {2})
def _top(file: h5py.File) -> None:
    file["data32x32"][2, 1, 3, 4] ^= 1


@_hdf5("lower", "image 2 (2.png) at 8²: its stored bytes have changed", set())
def _lower(file: h5py.File) -> None:
    file["data8x8"][2, 1, 3, 4] ^= 1


@_hdf5("bad hash", "image 3 (3.png): its record is damaged (sha256)", set())
def _hash(file: h5py.File) -> None:
    file["sha256"][3, 0] = b"x" * 64


@_hdf5("another hash", "image 3 (3.png) at 32²: its record's SHA-256 is of other pixels", set())
def _other_hash(file: h5py.File) -> None:
    file["sha256"][3, 0] = b"7" * 64


@_hdf5("other checksum", "image 3 (3.png): its record or its label has changed", set())
def _checksum(file: h5py.File) -> None:
    file["crc32"][3] = [1, 2, 3, 4]


@_hdf5("bad attributes", "image 3 (3.png): its record is damaged (attributes)", set())
def _bad_attributes(file: h5py.File) -> None:
    file["attributes"][3, 0] = b"{"


@_hdf5("bad attributes and top", "image 3 (3.png) at 32²: its pixels are not those", {3})
def _bad_attributes_and_top(file: h5py.File) -> None:
    file["attributes"][3, 0] = b"{"
    file["data32x32"][3, 1, 3, 4] ^= 1


@_hdf5("no top", "its header names other images than it holds", {0, 1, 2, 3, 4})
def _no_top(file: h5py.File) -> None:
    del file["data32x32"]


@_hdf5("no lower", "image 4 (4.png) at 8²: is missing", set())
def _no_lower(file: h5py.File) -> None:
    del file["data8x8"]


@_hdf5("no names", "image 0: its record is damaged (name)", set())
def _names(file: h5py.File) -> None:
    del file["names"]


@_hdf5("swapped tops", "image 1 (1.png) at 32²: its pixels", {1, 3})
def _swapped(file: h5py.File) -> None:
    for side in (32, 16, 8, 4):
        data = file[f"data{side}x{side}"]
        data[[1, 3]] = data[[1, 3]][::-1]


@_hdf5("swapped whole", "its header's fingerprint", set())
def _swapped_whole(file: h5py.File) -> None:
    for name in ("data32x32", "data16x16", "data8x8", "data4x4", "names", "attributes", "sha256", "crc32"):
        file[name][[1, 3]] = file[name][[1, 3]][::-1]


@_hdf5("header", "its pgtools header is damaged", set())
def _header(file: h5py.File) -> None:
    file.attrs["pgtools-header"] = np.bytes_(b"{'")


@_hdf5("no header", "its header is missing", set())
def _no_header(file: h5py.File) -> None:
    del file.attrs["pgtools-header"]


@_hdf5("count", "its header names other images", set())
def _count(file: h5py.File) -> None:
    told = json.loads(file.attrs["pgtools-header"])
    file.attrs["pgtools-header"] = np.bytes_(json.dumps(told | {"count": 4}).encode())


@_hdf5("content", "its header's fingerprint", set())
def _content(file: h5py.File) -> None:
    told = json.loads(file.attrs["pgtools-header"])
    file.attrs["pgtools-header"] = np.bytes_(json.dumps(told | {"content": "1" * 64}).encode())


@_hdf5("labels", "labels are damaged", set())
def _labels(file: h5py.File) -> None:
    del file["labels"]
    file["labels"] = np.zeros((3, 1), "<i8")
