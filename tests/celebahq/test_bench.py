"""The measurements of `pgtools bench build`: what is measured, and how ratios come about."""

from __future__ import annotations

import numpy as np
import pytest

from pgtools.celebahq import bench
from pgtools.celebahq.bench import Shot, bench_steps, timed
from pgtools.celebahq.bench_whole import bench_network, bench_whole, shots_of
from pgtools.demo.faces import write_faces
from pgtools.errors import InputError
from pgtools.restoration.network import ImageNetwork
from pgtools.stores.opening import open_source
from tests.pictures import ASTRONAUT_POINTS, astronaut, jpeg
from tests.restoration.networks import tiny_compact

INSIDE = Shot(jpeg(astronaut()), ASTRONAUT_POINTS)
AT_THE_EDGE = Shot(jpeg(astronaut()), ASTRONAUT_POINTS - [150, 60])


def test_every_step_has_its_rows() -> None:
    rows = bench_steps([INSIDE, AT_THE_EDGE, INSIDE], resolution=32, repeats=2)
    assert [(row.step, row.way, row.photos) for row in rows] == [
        ("decode", "pgtools", 3),
        *(("crop", way, 2) for way in ("fast", "exact", "plain")),
        *(("crop, padded", way, 1) for way in ("fast", "exact", "plain")),
        ("score", "pgtools", 3),
        ("encode", "pgtools", 3),
        ("levels", "pgtools", 3),
    ]
    assert all(row.photos_per_second > 0 for row in rows)
    assert all(row.ratio == row.ratio_low == row.ratio_high == 1 for row in rows if row.way == "plain")


def test_ratios_are_of_one_round_and_the_first_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Known answer: a clock that each way moves by its own time, which the machine doubles in the second round."""
    now, calls = [0.0], {"fast": 0, "plain": 0}

    def way(name: str, seconds: list[float]):
        def do() -> None:
            now[0] += seconds[calls[name]]
            calls[name] += 1

        return do

    monkeypatch.setattr(bench.time, "perf_counter", lambda: now[0])
    rows = timed("crop", {"fast": way("fast", [99, 1, 2, 1]), "plain": way("plain", [99, 10, 20, 14])}, 5, repeats=3)
    fast, plain = rows
    assert fast.photos_per_second == 5
    assert plain.photos_per_second == 0.5
    assert (fast.ratio, fast.ratio_low, fast.ratio_high) == (10, 10, 14)


def test_a_photo_without_a_crop_is_told() -> None:
    with pytest.raises(InputError, match="gives no crop: The crop square lies outside"):
        bench_steps([Shot(INSIDE.data, ASTRONAUT_POINTS + 9000)], resolution=32, repeats=1)


def test_the_whole_build_and_the_plain_one_store_the_same_photos(tmp_path) -> None:
    write_faces(tmp_path / "faces", count=3, seed=0)
    shots = shots_of(tmp_path / "faces", 2)
    rows = bench_whole(tmp_path / "faces", shots, tmp_path, resolution=32, repeats=1)
    assert rows[0].way == "1 worker"
    assert rows[-1].way == "plain"
    assert all(row.photos == 2 and row.ratio is not None for row in rows)
    built, plain = (open_source(tmp_path / name) for name in ("build.lmdb", "plain.lmdb"))
    assert len(built) == len(plain) == 2
    assert built.levels == plain.levels
    apart = np.abs(built.read([0, 1], 32).astype(int) - plain.read([0, 1], 32))
    assert apart.max() <= 3


def test_a_network_takes_part(tmp_path) -> None:
    network = ImageNetwork(tiny_compact(tmp_path / "net.safetensors", 4), device="cpu")
    row = bench_network([INSIDE] * 3, network, resolution=256, repeats=1)
    assert (row.step, row.way, row.photos) == ("network, crop, score", "net, float32", 3)
    assert row.busy is None
    with pytest.raises(InputError):
        bench_network([Shot(b"no photo", ASTRONAUT_POINTS)], network, resolution=256, repeats=1)


@pytest.mark.gpu
def test_the_card_is_busy_for_a_share_of_the_time(tmp_path) -> None:
    network = ImageNetwork(tiny_compact(tmp_path / "net.safetensors", 4), device="cuda", precision="float16")
    row = bench_network([INSIDE] * 16, network, resolution=256, repeats=2)
    assert row.busy is not None
    assert 0 < row.busy <= 1


def test_photos_without_landmarks_are_refused(tmp_path) -> None:
    (tmp_path / "a.jpg").write_bytes(INSIDE.data)
    with pytest.raises(InputError, match="no CelebA landmark file"):
        shots_of(tmp_path, None)
