"""Slices of a file, where the system gives less than was asked for."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from pgtools.errors import InputError
from pgtools.runtime.slices import SlicedFile


@pytest.fixture
def sliced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlicedFile:
    """A file of 256 bytes that gives 7 at a time."""
    (tmp_path / "x").write_bytes(bytes(range(256)))
    plain = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, size, offset: plain(descriptor, min(size, 7), offset))
    return SlicedFile(tmp_path / "x")


@pytest.mark.parametrize(("offset", "size"), [(0, 256), (3, 100), (250, 6), (9, 7), (256, 0), (100, 15)])
def test_a_short_read_is_continued(sliced: SlicedFile, offset: int, size: int) -> None:
    assert sliced.read(offset, size) == bytes(range(256))[offset : offset + size]


def test_a_file_that_became_shorter_is_no_endless_loop(sliced: SlicedFile) -> None:
    os.truncate(sliced.path, 20)
    with pytest.raises(InputError, match="became shorter while it was read"):
        sliced.read(10, 30)


@pytest.mark.parametrize(("offset", "size"), [(0, 257), (256, 1), (-1, 2), (3, -1)])
def test_what_the_file_does_not_have_is_refused(sliced: SlicedFile, offset: int, size: int) -> None:
    with pytest.raises(InputError, match="is cut short"):
        sliced.read(offset, size)


def test_a_stream_is_what_an_open_file_is(sliced: SlicedFile) -> None:
    for buffer in (16, 1000):
        with sliced.path.open("rb") as plain, io.BufferedReader(sliced.stream(), buffer) as file:
            for offset, whence, size in [(0, 0, 5), (-20, 2, 9), (3, 1, -1), (300, 0, 4), (0, 2, 1), (100, 0, 100)]:
                assert file.seek(offset, whence) == plain.seek(offset, whence)
                assert file.read(size) == plain.read(size), (offset, whence, size)
            with pytest.raises(OSError, match="Invalid argument"):
                file.seek(-257, os.SEEK_END)


def test_streams_have_positions_of_their_own_and_leave_the_file_open(sliced: SlicedFile) -> None:
    first, second = sliced.stream(), sliced.stream()
    assert first.read(3) == b"\0\1\2"
    assert second.read(3) == b"\0\1\2"
    first.close()
    assert second.read(2) == b"\3\4"


def test_a_fault_of_the_disk_is_the_cause_and_is_remembered(
    sliced: SlicedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = OSError(5, "Input/output error")

    def fails(*_: object) -> bytes:
        raise fault

    stream = sliced.stream()
    monkeypatch.setattr(os, "pread", fails)
    with pytest.raises(OSError, match="Input/output error"):
        stream.read(1)
    assert stream.fault is fault
    monkeypatch.setattr(os, "open", fails)
    with pytest.raises(InputError, match="x: cannot be read") as caught:
        SlicedFile(sliced.path)
    assert caught.value.__cause__ is fault
