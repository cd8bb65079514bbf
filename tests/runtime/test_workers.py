"""Work over threads, processes and a Dask cluster of two worker processes on 127.0.0.1."""

import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import pytest
from distributed import LocalCluster

from pgtools.errors import ComputeError, InputError, PgtoolsError, UsageError
from pgtools.runtime import cluster as clusters
from pgtools.runtime import workers
from pgtools.runtime.workers import cluster_size, map_unordered

ITEMS = range(40)
# Shared by the tests and the workers that are threads of this process.
MEETING = threading.Barrier(2)
BEGUN = threading.Event()


class Job:
    """Tells where and by which loaded object an item was done; at item 13 it may do worse."""

    def __init__(self, folder: Path, at_13: str = "") -> None:
        self.folder = folder
        self.at_13 = at_13
        self.loaded = 0

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "loaded": 0}

    def __call__(self, item: int) -> tuple[int, int, int]:
        self.loaded = self.loaded or time.monotonic_ns()
        if item == 13:
            self._worse()
        time.sleep(0.01)
        (self.folder / f"{item}.done").touch()
        return item, os.getpid(), self.loaded

    def _worse(self) -> None:
        if self.at_13 == "raise":
            raise KeyError("thirteen")
        if self.at_13 == "die" or (self.at_13 == "die once" and not (self.folder / "died").exists()):
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def meet(item: int) -> int:
    """Return only when two are here at once."""
    BEGUN.set()
    MEETING.wait(timeout=20)
    return item


def thread_of(item: int) -> str:
    return threading.current_thread().name


def interrupt(item: int) -> int:
    """Press Ctrl-C in this process."""
    os.kill(os.getpid(), signal.SIGINT)
    return item


@pytest.fixture(scope="module")
def two_processes() -> Iterator[LocalCluster]:
    # Dask gives a killed worker up if it is not back within 15 seconds; on a busy machine it comes later.
    patient = dask.config.set({"distributed.deploy.lost-worker-timeout": "120s"})
    local = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "silence_logs": 50}
    with patient, LocalCluster(n_workers=2, threads_per_worker=1, **local) as made:
        yield made


@pytest.fixture
def processes(two_processes: LocalCluster) -> LocalCluster:
    """Both workers are there, also after a test that killed them."""
    two_processes.wait_for_workers(2, timeout=60)
    return two_processes


@pytest.fixture
def thread() -> Iterator[LocalCluster]:
    """A cluster whose one worker is a thread of this process: quickly there, and it sees what the test sees."""
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    ) as made:
        yield made


