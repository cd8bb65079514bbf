"""Slices of a file, where the system gives less than was asked for."""

from __future__ import annotations

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
