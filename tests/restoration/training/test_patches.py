"""Degradations and training pairs: what was done is what should have been done, and it never depends on order."""

import io

import numpy as np
import pytest
from PIL import Image

from pgtools.errors import InputError
from pgtools.imaging.photo import photos_in
from pgtools.restoration.degrade import jpeg, shrink
from pgtools.restoration.training import patches
from pgtools.restoration.training.patches import check_pool, draw_pair, load_pool
from pgtools.restoration.training.settings import PATCH, SCALE
from tests.pictures import photo_like


@pytest.fixture(scope="module")
def pool():
    return [[photo_like(300, 400, seed=1), photo_like(240, 240, seed=2)], [photo_like(256, 256, seed=3)]]


def test_jpeg_is_libjpegs_round_trip_with_the_named_subsampling():
    image = photo_like(40, 56)
    for name, number in (("4:4:4", 0), ("4:2:2", 1), ("4:2:0", 2)):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=37, subsampling=number)
        assert np.array_equal(jpeg(image, 37, subsampling=name), np.asarray(Image.open(buffer).convert("RGB")))


def test_shrink_is_pillows_antialiased_filter():
    image = photo_like(64, 96)
    expected = np.asarray(Image.fromarray(image).resize((24, 16), Image.Resampling.BICUBIC))
    assert np.array_equal(shrink(image, 4), expected)
    # Antialiased: a fine chequerboard becomes grey, not one of its colours.
    board = np.indices((32, 32)).sum(axis=0).astype(np.uint8) % 2 * 255
    assert abs(int(shrink(board[:, :, None].repeat(3, axis=2), 4)[2, 2, 0]) - 128) <= 4


@pytest.mark.parametrize("task", ["dejpeg", "sr4"])
def test_a_pair_depends_on_seed_and_number_alone(pool, task):
    later = [draw_pair(pool, task, 5, number) for number in (7, 3)]
    again = [draw_pair(pool, task, 5, number) for number in (3, 7)][::-1]
    for one, two in zip(later, again, strict=True):
        assert np.array_equal(one.seen, two.seen) and np.array_equal(one.wanted, two.wanted)
    assert not np.array_equal(later[0].seen, later[1].seen)
    assert not np.array_equal(draw_pair(pool, task, 6, 7).seen, later[0].seen)


@pytest.mark.parametrize("task", ["dejpeg", "sr4"])
def test_pairs_have_the_sizes_and_show_the_same_place(pool, task):
    side = PATCH[task]
    for number in range(60):
        pair = draw_pair(pool, task, 0, number)
        assert pair.seen.shape == (side, side, 3)
        assert pair.wanted.shape == (side * SCALE[task], side * SCALE[task], 3)
        seen = pair.seen if task == "dejpeg" else pair.seen.repeat(4, axis=0).repeat(4, axis=1)
        here = np.square(seen.astype(float) - pair.wanted).mean()
        # Shifted any way by 4 pixels of the input the two agree less, unless there is hardly any detail.
        for way in ((4, 0), (-4, 0), (0, 4), (0, -4)):
            shift = [SCALE[task] * pixels for pixels in way]
            moved = np.square(np.roll(seen, shift, axis=(0, 1)).astype(float) - pair.wanted).mean()
            assert here < moved or moved < 30


def test_dejpeg_learns_from_clean_patches_too_and_asks_them_back_unchanged(pool):
    pairs = [draw_pair(pool, "dejpeg", 0, number) for number in range(200)]
    clean = [pair for pair in pairs if np.array_equal(pair.seen, pair.wanted)]
    assert 4 <= len(clean) <= 30
    assert all(pair.error == 0 for pair in clean)
    assert max(pair.error for pair in pairs) > 8


def test_jpegs_are_learnt_from_reduced_only_and_small_photos_left_out(tmp_path):
    image = Image.fromarray(photo_like(700, 900))
    image.save(tmp_path / "b.jpg")
    image.save(tmp_path / "a.png")
    Image.fromarray(photo_like(60, 60)).save(tmp_path / "c.png")
    files = photos_in(tmp_path)
    assert [file.name for file in files] == ["a.png", "b.jpg", "c.png"]
    shapes = [[image.shape[:2] for image in sizes] for sizes in load_pool(files, task="sr4").values()]
    assert shapes == [[(700, 900), (350, 450)], [(350, 450), (233, 300)]]
    with pytest.raises(InputError, match="large enough"):
        load_pool([tmp_path / "c.png"], task="dejpeg")


def test_a_folder_without_photographs_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no photographs"):
        photos_in(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        photos_in(tmp_path / "missing")


def test_all_damaged_photographs_are_told_at_once(tmp_path):
    Image.fromarray(photo_like(240, 240)).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "third.png").write_bytes(whole[: len(whole) // 3])
    check_pool(photos_in(tmp_path), task="sr4")  # their headers are whole
    with pytest.raises(InputError, match=r"half\.png: is damaged.*third\.png: is damaged"):
        load_pool(photos_in(tmp_path), task="sr4")
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "verse.jpg").write_text("hello")
    with pytest.raises(InputError, match=r"text\.png: is not an image.*verse\.jpg: is not an image"):
        check_pool(photos_in(tmp_path), task="sr4")


def test_headers_tell_how_much_memory_the_photographs_take(tmp_path, monkeypatch):
    image = Image.fromarray(photo_like(701, 900))
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.jpg", exif=Image.Exif())
    Image.fromarray(photo_like(60, 60)).save(tmp_path / "c.png")
    files = photos_in(tmp_path)
    taken = sum(image.nbytes for sizes in load_pool(files, task="sr4").values() for image in sizes)
    monkeypatch.setattr(patches, "available_memory", lambda: taken)
    check_pool(files, task="sr4")
    monkeypatch.setattr(patches, "available_memory", lambda: taken - 1)
    with pytest.raises(InputError, match=r"3 photographs take 3\.0 MB of memory; 3\.0 MB are left"):
        check_pool(files, task="sr4")
    monkeypatch.setattr(patches, "available_memory", lambda: None)  # a system that does not tell
    check_pool(files, task="sr4")
    with pytest.raises(InputError, match="None of the 1 photographs is large enough"):
        check_pool([tmp_path / "c.png"], task="sr4")
