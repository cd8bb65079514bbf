"""The authors' differences, made here in their published format and replayed."""

import base64
import bz2
import hashlib
import pickle
import re
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from pgtools.celebahq import deltas
from pgtools.celebahq.cropping.released import released_crop
from pgtools.celebahq.deltas import Deltas, Entry, check_deltas, photo_key, read_image_list
from pgtools.errors import InputError
from tests.pictures import ASTRONAUT_POINTS, astronaut, jpeg, smooth_images

NAME = "000123.jpg"
PHOTO = jpeg(astronaut())
PROCESSED = smooth_images(1, 1024)[0].transpose(1, 2, 0)
FINAL = smooth_images(1, 1024, seed=1)[0].transpose(1, 2, 0)


def as_if_released(photo, landmarks) -> np.ndarray:
    """In the released builder's place: quick, and its pixels depend on what it is given."""
    assert photo.shape == (512, 512, 3)
    return PROCESSED if np.array_equal(landmarks, ASTRONAUT_POINTS) else PROCESSED // 2


def md5(image: np.ndarray) -> str:
    return hashlib.md5(image.transpose(2, 0, 1).tobytes()).hexdigest()  # noqa: S324


def fernet(photo: bytes = PHOTO, name: str = NAME) -> Fernet:
    """The key of the format, derived by another library than the program's."""
    derived = PBKDF2HMAC(algorithm=hashes.SHA256(), length=32, salt=name.encode("ascii"), iterations=100_000)
    return Fernet(base64.urlsafe_b64encode(derived.derive(photo)))


def packed(processed: np.ndarray = PROCESSED, final: np.ndarray = FINAL) -> bytes:
    return bz2.compress((final - processed).transpose(2, 0, 1).tobytes())  # uint8: modulo 256


DELTA = fernet().encrypt(packed())
ENTRY = Entry(4321, 122, NAME, md5(PROCESSED), md5(FINAL))


def published(folder: Path, *entries: Entry, delta: bytes | None = DELTA, compression: int = 0) -> Path:
    """Write a folder of deltas as the authors' are: more columns than are needed, in another order."""
    header = "idx orig_idx orig_md5 orig_file lm[0] proc_md5 final_md5"
    rows = [f"{e.idx} {e.orig_idx} {'f' * 32} {e.orig_file} 68 {e.proc_md5} {e.final_md5}" for e in entries or (ENTRY,)]
    (folder / "image_list.txt").write_text("\n".join([header, *rows, ""]))
    if delta is not None:
        with zipfile.ZipFile(folder / "deltas04000.zip", "w", compression) as archive:
            archive.writestr("delta04320.dat", b"another's")
            archive.writestr("delta04321.dat", delta)
    return folder


def replayed(folder: Path, data: bytes = PHOTO, points=ASTRONAUT_POINTS) -> deltas.Replayed:
    return Deltas(folder, crop=as_if_released).replay(NAME, data, points)


def told(folder: Path, data: bytes = PHOTO, points=ASTRONAUT_POINTS) -> str:
    """Replay what cannot be exact: the nearest image comes back, and this reason."""
    result = replayed(folder, data, points)
    assert not result.exact
    np.testing.assert_array_equal(result.image, as_if_released(astronaut(), points))
    assert result.reason is not None
    assert "\n" not in result.reason
    return result.reason


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_authors_image_comes_out(tmp_path, compression) -> None:
    before = md5(PROCESSED)
    result = replayed(published(tmp_path, compression=compression))
    assert md5(PROCESSED) == before, "the crop it was given is not its own to change"
    assert (result.exact, result.reason) == (True, None)
    np.testing.assert_array_equal(result.image, FINAL)
    assert (result.image.dtype, result.image.flags.c_contiguous) == (np.uint8, True)


def test_it_is_exact_with_the_released_builder_itself(tmp_path) -> None:
    """The whole way, with noise for the difference: nothing compresses, all of 0 to 255 wraps."""
    processed = released_crop(deltas.decode(PHOTO, where=NAME, upright=False), ASTRONAUT_POINTS)
    final = np.random.default_rng(0).integers(0, 256, processed.shape, dtype=np.uint8)
    entry = replace(ENTRY, proc_md5=md5(processed), final_md5=md5(final))
    token = fernet().encrypt(packed(processed, final))
    assert len(token) < deltas.LARGEST_DELTA
    result = Deltas(published(tmp_path, entry, delta=token)).replay(NAME, PHOTO, ASTRONAUT_POINTS)
    assert result.exact
    np.testing.assert_array_equal(result.image, final)


