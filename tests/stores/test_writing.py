"""What may be replaced, what is looked at before and after a long write, and what items have to be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from pgtools.errors import InputError, OutputError, PgtoolsError, UsageError
from pgtools.stores.formats.labels import MAX_ONE_HOT_CLASSES
from pgtools.stores.jobs.convert import convert
from pgtools.stores.jobs.settings import ConvertSettings
from pgtools.stores.layout import Record
from pgtools.stores.opening import open_source
from pgtools.stores.writer import Plan
from pgtools.stores.writing import Item, check_outputs, estimated_bytes, output, write_stores
from tests.pictures import noise_images
from tests.stores.sets import written

IMAGES = noise_images(3, 8)
PATHS = ("a.lmdb", "a.h5", "a.zip", "tfrecord", "stylegan", "folder", "webdataset")


def to(path: Path) -> object:
    return output(path, None if path.suffix else path.name)


def items(images: np.ndarray = IMAGES) -> Iterator[Item]:
    for i, image in enumerate(images):
        yield Item(image, Record(f"{i}.png"))


# Labels beside HDF5 stores.


def authors_file(path: Path, labels: list[int] | None) -> Path:
    with h5py.File(path, "w") as file:
        file["data8x8"] = IMAGES
    if labels is not None:
        np.save(path.with_name(f"{path.stem}-labels.npy"), np.array(labels))
    return path


@pytest.mark.parametrize("labels", [None, [2, 0, 1]])
@pytest.mark.parametrize("there", [False, True])
def test_a_store_does_not_take_the_labels_of_its_neighbour(tmp_path: Path, labels, there: bool) -> None:
    """NAME.h5 and NAME.hdf5 would read the same NAME-labels.npy: one of them wrote over the other's."""
    source = authors_file(tmp_path / "w.hdf5", labels)
    if there:
        authors_file(tmp_path / "w.h5", None)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(PgtoolsError, match=r"w\.hdf5.*w-labels\.npy") as caught:
        convert([source], [tmp_path / "w.h5"], ConvertSettings(indices="0:2"), overwrite=True)
    assert "\n" not in caught.value.message
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_two_outputs_that_would_share_their_labels_are_refused(tmp_path: Path) -> None:
    (source,) = written(tmp_path, IMAGES, "x.lmdb", labels=[0, 1, 0])
    with pytest.raises(PgtoolsError, match=r"a\.hdf5.*a-labels\.npy"):
        convert([source], [tmp_path / "a.h5", tmp_path / "a.hdf5"], ConvertSettings())
    convert([source], [tmp_path / "a.h5", tmp_path / "b.hdf5"], ConvertSettings())
    # A neighbour that is no HDF5 file, and one with another NAME, read other labels.
    (tmp_path / "a.hdf5").write_text("mine")
    convert([source], [tmp_path / "a.h5"], ConvertSettings(), overwrite=True)
    authors_file(tmp_path / "a.b.h5", None)
    convert([source], [tmp_path / "a.h5"], ConvertSettings(), overwrite=True)
    assert open_source(tmp_path / "a.h5").labels.tolist() == [0, 1, 0]


def test_a_link_to_the_store_itself_is_no_neighbour(tmp_path: Path) -> None:
    written(tmp_path, IMAGES, "a.h5")
    (tmp_path / "a.hdf5").symlink_to("a.h5")
    check_outputs([output(tmp_path / "a.h5")], overwrite=True)


def test_the_labels_of_a_source_are_not_replaced(tmp_path: Path) -> None:
    source = authors_file(tmp_path / "w.h5", [1, 0, 1])
    before = (tmp_path / "w-labels.npy").read_bytes()
    with pytest.raises(UsageError, match="the labels of the source"):
        convert([source], [tmp_path / "w-labels.npy"], ConvertSettings(to="zip"), overwrite=True)
    assert (tmp_path / "w-labels.npy").read_bytes() == before


