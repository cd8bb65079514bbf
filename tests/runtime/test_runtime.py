import dataclasses
import errno
import json
import math
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from pgtools.errors import InputError, OutputError, UsageError
from pgtools.runtime.device import resolve_device
from pgtools.runtime.files import (
    check_free_space,
    check_writable,
    folder_lock,
    human_bytes,
    path_lock,
    remove_stale,
    written_aside,
)
from pgtools.runtime.journal import Journal
from pgtools.runtime.results import MetricResult, read_result
from pgtools.runtime.seeds import integer_seed, stream
from pgtools.runtime.settings import Settings, fits_type, setting, value_type
from pgtools.runtime.workers import map_unordered

# No process has so high a number.
NO_PROCESS = 1 << 30


def test_streams_are_named_and_independent() -> None:
    draw = lambda *names: stream(7, *names).integers(0, 2**62)  # noqa: E731
    assert draw("latents", 3) == draw("latents", 3)
    assert len({draw("latents", 3), draw("latents", 4), draw("pairs", 3), draw("latents"), integer_seed(7, "x")}) == 5


def test_streams_do_not_change_between_versions() -> None:
    """Figures name their seed; these numbers pin what a seed means (NumPy's PCG64, SHA-256 spawn keys)."""
    assert stream(0, "subset").integers(0, 1000, 4).tolist() == [286, 287, 735, 883]


def test_a_failure_leaves_what_was_there(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written_aside(path) as aside:
        aside.write_text("new")
        _ = 1 / 0
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with written_aside(path) as aside:
        aside.write_text("new")
    assert path.read_text() == "new"


def test_a_folder_replaces_a_folder(tmp_path) -> None:
    path = tmp_path / "store"
    for text in ("old", "new"):
        with written_aside(path) as aside:
            aside.mkdir()
            (aside / "x").write_text(text)
    assert (path / "x").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_outputs_are_checked_before_the_work(tmp_path) -> None:
    (tmp_path / "there").write_text("")
    with pytest.raises(OutputError, match="already exists") as caught:
        check_writable(tmp_path / "there", overwrite=False, what="file")
    assert "--overwrite" in caught.value.hint
    with pytest.raises(OutputError, match="not a folder"):
        check_writable(tmp_path / "there" / "x", overwrite=False, what="file")
    check_writable(tmp_path / "new" / "deep" / "x", overwrite=False, what="file")
    for path, what in ((tmp_path, "file"), (tmp_path / "there", "folder")):
        with pytest.raises(OutputError, match=f"a {what} is to be written"):
            check_writable(path, overwrite=True, what=what)


def test_a_swap_that_breaks_off_leaves_the_old(tmp_path, monkeypatch) -> None:
    path = tmp_path / "store"
    path.mkdir()
    (path / "x").write_text("old")
    rename = Path.rename

    def broken(self: Path, target: Path) -> Path:
        if self.suffix == ".partial":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", broken)
    with pytest.raises(KeyboardInterrupt), written_aside(path) as aside:
        aside.mkdir()
    assert [p.name for p in tmp_path.rglob("*")] == ["store", "x"]


def test_what_a_kill_moved_away_is_put_back(tmp_path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".store.{dead.pid}.old").mkdir()
    remove_stale(tmp_path / "store")
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


def test_a_journal_that_cannot_be_written_is_not_called_damaged(tmp_path) -> None:
    path = tmp_path / "j.sqlite"
    with Journal(path, {}) as journal, sqlite3.connect(path) as other:
        journal._database.execute("PRAGMA busy_timeout = 1")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match="locked"):
            journal.record([("a", {})])
    other.close()


def test_a_file_never_takes_the_place_of_a_folder(tmp_path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("")
    with pytest.raises(OSError, match="precious"), written_aside(tmp_path / "precious") as aside:
        aside.write_text("page")
    assert [path.name for path in tmp_path.rglob("*")] == ["precious", "thesis.txt"]


def test_what_the_killed_left_is_removed_and_what_the_living_write_is_not(tmp_path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = [f".a.h5.{dead.pid}.partial", f".a.h5.{dead.pid}.old", f".a.h5.{os.getpid()}.partial", ".b.h5.1.partial"]
    for name in [*names, "a.h5"]:
        (tmp_path / name).write_text("")
    remove_stale(tmp_path / "a.h5")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[2:], "a.h5"])


