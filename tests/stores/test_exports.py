"""Folders, StyleGAN data sets and WebDataset shards that pgtools writes, read by Pillow, zipfile, tarfile and json."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pgtools.errors import InputError, OutputError, PgtoolsError
from pgtools.stores.formats import webdataset
from pgtools.stores.formats.file_names import labels_by_folder, member_names, safe_name
from pgtools.stores.formats.folder import ImageFolder
from pgtools.stores.formats.webdataset import WebdatasetImages
from pgtools.stores.layout import Record
from pgtools.stores.opening import open_source
from pgtools.stores.writer import Plan
from pgtools.stores.writing import Item, output, write_stores
from tests.pictures import noise_images
from tests.stores.sets import image_folder, written

WRITTEN = ("folder", "stylegan", "webdataset", "a.zip")


def pixels(data: bytes) -> np.ndarray:
    picture = np.asarray(Image.open(io.BytesIO(data)))
    return picture.transpose(2, 0, 1) if picture.ndim == 3 else picture[None]


def write_named(path: Path, format: str, images: np.ndarray, names: list[str], labels: list[int] | None = None) -> None:
    numbers = labels or [None] * len(images)
    items = [Item(image, Record(name), label) for image, name, label in zip(images, names, numbers, strict=True)]
    plan = Plan(len(images), images.shape[-1], classes=max(labels) + 1 if labels else None)
    write_stores([output(path, format)], items, plan)


def files_below(path: Path) -> list[str]:
    return sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())


@pytest.mark.parametrize("name", WRITTEN)
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    labels=st.one_of(st.none(), st.lists(st.integers(0, 4), min_size=1, max_size=13)),
    count=st.integers(1, 13),
    log_side=st.integers(2, 6),
    grey=st.booleans(),
)
def test_round_trip(tmp_path_factory, name: str, labels, count: int, log_side: int, grey: bool) -> None:
    count = len(labels) if labels else count
    images = noise_images(count, 2**log_side)
    images = images[:, :1].repeat(3, axis=1) if grey else images
    folder = tmp_path_factory.mktemp("s")
    (path,) = written(folder, images, name, labels=labels, colour="grey" if grey else "rgb")
    source = open_source(path)
    np.testing.assert_array_equal(source.read(range(count)), images)
    assert (None if source.labels is None else source.labels.tolist()) == labels
    assert [file.name for file in folder.iterdir()] == [path.name]


@pytest.mark.parametrize("name", WRITTEN)
def test_the_same_images_give_the_same_bytes(tmp_path, name: str) -> None:
    images, read = noise_images(3, 8), []
    for place in "12":
        (tmp_path / place).mkdir()
        written(tmp_path / place, images, name, labels=[2, 0, 1])
        read.append([(tmp_path / place / file).read_bytes() for file in files_below(tmp_path / place)])
    assert read[0] == read[1]


@pytest.mark.parametrize("name", ["folder", "stylegan", "webdataset"])
def test_a_folder_with_a_strangers_file_is_not_replaced(tmp_path, name: str) -> None:
    images = noise_images(2, 4)
    (path,) = written(tmp_path, images, name, labels=[0, 1])
    written(tmp_path, images[::-1], name, labels=[0, 1])
    np.testing.assert_array_equal(open_source(path).read(range(2)), images[::-1])
    for stranger in ("thesis.txt", "deep/photo.jpg", "deep/.hidden.png"):
        file = path / stranger
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
        with pytest.raises(OutputError, match="it is not replaced"):
            written(tmp_path, images, name)
        assert file.read_text() == "mine"
        file.unlink()
    link = path / ("00009.png" if name != "webdataset" else f"{name}-000009.tar")
    link.symlink_to(tmp_path)
    with pytest.raises(OutputError, match=f"holds {link.name}"):
        written(tmp_path, images, name)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_class_that_is_none_is_refused_and_nothing_is_left(tmp_path, name: str) -> None:
    with pytest.raises(InputError, match=r"1\.png: its class is 3; expected 0 to 2"):
        written(tmp_path, noise_images(2, 4), name, labels=[0, 3], classes=3)
    assert list(tmp_path.iterdir()) == []


# Plain folders.


def test_a_folder_is_read_by_pillow_under_the_images_names(tmp_path) -> None:
    images, names = noise_images(3, 8), ["a/x.jpg", "a/y.v2", "b.webp"]
    write_named(tmp_path / "set", "folder", images, names)
    assert files_below(tmp_path / "set") == ["a/x.png", "a/y.v2.png", "b.png"]
    for file, image in zip(files_below(tmp_path / "set"), images, strict=True):
        np.testing.assert_array_equal(pixels((tmp_path / "set" / file).read_bytes()), image)


def test_grey_images_are_grey_files(tmp_path) -> None:
    images = noise_images(1, 8)[:, :1].repeat(3, axis=1)
    for name in ("folder", "stylegan"):
        (path,) = written(tmp_path, images, name, colour="grey")
        picture = Image.open(next(path.rglob("*.png")))
        assert picture.mode == "L"
        np.testing.assert_array_equal(np.asarray(picture), images[0, 0])


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        # Names that sort are kept; others get the index.
        (["0.png", "1.png"], None, ["0.png", "1.png"]),
        (["9.png", "10.png"], None, ["00000000-9.png", "00000001-10.png"]),
        (["a.png", "a.jpg"], None, ["a.png", "a_2.png"]),
        (["a/1.png", "b/1.png"], None, ["a/1.png", "b/1.png", "dataset.json"]),
        (["b/1.png", "a/1.png"], None, ["00000000-1.png", "00000001-1.png"]),
        # Classes that come in order have a folder each.
        (["x.png", "y.png"], [0, 1], ["00000/x.png", "00001/y.png"]),
        (["y.png", "x.png"], [0, 1], ["00000/y.png", "00001/x.png"]),
        (["b.png", "a.png"], [0, 0], ["00000/00000000-b.png", "00000/00000001-a.png", "dataset.json"]),
        (["cat/x.png", "dog/y.png"], [0, 1], ["cat/x.png", "dog/y.png"]),
        (["dog/y.png", "cat/x.png"], [0, 1], ["00000/dog/y.png", "00001/cat/x.png"]),
        (["x.png", "y.png"], [1, 3], ["00001/x.png", "00003/y.png", "dataset.json"]),
        # Classes that come mixed cannot, as sorting would bring them together.
        (["x.png", "y.png", "z.png"], [1, 0, 1], ["dataset.json", "x.png", "y.png", "z.png"]),
        (["a/x.png", "b/y.png"], [1, 0], ["a/x.png", "b/y.png", "dataset.json"]),
    ],
)
def test_names_and_classes_of_a_folder(tmp_path, names: list[str], labels, expected: list[str]) -> None:
    images = noise_images(len(names), 4)
    write_named(tmp_path / "set", "folder", images, names, labels)
    assert files_below(tmp_path / "set") == expected
    source = open_source(tmp_path / "set")
    np.testing.assert_array_equal(source.read(range(len(names))), images)
    assert (None if source.labels is None else source.labels.tolist()) == labels


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "etc/passwd.png"),
        ("/abs/x.png", "abs/x.png"),
        ("C:\\photos\\x.JPG", "photos/x.png"),
        ("C:/x.png", "x.png"),
        ("c:x.png", "c_x.png"),
        ("a/./b/../c.png", "a/b/c.png"),
        ("con.png", "_con.png"),
        ("LPT1/aux.tar.jpg", "_LPT1/_aux.tar.png"),
        ("", "image.png"),
        ("..", "image.png"),
        (".hidden.png", "_hidden.png"),
        ("__MACOSX/x.png", "___MACOSX/x.png"),
        ('a<b>:"|?*\n.png', "a_b_______.png"),
        ("ends. /x .png", "ends/x.png"),
        ("x.png/y.png", "x.png_/y.png"),
        ("\udcff.png", "_.png"),
        ("ä" * 300, "ä" * 60 + ".png"),
        ("d/" * 200 + "x.png", "x.png"),
        ("e\u0301.png", "\u00e9.png"),
        ("00000003", "00000003.png"),
    ],
)
def test_a_name_is_made_safe(name: str, expected: str) -> None:
    assert safe_name(name) == expected


# Letters that names are made of where they go wrong.
awkward = st.text(st.sampled_from("aAbB1.:/\\ ~-_é\u0301\u0130\u0000\udcffconpgSTX"), max_size=12)


@settings(max_examples=300, deadline=None)
@given(
    names=st.lists(st.one_of(awkward, st.text(max_size=40)), min_size=1, max_size=8),
    classes=st.integers(1, 3),
    labelled=st.sampled_from(["", "sorted", "mixed"]),
    again=st.booleans(),
)
def test_any_names_become_files_that_sort_and_differ(names, classes: int, labelled: str, again: bool) -> None:
    names = names * 2 if again else names
    labels = np.arange(len(names)) % classes
    labels = np.sort(labels) if labelled == "sorted" else labels
    chosen = member_names(names, labels.astype(np.int64) if labelled else None)
    assert all(one < other for one, other in pairwise(chosen))
    assert len({member.casefold() for member in chosen}) == len(names)
    folders = {str(parent).casefold() for member in chosen for parent in PurePosixPath(member).parents}
    assert not folders & {member.casefold() for member in chosen}
    for member in chosen:
        parts = member.split("/")
        assert member.endswith(".png")
        assert not any(part in ("", ".", "..") or part.startswith(".") or part.rstrip(" .") != part for part in parts)
        assert not set(member) & set('<>:"|?*\\\0')
        assert all(len(part.encode()) < 200 for part in parts)


def test_folders_that_differ_in_case_alone_are_given_up() -> None:
    assert member_names(["A/1", "a/2"], None) == ["00000000-1.png", "00000001-2.png"]


def test_many_images_of_one_name_are_numbered_in_order() -> None:
    assert member_names(["x.png"] * 3, None) == ["x.png", "x_2.png", "x_3.png"]
    assert member_names(["x.png"] * 12, None)[-1] == "00000011-x_12.png"
    assert member_names(["x.png", "X.png", "x_2.png"], None) == [
        "00000000-x.png",
        "00000001-X_2.png",
        "00000002-x_2_2.png",
    ]


def test_class_numbers_of_six_digits_still_sort() -> None:
    chosen = member_names(["a", "b"], np.array([99_999, 100_000]))
    assert chosen == ["099999/a.png", "100000/b.png"]


# StyleGAN2-ADA and StyleGAN3.


@pytest.mark.parametrize("labels", [None, [3, 0, 1]])
@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_a_stylegan_zip_is_read_by_zipfile_pillow_and_json(tmp_path, labels, colour: str) -> None:
    images = noise_images(3, 8)
    images = images[:, :1].repeat(3, axis=1) if colour == "grey" else images
    (path,) = written(tmp_path, images, "a.zip", labels=labels, colour=colour)
    members = [f"00000/img0000000{i}.png" for i in range(3)]
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert [info.filename for info in archive.infolist()] == [*members, "dataset.json"]
        assert all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
        assert {(info.create_system, info.external_attr) for info in archive.infolist()} == {(3, 0o100644 << 16)}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        listed = json.loads(archive.read("dataset.json"))["labels"]
        for member, image in zip(members, images, strict=True):
            np.testing.assert_array_equal(pixels(archive.read(member)), image[: 1 if colour == "grey" else 3])
    assert listed == (None if labels is None else [list(pair) for pair in zip(members, labels, strict=True)])


def test_a_stylegan_folder_is_the_same_as_the_zip(tmp_path) -> None:
    images = noise_images(3, 8)
    folder, archive = written(tmp_path, images, "stylegan", "a.zip", labels=[1, 0, 1])
    with zipfile.ZipFile(archive) as opened:
        assert files_below(folder) == sorted(opened.namelist())
        assert all((folder / name).read_bytes() == opened.read(name) for name in opened.namelist())
    assert isinstance(open_source(folder), ImageFolder)


def test_stylegans_thousands_are_folders_and_no_classes(tmp_path) -> None:
    """An incident that was seen coming: 00000 and 00001 of a set without dataset.json read as two classes."""
    images = noise_images(1, 4).repeat(1002, axis=0)
    images[1001] = 7
    (path,) = written(tmp_path, images, "stylegan")
    assert (path / "00001" / "img00001001.png").is_file()
    assert open_source(path).labels is None
    (path / "dataset.json").unlink()
    assert open_source(path).labels is None
    np.testing.assert_array_equal(open_source(path).read([1001]), images[[1001]])
    assert labels_by_folder(["00000/img00000000.png", "00003/img00000001.png"]) is not None


def test_a_zip_beyond_the_limits_of_the_first_format(tmp_path, monkeypatch) -> None:
    """4 GiB and 65,535 members, as if they were 2,000 bytes and three members."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 2000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)
    images = noise_images(12, 8)
    (path,) = written(tmp_path, images, "a.zip", labels=range(12))
    monkeypatch.undo()
    assert b"PK\x06\x06" in path.read_bytes()
    source = open_source(path)
    np.testing.assert_array_equal(source.read(range(12)), images)
    assert source.labels is not None
    assert source.labels.tolist() == list(range(12))


