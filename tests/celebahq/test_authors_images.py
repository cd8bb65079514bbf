"""A build of the authors' own images, from deltas in their published format that the test makes."""

from __future__ import annotations

import base64
import bz2
import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cryptography.fernet import Fernet

from pgtools.celebahq.build import build
from pgtools.celebahq.cropping.released import released_crop
from pgtools.celebahq.input.annotations import read_landmarks
from pgtools.celebahq.input.photos import find_photos
from pgtools.celebahq.settings import BuildSettings
from pgtools.demo.faces import write_faces
from pgtools.errors import InputError
from pgtools.imaging.photo import read_photo
from pgtools.stores.opening import open_source
from tests.celebahq.test_build import manifest
from tests.pictures import smooth_images

# CelebA-HQ's number → the photo; the authors' order is not that of the names.
CHOSEN = {3: "000002.jpg", 1000: "000001.jpg"}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[Path, Path, dict[str, np.ndarray]]:
    """Three drawn photos in the wild, deltas of two of them, and the images that these make."""
    root = tmp_path_factory.mktemp("authors")
    write_faces(root / "celeba", count=3, seed=8, layout="wild")
    photos = find_photos(root / "celeba")
    assert photos.annotation is not None
    points = read_landmarks(photos.annotation)
    (root / "deltas").mkdir()
    lines, finals = ["idx orig_idx orig_file proc_md5 final_md5"], {}
    for idx, name in CHOSEN.items():
        file = root / "celeba/img_celeba" / name
        processed = released_crop(read_photo(file, upright=False), points[name]).transpose(2, 0, 1)
        final = smooth_images(1, 1024, seed=idx)[0]
        key = hashlib.pbkdf2_hmac("sha256", file.read_bytes(), name.encode("ascii"), 100_000, 32)
        token = Fernet(base64.urlsafe_b64encode(key)).encrypt(bz2.compress((final - processed).tobytes()))
        with zipfile.ZipFile(root / f"deltas/deltas{idx // 1000 * 1000:05d}.zip", "a") as archive:
            archive.writestr(f"delta{idx:05d}.dat", token)
        md5s = (hashlib.md5(np.ascontiguousarray(one).tobytes()).hexdigest() for one in (processed, final))  # noqa: S324
        lines.append(" ".join([str(idx), str(int(name[:6]) - 1), name, *md5s]))
        finals[name] = final
    (root / "deltas/image_list.txt").write_text("\n".join(lines) + "\n")
    return root / "celeba", root / "deltas", finals


def test_the_authors_images_come_out_in_their_order(published, tmp_path) -> None:
    celeba, deltas, finals = published
    result = build(celeba, [tmp_path / "a.lmdb"], BuildSettings(deltas=deltas, workers=1))
    source = open_source(tmp_path / "a.lmdb")
    records = source.records(range(2))
    assert [record.name for record in records] == list(CHOSEN.values())
    assert [record.attributes["celebahq"] for record in records] == list(CHOSEN)
    for place, name in enumerate(CHOSEN.values()):
        np.testing.assert_array_equal(source.read([place])[0], finals[name])
    rows = manifest(result.manifest)
    assert [(row["index"], row["file"], row["steps"]) for row in rows] == [
        (str(place), name, "released+delta") for place, name in enumerate(CHOSEN.values())
    ]


@pytest.mark.parametrize("nearest", [False, True])
def test_where_the_pixels_differ_it_says_so_and_offers_the_nearest(published, tmp_path, nearest) -> None:
    """As with today's libjpeg: another MD5 before the delta."""
    celeba, deltas, _ = published
    other = tmp_path / "deltas"
    other.mkdir()
    for file in deltas.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    table = (other / "image_list.txt").read_text().splitlines()
    words = table[2].split()
    table[2] = " ".join([*words[:3], "0" * 32, words[4]])
    (other / "image_list.txt").write_text("\n".join(table) + "\n")
    told: list[str] = []
    settings = BuildSettings(deltas=other, nearest=nearest, workers=1)
    result = build(celeba, [tmp_path / "a.lmdb"], settings, told=told.append)
    row = manifest(result.manifest)[1]
    assert row["file"] == CHOSEN[1000]
    if not nearest:
        assert result.kept == 1
        assert "Pillow 3.1.1" in row["reason"]
        assert sum(result.skipped.values()) == 1
        return
    assert (result.kept, row["steps"]) == (2, "released")
    assert "Pillow 3.1.1" in row["reason"]
    assert list(result.inexact.values()) == [1]
    assert [line for line in told if line.startswith("1 images are the nearest")]
    assert json.loads(result.record.read_text())["inexact"] == result.inexact
    photos = find_photos(celeba)
    points = read_landmarks(photos.annotation)[CHOSEN[1000]]
    expected = released_crop(read_photo(celeba / "img_celeba" / CHOSEN[1000], upright=False), points)
    np.testing.assert_array_equal(open_source(tmp_path / "a.lmdb").read([1])[0], expected.transpose(2, 0, 1))


def test_photos_that_are_not_there_are_told(published, tmp_path) -> None:
    _, deltas, _ = published
    write_faces(tmp_path / "celeba", count=1, seed=0, layout="aligned")
    with pytest.raises(InputError, match="in the wild"):
        build(tmp_path / "celeba", [tmp_path / "a.lmdb"], BuildSettings(deltas=deltas))


def test_photos_and_archives_that_are_not_there_are_told_and_may_come_later(published, tmp_path, monkeypatch) -> None:
    from tests.celebahq.test_build import interrupted_build

    celeba, deltas, _ = published
    partly = tmp_path / "deltas"
    partly.mkdir()
    table = (deltas / "image_list.txt").read_text()
    (partly / "image_list.txt").write_text(f"{table}2000 998 000999.jpg {'0' * 32} {'0' * 32}\n")
    (partly / "deltas00000.zip").write_bytes((deltas / "deltas00000.zip").read_bytes())
    settings = BuildSettings(deltas=partly, workers=1)
    interrupted_build(celeba, tmp_path / "a.lmdb", settings, monkeypatch, after=2)
    (partly / "deltas01000.zip").write_bytes((deltas / "deltas01000.zip").read_bytes())
    told: list[str] = []
    result = build(celeba, [tmp_path / "a.lmdb"], settings, told=told.append)
    assert "1 photos of their list are not there: 000999.jpg" in told[0]
    assert "1 archives of their list are not there: deltas02000.zip" in told[0]
    assert result.kept == 2, "the delta that came meanwhile was taken"
    assert manifest(result.manifest)[2]["reason"] == "the photo is not there"
    part = build(celeba, [tmp_path / "b.lmdb"], BuildSettings(deltas=partly, workers=1, limit=1), told=told.append)
    assert part.photos == 1, "of a part that is asked for, nothing is missing"
