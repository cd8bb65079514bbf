"""Features on disk: found by content, refused where anything differs, whole or made again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.inception import cache as module
from pgtools.metrics.inception.cache import FeatureCache, Key, metrics_cache_folder
from pgtools.metrics.inception.measure import FidMeasure, InceptionScoreMeasure
from pgtools.metrics.inception.network import WIDTHS, NetworkFile
from pgtools.metrics.settings import FidSettings, InceptionSettings
from tests.metrics.sets import ArraySource, photographs

CPU = torch.device("cpu")
KEY = Key("ab" * 32, 5, 32, "cd" * 32)


def arrays(count: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    numbers = np.random.default_rng(seed)
    return {layer: numbers.random((count, width), dtype=np.float32) for layer, width in WIDTHS.items()}


def empty(count: int = 5) -> dict[str, np.ndarray]:
    return {layer: np.zeros((count, width), np.float32) for layer, width in WIDTHS.items()}


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, said: list[str]) -> FeatureCache:
    return FeatureCache(tmp_path / "features", say=said.append)


NETWORK = NetworkFile(Path("weights.pth"), "12" * 32)


def test_a_set_seen_before_is_not_run_again(cache: FeatureCache, said: list[str], runs: list[int]):
    fake, real = ArraySource(photographs(6, 32, 1), "fakes"), ArraySource(photographs(5, 32, 2), "reals")
    measures = [FidMeasure(FidSettings(layer="64"), NETWORK, cache)]

    def score() -> object:
        with Evaluator(measures, real, Reading(), CPU) as evaluator:
            return evaluator.score(fake)

    first = score()
    assert runs == [5, 6] and said == []
    assert score() == first
    assert runs == [5, 6]
    assert said == ["Features of reals come from the cache.", "Features of fakes come from the cache."]
    # The same images by another name, for another metric.
    again = InceptionScoreMeasure(InceptionSettings(splits=2), NETWORK, cache)
    Evaluator([again], None, Reading(), CPU).score(ArraySource(fake.images, "copy"))
    assert runs == [5, 6]
    for other in (
        [ArraySource(photographs(6, 32, 3))],
        [ArraySource(fake.images[:5]), replace(again, network=replace(NETWORK, sha256="34" * 32))],
        [ArraySource(fake.images[::-1].copy())],
    ):
        measure = other[1] if len(other) > 1 else again
        Evaluator([measure], None, Reading(), CPU).score(other[0])
    assert runs == [5, 6, 6, 5, 6]
    assert InceptionScoreMeasure(InceptionSettings(), NETWORK).recipe("fake").by_content is False


def test_what_is_written_is_read(cache: FeatureCache, said: list[str]):
    assert not cache.read(KEY, empty(), "set")
    cache.write(KEY, arrays())
    found = empty()
    assert cache.read(KEY, found, "set")
    assert all(np.array_equal(found[layer], rows) for layer, rows in arrays().items())
    for other in (
        replace(KEY, fingerprint="ef" * 32),
        replace(KEY, weights="ef" * 32),
        replace(KEY, count=4),
        replace(KEY, resolution=64),
    ):
        assert not cache.read(other, empty(), "set")
    assert said == ["Features of set come from the cache."]


def test_other_layers_and_versions_are_other_features(monkeypatch: pytest.MonkeyPatch):
    name = KEY.file_name()
    monkeypatch.setattr(module, "VERSION", 2)
    later = KEY.file_name()
    monkeypatch.setattr(module, "WIDTHS", {"2048": 2048})
    assert len({name, later, KEY.file_name()}) == 3


@pytest.mark.parametrize(
    "damage", ["cut", "flipped head", "flipped value", "empty", "text", "another set", "other shape", "folder"]
)
def test_damaged_and_foreign_files_are_told_and_written_anew(
    damage: str, cache: FeatureCache, said: list[str], tmp_path: Path
):
    cache.write(KEY, arrays())
    (path,) = (tmp_path / "features").iterdir()
    whole = path.read_bytes()
    spoiled = {
        "cut": whole[:-1000],
        "flipped head": b"\xff" * 9 + whole[9:],
        "flipped value": whole[:-1] + b"?",
        "empty": b"",
        "text": b"features",
    }
    if damage in spoiled:
        path.write_bytes(spoiled[damage])
    elif damage == "another set":
        other = replace(KEY, fingerprint="ef" * 32)
        cache.write(other, arrays())
        path.with_name(other.file_name()).replace(path)
    elif damage == "other shape":
        safetensors.numpy.save_file(arrays(4), path, {"pgtools": KEY.text()})
    else:
        path.unlink()
        path.mkdir()
    assert not cache.read(KEY, empty(), "set")
    if damage != "folder":
        assert len(said) == 1 and said[0].startswith("Warning: ") and "is damaged" in said[0]
        cache.write(KEY, arrays())
        assert cache.read(KEY, empty(), "set")


def test_those_used_longest_ago_go_first(tmp_path: Path, said: list[str]):
    size = sum(rows.nbytes for rows in arrays().values())
    cache = FeatureCache(tmp_path, gigabytes=2.5 * size / 1e9, say=said.append)
    keys = [replace(KEY, fingerprint=f"{i:064x}") for i in range(3)]
    for age, key in enumerate(keys[:2]):
        cache.write(key, arrays())
        os.utime(tmp_path / key.file_name(), (age + 1, age + 1))
    foreign = tmp_path / "notes.txt"
    foreign.write_text("kept")
    assert cache.read(keys[0], empty(), "first")
    cache.write(keys[2], arrays())
    held = {path.name for path in tmp_path.iterdir()}
    assert held == {keys[0].file_name(), keys[2].file_name(), "notes.txt"}
    FeatureCache(tmp_path, gigabytes=0.5 * size / 1e9, say=said.append).write(keys[1], arrays())
    assert "the cache is limited" in said[-1]
    assert not (tmp_path / keys[1].file_name()).exists()


def test_a_cache_that_cannot_be_written_costs_no_figure(tmp_path: Path, said: list[str]):
    (tmp_path / "file").write_text("in the way")
    FeatureCache(tmp_path / "file" / "features", say=said.append).write(KEY, arrays())
    assert len(said) == 1 and "are not kept in" in said[0]


def test_the_folder_goes_with_that_of_the_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path))
    assert metrics_cache_folder() == tmp_path / "features"
    monkeypatch.delenv("PGTOOLS_CACHE")
    assert metrics_cache_folder().name == "features"
