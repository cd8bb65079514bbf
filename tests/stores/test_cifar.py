"""CIFAR's batches, written here by the plain pickler and, as Python 2 wrote them, byte by byte."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgtools.errors import InputError
from pgtools.runtime.pickles import array_of, read_pickle
from pgtools.stores.format import Reading
from pgtools.stores.formats.cifar import FORMAT, CifarBatches
from tests.pictures import noise_images

NAMES = [f"kind{i}" for i in range(10)]


def batch(seed: int, count: int = 4, **others: Any) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        "batch_label": f"batch {seed}",
        "labels": rng.integers(0, 10, count).tolist(),
        "data": noise_images(count, 32, seed).reshape(count, -1),
        "filenames": [f"{seed}_{i}.png" for i in range(count)],
        **others,
    }


def cifar10(folder: Path, protocol: int = 2, **others: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(1, 6):
        (folder / f"data_batch_{i}").write_bytes(pickle.dumps(batch(i, **others), protocol))
    (folder / "test_batch").write_bytes(pickle.dumps(batch(6), protocol))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": NAMES, "num_vis": 3072}, protocol))
    return folder


def cifar100(folder: Path) -> Path:
    for split, seed in (("train", 1), ("test", 2)):
        content = batch(seed, 6)
        content["fine_labels"] = [int(x) for x in np.random.default_rng(seed).integers(0, 100, 6)]
        content["coarse_labels"] = [x // 5 for x in content["fine_labels"]]
        del content["labels"]
        (folder / split).write_bytes(pickle.dumps(content, 2))
    meta = {"fine_label_names": [f"f{i}" for i in range(100)], "coarse_label_names": [f"c{i}" for i in range(20)]}
    (folder / "meta").write_bytes(pickle.dumps(meta, 2))
    return folder


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pixels_labels_and_names_in_any_order(tmp_path: Path, protocol: int) -> None:
    source = FORMAT.open(cifar10(tmp_path, protocol), Reading())
    images = np.concatenate([noise_images(4, 32, seed) for seed in range(1, 6)])
    labels = np.concatenate([batch(seed)["labels"] for seed in range(1, 6)])
    order = [19, 0, 7, 7, 3]
    assert (len(source), source.resolution, source.classes, source.colour) == (20, 32, 10, "rgb")
    np.testing.assert_array_equal(source.read(order), images[order])
    np.testing.assert_array_equal(source.labels, labels)
    record = source.records([5])[0]
    assert record.name == "2_1.png"
    assert record.attributes == {"split": "train", "class": NAMES[labels[5]]}


def test_splits(tmp_path: Path) -> None:
    cifar10(tmp_path)
    test, everything = CifarBatches(tmp_path, "test"), CifarBatches(tmp_path, "all")
    np.testing.assert_array_equal(test.read(range(4)), noise_images(4, 32, 6))
    assert len(everything) == 24
    assert [record.attributes["split"] for record in everything.records([0, 23])] == ["train", "test"]
    with pytest.raises(InputError, match="no split 'extra'; expected train, test or all"):
        CifarBatches(tmp_path, "extra")
    (tmp_path / "data_batch_4").unlink()
    with pytest.raises(InputError, match="lacks data_batch_4"):
        CifarBatches(tmp_path)
    assert len(CifarBatches(tmp_path, "test")) == 4


def test_cifar100_has_fine_and_coarse_classes(tmp_path: Path) -> None:
    source = CifarBatches(cifar100(tmp_path), "test")
    assert FORMAT.recognises(tmp_path)
    fine = np.random.default_rng(2).integers(0, 100, 6)
    np.testing.assert_array_equal(source.labels, fine)
    assert source.classes == 100
    assert source.records([4])[0].attributes == {"split": "test", "class": f"f{fine[4]}", "coarse": f"c{fine[4] // 5}"}
    (tmp_path / "meta").write_bytes(pickle.dumps({}, 2))
    assert CifarBatches(tmp_path, "test").records([4])[0].attributes == {"split": "test", "coarse": fine[4] // 5}


def python2_batch(pixels: bytes, count: int) -> bytes:
    """What cPickle of Python 2 wrote, opcode by opcode: byte strings (U, T) and old names."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    dtype = (
        b"cnumpy\ndtype\n"
        + text(b"u1")
        + b"K\0K\1\x87RK\3"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    )
    dtype = dtype.replace(b"RK\3", b"R(K\3")
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + text(b"b") + b"\x87R"
    state = (
        b"(K\1K" + bytes([count]) + b"M\0\x0c\x86" + dtype + b"\x89T" + struct.pack("<I", len(pixels)) + pixels + b"tb"
    )
    labels = b"](" + b"".join(b"K" + bytes([i]) for i in range(count)) + b"e"
    files = b"](" + b"".join(text(b"n%d.png" % i) for i in range(count)) + b"e"
    return (
        b"\x80\x02}q\x01("
        + text(b"data")
        + array
        + state
        + text(b"labels")
        + labels
        + text(b"filenames")
        + files
        + b"u."
    )


