"""The LMDB reader that checks every step, beside the library."""

from __future__ import annotations

import pickle
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError
from pgtools.stores.formats.lmdb_pages import PAGE_SIZES, LmdbPages

VALUES = st.integers(0, 9000).flatmap(lambda size: st.just(bytes([size % 251]) * size))


def lmdb_of(folder: Path, entries: dict[bytes, bytes], deleted: int = 0) -> Path:
    with lmdb.open(str(folder), map_size=1 << 28, lock=False) as environment:
        with environment.begin(write=True) as transaction:
            for key, value in entries.items():
                transaction.put(key, value)
        with environment.begin(write=True) as transaction:
            for key in list(entries)[:deleted]:
                transaction.delete(key)
                del entries[key]
    return folder / "data.mdb"


@settings(max_examples=25, deadline=None)
@given(
    entries=st.dictionaries(st.binary(min_size=1, max_size=60), VALUES, max_size=300),
    deleted=st.integers(0, 50),
    absent=st.binary(max_size=60),
)
def test_it_reads_what_the_library_wrote(tmp_path_factory, entries, deleted, absent) -> None:
    pages = LmdbPages(lmdb_of(tmp_path_factory.mktemp("l"), entries, deleted), where="x")
    assert pages.entries == len(entries)
    assert list(pages.keys()) == sorted(entries)
    assert {key: pages.get(key) for key in entries} == entries
    assert pages.get(absent) == entries.get(absent)


def test_a_deep_tree_and_every_key_of_it(tmp_path) -> None:
    entries = {f"{i * 7919 % 60_000:08d}".encode() * 8: str(i).encode() for i in range(60_000)}
    pages = LmdbPages(lmdb_of(tmp_path, entries), where="x")
    assert list(pages.keys()) == sorted(entries)
    for key in list(entries)[::101]:
        assert pages.get(key) == entries[key]


def test_it_travels_to_another_process(tmp_path) -> None:
    pages = LmdbPages(lmdb_of(tmp_path, {b"a": b"1", b"b": b"2" * 5000}), where="x")
    again = pickle.loads(pickle.dumps(pages))  # noqa: S301
    assert again.get(b"b") == b"2" * 5000


def test_a_file_that_points_in_circles_ends(tmp_path) -> None:
    """A branch page whose children are the page itself: the way down, and the walk over all keys, must end."""
    file = lmdb_of(tmp_path, {f"{i:06d}".encode(): b"x" * 500 for i in range(200)})
    data = bytearray(file.read_bytes())
    size = next(size for size in PAGE_SIZES if data[size : size + 2] == b"\x01\x00")
    branches = [n for n in range(2, len(data) // size) if data[n * size + 10] & 1]
    for number in branches:
        start = number * size
        lower = int.from_bytes(data[start + 12 : start + 14], "little")
        for at in range(16, lower, 2):
            node = start + int.from_bytes(data[start + at : start + at + 2], "little")
            data[node : node + 4] = number.to_bytes(4, "little")
    file.write_bytes(data)
    pages = LmdbPages(file, where="x")
    with pytest.raises(InputError, match="x is a damaged LMDB: its tree is too deep"):
        pages.get(b"000100")
    with pytest.raises(InputError, match="more pages than the file"):
        list(pages.keys())


def test_what_is_no_lmdb_of_this_kind_is_refused(tmp_path) -> None:
    file = tmp_path / "data.mdb"
    for data in (b"", b"\0" * 20_000):
        file.write_bytes(data)
        with pytest.raises(InputError, match="x is not a readable LMDB"):
            LmdbPages(file, where="x")
    with lmdb.open(str(tmp_path / "d"), max_dbs=2, lock=False) as environment:
        inner = environment.open_db(b"inner", dupsort=True)
        with environment.begin(write=True) as transaction:
            transaction.put(b"a", b"1", db=inner)
    with pytest.raises(InputError, match="a value is itself a tree"):
        LmdbPages(tmp_path / "d" / "data.mdb", where="x").get(b"inner")


def test_the_newer_of_the_two_meta_pages_counts_and_the_older_one_is_enough(tmp_path) -> None:
    file = tmp_path / "data.mdb"
    with lmdb.open(str(tmp_path), lock=False) as environment:
        for number in range(5):
            with environment.begin(write=True) as transaction:
                transaction.put(b"a", str(number).encode())
    assert LmdbPages(file, where="x").get(b"a") == b"4"
    whole = file.read_bytes()
    seen = set()
    for page in (0, 1):
        data = np.frombuffer(whole, np.uint8).copy()
        start = page * 4096
        data[start + 16 : start + 20] = 0
        file.write_bytes(data.tobytes())
        seen.add(LmdbPages(file, where="x").get(b"a"))
    assert seen == {b"4", b"3"}