def test_the_photo_stands_as_stored(tmp_path) -> None:
    """An EXIF orientation is not followed: the annotation names pixels as they are stored."""
    from PIL import Image

    turned = Image.Exif()
    turned[0x0112] = 6
    data = b"\xff\xd8\xff\xe1" + (len(turned.tobytes()) + 2).to_bytes(2, "big") + turned.tobytes() + PHOTO[2:]
    seen = []
    published(tmp_path)
    Deltas(tmp_path, crop=lambda photo, _: seen.append(photo) or PROCESSED).replay(NAME, data, ASTRONAUT_POINTS)
    upright = deltas.decode(data, where=NAME)
    assert not np.array_equal(upright, seen[0])
    np.testing.assert_array_equal(deltas.decode(PHOTO, where=NAME), seen[0])


def test_the_key_is_the_formats() -> None:
    """Known answer, from the format's definition by cryptography: PBKDF2HMAC(SHA256, 32, b"a.jpg", 100000)."""
    derived = PBKDF2HMAC(algorithm=hashes.SHA256(), length=32, salt=b"a.jpg", iterations=100_000).derive(b"photo")
    assert photo_key(b"photo", "a.jpg") == base64.urlsafe_b64encode(derived)
    assert photo_key(b"photo", "b.jpg") != photo_key(b"photo", "a.jpg") != photo_key(b"photO", "a.jpg")


def test_other_pixels_name_both_libraries(tmp_path) -> None:
    """The delta opened, so the photo is the published one: the libraries' doing."""
    reason = told(published(tmp_path), points=ASTRONAUT_POINTS + 1)
    assert reason.startswith("processed pixels differ: Pillow ")
    assert re.search(r"Pillow \d+\.\d.* with libjpeg.* \d.*authors' are of Pillow 3.1.1 with libjpeg 8d$", reason)


def test_libraries_without_turbo(monkeypatch) -> None:
    monkeypatch.setattr(deltas.features, "version", {"jpg": "8.0"}.get)
    deltas.libraries.cache_clear()
    assert deltas.libraries().endswith("with libjpeg 8.0")
    deltas.libraries.cache_clear()


def test_another_file_is_not_the_published_one(tmp_path) -> None:
    """One byte behind the picture changes no pixel, and the key."""
    assert (
        told(published(tmp_path), PHOTO + b"\0")
        == "photo is not the published file (its bytes do not open delta04321.dat)"
    )


def test_the_key_is_salted_with_the_name(tmp_path) -> None:
    assert "is not the published file" in told(published(tmp_path, delta=fernet(name="000124.jpg").encrypt(packed())))


def test_no_delta(tmp_path) -> None:
    assert told(published(tmp_path, delta=None)) == "no delta (deltas04000.zip is not in the folder)"
    published(tmp_path, replace(ENTRY, idx=4999))
    assert told(tmp_path) == "no delta (delta04999.dat is not in deltas04000.zip)"


def test_an_archive_that_arrives_late_is_found(tmp_path) -> None:
    table = Deltas(published(tmp_path, delta=None), crop=as_if_released)
    assert not table.replay(NAME, PHOTO, ASTRONAUT_POINTS).exact
    published(tmp_path)
    assert table.replay(NAME, PHOTO, ASTRONAUT_POINTS).exact


BOMB = bz2.compress(b"\0" * 30_000_000)


@pytest.mark.parametrize(
    "data",
    [b"", b"no bzip2", packed()[:-10], bz2.compress(b"\0" * (3 * 1024 * 1024 - 1)), BOMB],
    ids=["empty", "garbage", "cut", "short", "bomb"],
)
def test_what_is_encrypted_may_be_damaged(tmp_path, data) -> None:
    assert told(published(tmp_path, delta=fernet().encrypt(data))).startswith("delta is damaged (delta04321.dat")


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch) -> None:
    """At most one byte more than a delta has."""
    sizes, original = [], bz2.BZ2Decompressor

    class Watched:
        def __init__(self) -> None:
            self.inner = original()

        def decompress(self, data: bytes, limit: int) -> bytes:
            found = self.inner.decompress(data, limit)
            sizes.append(len(found))
            return found

    monkeypatch.setattr(deltas.bz2, "BZ2Decompressor", Watched)
    told(published(tmp_path, delta=fernet().encrypt(BOMB)))
    assert sizes == [3 * 1024 * 1024 + 1]


def test_what_is_no_token_is_damaged(tmp_path) -> None:
    assert told(published(tmp_path, delta=b"<html>")) == "delta is damaged (delta04321.dat is no Fernet token)"


def test_an_oversized_member_is_not_read(tmp_path) -> None:
    published(tmp_path, delta=bytes(7 << 20), compression=zipfile.ZIP_DEFLATED)
    assert "announces more than 6 MiB" in told(tmp_path)


