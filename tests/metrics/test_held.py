"""Rows in memory or in a file: the same rows, and a disk without room is an error, never a killed process."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgtools.errors import OutputError
from pgtools.metrics import held
from pgtools.metrics.held import Budget, Held

ROWS = np.arange(60, dtype=np.float32).reshape(5, 3, 4)
fallocate = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves nothing")


def failing(code: int) -> Any:
    def allocate(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    return allocate


def filled(budget: Budget) -> Held:
    found = Held(5, (3, 4), np.float32, budget)
    found.array[[4, 0, 1, 2, 3]] = ROWS[[4, 0, 1, 2, 3]]
    return found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where the system lets us make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    words = [str(mount), "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if mount is None or unmount is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run([unmount, str(folder)], check=True)


def test_rows_are_the_same_in_memory_and_in_a_file() -> None:
    budget = Budget(240e-9)
    inside, outside = filled(budget), filled(budget)
    assert [one.spilled for one in (inside, outside)] == [False, True]
    for one in (inside, outside):
        assert one.row_bytes == 48
        np.testing.assert_array_equal(one.array, ROWS)
        one.close()
        one.close()
        assert len(one.array) == 0
    assert budget.left == 240


def test_nothing_is_left_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spilled = filled(Budget(0.0))
    assert not list(tmp_path.iterdir()) or os.name == "nt"
    spilled.close()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [0, 5])
def test_a_file_takes_its_place_on_the_disk_at_once(rows: int) -> None:
    spilled = Held(rows, (1 << 18,), np.uint8, Budget(0.0))
    assert spilled._file is not None or rows == 0
    if os.name == "posix" and spilled._file is not None:
        assert os.fstat(spilled._file.fileno()).st_blocks * 512 >= rows << 18
    spilled.close()


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_zeros_are_written_where_nothing_can_be_reserved(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(code), raising=False)
    monkeypatch.setattr(held, "_ZEROS", bytes(100))
    spilled = Held(7, (33,), np.uint8, Budget(0.0))
    assert spilled._file is not None
    status = os.fstat(spilled._file.fileno())
    assert status.st_size == 231 and (os.name != "posix" or status.st_blocks > 0)
    assert not spilled.array.any()
    spilled.close()


def test_a_full_disk_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "posix_fallocate", failing(errno.ENOSPC), raising=False)
    budget = Budget(0.0)
    with pytest.raises(OutputError, match=r"no room for a temporary file of 240 B \(No space left") as caught:
        Held(5, (3, 4), np.float32, budget)
    assert "TMPDIR" in caught.value.hint and "--memory" in caught.value.hint
    monkeypatch.setattr(held, "check_free_space", failing(errno.EACCES))
    with pytest.raises(OutputError, match="No temporary file can be made") as caught:
        Held(5, (3, 4), np.float32, budget)
    assert "TMPDIR" in caught.value.hint


def test_a_disk_without_room_is_told_before_a_file_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgtools.runtime.files.free_space", lambda _: 100)
    with pytest.raises(OutputError, match="has 100 B free; about 240 B are needed") as caught:
        Held(5, (3, 4), np.float32, Budget(0.0))
    assert "TMPDIR" in caught.value.hint


@pytest.mark.parametrize("reserving", [pytest.param(True, marks=fallocate), False])
def test_several_that_fit_alone_but_not_together(small_disk: Path, reserving: bool) -> None:
    """Each found room for itself; writing to the last killed the process (SIGBUS). In a process of its own."""
    program = """
import os, sys, numpy as np
from pgtools.errors import OutputError
from pgtools.metrics import held
if sys.argv[1] == "zeros":
    del os.posix_fallocate
held.check_free_space = lambda *_: None  # as another process' file may come between
kept = []
try:
    for _ in range(3):
        kept.append(held.Held(6, (100_000,), np.uint8, held.Budget(0.0)))
except OutputError as error:
    print(len(kept), error.message)
for one in kept:
    one.array[:] = 1
"""
    words = [sys.executable, "-c", program, "reserve" if reserving else "zeros"]
    outcome = subprocess.run(
        words, env={**os.environ, "TMPDIR": str(small_disk)}, capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith(f"1 {small_disk} has no room for a temporary file of 600.0 kB (No space left")


def test_a_budget_is_half_of_what_is_free_and_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "available_memory", lambda: 1000)
    assert Budget().left == 500
    assert Budget(share=4).left == 125
    assert Budget(1e-6, share=2).left == 500
    monkeypatch.setattr(held, "available_memory", lambda: None)
    assert Budget().left == held._UNKNOWN // 2


def test_what_left_the_memory_comes_back():
    held = Held(1000, (300,), np.float32, Budget(0.0))
    assert held.spilled
    expected = np.random.default_rng(0).random((1000, 300), np.float32)
    held.array[:] = expected
    held.page_out()
    np.testing.assert_array_equal(held.array, expected)
    held.array[7] = 5
    held.page_out()
    assert (held.array[7] == 5).all()
    held.close()