def test_a_file_that_would_be_taken_for_the_labels(tmp_path: Path) -> None:
    np.save(tmp_path / "a-labels.npy", np.zeros(3))
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"a-labels\.npy would be taken for the labels of .*a\.h5"):
            check_outputs([output(tmp_path / "a.h5")], overwrite=overwrite)
    check_outputs([output(tmp_path / "a.lmdb"), output(tmp_path / "b.h5")], overwrite=False)
    authors_file(tmp_path / "a.h5", None)
    check_outputs([output(tmp_path / "a.h5")], overwrite=True)


# What must not be replaced.


def test_an_lmdb_with_more_in_its_folder_is_not_replaced(tmp_path: Path) -> None:
    (path,) = written(tmp_path, IMAGES, "a.lmdb")
    (path / "lock.mdb").touch()
    check_outputs([output(path)], overwrite=True)
    (path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds more than an LMDB; it is not replaced"):
        check_outputs([output(path)], overwrite=True)
    assert (path / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["tfrecord", "stylegan", "folder", "webdataset"])
def test_a_strangers_file_that_comes_during_a_long_write_stays(tmp_path: Path, name: str) -> None:
    (path,) = written(tmp_path, IMAGES, name)

    def slow() -> Iterator[Item]:
        for i, item in enumerate(items()):
            if i == 2:
                (path / "my-thesis.txt").write_text("mine")
            yield item

    with pytest.raises(OutputError, match=r"holds my-thesis\.txt, which is no part of"):
        write_stores([output(path, name)], slow(), Plan(3, 8))
    assert (path / "my-thesis.txt").read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == [name]
    (path / "my-thesis.txt").unlink()
    np.testing.assert_array_equal(open_source(path).read(range(3)), IMAGES)


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("empty", [False, True])
def test_what_comes_to_stand_at_a_free_path_stays(tmp_path: Path, name: str, empty: bool) -> None:
    path = tmp_path / name
    is_file = to(path).format.writes == "file"
    if empty and not is_file:
        path.mkdir()
    stranger = path if is_file else path / "mine.txt"

    def slow() -> Iterator[Item]:
        for i, item in enumerate(items()):
            if i == 1:
                stranger.parent.mkdir(exist_ok=True)
                stranger.write_text("mine")
            yield item

    with pytest.raises(OutputError, match="not replaced"):
        write_stores([to(path)], slow(), Plan(3, 8))
    assert stranger.read_text() == "mine"
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_labels_that_come_to_stand_beside_stay(tmp_path: Path) -> None:
    def slow() -> Iterator[Item]:
        for item in items():
            (tmp_path / "a-labels.npy").write_text("mine")
            yield item

    with pytest.raises(OutputError, match=r"a-labels\.npy .*not replaced"):
        write_stores([output(tmp_path / "a.h5")], slow(), Plan(3, 8))
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a-labels.npy", "mine")]


@pytest.mark.parametrize("name", [".", "/", "..", "x/.."])
def test_an_output_without_a_name_is_one_line(tmp_path: Path, monkeypatch, pgtools, name: str) -> None:
    (source,) = written(tmp_path, IMAGES, "a.lmdb")
    (tmp_path / "here/x").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    done = pgtools("store", "convert", source, name, "--to", "folder", "--overwrite", "--yes")
    assert done.code == 2
    assert "expected the name of" in done.err
    assert "Traceback" not in done.err
    with pytest.raises(UsageError, match="expected the name of"):
        output(Path(name), "folder")


# What items have to be.


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("count", [2, 4])
def test_fewer_or_more_images_than_planned_put_nothing_in_place(tmp_path: Path, name: str, count: int) -> None:
    with pytest.raises(
        InputError, match="Only 2 images came of the 3" if count == 2 else r"3\.png: more .* 3 "
    ) as caught:
        write_stores([to(tmp_path / name)], items(noise_images(count, 8)), Plan(3, 8))
    assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None, [1], {"a": 1}, np.float32(1)])
def test_an_attribute_that_cannot_be_kept_is_refused_before_it_is_written(tmp_path: Path, value: object) -> None:
    records = [Record("a.png", {"score": 1.0}), Record("b.png", {"score": value})]
    for name in PATHS:
        with pytest.raises(InputError, match=r"b\.png: .*score is") as caught:
            write_stores(
                [to(tmp_path / name)],
                [Item(image, record) for image, record in zip(IMAGES, records, strict=False)],
                Plan(2, 8),
            )
        assert "\n" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", PATHS)
