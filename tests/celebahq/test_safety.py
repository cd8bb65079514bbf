"""Builds that are killed, again and again, and builds on two workers and on a cluster: always the same store."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pgtools.celebahq.build import build
from pgtools.celebahq.places import papers_of, work_folder
from pgtools.celebahq.settings import BuildSettings
from pgtools.demo.faces import write_faces
from tests.celebahq.test_build import bytes_of

KILLS = 50
PLAIN = {"restore": "none", "superres": "lanczos", "resolution": 64}


def contents(store: Path) -> dict[str, bytes]:
    """The store and what a build writes beside it, but for the record, which tells times."""
    papers = {path.name.removeprefix(store.stem): path.read_bytes() for path in papers_of(store)[:2]}
    return {"store": bytes_of(store), **papers}


@pytest.mark.slow
def test_fifty_kills_at_random_moments(tmp_path) -> None:
    """SIGKILL at any moment of a 500-photo build, to the whole process group; then to the end. Counts 50 kills."""
    faces = tmp_path / "celeba"
    write_faces(faces, count=500, seed=5, layout="aligned")
    build(faces, [tmp_path / "whole.lmdb"], BuildSettings(**PLAIN, keep=200, workers=2))
    whole = contents(tmp_path / "whole.lmdb")
    out = tmp_path / "a.lmdb"
    options = [
        word for name, value in {**PLAIN, "keep": 200, "workers": 2}.items() for word in (f"--{name}", str(value))
    ]
    command = [sys.executable, "-m", "pgtools", "build-celebahq", str(faces), str(out), *options, "--overwrite"]
    moments = random.Random(os.environ.get("PGTOOLS_TEST_SEED", "5"))
    killed = finished = 0
    while killed < KILLS:
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Imports take the first seconds; most kills are to hit the work behind them.
        deadline = time.monotonic() + 20
        while not (work_folder(out) / "crops").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(moments.choice([moments.uniform(0, 0.5), moments.uniform(0, 3), moments.uniform(2, 6)]))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        if process.wait() == 0:
            assert contents(out) == whole
            finished += 1
        else:
            assert process.returncode == -signal.SIGKILL
            killed += 1
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert contents(out) == whole
    assert not work_folder(out).exists()
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    print(f"{killed} kills, {finished + 1} builds to the end")


@pytest.mark.slow
def test_two_thousand_faces_with_one_worker_two_and_a_cluster_that_loses_one(tmp_path) -> None:
    distributed = pytest.importorskip("distributed")
    faces = tmp_path / "celeba"
    write_faces(faces, count=2000, seed=6, layout="aligned", workers=2)
    for workers in (1, 2):
        build(faces, [tmp_path / f"{workers}.lmdb"], BuildSettings(**PLAIN, keep=1500, workers=workers))
    assert contents(tmp_path / "1.lmdb") == contents(tmp_path / "2.lmdb")
    out = tmp_path / "cluster.lmdb"
    killed: list[int] = []

    def kill_a_worker(cluster: object) -> None:
        crops = work_folder(out) / "crops"
        while not crops.is_dir() or len(list(crops.iterdir())) < 500:
            time.sleep(0.05)
        process = next(iter(cluster.workers.values())).process.process.pid  # type: ignore[attr-defined]
        os.kill(process, signal.SIGKILL)
        killed.append(process)

    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        killer = threading.Thread(target=kill_a_worker, args=(cluster,), daemon=True)
        killer.start()
        settings = BuildSettings(**PLAIN, keep=1500, scheduler=cluster.scheduler_address)
        build(faces, [out], settings)
        killer.join(timeout=1)
    assert killed
    assert contents(out) == contents(tmp_path / "1.lmdb")
