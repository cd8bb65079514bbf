"""LSUN's LMDB, written by the lmdb library."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
import numpy as np
import pytest
from PIL import Image

from pgtools.errors import InputError
from pgtools.imaging.fit import Fit
from pgtools.stores.format import Reading
from pgtools.stores.formats.lsun import FORMAT, LsunImages
from tests.pictures import astronaut, smooth_images
from tests.stores.sets import written


def webp(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def lsun(path: Path, values: dict[bytes, bytes]) -> Path:
    with lmdb.open(str(path), map_size=1 << 28) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key, value)
    return path


def keyed(images: np.ndarray) -> dict[bytes, np.ndarray]:
    return {hashlib.sha1(image.tobytes()).hexdigest().encode(): image for image in images}  # noqa: S324 - as LSUN's


def test_the_square_in_the_middle_at_256(tmp_path: Path) -> None:
    photo = astronaut()[:300, :412]
    path = lsun(tmp_path / "x", {b"b": webp(photo), b"a": webp(photo[:, ::-1].copy())})
    source = FORMAT.open(path, Reading())
    expected = Image.fromarray(photo[:, 56:356]).resize((256, 256), Image.Resampling.LANCZOS)
    assert (len(source), source.resolution, source.labels) == (2, 256, None)
    np.testing.assert_array_equal(source.read([1])[0], np.asarray(expected).transpose(2, 0, 1))
    assert [r.name for r in source.records([1, 0, 1])] == ["b", "a", "b"]


@pytest.mark.parametrize("count", [1, 40, 400])
def test_any_order_over_many_pages(tmp_path: Path, count: int) -> None:
    values = keyed(smooth_images(count, 16).transpose(0, 2, 3, 1))
    path = lsun(tmp_path / "x", {key: webp(image) for key, image in values.items()})
    source = LsunImages(path, Fit())
    order = np.random.default_rng(0).permutation(count)[:50].tolist()
    keys = sorted(values)
    expected = np.stack([values[keys[i]] for i in order]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(source.read(order), expected)
    assert [r.name for r in source.records(order)] == [keys[i].decode() for i in order]
    with ThreadPoolExecutor(4) as pool:
        for image, one in zip(pool.map(LsunImages(path, Fit()).read, [[i] for i in order]), expected, strict=True):
            np.testing.assert_array_equal(image[0], one)


def test_keys_that_are_no_text(tmp_path: Path) -> None:
    path = lsun(tmp_path / "x", {b"\xff\x00": webp(np.zeros((8, 8, 3), np.uint8))})
    assert LsunImages(path, Fit()).records([0])[0].name == "\\xff\x00"


def test_recognises_is_specific(tmp_path: Path) -> None:
    assert not FORMAT.recognises(tmp_path)
    image = webp(np.zeros((8, 8, 3), np.uint8))
    assert FORMAT.recognises(lsun(tmp_path / "a", {b"key": image}))
    assert not FORMAT.recognises(lsun(tmp_path / "b", {b"8-00000": image, b"length": b"1"}))
    (tmp_path / "data.mdb").write_bytes(b"nothing")
    assert not FORMAT.recognises(tmp_path)
    assert not FORMAT.recognises(tmp_path / "data.mdb")


def test_damage(tmp_path: Path) -> None:
    path = lsun(tmp_path / "a", {b"a": webp(np.zeros((8, 8, 3), np.uint8)), b"key": b"no image"})
    source = LsunImages(path, Fit())
    assert source.read([0]).shape == (1, 3, 8, 8)
    with pytest.raises(InputError, match="a, key key"):
        source.read([1])
    with pytest.raises(InputError, match="no image 2"):
        source.read([2])
    with pytest.raises(InputError, match="empty LMDB"):
        LsunImages(lsun(tmp_path / "b", {}))


def test_announced_numbers_of_keys_are_not_believed(tmp_path: Path) -> None:
    path = lsun(tmp_path / "a", {b"key": b"x"})
    data = bytearray((path / "data.mdb").read_bytes())
    # The number of entries stands in the second tree of each meta page, behind three numbers of pages.
    for page in (0, 4096):
        start = page + 16 + 24 + 48 + 32
        data[start : start + 8] = (1 << 60).to_bytes(8, "little")
    (path / "data.mdb").write_bytes(data)
    with pytest.raises(InputError, match=f"announces {1 << 60} entries"):
        LsunImages(path)
    for page in (0, 4096):
        start = page + 16 + 24 + 48 + 32
        data[start : start + 8] = (3).to_bytes(8, "little")
    (path / "data.mdb").write_bytes(data)
    with pytest.raises(InputError, match="says 3 keys and has 1"):
        LsunImages(path).read([0])


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.9])
def test_a_truncated_file(tmp_path: Path, part: float) -> None:
    values = keyed(smooth_images(60, 16).transpose(0, 2, 3, 1))
    path = lsun(tmp_path / "x", {key: webp(image) for key, image in values.items()})
    data = (path / "data.mdb").read_bytes()
    (path / "data.mdb").write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match="x"):
        LsunImages(path, Fit()).read(range(60))


def test_it_travels(tmp_path: Path) -> None:
    values = keyed(smooth_images(5, 8).transpose(0, 2, 3, 1))
    source = LsunImages(lsun(tmp_path / "x", {key: webp(image) for key, image in values.items()}), Fit())
    assert len(pickle.dumps(source)) < 2000
    expected = source.read([1, 3])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(source.read, ([1, 3],)), expected)


@pytest.mark.parametrize(
    ("keys", "is_lsun"),
    [
        ([b"000005cc", b"ffd0"], True),
        ([b"1", b"2-3", b"64x64-00000"], True),
        ([b"64-00000", b"64-00001"], False),
        ([b"1024-100000"], False),
        ([b"00a", b"64-00000", b"lengtx"], False),  # its first key damaged
        ([b"ab", b"cd", b"pgtools-header"], False),
        ([b"ab", b"length"], False),
    ],
)
def test_a_trainers_store_whose_length_is_damaged_is_not_taken_for_lsun(
    tmp_path: Path, keys: list[bytes], is_lsun: bool
) -> None:
    path = lsun(tmp_path / "x", dict.fromkeys(keys, b"value"))
    assert FORMAT.recognises(path) is is_lsun


def test_one_flipped_byte_does_not_make_a_store_of_ours_lsuns(tmp_path: Path) -> None:
    (path,) = written(tmp_path, smooth_images(40, 16), "a.lmdb")
    data = path / "data.mdb"
    data.write_bytes(data.read_bytes().replace(b"length", b"lengtX"))
    assert not FORMAT.recognises(path)


def test_lsuns_set_with_a_damaged_page_is_still_lsuns(tmp_path: Path) -> None:
    values = keyed(smooth_images(400, 16).transpose(0, 2, 3, 1))
    path = lsun(tmp_path / "x", {key: webp(image) for key, image in values.items()})
    data = bytearray((path / "data.mdb").read_bytes())
    first = data.find(min(values)) // 4096 * 4096  # the page that the first key stands in
    data[first + 16 : first + 64] = b"\xff" * 48
    (path / "data.mdb").write_bytes(data)
    assert FORMAT.recognises(path)
    with pytest.raises(InputError, match="is a damaged LMDB"):
        FORMAT.open(path, Reading()).records([0])