# WebDataset.


def test_shards_are_read_by_tarfile_pillow_and_json(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(webdataset, "SHARD_IMAGES", 2)
    images, attributes = noise_images(3, 8), [{"score": 0.5}, {}, {"split": "test", "smiling": True}]
    (path,) = written(tmp_path, images, "webdataset", labels=[2, 0, 1], attributes=attributes)
    assert files_below(path) == ["webdataset-000000.tar", "webdataset-000001.tar"]
    found = {}
    for file in files_below(path):
        with tarfile.open(path / file) as shard:
            for member in shard:
                assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)
                found[member.name] = shard.extractfile(member).read()  # type: ignore[union-attr]
    assert list(found) == [f"0000000{i}.{extension}" for i in range(3) for extension in ("cls", "json", "png")]
    assert [found[f"0000000{i}.cls"] for i in range(3)] == [b"2", b"0", b"1"]
    assert json.loads(found["00000002.json"]) == {"name": "2.png", "attributes": attributes[2]}
    for i, image in enumerate(images):
        np.testing.assert_array_equal(pixels(found[f"0000000{i}.png"]), image)
    source = open_source(path)
    assert source.records([2, 0]) == [Record("2.png", attributes[2]), Record("0.png", attributes[0])]


def test_a_shard_is_never_larger_than_its_limit(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(webdataset, "SHARD_BYTES", 20 << 10)
    images = noise_images(9, 32)
    (path,) = written(tmp_path, images, "webdataset")
    sizes = [(path / file).stat().st_size for file in files_below(path)]
    assert len(sizes) > 1
    assert max(sizes) <= 20 << 10
    np.testing.assert_array_equal(open_source(path).read(range(9)), images)


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def tar_of(path: Path, files: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as shard:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 12.5  # a fraction of a second needs an extended header
            shard.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_other_peoples_tars_are_read(tmp_path, format: int) -> None:
    images, deep = noise_images(3, 8), ("d" * 90 + "/") * 1 + "f" * 90 + ("" if format == tarfile.USTAR_FORMAT else "é")
    files = {
        "./b.png": png(images[0]),
        "./b.json": b'{"caption": "two", "boxes": [1], "score": 1.5, "none": null}',
        "a.seg.png": b"no image of the set",
        "readme.txt": b"hello",
        f"{deep}.JPG": png(images[1]),
        "._b.png": b"macOS",
        "z/a.png": png(images[2]),
        "z/a.json": b"[1, 2]",
    }
    source = open_source(tar_of(tmp_path / "x.tar", files, format))
    assert isinstance(source, WebdatasetImages)
    np.testing.assert_array_equal(source.read(range(3)), images)
    assert source.labels is None
    assert source.records(range(3)) == [
        Record("b.png", {"caption": "two", "score": 1.5}),
        Record(f"{deep}.JPG"),
        Record("z/a.png"),
    ]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read([1]), images[[1]])  # noqa: S301


def test_long_names_of_both_kinds_belong_to_the_next_file(tmp_path) -> None:
    images, long = noise_images(2, 4), "n" * 300
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path = tmp_path / f"{format}.tar"
        with tarfile.open(path, "w", format=format, pax_headers={"comment": "of all"}) as shard:
            link = tarfile.TarInfo(f"{long}-link")
            link.type, link.linkname = tarfile.SYMTYPE, f"{long}-target"
            shard.addfile(link)
            for name, image in zip((f"{long}.png", "short.png"), images, strict=True):
                info = tarfile.TarInfo(name)
                info.size = len(data := png(image))
                shard.addfile(info, io.BytesIO(data))
        source = open_source(path)
        np.testing.assert_array_equal(source.read(range(2)), images)
        assert [record.name for record in source.records(range(2))] == [f"{long}.png", "short.png"]


def test_samples_of_several_shards_may_have_one_name(tmp_path) -> None:
    images = noise_images(2, 4)
    for number, image in enumerate(images):
        tar_of(tmp_path / f"x-{number}.tar", {"0.png": png(image), "0.cls": b"%d\n" % (5 - number)})
    source = open_source(tmp_path)
    np.testing.assert_array_equal(source.read([0, 1, 0]), images[[0, 1, 0]])
    assert source.labels is not None
    assert source.labels.tolist() == [5, 4]
    assert source.records([1])[0].name == "x-1.tar/0.png"


@pytest.mark.parametrize("name", ["../x.png", "/etc/x.png", "a/../../x.png"])
def test_a_tar_that_leads_out_of_itself_is_refused(tmp_path, name: str) -> None:
    path = tar_of(tmp_path / "x.tar", {"0.png": png(noise_images(1, 4)[0]), name: b""})
    with pytest.raises(InputError, match="names a file outside of itself"):
        open_source(path)


@pytest.mark.parametrize("type", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_links_and_devices_are_passed_over(tmp_path, type: bytes) -> None:
    image = noise_images(1, 4)[0]
    with tarfile.open(tmp_path / "x.tar", "w") as shard:
        stranger = tarfile.TarInfo("0.png")
        stranger.type, stranger.linkname = type, "/etc/passwd"
        stranger.size = 1 << 20 if type == tarfile.LNKTYPE else 0  # of what it links to; no bytes follow
        shard.addfile(stranger)
        info = tarfile.TarInfo("1.png")
        info.size = len(data := png(image))
        shard.addfile(info, io.BytesIO(data))
    source = open_source(tmp_path / "x.tar")
    assert len(source) == 1
    np.testing.assert_array_equal(source.read([0])[0], image)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"0.png": b"", "0.jpg": b""}, "there twice, or beside another image"),
        ({"0.txt": b""}, "holds no image files"),
        ({}, "holds no image files"),
        ({"0.png": b"no png"}, "0.png: is not an image"),
        ({"0.png": None, "0.cls": b"cat"}, "its .cls is b'cat'"),
        ({"0.png": None, "0.cls": b"-1"}, "its .cls is b'-1'"),
        ({"0.png": None, "0.cls": b"1", "1.png": None}, "1.png has no .cls beside it"),
        ({"0.png": None, "0.json": b"{"}, "its .json is damaged"),
        ({"0.png": None, "0.json": b'{"name": "x", "attributes": {"a": [1]}}'}, "its .json is damaged"),
        ({"0.png": None, "0.json": b"[" * 100_000}, "its .json is damaged"),
        ({"0.png": None, "0.json": b" " * (1 << 20) + b"{}"}, "expected 1048576 at most"),
    ],
)
def test_what_is_wrong_with_a_shard_is_told(tmp_path, files, message: str) -> None:
    data = png(noise_images(1, 4)[0])
    path = tar_of(tmp_path / "x.tar", {name: data if value is None else value for name, value in files.items()})
    with pytest.raises(InputError, match=message) as caught:
        source = open_source(path)
        source.read(range(len(source)))
        _ = source.labels
        source.records(range(len(source)))
    assert "\n" not in caught.value.message


