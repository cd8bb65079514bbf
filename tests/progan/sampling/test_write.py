from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pgtools.errors import OutputError, UsageError
from pgtools.imaging.photo import read_photo
from pgtools.progan.config import Architecture
from pgtools.progan.generator import Generator
from pgtools.progan.run.snapshot import Snapshot
from pgtools.progan.sampling.source import GeneratorSource
from pgtools.progan.sampling.write import by_class, check_grid, check_target, target, write_grid, write_images
from pgtools.runtime import files
from pgtools.stores.opening import open_source


def images(count: int = 5, labels: int = 3) -> GeneratorSource:
    shape = Architecture(16, latent=8, labels=labels, fmap_base=64, fmap_max=8)
    return GeneratorSource(Snapshot(Generator(shape, seed=1).eval(), 0.0, 0), name="runs/g", count=count, seed=3)


@pytest.mark.parametrize("name", ["fakes", "fakes.v2", "fakes.zip", "fakes.lmdb", "fakes.h5"])
@pytest.mark.parametrize("labels", [0, 3])
def test_every_kind_of_output_holds_images_levels_and_classes(tmp_path: Path, name: str, labels: int) -> None:
    source = images(labels=labels).picked([3, 9, 40])
    write_images(source, target(tmp_path / name))
    found = open_source(tmp_path / name)
    for level in (16, 4):
        np.testing.assert_array_equal(found.read(range(3), level), source.read(range(3), level))
    if labels:
        assert found.labels is not None and source.labels is not None
        assert found.labels.tolist() == source.labels.tolist()
        assert found.classes == (3 if name.endswith((".h5", ".lmdb")) else max(found.labels) + 1)
    else:
        assert found.labels is None


def test_a_folder_is_flat_and_names_the_numbers(tmp_path: Path) -> None:
    out = tmp_path / "fakes"
    write_images(images().picked([3, 40], classes=(2,)), target(out))
    assert sorted(file.name for file in out.iterdir()) == ["000003.png", "000040.png", "dataset.json"]
    assert json.loads((out / "dataset.json").read_text()) == {"labels": [["000003.png", 2], ["000040.png", 2]]}


def test_a_store_tells_where_its_images_come_from(tmp_path: Path) -> None:
    write_images(images(), target(tmp_path / "f.lmdb"))
    origin = open_source(tmp_path / "f.lmdb").header.origin  # type: ignore[attr-defined]
    assert (origin["name"], origin["made"], origin["seed"]) == ("g", "generate", 3)
    assert origin["generator"] == images().fingerprint()


@pytest.mark.parametrize("name", ["fakes", "fakes.zip"])
def test_images_stay_until_others_are_in_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out = target(tmp_path / name)
    write_images(images(3), out)
    monkeypatch.setattr(files, "_swap_in", None)  # whatever fails in the last moment
    with pytest.raises(TypeError):
        write_images(images(2), out)
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert len(open_source(tmp_path / name)) == 3


def held(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text("x")
    return folder


@pytest.mark.parametrize(
    ("names", "numbers", "allowed"),
    [
        ([], range(5), True),
        (["000000.png", "000001.png"], range(1), True),
        (["000000.png", "dataset.json"], range(1), True),
        (["000003.png", "000040.png"], [3, 40], True),
        (["000003.png", "000040.png"], [3, 7, 40], True),
        (["000003.png", "000040.png"], [3], False),
        (["000001.png", "000002.png"], range(1), False),  # as CelebA's own begin
        (["000000.png", "thesis.txt"], range(5), False),
        (["dataset.json", "0000001.png"], range(5), False),
    ],
)
def test_only_generated_images_are_replaced(
    tmp_path: Path, names: list[str], numbers: list[int], allowed: bool
) -> None:
    out = target(held(tmp_path / "fakes", *names))
    if allowed:
        check_target(out, numbers, overwrite=True)
    else:
        with pytest.raises(OutputError, match="none of the images"):
            check_target(out, numbers, overwrite=True)


def test_what_is_there_is_refused_without_overwrite(tmp_path: Path) -> None:
    check_target(target(held(tmp_path / "empty")), range(3), overwrite=False)
    with pytest.raises(OutputError, match="already exists"):
        check_target(target(held(tmp_path / "full", "000000.png")), range(3), overwrite=False)
    write_images(images(1), target(tmp_path / "f.lmdb"))
    with pytest.raises(OutputError, match="already exists"):
        check_target(target(tmp_path / "f.lmdb"), range(3), overwrite=False)
    check_target(target(tmp_path / "f.lmdb"), range(3), overwrite=True)


def test_a_grid_has_the_images_row_by_row(tmp_path: Path) -> None:
    write_grid(images(5), tmp_path / "g.png", columns=2)
    sheet, source = read_photo(tmp_path / "g.png"), images(5).read(range(5))
    assert sheet.shape == (3 * 16, 2 * 16, 3)
    np.testing.assert_array_equal(sheet[16:32, 16:], source[3].transpose(1, 2, 0))
    assert not sheet[32:, 16:].any()


def test_a_row_a_class_shows_the_same_latents_as_each() -> None:
    rows = by_class(images().picked([2, 5, 8]), [2, 0], columns=2)
    one = images()
    for place, (number, kind) in enumerate([(2, 2), (5, 2), (2, 0), (5, 0)]):
        np.testing.assert_array_equal(rows.read([place]), one.picked([number], classes=(kind,)).read([0]))


def test_a_grid_too_large_to_open_is_refused() -> None:
    check_grid(256, 1024)
    with pytest.raises(UsageError, match="256 fit"):
        check_grid(257, 1024)
