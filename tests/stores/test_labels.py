"""Labels files: one-hot rows and class numbers, written by NumPy, read a piece at a time."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError
from pgtools.stores.formats import labels
from pgtools.stores.formats.labels import (
    MAX_CLASS,
    MAX_ONE_HOT_CLASSES,
    classes_of_file,
    label_bytes,
    read_labels_file,
    write_labels_file,
    write_one_hot,
)


def saved(path: Path, array: np.ndarray) -> Path:
    with path.open("wb") as file:
        np.save(file, array)
    return path


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    numbers=st.lists(st.integers(0, 6), min_size=1, max_size=20),
    kind=st.sampled_from(["<f4", ">f8", "u1", "<i8", "?", "<f2"]),
    columns=st.integers(7, 9),
    turned=st.booleans(),
)
def test_one_hot_rows_of_any_type_and_order(tmp_path, monkeypatch, numbers, kind, columns, turned) -> None:
    monkeypatch.setattr(labels, "READ_BYTES", 50)  # a few rows at a time
    rows = np.eye(columns)[numbers].astype(kind)
    path = saved(tmp_path / "x.npy", np.asfortranarray(rows) if turned else rows)
    found = read_labels_file(path, len(numbers))
    assert found is not None
    assert (found.dtype, found.tolist()) == (np.int64, numbers)
    assert classes_of_file(path) == columns
    rows[-1] = 0
    with pytest.raises(InputError, match="not one-hot"):
        read_labels_file(saved(path, np.asfortranarray(rows) if turned else rows), len(numbers))


def test_class_numbers_tell_no_number_of_classes(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.npy", np.array([3, 0, 9], np.uint8))
    found = read_labels_file(path, 3)
    assert found is not None
    assert found.tolist() == [3, 0, 9]
    assert classes_of_file(path) is None
    assert classes_of_file(tmp_path / "none.npy") is None
    assert read_labels_file(tmp_path / "none.npy", 3) is None


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([0, -1]), "class number -1"),
        (np.array([0, 0.5]), "class number 0.5"),
        (np.array([0, np.nan]), "class number nan"),
        (np.array([0, MAX_CLASS + 1]), "class number 2147483648; expected whole numbers from 0 to 2147483647"),
        (np.array([0, 2**64 - 1], np.uint64), "class number 18446744073709551615"),
        (np.array([0.0, np.inf]), "class number inf"),
        (np.array([[1, 0], [1, 1]]), "not one-hot"),
        (np.array([[1, 0], [2, -1]]), "not one-hot"),
        (np.array([[1, 0], [1, 0.5]]), "not one-hot"),
        (np.zeros((2, 0)), "not one-hot"),
        (np.zeros(3), r"shape \(3,\); expected \(2,\)"),
        (np.zeros((2, 2, 2)), "shape"),
        (np.array(["a", "b"]), "expected class numbers"),
    ],
)
def test_what_is_no_label(tmp_path: Path, array: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_labels_file(saved(tmp_path / "x.npy", array), 2)
    assert "\n" not in caught.value.message


def test_the_largest_class(tmp_path: Path) -> None:
    found = read_labels_file(saved(tmp_path / "x.npy", np.array([MAX_CLASS, 0])), 2)
    assert found is not None
    assert found.tolist() == [2**31 - 1, 0]


def test_the_rows_are_numpys_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "READ_BYTES", 100)
    numbers = np.random.default_rng(0).integers(0, 7, 50)
    ours, numpys = io.BytesIO(), io.BytesIO()
    write_one_hot(ours, numbers, 7)
    np.save(numpys, np.eye(7, dtype=np.float32)[numbers])
    assert ours.getvalue() == numpys.getvalue()
    assert len(ours.getvalue()) == label_bytes(50, 7) + 128  # NumPy's header


def test_many_classes_are_numbers_and_no_rows(tmp_path: Path) -> None:
    path, numbers = tmp_path / "a-labels.npy", np.array([0, 400_000_000, 7])
    write_labels_file(path, numbers, 400_000_001)
    assert path.stat().st_size < 1000
    loaded = np.load(path)
    assert (loaded.dtype, loaded.tolist()) == (np.int64, numbers.tolist())
    found = read_labels_file(path, 3)
    assert found is not None
    assert found.tolist() == numbers.tolist()
    assert label_bytes(3, 400_000_001) == 24
    write_labels_file(path, np.array([1, MAX_ONE_HOT_CLASSES - 1]), MAX_ONE_HOT_CLASSES)
    assert np.load(path, mmap_mode="r").shape == (2, MAX_ONE_HOT_CLASSES)


def test_wide_rows_are_never_in_memory_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "READ_BYTES", 1 << 20)
    path, numbers = tmp_path / "a-labels.npy", np.arange(400) % 7
    tracemalloc.start()
    write_labels_file(path, numbers, 20_000)
    found = read_labels_file(path, 400)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found is not None
    assert found.tolist() == numbers.tolist()
    assert path.stat().st_size > 30_000_000
    assert used < 8 << 20


def test_more_columns_than_any_set_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with path.open("wb") as file:
        shape = (2, labels.MAX_COLUMNS + 1)
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        file.truncate(file.tell() + 2 * shape[1])  # holes, no bytes
    with pytest.raises(InputError, match="rows of 16777217 columns; expected 16777216 at most"):
        read_labels_file(path, 2)
