"""CelebA's folders, written here file by file."""

from __future__ import annotations

import io
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgtools.errors import InputError
from pgtools.imaging.fit import Fit
from pgtools.stores.format import Reading
from pgtools.stores.formats.celeba import FORMAT, CelebaFolder
from tests.pictures import jpeg, smooth_images

NAMES = ["Bald", "Eyeglasses", "Smiling"]
SIGNS = [(1, -1, 1), (-1, -1, -1), (1, 1, 1), (-1, 1, -1), (1, -1, -1)]
PARTITION = [0, 1, 2, 0, 2]
LAYOUTS = {
    "torchvision": ("celeba/img_align_celeba", "celeba", "celeba"),
    "torchvision's sub-folder": ("img_align_celeba", ".", "."),
    "CelebA's own": ("Img/img_align_celeba", "Anno", "Eval"),
    "CelebA's own below": ("celeba/Img/img_align_celeba", "celeba/Anno", "celeba/Eval"),
}


def photos() -> list[np.ndarray]:
    return [
        np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize((178, 218))) for image in smooth_images(5, 64, 3)
    ]


def celeba(root: Path, layout: str = "torchvision", *, annotated: bool = True) -> Path:
    images, annotations, evaluation = (root / name for name in LAYOUTS[layout])
    for folder in (images, annotations, evaluation):
        folder.mkdir(parents=True, exist_ok=True)
    for i, photo in enumerate(photos(), start=1):
        (images / f"{i:06d}.jpg").write_bytes(jpeg(photo))
    (images / "._000001.jpg").write_bytes(b"not a photo")
    if annotated:
        rows = [f"{i:06d}.jpg  {'  '.join(map(str, row))}" for i, row in enumerate(SIGNS, start=1)]
        text = "\n".join(["5", " ".join(NAMES) + " ", *rows]) + "\n"
        (annotations / "list_attr_celeba.txt").write_text(text)
        (annotations / "identity_CelebA.txt").write_text("".join(f"{i:06d}.jpg {i * 7}\n" for i in range(1, 6)))
        lines = [f"{i:06d}.jpg {part}\n" for i, part in enumerate(PARTITION, start=1)]
        (evaluation / "list_eval_partition.txt").write_text("".join(lines))
    return root


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_authors_crop_and_every_annotation(tmp_path: Path, layout: str) -> None:
    source = FORMAT.open(celeba(tmp_path, layout), Reading())
    assert FORMAT.recognises(tmp_path)
    assert (len(source), source.resolution, source.labels) == (5, 128, None)
    decoded = np.asarray(Image.open(io.BytesIO(jpeg(photos()[3]))))
    # The authors: img[cy - 64 : cy + 64, cx - 64 : cx + 64] with cx = 89, cy = 121.
    np.testing.assert_array_equal(source.read([3, 0])[0], decoded[57:185, 25:153].transpose(2, 0, 1))
    assert [r.name for r in source.records([4, 0])] == ["000005.jpg", "000001.jpg"]
    expected = {"Bald": 0, "Eyeglasses": 1, "Smiling": 0, "identity": 28, "split": "train"}
    assert source.records([3])[0].attributes == expected


def test_splits(tmp_path: Path) -> None:
    celeba(tmp_path)
    everything = CelebaFolder(tmp_path, "all")
    for number, split in enumerate(("train", "valid", "test")):
        source = CelebaFolder(tmp_path, split)
        wanted = [i for i, part in enumerate(PARTITION) if part == number]
        np.testing.assert_array_equal(source.read(range(len(source))), everything.read(wanted))
        assert {r.attributes["split"] for r in source.records(range(len(source)))} == {split}
    with pytest.raises(InputError, match="no split 'extra'"):
        CelebaFolder(tmp_path, "extra")


def test_annotations_are_optional(tmp_path: Path) -> None:
    source = CelebaFolder(celeba(tmp_path, annotated=False), fit=Fit("centre", 64))
    assert (source.resolution, source.records([0])[0].attributes) == (64, {})
    with pytest.raises(InputError, match=r"list_eval_partition\.txt, which tells the split 'train'"):
        CelebaFolder(tmp_path, "train")


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("list_attr_celeba.txt", 4, "000002.jpg -1 0 1", "line 4 is '000002.jpg -1 0 1'"),
        ("list_attr_celeba.txt", 4, "000002.jpg -1 1", "line 4"),
        ("list_attr_celeba.txt", 4, "000001.jpg -1 1 1", "line 4"),
        ("list_attr_celeba.txt", 4, "", "line 1 says 5 photos; 4 follow"),
        ("list_attr_celeba.txt", 1, "many", "lines 1 and 2"),
        ("list_attr_celeba.txt", 2, "", "lines 1 and 2"),
        ("identity_CelebA.txt", 3, "000003.jpg x", "line 3"),
        ("identity_CelebA.txt", 3, "000003.jpg -1", "line 3"),
        ("identity_CelebA.txt", 3, "000003.jpg 99999999999999999999", "line 3"),
        ("identity_CelebA.txt", 3, "", "does not list 000003.jpg"),
        ("list_eval_partition.txt", 5, "000005.jpg 3", "line 5"),
        ("list_eval_partition.txt", 5, "000005.jpg", "line 5"),
        ("list_eval_partition.txt", 5, "\udcff", "is no text in UTF-8"),
    ],
)
def test_damaged_lines_are_named(tmp_path: Path, name: str, line: int, text: str, message: str) -> None:
    file = celeba(tmp_path) / "celeba" / name
    lines = file.read_text().splitlines()
    lines[line - 1] = text
    file.write_text("\n".join(lines), errors="surrogateescape")
    source = CelebaFolder(tmp_path)
    source.read(range(5))
    with pytest.raises(InputError, match=message) as caught:
        source.records(range(5))
    assert name in caught.value.message


def test_damaged_photos_are_named(tmp_path: Path) -> None:
    folder = celeba(tmp_path) / "celeba/img_align_celeba"
    (folder / "000002.jpg").write_bytes(jpeg(photos()[1])[:500])
    (folder / "000003.jpg").write_bytes(jpeg(photos()[2][:180]))
    (folder / "000004.jpg").unlink()
    (folder / "000004.jpg").mkdir()
    source = CelebaFolder(tmp_path)
    for index in (1, 2, 3):
        with pytest.raises(InputError, match=f"00000{index + 1}.jpg"):
            source.read([index])
    with pytest.raises(InputError, match="no image 5"):
        source.read([5])


def test_recognises_is_specific(tmp_path: Path) -> None:
    assert not FORMAT.recognises(tmp_path)
    (tmp_path / "celeba").write_bytes(b"")
    assert not FORMAT.recognises(tmp_path)
    assert not FORMAT.recognises(tmp_path / "celeba")
    assert not FORMAT.recognises(Path("a" * 5000))
    (tmp_path / "img_align_celeba").mkdir()
    assert FORMAT.recognises(tmp_path)
    with pytest.raises(InputError, match=r"no \.jpg files"):
        CelebaFolder(tmp_path)
    with pytest.raises(InputError, match="holds no folder img_align_celeba"):
        CelebaFolder(tmp_path / "img_align_celeba")


def test_it_travels(tmp_path: Path) -> None:
    source = CelebaFolder(celeba(tmp_path), "train")
    expected = source.read([1, 0]), source.records([1, 0])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(source.read, ([1, 0],)), expected[0])
        assert pool.apply(source.records, ([1, 0],)) == expected[1]