def test_an_image_that_announces_too_much_is_not_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(webdataset, "MAX_IMAGE_BYTES", 50)
    source = open_source(tar_of(tmp_path / "x.tar", {"0.png": png(noise_images(1, 4)[0])}))
    with pytest.raises(InputError, match="expected 50 at most"):
        source.read([0])


@pytest.mark.parametrize("part", ["the end", "the last header", "the last image"])
def test_a_tar_cut_short_is_refused_when_it_is_opened(tmp_path, part: str) -> None:
    """Not only inside a file: without its end a shard would be a set that lacks its last images."""
    images = noise_images(2, 4)
    path = tar_of(tmp_path / "x.tar", {f"{i}.png": png(image) for i, image in enumerate(images)}, tarfile.USTAR_FORMAT)
    blocks = {"the end": 4, "the last header": 2.5, "the last image": 3.1}[part]
    path.write_bytes(path.read_bytes()[: int(512 * blocks)])
    with pytest.raises(InputError, match="cut short"):
        open_source(path)


def test_sparse_files_are_refused(tmp_path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.GNU_FORMAT) as shard:
        info = tarfile.TarInfo("0.png")
        info.type = tarfile.GNUTYPE_SPARSE
        shard.addfile(info)
    with pytest.raises(InputError, match=r"'0\.png' is a sparse file"):
        open_source(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as shard:
        info = tarfile.TarInfo("0.png")
        info.pax_headers = {"GNU.sparse.major": "1"}
        shard.addfile(info)
    with pytest.raises(InputError, match="is a sparse file"):
        open_source(tmp_path / "x.tar")


def test_an_extended_header_tells_the_size(tmp_path) -> None:
    """Beyond 8 GiB the size does not fit into the plain header; here it is only said twice, or wrongly."""
    data = png(noise_images(1, 4)[0])
    for size, fits in ((len(data), True), (1 << 40, False), (-1, False)):
        with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as shard:
            info = tarfile.TarInfo("0.png")
            info.size, info.pax_headers = len(data), {"size": str(size)}
            shard.addfile(info, io.BytesIO(data))
        if fits:
            assert len(open_source(tmp_path / "x.tar")) == 1
        else:
            with pytest.raises(InputError, match=r"damaged or cut short: a file of \d+ bytes"):
                open_source(tmp_path / "x.tar")


def tar_part(name: str, type: bytes, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = type, len(data)
    return info.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize("between", [tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE])
def test_a_name_holds_for_the_next_file_whatever_stands_between(tmp_path, between: bytes) -> None:
    image = noise_images(1, 4)[0]
    for names in (tar_part("L", tarfile.GNUTYPE_LONGNAME, b"long.png\0"), tar_part("x", b"x", b"17 path=long.png\n")):
        other = tar_part("between", between, b"16 comment=none\n")
        file = tar_part("short.png", tarfile.REGTYPE, png(image))
        (tmp_path / "x.tar").write_bytes(names + other + file + bytes(1024))
        source = open_source(tmp_path / "x.tar")
        assert source.records([0])[0].name == "long.png"
        np.testing.assert_array_equal(source.read([0])[0], image)


@pytest.mark.parametrize(
    ("type", "text", "message"),
    [
        (b"L", b"n" * ((1 << 20) + 1), "a name of 1048577 bytes"),
        (b"L", b"a\nb.png", "with control characters"),
        (b"L", b"../x.png", "outside of itself"),
        (b"x", b"99 path=x.png\n", "extended header"),
        (b"x", b"14 path=ab.png", "extended header"),
        (b"x", b"x path=ab.png\n", "extended header"),
        (b"x", b"0 path=ab.png\n", "extended header"),
        (b"x", b"6 path\n", "extended header"),
    ],
)
def test_a_name_that_is_none_is_refused(tmp_path, type: bytes, text: bytes, message: str) -> None:
    file = tar_part("0.png", tarfile.REGTYPE, png(noise_images(1, 4)[0]))
    (tmp_path / "x.tar").write_bytes(tar_part("name", type, text) + file + bytes(1024))
    with pytest.raises(InputError, match=message):
        open_source(tmp_path / "x.tar")


def test_a_negative_size_is_no_endless_loop(tmp_path) -> None:
    """Python's own reader went round for ever on such a header (CVE-2025-8194)."""
    header = bytearray(tarfile.TarInfo("0.png").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" + (256**11 - 512).to_bytes(11, "big")
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "x.tar").write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(InputError, match="a file of -512 bytes"):
        open_source(tmp_path / "x.tar")


def test_images_beside_a_tar_are_a_folder(tmp_path) -> None:
    images = noise_images(2, 4)
    folder = image_folder(tmp_path / "set", images)
    tar_of(folder / "all.tar", {"0.png": png(images[1])})
    assert isinstance(open_source(folder), ImageFolder)


def test_a_flipped_byte_is_read_or_refused(tmp_path) -> None:
    images, rng = noise_images(3, 8), np.random.default_rng(0)
    (path,) = written(tmp_path, images, "webdataset", labels=[0, 1, 2])
    file = path / "webdataset-000000.tar"
    whole = file.read_bytes()
    refused = 0
    for _ in range(200):
        data = bytearray(whole)
        data[rng.integers(len(whole.rstrip(b"\0")))] ^= 1 << int(rng.integers(8))
        file.write_bytes(data)
        try:
            source = open_source(path)
            source.read(range(len(source)))
            _ = source.labels
            source.records(range(len(source)))
        except PgtoolsError as error:
            refused += 1
            assert "\n" not in error.message
    assert refused > 50


def shard_of(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def png_of(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("through", ["plain", "threads", "pickle"])
def test_more_shards_than_a_process_may_open(tmp_path, through: str) -> None:
    images = noise_images(150, 4)
    for i, image in enumerate(images):
        shard_of(tmp_path / f"x-{i:06d}.tar", {"0.png": png_of(image), "0.cls": b"%d" % (i % 3)})
    order = np.random.default_rng(0).permutation(150).tolist()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    there = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    resource.setrlimit(resource.RLIMIT_NOFILE, (there + 100, before[1]))
    try:
        source = WebdatasetImages(tmp_path)
        if through == "pickle":
            source.read(order[:90])
            source = pickle.loads(pickle.dumps(source))  # noqa: S301
        if through == "threads":
            with ThreadPoolExecutor(8) as pool:
                found = np.concatenate(list(pool.map(lambda i: source.read([i]), order)))
        else:
            found = source.read(order)
        labels = source.labels
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    np.testing.assert_array_equal(found, images[order])
    assert labels.tolist() == [i % 3 for i in range(150)]


def test_a_shard_that_changed_after_it_was_looked_at_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(webdataset, "OPEN_SHARDS", 1)
    for i, image in enumerate(noise_images(2, 4)):
        shard_of(tmp_path / f"x-{i:06d}.tar", {"0.png": png_of(image)})
    source = WebdatasetImages(tmp_path)
    source.read([0, 1])
    shard_of(tmp_path / "x-000000.tar", {"a" * 20 + ".png": png_of(noise_images(1, 64)[0])})
    with pytest.raises(InputError, match=r"x-000000\.tar has changed since it was opened"):
        source.read([0])


def test_a_class_number_that_no_set_has_is_refused_where_it_is_read(tmp_path) -> None:
    data = png_of(noise_images(1, 4)[0])
    (tmp_path / "f").mkdir()
    (tmp_path / "f/0.png").write_bytes(data)
    for number in (2**31 - 1, 2**31, 10**30):
        shard_of(tmp_path / "x.tar", {"0.png": data, "0.cls": b"%d" % number})
        (tmp_path / "f/dataset.json").write_text(json.dumps({"labels": [["0.png", number]]}))
        for path in (tmp_path / "x.tar", tmp_path / "f"):
            if number < 2**31:
                assert open_source(path).labels.tolist() == [number]
            else:
                with pytest.raises(InputError, match="class number"):
                    _ = open_source(path).labels


def test_a_pipe_among_the_images_is_named_and_not_waited_for(tmp_path) -> None:
    folder = image_folder(tmp_path / "f", noise_images(1, 4))
    os.mkfifo(folder / "b.png")
    source = open_source(folder)
    assert len(source) == 2
    with pytest.raises(InputError, match=r"f/b\.png: is no regular file"):
        source.read([1])
    (folder / "b.png").unlink()
    os.mkfifo(folder / "dataset.json")
    assert open_source(folder).labels is None
