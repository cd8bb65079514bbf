"""Stores under everything that goes wrong: kills, full disks, damage, two at once, many readers."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path

import joblib
import lmdb
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from pgtools.errors import OutputError, PgtoolsError
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.runtime.files import path_lock
from pgtools.runtime.slices import SlicedFile
from pgtools.stores import layout
from pgtools.stores.layout import Record
from pgtools.stores.opening import open_source
from pgtools.stores.writer import Plan
from pgtools.stores.writing import Item, output, write_stores
from tests.pictures import jpeg, noise_images, smooth_images
from tests.stores.sets import image_folder, written
from tests.stores.test_cifar import cifar10
from tests.stores.test_mnist import mnist
from tests.stores.test_svhn import svhn

ROOT = Path(__file__).parents[2]


def items(images: np.ndarray):
    return (Item(image, Record(f"{i}.png"), i % 2) for i, image in enumerate(images))


def is_one_of(path: Path, *sets: np.ndarray) -> bool:
    """Whether a path holds one of the sets, whole at every level."""
    source = open_source(path)
    return any(
        len(source) == len(images)
        and all(
            (source.read(range(len(images)), level) == mean_pyramid(images)[level]).all() for level in source.levels
        )
        for images in sets
    )


def killed_writer(paths: list[Path], images: np.ndarray, after: float) -> None:
    """Write stores in a child process, and kill it after so many seconds."""
    child = os.fork()
    if child == 0:
        write_stores([output(path) for path in paths], items(images), Plan(len(images), images.shape[-1], classes=2))
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("kills", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_kills_leave_the_old_store_or_none(tmp_path: Path, kills: int) -> None:
    old, new = noise_images(3, 64, seed=1), noise_images(40, 64, seed=2)
    started = time.perf_counter()
    written(tmp_path, new, "time.lmdb", "time.h5")
    whole = time.perf_counter() - started
    rng = np.random.default_rng(0)
    seen: Counter[str] = Counter()
    for number in range(kills):
        folder = tmp_path / str(number)
        folder.mkdir()
        paths = [folder / "a.lmdb", folder / "a.h5"]
        replacing = number % 2 == 0
        if replacing:
            written(folder, old, "a.lmdb", "a.h5")
        killed_writer(paths, new, after=float(rng.uniform(0, 1.5 * whole)))
        for path in paths:
            seen["there" if path.exists() else "none"] += 1
            assert path.exists() or not replacing
            assert not path.exists() or is_one_of(path, old, new)
        written(folder, new, "a.lmdb", "a.h5")  # what was left in the way is cleared up
        assert sorted(file.name for file in folder.iterdir()) == ["a.h5", "a.lmdb"]
    assert len(seen) == 2, seen


@pytest.mark.parametrize("name", ["a.lmdb", "a.h5", "a.zip", "tfrecord"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_full_disk_leaves_the_old_store_and_one_line(tmp_path: Path, name: str) -> None:
    """A file size limit stands in for the disk: writing beyond it fails as writing to a full disk does."""
    old = noise_images(2, 16)
    (path,) = written(tmp_path, old, name)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            format = None if path.suffix else name
            write_stores([output(path, format)], items(noise_images(60, 32)), Plan(60, 32, classes=2))
        except (PgtoolsError, OSError) as error:
            told = error.message if isinstance(error, PgtoolsError) else errno.errorcode[error.errno or 0]
            os.write(writing, told.encode())
        except BaseException as error:
            os.write(writing, f"{type(error)} {error}".encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    told = os.read(reading, 10_000).decode()
    os.close(reading)
    assert "cannot be written" in told or told == "EFBIG", told
    assert "\n" not in told
    np.testing.assert_array_equal(open_source(path).read(range(2)), old)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_two_writers_exclude_each_other(tmp_path: Path) -> None:
    images = noise_images(2, 8)
    with (
        path_lock(tmp_path / "a.lmdb"),
        pytest.raises(OutputError, match=r"a\.lmdb is in use by another pgtools"),
    ):
        written(tmp_path, images, "a.lmdb")
    assert list(tmp_path.iterdir()) == []
    written(tmp_path, images, "a.lmdb")
    assert is_one_of(tmp_path / "a.lmdb", images)


def test_readers_of_a_store_that_is_replaced_see_the_old_or_the_new_one(tmp_path: Path) -> None:
    old, new = noise_images(4, 32, seed=1), noise_images(4, 32, seed=2)
    written(tmp_path, old, "a.lmdb", "a.h5")
    stop, wrong, reads = threading.Event(), [], Counter()

    def read(path: Path) -> None:
        while not stop.is_set():
            try:
                if not is_one_of(path, old, new):
                    wrong.append(f"{path} is neither")
            except PgtoolsError as error:
                wrong.append(error.message)
            reads[path.name] += 1

    threads = [threading.Thread(target=read, args=(tmp_path / name,)) for name in ("a.lmdb", "a.h5")]
    for thread in threads:
        thread.start()
    for round_ in range(15):
        written(tmp_path, (new, old)[round_ % 2], "a.lmdb", "a.h5")
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert min(reads.values()) > 3


def everything(folder: Path) -> dict[str, Path]:
    """One small set in every format that travels between processes."""
    images = smooth_images(12, 16)
    paths = written(folder, images, "a.lmdb", "a.h5", "a.zip", "tfrecord", labels=np.arange(12) % 3)
    paths.append(image_folder(folder / "plain", images))
    return {path.name: path for path in paths}


FORMATS = ("a.lmdb", "a.h5", "a.zip", "tfrecord", "plain")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "method"),
    # Starting interpreters takes seconds: spawn is tried with our own stores.
    [*((name, "fork") for name in FORMATS), ("a.lmdb", "spawn"), ("a.h5", "spawn")],
)
def test_a_loader_with_workers_gives_every_image(tmp_path: Path, name: str, method: str) -> None:
    source = open_source(everything(tmp_path)[name])
    expected = source.read(range(12), 8)  # opened before the fork, so that a shared file position would show
    loader = DataLoader(source.dataset(8), batch_size=5, num_workers=2, multiprocessing_context=method)
    batches = list(loader)
    np.testing.assert_array_equal(torch.cat([images for images, _ in batches]).numpy(), expected)
    labels = torch.cat([labels for _, labels in batches]).tolist()
    assert labels == ([-1] * 12 if name == "plain" else [i % 3 for i in range(12)])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("name", FORMATS)
def test_many_threads_and_joblib_read_the_same(tmp_path: Path, name: str) -> None:
    source = open_source(everything(tmp_path)[name])
    expected = source.read(range(12))
    for prefer in ("threads", "processes"):
        parts = joblib.Parallel(n_jobs=2, prefer=prefer)(joblib.delayed(source.read)([i]) for i in range(12))
        np.testing.assert_array_equal(np.concatenate(list(parts)), expected)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        np.testing.assert_array_equal(np.concatenate(pool.map(source.read, [[i] for i in range(12)])), expected)


def large_lmdb(path: Path, count: int) -> Path:
    """An LMDB of `count` images at 32², in the trainers' keys and with our header, all with the same bytes."""
    (one,) = written(path.parent, smooth_images(1, 32), "one.lmdb")
    source = open_source(one)
    data, header = source.encoded(0, 32), source.header
    with lmdb.open(str(path), map_size=8 << 30, lock=False, sync=False) as environment:
        for start in range(0, count, 50_000):
            with environment.begin(write=True) as transaction:
                for index in range(start, min(start + 50_000, count)):
                    transaction.put(layout.lmdb_image_key(32, index), data)
        with environment.begin(write=True) as transaction:
            changed = {**json.loads(header.to_json()), "count": count, "levels": [32], "codecs": {"32": "raw"}}
            transaction.put(layout.LMDB_LENGTH, str(count).encode())
            transaction.put(layout.LMDB_HEADER, json.dumps(changed).encode())
    return path


