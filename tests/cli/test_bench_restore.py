"""`pgtools bench restore`: its rows, its table, its refusals."""

from __future__ import annotations

import json

import pytest

from pgtools.restoration.network import ImageNetwork
from tests.restoration.networks import tiny_compact

pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
QUICK = ("--device", "cpu", "--size", "90x50", "--count", 2, "--repeats", 2)


@pytest.fixture
def network(tmp_path):
    return tiny_compact(tmp_path / "net.safetensors", 4)


def test_every_tile_batch_and_precision_is_a_row(network, pgtools, monkeypatch) -> None:
    monkeypatch.setattr("pgtools.restoration.bench._peak", lambda case, photos: case.tile * 1_000_000)
    words = ("--tiles", "32,64", "--batches", "1,3", "--precisions", "float32,bfloat16")
    done = pgtools("bench", "restore", "--network", network, *QUICK, *words, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["protocol"] == {"size": [90, 50], "count": 2, "repeats": 2, "images": "drawn faces"}
    rows = [(row["precision"], row["tile"], row["batch"]) for row in found["rows"]]
    assert rows == [(p, t, b) for p in ("float32", "bfloat16") for t in (32, 64) for b in (1, 3)]
    first = found["rows"][0]
    assert first["ratio"] == first["ratio_low"] == first["ratio_high"] == 1
    for row in found["rows"]:
        assert row["megapixels_per_second"] == pytest.approx(row["photos_per_second"] * 90 * 50 / 1e6)
        assert row["ratio"] == pytest.approx(row["photos_per_second"] / first["photos_per_second"])
        assert row["ratio_low"] <= row["ratio_high"]
        assert row["peak_bytes"] == row["tile"] * 1_000_000


def test_the_table_says_what_memory_a_fresh_process_took(network, pgtools) -> None:
    done = pgtools("bench", "restore", "--network", network, *QUICK, "--size", "400x400", "--tiles", "64")
    assert done.code == 0, done.err
    for text in ("2 photos of 400×400", "float32", "1.00 (1.00–1.00)", "MB", "in brackets lowest and highest round"):
        assert text in done.out, text


def test_peak_memory_grows_with_the_tile(network) -> None:
    """The engine's bound, by what the system counts: 8 maps of 512² in float32 are 8 MB, of 64² 0.1 MB."""
    import numpy as np

    from pgtools.restoration.bench import Case, _resident

    photo = [np.zeros((512, 512, 3), np.uint8)]
    small, large = (_resident(Case("net", network, "cpu", "float32", tile, 1), photo) for tile in (64, 512))
    if small is None or large is None:
        pytest.skip("this system does not tell a process's highest memory")
    assert large > small + 20_000_000
    assert ImageNetwork(network, device="cpu").scale == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--size", "big"), "expected WIDTHxHEIGHT"),
        (("--size", "4x90"), "expected WIDTHxHEIGHT"),
        (("--tiles", "16"), "--tiles is '16'; expected whole numbers of 32 or more"),
        (("--batches", "1,"), "--batches is '1,'"),
        (("--precisions", "float8"), "precision is 'float8'"),
        (("--network", "nonsense"), "'nonsense' is no network; expected pgtools-dejpeg, pgtools-sr4"),
        (("--device", "tpu"), "--device is 'tpu'"),
    ],
)
def test_bad_words_are_one_line(network, pgtools, words, message: str) -> None:
    done = pgtools("bench", "restore", *(("--network", network) if words[0] != "--network" else ()), *words)
    assert done.code == 2
    assert message in done.err.splitlines()[0]
    assert done.out == ""
