"""MNIST's IDX files, written here with struct."""

from __future__ import annotations

import gzip
import multiprocessing
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError
from pgtools.stores.format import Reading
from pgtools.stores.formats.mnist import FORMAT, STACKED_FORMAT, MnistDigits, StackedMnist, read_idx

COUNTS = {"train": 12, "t10k": 5}


def digits(stem: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(COUNTS[stem])
    return rng.integers(0, 256, (COUNTS[stem], 28, 28), np.uint8), rng.integers(0, 10, COUNTS[stem]).astype(np.uint8)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def mnist(folder: Path, *, packed: bool = False, dotted: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for stem in COUNTS:
        for kind, array in zip(("images-idx3-ubyte", "labels-idx1-ubyte"), digits(stem), strict=True):
            name = f"{stem}-{kind.replace('-idx', '.idx') if dotted else kind}"
            data = idx(array)
            (folder / f"{name}{'.gz' if packed else ''}").write_bytes(gzip.compress(data) if packed else data)
    return folder


def padded(images: np.ndarray) -> np.ndarray:
    return np.pad(images, ((0, 0), (2, 2), (2, 2)))[:, None].repeat(3, axis=1)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("below", [".", "raw", "MNIST/raw"])
def test_digits_get_a_rim(tmp_path: Path, packed: bool, dotted: bool, below: str) -> None:
    mnist(tmp_path / below, packed=packed, dotted=dotted)
    assert FORMAT.recognises(tmp_path)
    source = FORMAT.open(tmp_path, Reading())
    images, labels = digits("train")
    assert (len(source), source.resolution, source.classes, source.colour) == (12, 32, 10, "grey")
    order = [11, 0, 4, 4]
    np.testing.assert_array_equal(source.read(order), padded(images)[order])
    np.testing.assert_array_equal(source.labels, labels)
    assert source.read([], 32).shape == (0, 3, 32, 32)


def test_splits(tmp_path: Path) -> None:
    mnist(tmp_path)
    test, everything = MnistDigits(tmp_path, "test"), MnistDigits(tmp_path, "all")
    np.testing.assert_array_equal(test.read(range(5)), padded(digits("t10k")[0]))
    np.testing.assert_array_equal(
        everything.read([12, 11]), np.stack([test.read([0])[0], padded(digits("train")[0])[11]])
    )
    assert [r.name for r in everything.records([0, 12])] == ["train/00000", "test/00000"]
    assert everything.records([12])[0].attributes == {"split": "test"}
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    assert len(MnistDigits(tmp_path)) == 12
    with pytest.raises(InputError, match="lacks t10k-images-idx3-ubyte or t10k-labels-idx1-ubyte"):
        MnistDigits(tmp_path, "all")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=4), packed=st.booleans(), cut=st.integers(1, 40))
def test_any_array_and_no_part_of_one(tmp_path_factory, shape: list[int], packed: bool, cut: int) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    file = tmp_path_factory.mktemp("i") / f"x{'.gz' if packed else ''}"
    data = gzip.compress(idx(array)) if packed else idx(array)
    file.write_bytes(data)
    np.testing.assert_array_equal(read_idx(file, axes=len(shape)), array)
    for damaged in (data[: max(0, len(data) - cut)], data + b"\1" * cut):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=file.name):
            read_idx(file, axes=len(shape))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ((0, 0, 9, 3, 12, 28, 28), "starts with 00 00 09 03"),
        ((0, 0, 8, 1, 12, 28, 28), "expected an IDX file of bytes with 3 axes"),
        ((1, 0, 8, 3, 12, 28, 28), "starts with 01"),
        ((0, 0, 8, 3, 13, 28, 28), "cut short"),
        ((0, 0, 8, 3, 11, 28, 28), "more bytes follow"),
        ((0, 0, 8, 3, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), "cut short"),
        ((0, 0, 8, 3, 12, 14, 56), r"images of \(14, 56\)"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_headers(tmp_path: Path, header: tuple[int, ...], message: str, packed: bool) -> None:
    mnist(tmp_path)
    data = struct.pack(">BBBB3I", *header) + digits("train")[0].tobytes()
    (tmp_path / "train-images-idx3-ubyte").unlink()
    name = "train-images-idx3-ubyte" + (".gz" if packed else "")
    (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)
    if packed and header[4] == 13:
        message = "9408 bytes follow"  # it might have been in there
    with pytest.raises(InputError, match=message):
        MnistDigits(tmp_path).read([0])


def test_a_packed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    mnist(tmp_path, packed=True)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(struct.pack(">BBBB3I", 0, 0, 8, 3, 12, 28, 28) + bytes(1 << 24)))
    with pytest.raises(InputError, match="more bytes follow"):
        len(MnistDigits(tmp_path))
    file.write_bytes(gzip.compress(struct.pack(">BBBB3I", 0, 0, 8, 3, 1 << 21, 28, 28) + bytes(1 << 20)))
    with pytest.raises(InputError, match="announces"):
        len(MnistDigits(tmp_path))


def test_labels_that_do_not_fit(tmp_path: Path) -> None:
    mnist(tmp_path)
    file = tmp_path / "train-labels-idx1-ubyte"
    file.write_bytes(idx(np.zeros(11, np.uint8)))
    with pytest.raises(InputError, match=r"12 images, train-labels-idx1-ubyte 11 labels"):
        len(MnistDigits(tmp_path))
    file.write_bytes(idx(np.full(12, 10, np.uint8)))
    with pytest.raises(InputError, match="class numbers from 10 to 10"):
        len(MnistDigits(tmp_path))


def test_stacked_digits_are_the_fields(tmp_path: Path) -> None:
    """The field draws three digits a million times; all at once is the same."""
    source = STACKED_FORMAT.open(mnist(tmp_path), Reading())
    images, labels = digits("train")
    state = np.random.RandomState(123)
    drawn = np.array([state.randint(12, size=3) for _ in range(2000)])
    assert (len(source), source.classes, source.resolution, source.colour) == (1_000_000, 1000, 32, "rgb")
    order = [1999, 0, 3]
    np.testing.assert_array_equal(source.read(order), padded(images)[drawn[order], 0])
    assert source.labels is not None
    np.testing.assert_array_equal(source.labels[:2000], labels[drawn].astype(int) @ [100, 10, 1])
    assert source.records([3])[0].name == "-".join(f"{i:05d}" for i in drawn[3])
    with pytest.raises(InputError, match="no image 1000000"):
        source.read([1_000_000])
    assert not STACKED_FORMAT.recognises(tmp_path)
    assert isinstance(source, StackedMnist)


@pytest.mark.parametrize("bound", [2, 10, 60_000, 70_000])
def test_numbers_at_once_are_numbers_one_by_one(bound: int) -> None:
    state = np.random.RandomState(123)
    one_by_one = [state.randint(bound, size=3) for _ in range(5000)]
    np.testing.assert_array_equal(np.random.RandomState(123).randint(bound, size=(5000, 3)), one_by_one)


@pytest.mark.parametrize("kind", [FORMAT, STACKED_FORMAT])
def test_it_travels_light(tmp_path: Path, kind) -> None:
    source = kind.open(mnist(tmp_path), Reading())
    expected = source.read([1, 3])
    assert len(pickle.dumps(source)) < 2000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(source.read, ([1, 3],)), expected)