def within(seconds: float, call: Callable[[], object]) -> BaseException | None:
    """Return what a call raises; fail if it does not come back."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            call()
            raised.append(None)
        except BaseException as error:
            raised.append(error)

    runner = threading.Thread(target=run, daemon=True)
    runner.start()
    runner.join(seconds)
    assert raised, f"not back after {seconds} seconds"
    return raised[0]


def test_threads_work_at_the_same_time_on_one_object() -> None:
    BEGUN.clear()
    here = object()  # no pickle brings back the same one
    assert list(map_unordered(lambda item: (meet(item), here)[1], range(2), workers=2, kind="threads")) == [here] * 2


def test_processes_load_once(tmp_path: Path) -> None:
    found = list(map_unordered(Job(tmp_path), ITEMS, workers=2))
    assert sorted(item for item, _, _ in found) == list(ITEMS)
    assert len({loaded for _, _, loaded in found}) == len({process for _, process, _ in found}) <= 2


def test_an_iterator_can_be_closed_without_a_warning(tmp_path: Path) -> None:
    results = map_unordered(Job(tmp_path), range(1000), workers=2, kind="threads")
    next(results)
    results.close()
    assert len(list(tmp_path.iterdir())) < 1000


def test_a_cluster_does_every_item_once_and_loads_once_a_process(processes: LocalCluster, tmp_path: Path) -> None:
    address = processes.scheduler_address
    assert cluster_size(address) == 2
    found = list(map_unordered(Job(tmp_path), ITEMS, workers=1, scheduler=address))
    assert sorted(item for item, _, _ in found) == list(ITEMS)
    by_process = {process for _, process, _ in found}
    assert len(by_process) == 2 and os.getpid() not in by_process
    assert len({loaded for _, _, loaded in found}) == 2


def test_a_scheduler_file_names_the_cluster(processes: LocalCluster, tmp_path: Path) -> None:
    file = tmp_path / "scheduler.json"
    file.write_text(json.dumps({"address": processes.scheduler_address}))
    assert cluster_size(str(file)) == 2


def test_a_worker_killed_half_way_costs_nothing(processes: LocalCluster, tmp_path: Path) -> None:
    job = Job(tmp_path, at_13="die once")
    found = list(map_unordered(job, ITEMS, workers=1, scheduler=processes.scheduler_address))
    assert (tmp_path / "died").exists()
    assert sorted(item for item, _, _ in found) == list(ITEMS)


def test_an_item_that_kills_every_worker_ends_the_map(
    processes: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """joblib's own backend waited for it without end."""
    monkeypatch.setattr(processes.scheduler, "allowed_failures", 1)
    job = Job(tmp_path, at_13="die")
    error = within(30, lambda: list(map_unordered(job, ITEMS, workers=1, scheduler=processes.scheduler_address)))
    assert isinstance(error, ComputeError)
    assert "2 workers of" in error.message and "memory" in error.hint


def test_an_exception_arrives_as_it_is_and_the_cluster_lives(processes: LocalCluster, tmp_path: Path) -> None:
    address = processes.scheduler_address
    with pytest.raises(KeyError, match="thirteen"):
        list(map_unordered(Job(tmp_path, at_13="raise"), ITEMS, workers=1, scheduler=address))
    assert len(list(map_unordered(Job(tmp_path), range(5), workers=1, scheduler=address))) == 5


def test_closing_drops_what_has_not_begun(processes: LocalCluster, tmp_path: Path) -> None:
    results = map_unordered(Job(tmp_path), range(2000), workers=1, scheduler=processes.scheduler_address)
    next(results)
    results.close()
    ends = time.monotonic() + 10
    while processes.scheduler.tasks and time.monotonic() < ends:
        time.sleep(0.02)
    assert not processes.scheduler.tasks
    assert len(list(tmp_path.iterdir())) < clusters.AHEAD


def test_tasks_are_taken_a_few_ahead(processes: LocalCluster, tmp_path: Path) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(2000):
            taken.append(item)
            yield item

    results = map_unordered(Job(tmp_path), items(), workers=1, scheduler=processes.scheduler_address)
    next(results)
    ahead = len(taken)
    results.close()
    assert clusters.AHEAD <= ahead < 2 * clusters.AHEAD


def test_workers_of_another_version_are_told_first(processes: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "__version__", "0.0.0")
    with pytest.raises(ComputeError, match=r"has pgtools [\d.]+; here it is 0\.0\.0"):
        cluster_size(processes.scheduler_address)


