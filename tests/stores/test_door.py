"""`pgtools.open`: the library's public door."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pgtools
from pgtools.errors import InputError, UsageError
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.stores.source import ImageSource
from tests.pictures import noise_images, smooth_images
from tests.stores.sets import image_folder, written

WRITTEN = ("a.lmdb", "a.h5", "a.zip", "tfrecord", "stylegan", "folder", "webdataset")


def test_importing_pgtools_imports_nothing_heavy() -> None:
    code = "import sys, pgtools; sys.exit(any(m in sys.modules for m in ('numpy', 'torch', 'PIL', 'h5py')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", WRITTEN)
def test_whatever_holds_them_the_same_images_come_out(tmp_path: Path, name: str) -> None:
    images, labels = smooth_images(7, 16), [2, 0, 1, 1, 0, 2, 2]
    (path,) = written(tmp_path, images, name, labels=labels)
    source = pgtools.open(str(path))
    assert isinstance(source, ImageSource)
    assert (len(source), source.resolution, source.levels, source.classes) == (7, 16, (16, 8, 4), 3)
    assert source.labels is not None
    assert source.labels.tolist() == labels
    for level, expected in mean_pyramid(images).items():
        np.testing.assert_array_equal(source.read([6, 0, 6], level), expected[[6, 0, 6]])
    assert source.fingerprint() == pgtools.open(image_folder(tmp_path / "plain", images)).fingerprint()
    assert len(source.records([3])) == 1
    for wrong in (-1, 7):
        with pytest.raises(InputError, match=f"has no image {wrong}; it holds 7"):
            source.read([wrong])


def test_torch_gets_the_same_bytes(tmp_path: Path) -> None:
    images = noise_images(5, 8)
    source = pgtools.open(written(tmp_path, images, "a.lmdb", labels=[0, 1, 0, 1, 2])[0])
    tensor = source.tensor([4, 1])
    assert (tensor.dtype, tensor.shape) == (torch.uint8, (2, 3, 8, 8))
    np.testing.assert_array_equal(tensor.numpy(), images[[4, 1]])
    data = source.dataset(level=4)
    assert len(data) == 5
    image, label = data[-1]
    assert label == 2
    np.testing.assert_array_equal(image.numpy(), mean_pyramid(images)[4][4])
    with pytest.raises(InputError, match="no level 16"):
        source.dataset(level=16)
    with pytest.raises((InputError, IndexError)):
        data[5]


def test_images_of_any_size_are_made_to_fit(tmp_path: Path) -> None:
    photo = noise_images(1, 64)[0, :, :48].transpose(1, 2, 0)
    (tmp_path / "f").mkdir()
    Image.fromarray(photo).save(tmp_path / "f" / "a.png")
    with pytest.raises(InputError, match=r"a\.png is 64×48 pixels") as caught:
        pgtools.open(tmp_path / "f").read([0])
    assert "--crop centre" in caught.value.hint
    source = pgtools.open(tmp_path / "f", crop="centre", resize=16, filter="box")
    square = Image.fromarray(np.ascontiguousarray(photo[:, 8:56]))
    expected = np.asarray(square.resize((16, 16), Image.Resampling.BOX)).transpose(2, 0, 1)
    np.testing.assert_array_equal(source.read([0])[0], expected)


def test_choices_a_format_does_not_have_are_refused(tmp_path: Path) -> None:
    (path,) = written(tmp_path, noise_images(1, 8), "a.lmdb")
    for words, message in (
        ({"crop": "centre"}, "lmdb has one size"),
        ({"format": "bmp"}, "There is no format 'bmp'; there are lsun, lmdb"),
        ({"resize": 20}, "Resizing to 20"),
    ):
        with pytest.raises(UsageError, match=message):
            pgtools.open(path, **words)


def test_a_split_of_a_store_is_what_its_images_say(tmp_path: Path) -> None:
    images = noise_images(4, 8)
    parts = [{"split": name} for name in ("train", "test", "train", "test")]
    for path in written(tmp_path, images, "a.lmdb", "a.h5", labels=[0, 1, 2, 1], attributes=parts):
        tests = pgtools.open(path, split="test")
        np.testing.assert_array_equal(tests.read(range(len(tests))), images[[1, 3]])
        assert tests.labels.tolist() == [1, 1]
        assert tests.classes == 3
        assert len(pgtools.open(path, split="all")) == 4
        with pytest.raises(InputError, match="no images of the split 'val'; its splits: test, train"):
            pgtools.open(path, split="val")


def test_the_folder_of_a_run_is_no_set_of_images(tmp_path: Path) -> None:
    image_folder(tmp_path / "run" / "grids", noise_images(1, 64))
    (tmp_path / "run" / "snapshots").mkdir()
    with pytest.raises(InputError, match="run is the folder of a training run") as caught:
        pgtools.open(tmp_path / "run")
    assert "pgtools generate" in caught.value.hint


def test_the_inside_of_an_lmdb_leads_to_its_folder(tmp_path: Path) -> None:
    (path,) = written(tmp_path, noise_images(1, 8), "a.lmdb")
    with pytest.raises(InputError, match="inside of an LMDB") as caught:
        pgtools.open(path / "data.mdb")
    assert f"Name its folder, {path}." in caught.value.hint


def test_a_source_says_what_it_is_and_takes_no_fractions(tmp_path: Path) -> None:
    source = pgtools.open(written(tmp_path, noise_images(2, 8), "a.lmdb")[0])
    assert repr(source) == f"<LmdbStore {tmp_path / 'a.lmdb'}>"
    with pytest.raises(TypeError):
        source.read([0.5])


def test_a_data_set_object_is_a_source_too() -> None:
    images = noise_images(3, 8)

    class Pairs:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> tuple[Image.Image, int]:
            return Image.fromarray(images[index].transpose(1, 2, 0)), index

    np.testing.assert_array_equal(pgtools.open(Pairs()).read([2, 0]), images[[2, 0]])