def test_what_python_2_wrote(tmp_path: Path) -> None:
    cifar10(tmp_path)
    images = noise_images(3, 32, 9)
    written = python2_batch(images.tobytes(), 3)
    assert pickle.loads(written, encoding="latin1")["data"].shape == (3, 3072)  # noqa: S301 - the fixture is one
    (tmp_path / "test_batch").write_bytes(written)
    source = CifarBatches(tmp_path, "test")
    np.testing.assert_array_equal(source.read([2, 0]), images[[2, 0]])
    assert source.records([1])[0].name == "n1.png"


def test_recognises_is_specific(tmp_path: Path) -> None:
    assert not FORMAT.recognises(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "meta").write_bytes(b"")
    assert not FORMAT.recognises(tmp_path)
    (tmp_path / "test").write_bytes(b"")
    assert FORMAT.recognises(tmp_path)
    assert not FORMAT.recognises(tmp_path / "test")
    assert not FORMAT.recognises(Path("a" * 5000))


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch was-here",)


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("place", ["data", "labels", "filenames", "other"])
def test_nothing_in_a_batch_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    cifar10(tmp_path)
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch(6, **{place: Hostile()}), protocol))
    with pytest.raises(InputError, match=r"test_batch is no CIFAR batch \(it asks for .*system\)"):
        CifarBatches(tmp_path, "test").read([0])
    assert not (tmp_path / "was-here").exists()


def test_a_function_of_the_reader_cannot_be_altered(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"c_codecs\nencode\n}Vx\nVy\nsb.")
    with pytest.raises(InputError, match="state of a function"):
        read_pickle(file, what="batch")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"abc", "no batch"),
        (b"\x80\x02T" + struct.pack("<i", 1 << 30) + b"abc", "no batch"),
        (b"\x80\x02]r" + struct.pack("<I", 1 << 31) + b".", "number 2147483648"),
        (b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"].", "announces 1099511627776 bytes"),
        (
            b"\x80\x02(V" + b"a" * 600 + b"\nq\0" + b"c_codecs\nencode\nh\0Vlatin1\n\x86R" * 30 + b"l.",
            "more bytes than",
        ),
    ],
    ids=["bytes", "text", "memory", "frame", "copies"],
)
def test_announced_sizes_are_not_believed(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "x"
    file.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_pickle(file, what="batch")


def test_lists_of_lists_are_no_arrays() -> None:
    nested: list[Any] = [0] * 100
    for _ in range(20):
        nested = [nested] * 100
    with pytest.raises(ValueError, match="list in the place of an array"):
        array_of(nested)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": np.zeros((4, 3072), np.float32)}, "float32"),
        ({"data": np.zeros((4, 3071), np.uint8)}, r"\(4, 3071\)"),
        ({"data": np.array([{}], dtype=object)}, "no CIFAR batch"),
        ({"data": [[1] * 3072] * 4}, "list in the place of an array"),
        ({"labels": [1, 2]}, "no 4 whole numbers"),
        ({"labels": [1, 2, 3, "x"]}, "no 4 whole numbers"),
        ({"labels": [1, 2, 3, 10**30]}, "no 4 whole numbers"),
        ({"labels": [1, 2, 3, 10]}, "does not name"),
        ({"labels": [1, 2, 3, -1]}, "does not name"),
        ({"filenames": [1, 2, 3, 4]}, "no list of texts"),
        ({"filenames": ["a"]}, "4 images and 1 names"),
    ],
)
def test_damaged_batches_are_told(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    cifar10(tmp_path)
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch(6, **change), 2))
    with pytest.raises(InputError, match=message):
        CifarBatches(tmp_path, "test").read([0])


def test_labels_out_of_range_without_names(tmp_path: Path) -> None:
    cifar10(tmp_path, labels=[0, 1, 2, 10])
    (tmp_path / "batches.meta").unlink()
    with pytest.raises(InputError, match="class numbers from 0 to 10; expected 0 to 9"):
        CifarBatches(tmp_path).labels  # noqa: B018


@pytest.mark.parametrize("keep", [0, 1, 100, 5000, -2])
def test_a_truncated_batch(tmp_path: Path, keep: int) -> None:
    cifar10(tmp_path)
    file = tmp_path / "test_batch"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match="test_batch is no CIFAR batch"):
        len(CifarBatches(tmp_path, "test"))


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    source = CifarBatches(cifar10(tmp_path), "test")
    for index in (4, -1):
        with pytest.raises(InputError, match=f"no image {index}"):
            source.read([index])


def test_it_opens_without_reading_and_travels_light(tmp_path: Path) -> None:
    source = CifarBatches(cifar10(tmp_path))
    assert len(pickle.dumps(source)) < 2000
    expected = source.read([1, 3])
    assert len(pickle.dumps(source)) < 2000
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(source.read, ([1, 3],)), expected)


def test_threads_load_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, loads = CifarBatches(cifar10(tmp_path)), []
    load = source.load
    monkeypatch.setattr(source, "load", lambda: loads.append(1) or load())
    with ThreadPoolExecutor(8) as pool:
        for image in pool.map(lambda _: source.read([2]), range(16)):
            np.testing.assert_array_equal(image, noise_images(4, 32, 1)[[2]])
    assert len(loads) == 1
