"""Statistics of real images in a file: as other programs write them, and as hostile hands do."""

from __future__ import annotations

import io
import lzma
import tokenize
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pgtools.errors import InputError
from pgtools.metrics.inception.scores import feature_statistics, frechet_distance
from pgtools.metrics.inception.statistics import StatisticsFile


def written(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)
    return path


def test_a_distance_from_a_file_is_that_from_the_images(tmp_path: Path):
    numbers = np.random.default_rng(0)
    real, fake = (feature_statistics(numbers.random((50, 64), dtype=np.float32)) for _ in range(2))
    path = written(tmp_path / "stats.npz", mu=real.mu, sigma=real.sigma, other=np.zeros(3))
    file = StatisticsFile.of(path)
    assert len(file.sha256) == 64
    assert frechet_distance(fake, file.read(64)) == pytest.approx(frechet_distance(fake, real), rel=1e-5)


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


GOOD = {"mu": np.zeros(4), "sigma": np.eye(4)}
BAD = {
    "no sigma": ({"mu": np.zeros(4)}, "no sigma"),
    "other width": ({"mu": np.zeros(3), "sigma": np.eye(3)}, r"shape \(3,\)"),
    "words": ({**GOOD, "mu": np.array(["a"] * 4)}, "its mu is <U1"),
    "whole numbers": ({**GOOD, "sigma": np.eye(4, dtype=int)}, "its sigma is int"),
    "nan": ({**GOOD, "sigma": np.full((4, 4), np.nan)}, "no finite numbers"),
    "not symmetric": ({**GOOD, "sigma": np.triu(np.ones((4, 4)))}, "no covariance"),
    "indefinite": ({**GOOD, "sigma": np.eye(4) + 5 * (np.eye(4, k=1) + np.eye(4, k=-1))}, "no covariance"),
    "huge": ({**GOOD, "mu": np.full(4, 1e200)}, "values above 1e\\+100"),
    "negative": ({**GOOD, "sigma": -np.eye(4)}, "no covariance"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_statistics_is_said(kind: str, tmp_path: Path):
    arrays, reason = BAD[kind]
    with pytest.raises(InputError, match=reason) as caught:
        StatisticsFile.of(written(tmp_path / "stats.npz", **arrays)).read(4)
    assert "stats.npz holds no statistics of 4 features" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["pickled", "pickle", "text", "empty", "plain array", "cut", "bomb"])
def test_hostile_files_are_refused_and_not_run(kind: str, tmp_path: Path):
    path, sprung = tmp_path / "stats.npz", tmp_path / "sprung"
    if kind == "pickled":
        held = np.empty(4, object)
        held[:] = [Trap(sprung)] * 4
        np.savez(path, mu=held, sigma=np.eye(4))
    elif kind == "pickle":
        io_ = io.BytesIO()
        np.save(io_, np.array([Trap(sprung)], object), allow_pickle=True)
        path.write_bytes(io_.getvalue())
    elif kind == "plain array":
        with path.open("wb") as file:
            np.save(file, np.eye(4))
    elif kind == "bomb":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("mu.npy", bytes(10**7))
            archive.writestr("sigma.npy", bytes(10**7))
    else:
        whole = written(path, **GOOD).read_bytes()
        path.write_bytes({"text": b"statistics", "empty": b"", "cut": whole[:-60]}[kind])
    with pytest.raises(InputError, match="holds no statistics of 4 features"):
        StatisticsFile.of(path).read(4)
    assert not sprung.exists()


def test_damaged_files_are_refused_or_read_as_written(tmp_path: Path):
    """Bytes changed by chance, and those of the entries' headers: how they are packed, what the arrays are."""
    path, numbers = tmp_path / "stats.npz", np.random.default_rng(0)
    whole, refused = written(path, **GOOD).read_bytes(), 0
    headers = [at for name in (b"mu.npy", b"sigma.npy") for at in range(whole.find(name) - 30, whole.find(name) + 140)]
    for way in range(600):
        damaged = bytearray(whole)
        for _ in range(4):
            damaged[numbers.choice(headers) if way % 2 else numbers.integers(len(whole))] = numbers.integers(256)
        path.write_bytes(damaged)
        try:
            StatisticsFile.of(path).read(4)
        except InputError:
            refused += 1
    assert refused > 500


@pytest.mark.parametrize(
    "error", [NotImplementedError, tokenize.TokenError, RecursionError, SyntaxError, lzma.LZMAError]
)
def test_whatever_numpy_raises_is_one_line(error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise error("reason")

    path = written(tmp_path / "stats.npz", **GOOD)
    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(InputError, match=r"no statistics of 4 features .*reason"):
        StatisticsFile.of(path).read(4)


def test_an_absent_file_is_said(tmp_path: Path):
    with pytest.raises(InputError, match="cannot be read"):
        StatisticsFile.of(tmp_path / "absent.npz")