def test_a_full_disk_is_told_in_bytes(tmp_path) -> None:
    with pytest.raises(OutputError, match="are needed"):
        check_free_space(tmp_path / "new", 10**18)
    check_free_space(tmp_path, 1)
    assert [human_bytes(n) for n in (0, 999, 1500, 2.5e9, 3e12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "2.5 GB",
        "3.0 TB",
    ]


def test_a_folder_has_one_owner(tmp_path) -> None:
    with folder_lock(tmp_path), pytest.raises(OutputError, match="in use"), folder_lock(tmp_path):
        pass
    with folder_lock(tmp_path):
        pass


def test_the_journal_remembers_and_refuses_other_settings(tmp_path) -> None:
    path = tmp_path / "j.sqlite"
    with Journal(path, {"size": 4, "name": None}) as journal:
        journal.record([("a", {"score": 0.1}), ("b", {"reason": "bad"})])
        journal.record([("a", {"score": 0.1 + 0.2})])
    with Journal(path, {"size": 4, "name": None}) as journal:
        assert journal.done() == {"a": {"score": 0.1 + 0.2}, "b": {"reason": "bad"}}
    with pytest.raises(InputError, match="size was 4, is 8"):
        Journal(path, {"size": 8, "name": None})
    path.write_bytes(b"not a database, and long enough to be read as one" * 100)
    with pytest.raises(InputError, match="damaged"):
        Journal(path, {})


@dataclasses.dataclass(frozen=True)
class Example(Settings):
    """Settings of no command."""

    count: int = setting(3, low=1, high=9, help="A count.")
    kind: str | None = setting(None, choices=("a", "b"), help="A kind.")
    share: float = setting(0.5, help="A number without a range.")


def test_settings_check_themselves() -> None:
    assert Example().as_dict() == {"count": 3, "kind": None, "share": 0.5}
    assert (value_type(Example, "count"), value_type(Example, "kind")) == (int, str)
    with pytest.raises(UsageError, match="--count is 0; expected 1 to 9"):
        Example(count=0)
    with pytest.raises(UsageError, match="expected 1 to 9"):
        Example(count=float("nan"))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="--share is inf; expected a number, finite"):
        Example(share=math.inf)
    with pytest.raises(UsageError, match="--share is nan; expected a number, finite"):
        Example(share=math.nan)
    with pytest.raises(UsageError, match="expected one of a, b"):
        Example(kind="c")


def test_a_value_from_json_has_the_type_of_its_field() -> None:
    for name, value in (("count", 2), ("kind", None), ("kind", "a"), ("share", 2), ("share", 0.5)):
        assert fits_type(Example, name, value)
    for name, wrong in (
        ("count", 2.0),
        ("count", True),
        ("count", None),
        ("kind", 1),
        ("share", "2"),
        ("share", False),
    ):
        assert not fits_type(Example, name, wrong)


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_cuda_computes_in_whole_float32(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    try:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        assert resolve_device(name).type == "cuda"
        assert not torch.backends.cuda.matmul.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_results_survive_json_and_foreign_files_do_not(tmp_path) -> None:
    result = MetricResult(
        metric="swd",
        direction="lower",
        values={"16": 7.5},
        spread={"16": 0.1},
        protocol={"seed": 0},
        data={"real": {"name": "x"}},
    )
    path = tmp_path / "r.json"
    path.write_text(json.dumps(result.as_dict()))
    assert read_result(path) == result
    for text, message in (
        ("{", "not JSON"),
        ("[]", "not a metric result"),
        ('{"format": "pgtools-result", "version": 9}', "version 9"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_result(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_result(tmp_path / "none.json")


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_every_item(workers: int) -> None:
    assert sorted(map_unordered(np.square, range(5), workers=workers)) == [0, 1, 4, 9, 16]


def test_only_what_was_left_of_this_very_path_is_removed(tmp_path: Path) -> None:
    kept = [tmp_path / f".st.v2.{NO_PROCESS}.old", tmp_path / ".st.notes.old", tmp_path / f".st.{NO_PROCESS}.older"]
    gone = [tmp_path / f".st.{NO_PROCESS}.partial"]
    for file in (*kept, *gone):
        file.write_text("x")
    (tmp_path / "st").write_text("there")
    remove_stale(tmp_path / "st")
    assert all(file.exists() for file in kept)
    assert not any(file.exists() for file in gone)


def test_an_lmdb_is_replaced_in_one_step_and_its_lock_goes(tmp_path: Path, monkeypatch) -> None:
    store = tmp_path / "a.lmdb"
    store.mkdir()
    (store / "data.mdb").write_text("old")
    (store / "lock.mdb").write_text("of other readers")
    monkeypatch.setattr(Path, "rename", None)  # the folder itself stays where it is
    with written_aside(store) as aside:
        aside.mkdir()
        (aside / "data.mdb").write_text("new")
    assert [file.name for file in store.iterdir()] == ["data.mdb"]
    assert (store / "data.mdb").read_text() == "new"
    assert list(tmp_path.iterdir()) == [store]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_keeps_nobody_from_writing(tmp_path: Path, monkeypatch, number: int) -> None:
    fcntl = pytest.importorskip("fcntl")

    def fails(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", fails)
    with path_lock(tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path: Path, monkeypatch) -> None:
    plain = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not for folders")
        plain(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with written_aside(tmp_path / "a") as aside:
        aside.write_text("x")
    assert (tmp_path / "a").read_text() == "x"
