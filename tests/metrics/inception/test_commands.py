"""`pgtools inception-score`, `fid`, `kid`, `precision-recall`: what they print, keep, and refuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Outcome
from tests.metrics.sets import photographs
from tests.stores.sets import written

Run = Callable[..., Outcome]
FOUR = {
    "inception-score": ("--splits", 2),
    "fid": ("--layer", "64"),
    "kid": ("--subsets", 5, "--subset-size", 10),
    "precision-recall": ("--neighbourhood", 2),
}


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path / "cache"))
    (real,), (fake,) = (
        written(tmp_path, photographs(count, 32, seed), name)
        for count, seed, name in ((14, 1, "r.h5"), (12, 2, "f.h5"))
    )
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"stands for the network's file")
    return real, fake, weights


def words(name: str, sets: tuple[Path, Path, Path]) -> list[object]:
    real, fake, weights = sets
    return [
        name,
        *([] if name == "inception-score" else [real]),
        fake,
        "--weights",
        weights,
        "--device",
        "cpu",
        *FOUR[name],
    ]


@pytest.mark.parametrize("name", FOUR)
def test_each_prints_its_figures_with_their_errors(
    name: str, pgtools: Run, sets: tuple[Path, Path, Path], runs: list[int]
):
    outcome = pgtools(*words(name, sets))
    assert outcome.code == 0, outcome.err
    assert "weights " in outcome.out and "num_images 12" in outcome.out
    assert ("num_real 14" in outcome.out) == (name != "inception-score")
    result = json.loads(pgtools(*words(name, sets), "--json").out)
    assert result["metric"] == name
    parts = {"precision", "recall", "f1"} if name == "precision-recall" else {"value"}
    assert set(result["values"]) == set(result["spread"]) == set(result["interval"]) == parts
    assert len(result["protocol"]["weights"]) == 64
    for part in parts:
        low, high = result["interval"][part]
        assert low <= high and result["spread"][part] >= 0


def test_features_are_kept_for_all_four_and_no_cache_keeps_none(
    pgtools: Run, sets: tuple[Path, Path, Path], runs: list[int], tmp_path: Path
):
    fresh = [json.loads(pgtools(*words(name, sets), "--no-cache", "--json").out)["values"] for name in FOUR]
    assert not (tmp_path / "cache" / "features").exists()
    assert runs == [12, 14, 12, 14, 12, 14, 12]
    runs.clear()
    kept = [pgtools(*words(name, sets), "--json") for name in ("fid", "inception-score", "kid", "precision-recall")]
    assert runs == [14, 12]
    assert "come from the cache" not in kept[0].err
    assert kept[1].err == f"Features of {sets[1]} come from the cache.\n"
    assert kept[2].err.count("come from the cache") == 2
    values = [json.loads(outcome.out)["values"] for outcome in kept]
    assert values == [fresh[1], fresh[0], fresh[2], fresh[3]]
    assert len(list((tmp_path / "cache" / "features").iterdir())) == 2


def test_statistics_stand_for_the_real_images(
    pgtools: Run, sets: tuple[Path, Path, Path], runs: list[int], tmp_path: Path
):
    real, fake, weights = sets
    numbers = np.random.default_rng(0).random((99, 64))
    stats = tmp_path / "stats.npz"
    np.savez(stats, mu=numbers.mean(0), sigma=np.cov(numbers, rowvar=False))
    common = ("--weights", weights, "--device", "cpu", "--layer", "64", "--json")
    result = json.loads(pgtools("fid", fake, "--real-stats", stats, *common).out)
    assert len(result["protocol"]["real_statistics"]) == 64
    assert list(result["data"]) == ["fake"] and result["spread"]["value"] > 0
    assert result["floor"] == {}
    for wrong in ((real, fake, "--real-stats", stats), (fake,), (), (real, fake, fake)):
        assert pgtools("fid", *wrong, *common).code == 2
    runs.clear()
    outcome = pgtools("fid", fake, "--real-stats", weights, *common)
    assert outcome.code == 1 and "holds no statistics of 64 features" in outcome.err
    assert pgtools("fid", fake, "--real-stats", tmp_path / "absent.npz", *common).code == 1
    assert runs == []


def test_errors_can_be_left_out(pgtools: Run, sets: tuple[Path, Path, Path], runs: list[int]):
    for name, option in (("fid", "--no-errors"), ("kid", "--no-errors"), ("inception-score", "--bootstrap=0")):
        result = json.loads(pgtools(*words(name, sets), option, "--json").out)
        assert result["spread"] == result["interval"] == result["floor"] == {}


def test_a_floor_is_told_where_there_are_images_enough(
    pgtools: Run, sets: tuple[Path, Path, Path], runs: list[int], tmp_path: Path
):
    (real,), (fake,) = (
        written(tmp_path, photographs(count, 32, seed), f"{seed}.h5") for count, seed in ((260, 3), (130, 4))
    )
    result = json.loads(pgtools(*words("fid", (real, fake, sets[2])), "--json").out)
    assert 0 < result["floor"]["value"] < 2 * result["values"]["value"]
    assert result["floor_spread"]["value"] > 0 and "real" in result["verdict"]["value"]
    assert json.loads(pgtools(*words("fid", (fake, real, sets[2])), "--json").out)["verdict"] == {
        "value": "no floor: 65 images are under twice the 64 features"
    }
    few = json.loads(pgtools(*words("fid", sets), "--json").out)
    assert few["floor"] == {} and few["verdict"]["value"].startswith("12 images are fewer than 64 features")
    kernel = json.loads(pgtools(*words("kid", (real, fake, sets[2])), "--json").out)
    assert kernel["floor"] == {"value": 0} and kernel["floor_spread"]["value"] > 0


@pytest.mark.parametrize("name", FOUR)
def test_missing_weights_and_too_few_images_are_told_first(
    name: str, pgtools: Run, sets: tuple[Path, Path, Path], runs: list[int]
):
    real, fake, weights = sets
    images = [fake] if name == "inception-score" else [real, fake]
    outcome = pgtools(name, *images)
    assert outcome.code == 1 and outcome.out == ""
    assert "inception-2015-12-05" in outcome.err and "https://" in outcome.err
    few = {
        "kid": ("--subset-size", 13),
        "precision-recall": ("--neighbourhood", 12),
        "inception-score": ("--splits", 13),
    }
    if name in few:
        outcome = pgtools(name, *images, "--weights", weights, "--device", "cpu", *few[name])
        assert outcome.code == 1 and "Found 12 images" in outcome.err and "pass" in outcome.err
    assert runs == []


@pytest.mark.parametrize("name", FOUR)
def test_help_shows_an_example(name: str, pgtools: Run):
    outcome = pgtools(name, "--help")
    assert outcome.code == 0
    assert f"\n    pgtools {name} " in outcome.out and "--no-cache" in outcome.out
