"""Nearest training images: planted copies are found, ties have an order, batches change nothing; and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from PIL import Image

from pgtools.errors import InputError, UsageError
from pgtools.metrics.held import Budget
from pgtools.metrics.measure import Collector, Recipe, SetOfImages
from pgtools.metrics.neighbours.find import check, chosen, find_neighbours
from pgtools.metrics.neighbours.picture import CAPTION, HEAD, sheet
from pgtools.metrics.neighbours.search import Nearest, euclidean, mean_difference, middle, root_mean_square
from pgtools.metrics.neighbours.settings import NeighboursSettings
from tests.metrics.sets import ArraySource, photographs
from tests.pictures import noise_images
from tests.stores.sets import image_folder, written

CPU = torch.device("cpu")
TRAINING = photographs(40, 32, 1)


def settings(**changed: Any) -> NeighboursSettings:
    return NeighboursSettings(**{"count": 3, "nearest": 4} | changed)


def planted() -> np.ndarray:
    """A copy of image 7, image 12 a little brighter, and something that is in no set."""
    brighter = np.clip(TRAINING[12].astype(int) + 3, 0, 255).astype(np.uint8)
    return np.stack([TRAINING[7], brighter, noise_images(1, 32)[0]])


def by_hand(generated: np.ndarray, training: np.ndarray, distance: str) -> tuple[np.ndarray, np.ndarray]:
    """Every pair in float64; numbers and distances, sorted by (distance, number)."""
    gaps = generated[:, None].astype(np.float64) - training[None].astype(np.float64)
    axes = (2, 3, 4)
    table = np.sqrt((gaps**2).mean(axis=axes)) if distance == "l2" else np.abs(gaps).mean(axis=axes)
    order = np.argsort(table, axis=1, kind="stable")
    return order, np.take_along_axis(table, order, axis=1)


@pytest.mark.parametrize("distance", ["l2", "l1"])
def test_planted_images_are_found(distance: str) -> None:
    found = find_neighbours(ArraySource(TRAINING), ArraySource(planted()), settings(distance=distance), CPU)
    assert [one.nearest[0].index for one in found[:2]] == [7, 12]
    assert (found[0].nearest[0].distance, found[0].is_copy) == (0.0, True)
    assert 0 < found[1].nearest[0].distance <= 3
    assert not found[1].is_copy and not found[2].is_copy
    order, distances = by_hand(planted(), TRAINING, distance)
    for one, numbers, expected in zip(found, order, distances, strict=True):
        assert [neighbour.index for neighbour in one.nearest] == numbers[:4].tolist()
        assert [neighbour.distance for neighbour in one.nearest] == pytest.approx(expected[:4], rel=1e-12)


@pytest.mark.parametrize("distance", ["l2", "l1"])
def test_batches_change_no_bit(distance: str) -> None:
    whole = find_neighbours(ArraySource(TRAINING), ArraySource(planted()), settings(distance=distance), CPU)
    for batch in (1, 7, 40):
        parts = settings(distance=distance, batch=batch)
        assert find_neighbours(ArraySource(TRAINING), ArraySource(planted()), parts, CPU) == whole


@pytest.mark.gpu
@pytest.mark.parametrize("distance", ["l2", "l1"])
def test_a_gpu_changes_no_bit(distance: str) -> None:
    sources = ArraySource(TRAINING), ArraySource(planted())
    there = find_neighbours(*sources, settings(distance=distance), torch.device("cuda"))
    assert there == find_neighbours(*sources, settings(distance=distance), CPU)


def test_large_images_are_read_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sizes = ArraySource(TRAINING), []
    read = source.read_top
    monkeypatch.setattr(source, "read_top", lambda indices: sizes.append(len(indices)) or read(indices))
    monkeypatch.setattr("pgtools.metrics.neighbours.find.PIXELS_AT_ONCE", 5 * 32 * 32)
    find_neighbours(source, ArraySource(planted()), settings(), CPU)
    assert max(sizes) == 5
    assert sum(sizes) == 40 + 3 * 4


@given_settings(deadline=None)
@given(
    distances=st.lists(st.integers(0, 5), min_size=1, max_size=30),
    seed=st.integers(0, 1000),
    nearest=st.integers(1, 8),
)
def test_ties_are_in_the_order_of_numbers_however_they_come(distances: list[int], seed: int, nearest: int) -> None:
    rng = np.random.default_rng(seed)
    table, numbers = np.array([distances], np.float64), rng.permutation(len(distances))
    found, start = Nearest(1, nearest), 0
    while start < len(numbers):
        part = numbers[start : start + rng.integers(1, 9)]
        found.update(table[:, part], part.tolist())
        start += len(part)
    expected = sorted(range(len(distances)), key=lambda i: (distances[i], i))[:nearest]
    assert found.numbers[0].tolist() == expected
    assert found.distances[0].tolist() == [distances[i] for i in expected]


@given_settings(deadline=None)
@given(seed=st.integers(0, 10_000), queries=st.integers(1, 4), rows=st.integers(1, 9), side=st.integers(1, 12))
def test_distances_are_those_of_the_definition(seed: int, queries: int, rows: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.integers(0, 256, (count, 3, side, side), np.uint8) for count in (queries, rows))
    gaps = a[:, None].astype(np.float64) - b[None]
    pair = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_allclose(root_mean_square(*pair), np.sqrt((gaps**2).mean(axis=(2, 3, 4))), rtol=1e-14)
    np.testing.assert_allclose(mean_difference(*pair), np.abs(gaps).mean(axis=(2, 3, 4)), rtol=1e-14)
    floats = [one.flatten(1).float() / 7 for one in pair]
    plain = np.sqrt(((floats[0].numpy()[:, None] - floats[1].numpy()[None].astype(np.float64)) ** 2).sum(-1))
    np.testing.assert_allclose(euclidean(*floats), plain, rtol=1e-12)
    assert np.all(np.diag(root_mean_square(pair[0], pair[0])) == 0)


def test_a_difference_of_one_level_in_a_megapixel_is_seen() -> None:
    """In float32, ‖a‖² + ‖b‖² − 2ab of such images is off by thousands."""
    image = torch.full((1, 3, 1024, 1024), 200, dtype=torch.uint8)
    image[0, :, ::2] = 131
    other = image.clone()
    other[0, 0, 0, 0] += 1
    expected = np.sqrt(1 / image.numel())
    assert root_mean_square(image, torch.cat([image, other]))[0] == pytest.approx([0, expected], rel=1e-12)


@pytest.mark.parametrize(
    ("side", "crop", "kept"), [(32, 1.0, 32), (32, 0.5, 16), (32, 0.01, 2), (32, 0.99, 32), (7, 0.5, 3), (1, 0.5, 1)]
)
def test_the_middle(side: int, crop: float, kept: int) -> None:
    images = torch.arange(side * side).view(1, 1, side, side)
    found = middle(images, crop)
    rim = (side - kept) // 2
    assert torch.equal(found, images[..., rim : rim + kept, rim : rim + kept])


def test_crop_and_level_decide_what_is_compared() -> None:
    """The planted copy has another frame: the middle is equal, the whole is not; it is no exact copy."""
    framed = TRAINING[7].copy()
    framed[:, :4] = 255 - framed[:, :4]
    training, fake = ArraySource(TRAINING), ArraySource(framed[None])
    found = find_neighbours(training, fake, settings(count=1, crop=0.5), CPU)[0]
    assert (found.nearest[0].index, found.nearest[0].distance, found.is_copy) == (7, 0.0, False)
    assert find_neighbours(training, fake, settings(count=1), CPU)[0].nearest[0].distance > 0
    # A checkerboard of ±1 is gone one level below.
    checked = TRAINING[7].clip(1, 254) + np.where(np.indices((32, 32)).sum(0) % 2, 1, -1).astype(np.uint8)
    low = find_neighbours(
        ArraySource(TRAINING.clip(1, 254)), ArraySource(checked[None]), settings(count=1, level=16), CPU
    )
    assert (low[0].nearest[0].index, low[0].nearest[0].distance, low[0].is_copy) == (7, 0.0, False)


def test_the_generated_images_are_a_seeded_choice() -> None:
    fake = ArraySource(noise_images(50, 8))
    first = chosen(fake, settings(count=8))
    assert first == sorted(set(first)) == chosen(fake, settings(count=8))
    assert first != chosen(fake, settings(count=8, seed=1))
    assert chosen(fake, settings(count=50)) == list(range(50))


@pytest.mark.parametrize(
    ("training", "fake", "changed", "error", "message"),
    [
        (TRAINING, noise_images(9, 16), {}, InputError, "has 32² images, fake 16²"),
        (TRAINING, TRAINING, {"level": 64}, InputError, "has no level 64"),
        (TRAINING[:3], TRAINING, {}, InputError, "has 3 images; --nearest is 4"),
        (TRAINING, TRAINING[:2], {}, InputError, "has 2 images; --count is 3"),
        (TRAINING, TRAINING, {"space": "inception", "distance": "l1"}, UsageError, "--distance l1 is of pixels"),
        (TRAINING, TRAINING, {"space": "inception"}, UsageError, "needs its weights"),
    ],
)
def test_what_cannot_be_compared(training, fake, changed, error, message: str) -> None:
    sources = ArraySource(training, "training"), ArraySource(fake, "fake")
    with pytest.raises(error, match=message):
        find_neighbours(*sources, settings(**changed), CPU)
    assert sources[0].reads == sources[1].reads == 0
    check(ArraySource(TRAINING), ArraySource(planted()), settings())


class Means(Recipe):
    """Stands in for the network: the mean of each colour is a feature."""

    def begin(self, images: SetOfImages, device: torch.device, budget: Budget | None = None) -> Collector:
        return MeanSet(images.count)


class MeanSet(Collector):
    def __init__(self, count: int) -> None:
        self.rows = np.full((count, 3), np.nan, np.float32)

    def update(self, images, indices) -> None:
        self.rows[list(indices)] = images.float().mean(dim=(2, 3)).numpy()

    def parts(self) -> Any:
        raise NotImplementedError

    def absorb(self, parts: Any) -> None:
        raise NotImplementedError

    def features(self, layer: str) -> np.ndarray:
        assert layer == "2048"
        return self.rows


def test_features_are_compared_where_a_space_is_named() -> None:
    shuffled = TRAINING[5].reshape(3, -1)[:, np.random.default_rng(0).permutation(1024)].reshape(3, 32, 32)
    fake = np.stack([shuffled, TRAINING[9], TRAINING[11]])
    found = find_neighbours(
        ArraySource(TRAINING), ArraySource(fake), settings(space="inception"), CPU, features=Means()
    )
    assert [one.nearest[0].index for one in found] == [5, 9, 11]
    assert [one.is_copy for one in found] == [False, True, True]
    means = TRAINING.astype(np.float64).mean(axis=(2, 3))
    expected = np.sort(np.sqrt(((means - means[9]) ** 2).sum(1)))[:4]
    assert [n.distance for n in found[1].nearest] == pytest.approx(expected, abs=1e-3)


def test_the_sheet_holds_every_pixel_in_its_place() -> None:
    generated, neighbours = noise_images(2, 32, 1), noise_images(6, 32, 2).reshape(2, 3, 3, 32, 32)
    picture = sheet(generated, neighbours, [["1.000", "2.000", "3.000"], ["", "", ""]])
    step = 96 + CAPTION + 3
    assert picture.shape == (HEAD + 2 * step - 3, 96 + 24 + 3 * 99 - 3, 3)
    second = picture[HEAD + step : HEAD + step + 96, :96]
    np.testing.assert_array_equal(second, generated[1].transpose(1, 2, 0).repeat(3, 0).repeat(3, 1))
    third = picture[HEAD : HEAD + 96, 120 + 2 * 99 :]
    np.testing.assert_array_equal(third, neighbours[0, 2].transpose(1, 2, 0).repeat(3, 0).repeat(3, 1))
    assert np.all(picture[HEAD:, 96:120] == 255)
    below = picture[HEAD + 96 : HEAD + step, 120:]
    assert all((below[:, left : left + 96] < 128).any() for left in (0, 99, 198))
    assert np.all(picture[HEAD + step + 96 :] == 255)
    assert (picture[:HEAD] < 128).any()


@pytest.mark.parametrize(("side", "cell"), [(4, 96), (64, 128), (96, 96), (128, 128)])
def test_small_images_are_enlarged_by_whole_numbers(side: int, cell: int) -> None:
    generated = noise_images(1, side)
    picture = sheet(generated, generated[None], [[""]])
    assert picture.shape[0] == HEAD + cell + CAPTION
    times = cell // side
    shown = picture[HEAD : HEAD + cell, :cell]
    np.testing.assert_array_equal(shown, generated[0].transpose(1, 2, 0).repeat(times, 0).repeat(times, 1))


def test_the_command_writes_a_picture_and_tells_copies(pgtools, tmp_path: Path) -> None:
    training = written(tmp_path, TRAINING, "training.lmdb")[0]
    fake, out = image_folder(tmp_path / "fake", planted()), tmp_path / "n.png"
    words = ("neighbours", training, fake, "--out", out, "--count", 3, "--nearest", 4, "--device", "cpu")
    done = pgtools(*words)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "distance: root mean square of the pixels' difference"
    assert lines[3].split() == ["0000.png", "7.png", "0.000", *lines[3].split()[3:]]
    assert lines[3].endswith("yes")
    assert "1 of 3 generated images is an exact copy of a training image" in done.err
    with Image.open(out) as picture:
        assert picture.size == (96 + 24 + 4 * 99 - 3, HEAD + 3 * (96 + CAPTION + 3) - 3)
        first = np.asarray(picture)[HEAD + 1 : HEAD + 96 : 3, 121:216:3]
        np.testing.assert_array_equal(first, TRAINING[7].transpose(1, 2, 0))
    assert pgtools(*words).code == 1
    again = pgtools(*words, "--overwrite", "--json", "--distance", "l1", "--batch", 3)
    found = json.loads(again.out)
    assert found["copies"] == 1
    assert found["settings"]["distance"] == "l1"
    assert [row["nearest"][0]["index"] for row in found["neighbours"]][:2] == [7, 12]
    assert found["neighbours"][0]["nearest"][0]["is_copy"] is True


def test_copies_of_several_and_of_none(pgtools, tmp_path: Path) -> None:
    training, other = written(tmp_path, TRAINING, "a.lmdb")[0], written(tmp_path, noise_images(9, 32), "b.lmdb")[0]
    words = ("--out", tmp_path / "n.png", "--overwrite", "--device", "cpu")
    assert "8 of 8 generated images are exact copies" in pgtools("neighbours", training, training, *words).err
    assert "None of 8 generated images are exact copies" in pgtools("neighbours", training, other, *words).err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("a.lmdb", "a.lmdb"), 2, "Missing option '--out'"),
        (("a.lmdb", "a.lmdb", "--out", "n.jpg"), 2, "--out is n.jpg; the picture is a PNG"),
        (("a.lmdb", "a.lmdb", "--out", "there.png"), 1, "there.png already exists"),
        (("none", "a.lmdb", "--out", "n.png"), 1, "none does not exist"),
        (("there.png", "a.lmdb", "--out", "n.png"), 1, "there.png is no image source"),
        (("a.lmdb", "small.lmdb", "--out", "n.png"), 1, "a.lmdb has 32² images, small.lmdb 16²"),
        (("a.lmdb", "a.lmdb", "--out", "n.png", "--level", "5"), 1, "has no level 5"),
        (("a.lmdb", "a.lmdb", "--out", "n.png", "--count", "99"), 1, "has 40 images; --count is 99"),
        (("a.lmdb", "a.lmdb", "--out", "n.png", "--crop", "0"), 2, "--crop is 0"),
        (("a.lmdb", "a.lmdb", "--out", "n.png", "--weights", "w.pth"), 2, "--weights is of --space inception"),
        (("a.lmdb", "a.lmdb", "--out", "n.png", "--space", "inception"), 1, "inception-2015-12-05"),
        (("a.lmdb", "a.lmdb", "--out", "n.png", "--space", "inception", "--weights", "there.png"), 1, "is not the Inc"),
    ],
)
def test_bad_words_are_one_line_and_nothing_is_written(
    pgtools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words, code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path / "cache"))
    written(tmp_path, TRAINING, "a.lmdb")
    written(tmp_path, noise_images(9, 16), "small.lmdb")
    (tmp_path / "there.png").write_bytes(b"mine")
    before = sorted(tmp_path.iterdir())
    done = pgtools("neighbours", *words)
    assert done.code == code, done.err
    errors = [line for line in done.err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1 and message in errors[0], done.err
    assert done.out == ""
    assert sorted(tmp_path.iterdir()) == before
