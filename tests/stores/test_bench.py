"""Measuring the formats: every row is there, figures are figures, nothing stays behind."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from pgtools.errors import InputError
from pgtools.runtime.workers import cpu_count
from pgtools.stores.jobs import bench, bench_rates
from pgtools.stores.jobs.bench import FORMS, REFERENCE, Protocol, Row, bench_side
from pgtools.stores.jobs.bench_opening import bench_opening
from pgtools.stores.jobs.bench_rates import PillowFolder, loader_rate, one_core, rate
from pgtools.stores.opening import FORMATS
from tests.pictures import noise_images, smooth_images
from tests.stores.sets import image_folder

# Python 3.12 and later warn where a loader forks a process that has threads, as every user's loader does.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
QUICK = Protocol(repeats=2, seconds=0.001, batch=4)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    folder = tmp_path_factory.mktemp("bench")
    found = bench_side(list(noise_images(6, 32)), 32, folder, QUICK)
    assert list(folder.iterdir()) == []
    return found


def test_every_format_that_is_written_has_a_row(rows: list[Row]) -> None:
    lmdb = [f"LMDB {codec}" for codec in ("auto", "raw", "png", "webp", "jpeg")]
    others = ["HDF5", "TFRecord", "ZIP of PNGs", "WebDataset"]
    assert [row.form for row in rows] == [REFERENCE, "PNG folder, pgtools", *lmdb, *others]


def test_no_format_that_is_written_is_forgotten() -> None:
    folders = {"folder", "stylegan"}  # of PNGs: what all others are held against
    assert {known.name for known in FORMATS if known.writer} - folders == set(FORMS)


def test_figures_are_figures(rows: list[Row]) -> None:
    for row in rows:
        assert (row.side, row.images) == (32, 6)
        rates = [row.write, row.one_core, row.all_cores, row.loader, row.verify, row.quick]
        assert all(figure is None or 0 < figure < 1e7 for figure in rates), row
        assert row.one_core > 0 < row.all_cores
        assert row.loader is not None
        assert (row.write is None) == (row.form == "PNG folder, pgtools")
        assert (row.quick is not None) == row.form.startswith(("LMDB", "HDF5"))
        assert (row.verify is None) == (row.form == REFERENCE)
        assert 0 < row.ratio_low <= row.ratio_high


def test_the_reference_is_once_itself(rows: list[Row]) -> None:
    assert rows[0].form == REFERENCE
    assert rows[0].ratio == rows[0].ratio_low == rows[0].ratio_high == 1


def test_bytes_are_those_of_the_files(rows: list[Row]) -> None:
    found = {row.form: row for row in rows}
    raw = 3 * 32 * 32  # noise: no codec makes it smaller
    assert found["HDF5"].top_bytes == raw
    assert found["LMDB raw"].top_bytes == raw + len(b"P6\n# crc32 12345678\n32 32\n255\n")
    assert found["TFRecord"].top_bytes == pytest.approx(raw + 60, abs=40)
    assert found[REFERENCE].top_bytes == found[REFERENCE].bytes_per_image > raw
    for form in ("LMDB raw", "HDF5", "TFRecord"):
        assert found[form].bytes_per_image > found[form].top_bytes * 4 / 3


def test_large_images_go_through_no_loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "LOADER_UP_TO", 16)
    found = bench_side(list(smooth_images(2, 32)), 32, tmp_path, Protocol(repeats=1, seconds=0.001))
    assert {row.loader for row in found} == {None}


@pytest.mark.parametrize("images", [smooth_images(1, 32), smooth_images(3, 16)])
def test_other_images_are_refused(images, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected two or more of \(3, 32, 32\)"):
        bench_side(list(images), 32, tmp_path, QUICK)


def test_interrupted_it_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        assert len(list(tmp_path.iterdir())) > 1
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "_verify_rate", lambda one, *_: interrupted() if one.format == "lmdb" else None)
    with pytest.raises(KeyboardInterrupt):
        bench_side(list(smooth_images(2, 32)), 32, tmp_path, QUICK)
    assert list(tmp_path.iterdir()) == []


def test_one_core_is_one_core_and_ends() -> None:
    cores, threads = cpu_count(), cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with one_core():
            assert cv2.getNumThreads() == 1
            assert cpu_count() == 1 or not hasattr(os, "sched_setaffinity")
        assert (cpu_count(), cv2.getNumThreads()) == (cores, 3)
    finally:
        cv2.setNumThreads(threads)


def test_a_rate_counts_images_over_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, read = [0.0], []

    def takes_a_second(what: object) -> None:
        now[0] += 1
        read.append(what)

    monkeypatch.setattr(bench_rates.time, "perf_counter", lambda: now[0])
    assert rate(takes_a_second, [[0, 1, 2], [3]], seconds=3) == 2
    assert read == [[0, 1, 2], *([[0, 1, 2], [3]] * 2)]  # one to get warm, then full passes
    assert rate(takes_a_second, [7, 8], seconds=2) == 1


def test_the_reference_reads_what_pillow_reads(tmp_path: Path) -> None:
    images = smooth_images(5, 16)
    folder = PillowFolder(image_folder(tmp_path / "pngs", images))
    assert np.array_equal(np.stack(folder.read_many(range(5))).transpose(0, 3, 1, 2), images)
    assert np.array_equal(folder[3].numpy(), folder.read(3))
    assert loader_rate(folder, [[0, 1], [2, 3, 4]], 0.01) > 0


def test_opening_is_measured_in_a_fresh_process(tmp_path: Path) -> None:
    small, large = bench_opening(list(smooth_images(3, 32)), (10, 500), tmp_path)
    assert (small.images, large.images) == (10, 500)
    assert large.bytes > 20 * small.bytes
    for one in (small, large):
        assert 0 < one.open_ms < 1000
        assert 0 < one.read_ms < 1000
        assert one.write > 0
        assert 0 < one.traced_bytes < 5_000_000
        assert one.resident_bytes is None or 0 <= one.resident_bytes < 50_000_000
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="expected one or more"):
        bench_opening([], (10,), tmp_path)