@pytest.mark.parametrize("count", [3_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_opening_costs_the_same_whatever_the_size(tmp_path: Path, monkeypatch, count: int) -> None:
    """Counted in reads and bytes, because seconds depend on the machine; `pgtools bench stores` has the seconds."""
    path = large_lmdb(tmp_path / "large.lmdb", count)
    reads = []
    plain = SlicedFile.read
    monkeypatch.setattr(SlicedFile, "read", lambda file, at, size: reads.append(size) or plain(file, at, size))
    tracemalloc.start()
    source = open_source(path)
    opened = tracemalloc.get_traced_memory()[1]
    for index in np.random.default_rng(0).integers(0, count, 300):
        source.read([int(index)])
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(source) == count
    assert len(reads) < 300 * 5 + 20
    assert opened < 1 << 20
    assert used < 8 << 20


def hostile_sets(folder: Path) -> Path:
    """One small whole set in each format, for `fuzzing` to damage."""
    folder.mkdir()
    images = smooth_images(5, 8)
    written(folder, images, "a.lmdb", "b.h5", "c.zip", "tfrecord", "webdataset", labels=[0, 1, 2, 0, 1])
    written(folder, images, "webp.lmdb", codec="webp")
    with zipfile.ZipFile(folder / "deflated.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(image_folder(folder / "plain", images).iterdir()):
            archive.write(file, file.name)
    for name in ("cifar@set", "mnist@set", "svhn@set"):
        (folder / name).mkdir()
    cifar10(folder / "cifar@set")
    mnist(folder / "mnist@set", packed=True)
    svhn(folder / "svhn@set", "train")
    with lmdb.open(str(folder / "lsun@set"), lock=False) as environment, environment.begin(write=True) as transaction:
        for i, image in enumerate(images):
            transaction.put(b"key%d" % i, jpeg(image.transpose(1, 2, 0)))
    return folder


@pytest.mark.parametrize("count", [700, pytest.param(5_000, marks=pytest.mark.slow)])
def test_damaged_files_never_crash_hang_or_fill_the_memory(tmp_path: Path, count: int) -> None:
    folder = hostile_sets(tmp_path / "sets")
    words = [sys.executable, "-m", "tests.stores.fuzzing", str(folder), str(count), "0"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    outcomes = [line for line in lines if "outcome" in line]
    assert len(outcomes) == count
    assert [line for line in outcomes if line["outcome"] not in ("read", "refused")] == []
    refused = Counter(line["set"] for line in outcomes if line["outcome"] == "refused")
    assert set(refused) == {line["set"] for line in lines}  # the damage does reach each format
