"""SVHN's .mat files, written by scipy as MATLAB writes them."""

from __future__ import annotations

import multiprocessing
import pickle
import resource
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from pgtools.errors import InputError
from pgtools.stores.format import Reading
from pgtools.stores.formats.svhn import FORMAT, SvhnDigits
from tests.pictures import noise_images

SEEDS = {"train": 1, "test": 2, "extra": 3}


def content(split: str, count: int = 6) -> dict[str, Any]:
    images = noise_images(count, 32, SEEDS[split])
    classes = np.random.default_rng(SEEDS[split]).permutation(10)[:count] + 1
    classes[0] = 10
    return {"X": images.transpose(2, 3, 1, 0), "y": classes.astype(np.uint8)[:, None]}


def svhn(folder: Path, *splits: str, packed: bool = True, **change: Any) -> Path:
    for split in splits or tuple(SEEDS):
        wanted = {k: v for k, v in (content(split) | change).items() if v is not None}
        scipy.io.savemat(folder / f"{split}_32x32.mat", wanted, do_compression=packed)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_pixels_and_labels(tmp_path: Path, packed: bool) -> None:
    source = FORMAT.open(svhn(tmp_path, packed=packed), Reading())
    assert FORMAT.recognises(tmp_path)
    assert (len(source), source.resolution, source.classes) == (6, 32, 10)
    order = [5, 0, 2, 2]
    np.testing.assert_array_equal(source.read(order), noise_images(6, 32, 1)[order])
    classes = content("train")["y"][:, 0]
    np.testing.assert_array_equal(source.labels, np.where(classes == 10, 0, classes))
    assert source.labels is not None
    assert source.labels[0] == 0
    assert source.records([2])[0].name == "train/000002"


def test_splits_and_single_files(tmp_path: Path) -> None:
    svhn(tmp_path, "train", "test")
    everything = SvhnDigits(tmp_path, "all")
    assert len(everything) == 12
    assert everything.records([6])[0].attributes == {"split": "test"}
    np.testing.assert_array_equal(everything.read([6]), noise_images(6, 32, 2)[:1])
    with pytest.raises(InputError, match=r"lacks extra_32x32\.mat"):
        SvhnDigits(tmp_path, "extra")
    file = tmp_path / "test_32x32.mat"
    assert FORMAT.recognises(file)
    np.testing.assert_array_equal(SvhnDigits(file).read([1]), noise_images(6, 32, 2)[[1]])
    with pytest.raises(InputError, match="is not the split 'train'"):
        SvhnDigits(file, "train")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": None}, "no X and y"),
        ({"X": np.zeros((32, 32, 3, 6))}, r"X is double \(32, 32, 3, 6\)"),
        ({"X": np.zeros((32, 32, 3, 6), object)}, "X is cell"),
        ({"X": np.zeros((6, 32, 32, 3), np.uint8)}, r"\(6, 32, 32, 3\)"),
        ({"y": np.zeros((5, 1), np.uint8)}, r"y is uint8 \(5, 1\)"),
        ({"y": np.zeros((6, 1), np.uint8)}, "not a class from 1 to 10"),
        ({"y": np.full((6, 1), 11.0)}, "not a class from 1 to 10"),
        ({"y": np.full((6, 1), np.nan)}, "not a class from 1 to 10|is damaged"),
        ({"y": np.zeros((6, 1), object)}, "y is cell"),
    ],
)
def test_other_contents_are_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    svhn(tmp_path, "train", **change)
    with pytest.raises(InputError, match=message):
        SvhnDigits(tmp_path).read([0])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("keep", [0, 60, 127, 140, 3000, -3])
def test_truncated_files(tmp_path: Path, packed: bool, keep: int) -> None:
    file = svhn(tmp_path, "train", packed=packed) / "train_32x32.mat"
    # y comes last, and its last two bytes are padding.
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match="train_32x32"):
        SvhnDigits(tmp_path).read([0])


def element(kind: int, data: bytes, size: int | None = None) -> bytes:
    return struct.pack("<II", kind, len(data) if size is None else size) + data + bytes(-len(data) % 8)


def matrix(name: bytes, kind: int, dims: tuple[int, ...], data: bytes) -> bytes:
    body = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(dims)}i", *dims))
    return element(14, body + element(1, name) + data)


def mat_file(*elements: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H2s", 0x100, b"IM") + b"".join(elements)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("count", "announced"),
    [(531_131, None), (1 << 30, None), (6, 0xFFFFFFF0), (6, 1 << 31), (-6, None)],
)
def test_announced_sizes_are_not_believed(tmp_path: Path, packed: bool, count: int, announced: int | None) -> None:
    pixels = element(2, bytes(6 * 3072), announced)
    elements = [
        matrix(b"X", 9, (32, 32, 3, count), pixels),
        matrix(b"y", 9, (count, 1), element(2, b"\1" * 6)),
    ]
    if packed:
        elements = [struct.pack("<II", 15, len(z := zlib.compress(one))) + z for one in elements]
    (tmp_path / "train_32x32.mat").write_bytes(mat_file(*elements))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told = f"announces {count} images" if count > 6 else ""
    if announced and not packed:
        told = "a part of it is longer than the file"
    with pytest.raises(InputError, match=f"train_32x32.*{told}"):
        SvhnDigits(tmp_path).read([0])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_plain_elements_are_read(tmp_path: Path) -> None:
    """The hand-made file of the test above is refused for its sizes alone."""
    images = noise_images(6, 32)
    x = matrix(b"X", 9, (32, 32, 3, 6), element(2, images.transpose(0, 1, 3, 2).tobytes()))
    y = matrix(b"y", 9, (6, 1), element(2, b"\1" * 6))
    (tmp_path / "train_32x32.mat").write_bytes(mat_file(x, y))
    np.testing.assert_array_equal(SvhnDigits(tmp_path).read(range(6)), images)
    (tmp_path / "train_32x32.mat").write_bytes(mat_file(x, x, y))
    with pytest.raises(InputError, match="no X and y"):
        SvhnDigits(tmp_path).read([0])


def test_recognises_is_specific(tmp_path: Path) -> None:
    assert not FORMAT.recognises(tmp_path)
    other = tmp_path / "other.mat"
    scipy.io.savemat(other, content("train"))
    assert not FORMAT.recognises(other)
    assert not FORMAT.recognises(tmp_path)
    (tmp_path / "train_32x32.mat").write_bytes(b"\x89HDF")
    assert not FORMAT.recognises(tmp_path / "train_32x32.mat")
    with pytest.raises(InputError, match="no MATLAB 5 file"):
        len(SvhnDigits(tmp_path))


def test_it_travels_light(tmp_path: Path) -> None:
    source = SvhnDigits(svhn(tmp_path))
    expected = source.read([1, 3])
    assert len(pickle.dumps(source)) < 2000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(source.read, ([1, 3],)), expected)