def test_a_name_that_is_no_unicode_is_spelt_out(tmp_path: Path, name: str) -> None:
    record = Record("\udcff.png", {"\udc80": "x\udcfe", "score": 1.5})
    write_stores([to(tmp_path / name)], [Item(IMAGES[0], record)], Plan(1, 8))
    source = open_source(tmp_path / name)
    (found,) = source.records([0])
    found.name.encode()
    if name in ("a.lmdb", "a.h5", "webdataset"):
        assert found == Record("\\udcff.png", {"\\udc80": "x\\udcfe", "score": 1.5})


def test_a_folder_with_such_a_name_becomes_any_store(tmp_path: Path, pgtools) -> None:
    (folder,) = written(tmp_path, IMAGES[:1], "folder")
    (folder / "0.png").rename(folder / "\udcff.png")
    for name in ("a.h5", "a.lmdb"):
        assert pgtools("store", "convert", folder, tmp_path / name).code == 0
        assert open_source(tmp_path / name).records([0]) == open_source(folder).records([0])
        done = pgtools("store", "compare", folder, tmp_path / name)
        assert done.code == 0
        assert "Names and attributes: equal." in done.out
    (tmp_path / "names.txt").write_text("\\udcff.png\n")
    assert pgtools("store", "subset", folder, tmp_path / "b.h5", "--names", tmp_path / "names.txt").code == 0


# Class numbers.


def test_a_class_number_is_no_bomb(tmp_path: Path) -> None:
    """`dataset.json` with class 400000000 for two images made a file of 3.2 GB."""
    (folder,) = written(tmp_path, IMAGES, "stylegan")
    names = [f"00000/img{i:08d}.png" for i in range(3)]
    labels = [0, 400_000_000, 7]
    (folder / "dataset.json").write_text(json.dumps({"labels": list(zip(names, labels, strict=True))}))
    convert([folder], [tmp_path / "a.h5", tmp_path / "a.lmdb", tmp_path / "a.zip"], ConvertSettings())
    assert (tmp_path / "a-labels.npy").stat().st_size < 1000
    for name in ("a.h5", "a.lmdb", "a.zip"):
        source = open_source(tmp_path / name)
        assert (source.labels.tolist(), source.classes) == (labels, 400_000_001)
    with pytest.raises(InputError, match=r"400,000,001 classes.*65,536 at most") as caught:
        convert([folder], [tmp_path / "b.lmdb", tmp_path / "tf"], ConvertSettings(to="tfrecord"))
    assert "--no-labels" in caught.value.hint
    assert not {"b.lmdb", "tf"} & {file.name for file in tmp_path.iterdir()}
    convert([folder], [tmp_path / "tf"], ConvertSettings(to="tfrecord", labels=False))


def test_labels_count_in_the_estimate() -> None:
    plain, some = Plan(1000, 4), Plan(1000, 4, classes=MAX_ONE_HOT_CLASSES)
    many = Plan(1000, 4, classes=MAX_ONE_HOT_CLASSES + 1)
    rows = 4 * 1000 * MAX_ONE_HOT_CLASSES
    for format in ("hdf5", "tfrecord"):
        assert rows <= estimated_bytes(format, some) - estimated_bytes(format, plain) <= rows + 16_000
        assert estimated_bytes(format, many) - estimated_bytes(format, plain) <= 16_000
    assert estimated_bytes("lmdb", some) - estimated_bytes("lmdb", plain) <= 16_000


def test_the_format_is_told_by_the_suffix_in_any_case_or_by_name(tmp_path) -> None:
    for name, expected in (("A.H5", "hdf5"), ("a.LMDB", "lmdb"), ("a.hdf5", "hdf5"), ("a.zip", "zip")):
        assert output(tmp_path / name).format.name == expected
    assert output(tmp_path / "a.lmdb", "tfrecord").format.name == "tfrecord"
    with pytest.raises(UsageError, match="The format to write is 'mnist'; expected one of lmdb, hdf5"):
        output(tmp_path / "a.lmdb", "mnist")
    with pytest.raises(UsageError, match="name does not tell its format"):
        output(tmp_path / "a.xyz")