def test_a_flipped_bit_and_a_cut_archive_are_damage(tmp_path) -> None:
    published(tmp_path)
    path = tmp_path / "deltas04000.zip"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    assert "checksum" in told(tmp_path)
    path.write_bytes(whole[:middle])
    assert told(tmp_path).startswith("delta is damaged (")


def test_a_delta_of_another_image_is_told(tmp_path) -> None:
    published(tmp_path, replace(ENTRY, final_md5="0" * 32))
    assert told(tmp_path) == "delta gives another image than the list names (delta04321.dat)"


def test_a_fault_of_the_disk_passes_through(tmp_path, monkeypatch) -> None:
    """It may be gone at the next try, so it is no verdict on the photo."""
    table = Deltas(published(tmp_path), crop=as_if_released)
    table.find(ENTRY)

    def fails(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pgtools.runtime.slices.SlicedFile._read", fails)
    with pytest.raises(OSError, match="Input/output error"):
        table.replay(NAME, PHOTO, ASTRONAUT_POINTS)


def test_photos_that_are_none_of_theirs_or_no_images(tmp_path) -> None:
    table = Deltas(published(tmp_path), crop=as_if_released)
    with pytest.raises(InputError, match=r"none of those in the authors' list \(000999.jpg\)"):
        table.replay("000999.jpg", PHOTO, ASTRONAUT_POINTS)
    with pytest.raises(InputError, match=r"000123\.jpg: is damaged"):
        table.replay(NAME, PHOTO[:5000], ASTRONAUT_POINTS)


def test_it_travels_without_its_archives(tmp_path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = Deltas(published(tmp_path), crop=as_if_released)
        assert table.replay(NAME, PHOTO, ASTRONAUT_POINTS).exact
        copy = pickle.loads(pickle.dumps(table))  # noqa: S301
    assert (len(table._open), len(copy._open)) == (1, 0)
    assert copy.replay(NAME, PHOTO, ASTRONAUT_POINTS).exact


def test_the_list_is_read_by_its_columns_names(tmp_path) -> None:
    other = Entry(29999, 202598, "202599.jpg", "0" * 32, "1" * 32)
    assert read_image_list(published(tmp_path, ENTRY, other, delta=None)) == [ENTRY, other]
    assert Deltas(tmp_path).entries == {NAME: ENTRY, "202599.jpg": other}
    assert (other.archive, other.member) == ("deltas29000.zip", "delta29999.dat")


HEADER = "idx orig_idx orig_file proc_md5 final_md5\n"
ROW = f"0 5 a.jpg {'a' * 32} {'b' * 32}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no column idx, orig_idx, orig_file, proc_md5, final_md5"),
        ("idx orig_idx orig_file final_md5\n", "has no column proc_md5"),
        (HEADER, "names 0 photos"),
        (HEADER + ROW + ROW, "names 2 photos, 1 different"),
        (HEADER + "0 5 a.jpg\n", r"image_list.txt:2 has 3 words; expected 5"),
        (HEADER + "\n" + ROW.replace("0", "x", 1), r":3 has idx x"),
        (HEADER + ROW.replace("5", "-5", 1), r"orig_idx -5"),
        (HEADER + ROW.replace("a" * 32, "a" * 31), "no MD5"),
        (HEADER + ROW.replace("a.jpg", "ä.jpg"), "expected ASCII"),
    ],
)
def test_a_list_that_is_none(tmp_path, text, message) -> None:
    (tmp_path / "image_list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Deltas(tmp_path)


def test_a_folder_without_a_list(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be read") as caught:
        Deltas(tmp_path)
    assert "Pass the folder that holds image_list.txt" in caught.value.hint


def test_check_names_what_is_not_there(tmp_path) -> None:
    published(tmp_path, ENTRY, replace(ENTRY, idx=7, orig_file="7.jpg"))
    assert check_deltas(tmp_path) == ["deltas00000.zip"]
    published(tmp_path)
    assert check_deltas(tmp_path) == []


def test_check_refuses_what_would_fail_later(tmp_path) -> None:
    published(tmp_path, delta=None)
    with pytest.raises(InputError, match=r"none of the authors' deltas; expected deltas04000.zip"):
        check_deltas(tmp_path)
    (tmp_path / "deltas04000.zip").write_bytes(b"half a download")
    with pytest.raises(InputError, match=r"deltas04000.zip cannot be read as ZIP") as caught:
        check_deltas(tmp_path)
    assert caught.value.hint.startswith("Download again")


@pytest.mark.parametrize("opened", [check_deltas, Deltas])
def test_the_package_that_is_missing_is_named_first(tmp_path, monkeypatch, opened) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(InputError, match="cryptography is not installed") as caught:
        opened(tmp_path)  # before the list, which is not there either
    assert caught.value.hint == "pip install 'pgtools[deltas]'"