def test_a_worker_of_another_version_that_joins_later_refuses(
    processes: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raised while unpickling, as it was once, it ended the worker and the map went on waiting."""
    monkeypatch.setattr(workers, "__version__", "0.0.0")
    error = within(
        20, lambda: list(map_unordered(Job(tmp_path), [1], workers=1, scheduler=processes.scheduler_address))
    )
    assert isinstance(error, ComputeError)
    assert "sent work by 0.0.0" in error.message and "same version" in error.hint
    assert len(processes.scheduler.workers) == 2


def test_a_worker_without_pgtools_is_told(thread: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(client: object, function: object, name: str, *, on_error: str) -> dict[str, object]:
        return {"tcp://127.0.0.1:1": ModuleNotFoundError(name)}

    monkeypatch.setattr(clusters.Client, "run", nothing)
    with pytest.raises(ComputeError, match="cannot import pgtools"):
        cluster_size(thread.scheduler_address)


def test_a_cluster_of_one_worker_is_used(thread: LocalCluster) -> None:
    """joblib took its one worker for none worth asking, and computed in the process of the command."""
    (name,) = map_unordered(thread_of, [0], workers=1, scheduler=thread.scheduler_address)
    assert "Dask" in name


def test_a_worker_that_joins_later_finds_work(thread: LocalCluster) -> None:
    BEGUN.clear()

    def join() -> None:
        BEGUN.wait(20)
        thread.scale(2)

    joining = threading.Thread(target=join)
    joining.start()
    assert sorted(map_unordered(meet, range(2), workers=1, scheduler=thread.scheduler_address)) == [0, 1]
    joining.join()


def test_an_interrupt_leaves_the_cluster(thread: LocalCluster) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(map_unordered(interrupt, [0], workers=1, scheduler=thread.scheduler_address))
    assert len(list(map_unordered(thread_of, range(3), workers=1, scheduler=thread.scheduler_address))) == 3


def test_no_worker_is_told(thread: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "WORKER_SECONDS", 0.5)
    thread.scale(0)
    while thread.scheduler.workers:
        time.sleep(0.02)
    with pytest.raises(ComputeError, match="has had no worker"):
        cluster_size(thread.scheduler_address)


def test_a_worker_that_does_not_see_the_files_is_told(
    processes: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the workers are elsewhere
    Path("photos").mkdir()
    address = processes.scheduler_address
    assert cluster_size(address, paths=[tmp_path, Path("photos")]) == 2
    with pytest.raises(ComputeError, match=rf"does not see {tmp_path / 'crops'}\."):
        cluster_size(address, paths=[tmp_path, Path("crops")])


def test_nobody_at_the_address_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clusters.CONNECT_SECONDS <= 10
    monkeypatch.setattr(clusters, "CONNECT_SECONDS", 1)
    with socket.socket() as taken:  # bound, and deaf
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        error = within(10, lambda: list(map_unordered(abs, [1], workers=1, scheduler=address)))
    assert isinstance(error, ComputeError)
    assert error.message.startswith(f"No Dask scheduler answers at {address}") and "\n" not in error.message


@pytest.mark.parametrize("scheduler", ["here", "http://127.0.0.1:8786", "tcp://127.0.0.1", "/no/such/file.json"])
def test_no_address_is_told(scheduler: str) -> None:
    with pytest.raises(UsageError, match="neither the address"):
        cluster_size(scheduler)


@pytest.mark.parametrize("text", ["", "[]", "{}", "\xff"])
def test_a_file_of_another_kind_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"notes\.txt is not the file of a Dask scheduler"):
        cluster_size(str(file))


@pytest.mark.parametrize("missing", ["dask", "distributed"])
def test_without_dask_the_extra_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pgtools.runtime.cluster")
    for name in [name for name in sys.modules if name.split(".")[0] in ("dask", "distributed")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(PgtoolsError, match="not installed") as caught:
        cluster_size("tcp://127.0.0.1:8786")
    assert caught.value.hint == "pip install 'pgtools[dask]'"


def killed(item: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_process_that_is_killed_is_told_in_a_line() -> None:
    with pytest.raises(ComputeError, match="A worker process was killed") as caught:
        list(map_unordered(killed, range(4), workers=2))
    assert "--workers" in caught.value.hint


hoard: list[bytearray] = []


def grow(item: int) -> int:
    if item:
        time.sleep(1.1)  # joblib looks at a worker's memory once a second
        hoard.append(bytearray(os.urandom(1 << 20) * 450))
    return item


def test_a_process_that_grew_is_replaced_without_a_word_and_the_work_goes_on() -> None:
    """Under warnings as errors, joblib's own warning once ended the thread that hands out the work: a hang."""
    pytest.importorskip("psutil")
    assert sorted(map_unordered(grow, [0, 0, *range(1, 5)], workers=2)) == [0, 0, 1, 2, 3, 4]
