"""Stores written by pgtools, read by pgtools and by readers that know nothing of pgtools."""

from __future__ import annotations

import io
import json
import multiprocessing
import pickle
import zipfile
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pgtools.errors import InputError, PgtoolsError, UsageError
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.stores import layout
from pgtools.stores.layout import Record
from pgtools.stores.opening import open_source
from pgtools.stores.source import ImageSource
from pgtools.stores.views import Subset, choose
from pgtools.stores.writer import Plan
from pgtools.stores.writing import Item, items_of, output, store_outputs, write_stores
from tests.pictures import jpeg, noise_images, smooth_images
from tests.stores.sets import image_folder, written


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(count=st.integers(1, 5), log_side=st.integers(2, 6), seed=st.integers(0, 99))
def test_round_trip_at_every_level(tmp_path_factory, count: int, log_side: int, seed: int) -> None:
    images = noise_images(count, 2**log_side, seed)
    levels = mean_pyramid(images)
    for path in written(tmp_path_factory.mktemp("s"), images, "a.lmdb", "a.h5"):
        source = open_source(path)
        assert (len(source), source.resolution, source.levels) == (count, 2**log_side, tuple(levels))
        for level, expected in levels.items():
            np.testing.assert_array_equal(source.read(range(count), level), expected)


def test_lmdb_is_read_by_a_trainer_that_knows_only_its_keys(tmp_path) -> None:
    images = noise_images(3, 16)
    (path,) = written(tmp_path, images, "a.lmdb")
    with lmdb.open(str(path), readonly=True) as environment, environment.begin() as transaction:
        assert int(transaction.get(b"length").decode("utf-8")) == 3
        for level, expected in mean_pyramid(images).items():
            picture = Image.open(io.BytesIO(transaction.get(f"{level}-00002".encode())))
            np.testing.assert_array_equal(np.asarray(picture), expected[2].transpose(1, 2, 0))


def test_hdf5_is_read_by_the_authors_rule(tmp_path) -> None:
    """The authors' later tool takes the data set with the largest last axis: our columns must never win."""
    images = noise_images(40, 4)
    (path,) = written(tmp_path, images, "a.h5")
    with h5py.File(path) as file:
        largest = max(file.values(), key=lambda dataset: dataset.shape[-1])
        np.testing.assert_array_equal(largest[:], images)
        assert file["data4x4"].dtype == np.uint8
        assert file["data4x4"].chunks is not None


def test_other_peoples_stores_without_our_header(tmp_path) -> None:
    images = smooth_images(2, 8)
    with (
        lmdb.open(str(tmp_path / "x"), lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        transaction.put(b"length", b"2")
        for i, image in enumerate(images):
            picture = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(picture, "PNG")
            transaction.put(f"8-{i:05d}".encode(), picture.getvalue())
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["data8x8"] = images
    ours = written(tmp_path, images, "a.lmdb")[0]
    for path in (tmp_path / "x", tmp_path / "x.h5"):
        source = open_source(path)
        np.testing.assert_array_equal(source.read([1, 0], 4), mean_pyramid(images)[4][[1, 0]])
        assert source.fingerprint() == open_source(ours).fingerprint()


def test_one_fingerprint_for_one_content(tmp_path) -> None:
    images = noise_images(3, 8)
    paths = [*written(tmp_path, images, "a.lmdb", "a.h5"), image_folder(tmp_path / "f", images)]
    assert len({open_source(path).fingerprint() for path in paths}) == 1
    changed = images.copy()
    changed[2, 0, 0, 0] ^= 1
    other = written(tmp_path, changed, "b.lmdb")[0]
    assert open_source(other).fingerprint() != open_source(paths[0]).fingerprint()


@pytest.mark.parametrize("name", ["a.lmdb", "a.h5"])
def test_a_choice_of_images_has_its_fingerprint_without_reading_them(tmp_path, monkeypatch, name: str) -> None:
    images = noise_images(6, 8)
    plain = Subset(open_source(image_folder(tmp_path / "f", images)), [4, 1, 1])
    store = open_source(written(tmp_path, images, name)[0])
    monkeypatch.setattr(store, "read", None)
    monkeypatch.setattr(store, "read_top", None)
    chosen = Subset(store, [4, 1, 1])
    assert chosen.fingerprint() == plain.fingerprint() != Subset(store, [1, 4, 1]).fingerprint()
    assert chosen.image_hashes([0, 2]) == plain.image_hashes([0, 2])
    assert ImageSource.fingerprint(store) == store.fingerprint()


def test_hashes_that_are_not_recorded_are_computed_and_damaged_ones_refused(tmp_path) -> None:
    for record, message in ((None, None), (b"{", "record of image 1"), (b'{"sha256": "beef"}', "record of image 1")):
        paths = written(tmp_path, noise_images(2, 8), "a.lmdb", "a.h5")
        expected = ImageSource.image_hashes(open_source(paths[0]), [1, 0])
        with lmdb.open(str(paths[0]), lock=False) as environment, environment.begin(write=True) as transaction:
            transaction.delete(layout.lmdb_record_key(1))
            if record:
                transaction.put(layout.lmdb_record_key(1), record)
        with h5py.File(paths[1], "a") as file:
            if record:
                file[layout.HDF5_HASHES][1, 0] = record
            else:
                del file[layout.HDF5_HASHES]
        for path, where in zip(paths, (message, "column of hashes"), strict=True):
            source = open_source(path)
            if record:
                with pytest.raises(InputError, match=where):
                    source.image_hashes([1, 0])
            else:
                assert source.image_hashes([1, 0]) == expected
            with pytest.raises(InputError, match="2"):
                source.image_hashes([2])


def test_folder_classes_and_zip_agree(tmp_path) -> None:
    images = noise_images(4, 8)
    image_folder(tmp_path / "set" / "cat", images[:2])
    image_folder(tmp_path / "set" / "dog", images[2:])
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted((tmp_path / "set").rglob("*.png")):
            archive.write(file, file.relative_to(tmp_path / "set"))
    for source in (open_source(tmp_path / "set"), open_source(tmp_path / "set.zip")):
        assert source.labels is not None
        assert source.labels.tolist() == [0, 0, 1, 1]
        np.testing.assert_array_equal(source.read([3, 0]), images[[3, 0]])


def test_labels_of_a_stylegan_archive(tmp_path) -> None:
    folder = image_folder(tmp_path / "00000", noise_images(2, 4))
    names = [f"00000/{file.name}" for file in sorted(folder.iterdir())]
    listed = {"labels": [[names[1], 7], [names[0], 3]]}
    (tmp_path / "dataset.json").write_text(json.dumps(listed))
    source = open_source(tmp_path)
    assert source.labels is not None
    assert source.labels.tolist() == [3, 7]


@pytest.mark.parametrize("label", ["-1", "1.5", "true", '"3"', "Infinity", str(10**30)])
def test_a_label_that_is_no_class_number_is_refused(tmp_path, label: str) -> None:
    image_folder(tmp_path / "f", noise_images(1, 4))
    (tmp_path / "f" / "dataset.json").write_text('{"labels": [["0000.png", ' + label + "]]}")
    with pytest.raises(InputError, match=r"dataset\.json does not give one class number"):
        _ = open_source(tmp_path / "f").labels


def test_what_is_hidden_or_a_folder_is_no_image(tmp_path) -> None:
    images = noise_images(2, 4)
    folder = image_folder(tmp_path / "set", images)
    (folder / "d.png").mkdir()
    (folder / "__MACOSX").mkdir()
    for hidden in ("._0000.png", ".cache.png", "__MACOSX/._0001.png", "__MACOSX/icon.png"):
        (folder / hidden).write_bytes(b"no image")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    for path in (folder, tmp_path / "set.zip"):
        np.testing.assert_array_equal(open_source(path).read(range(2)), images)
        assert len(open_source(path)) == 2


def test_a_link_to_nowhere_is_named(tmp_path) -> None:
    folder = image_folder(tmp_path / "set", noise_images(1, 4))
    (folder / "9.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"9\.png: cannot be read"):
        open_source(folder).read([1])


@pytest.mark.parametrize("name", ["a.lmdb", "a.h5"])
def test_a_source_travels_to_another_process(tmp_path, name: str) -> None:
    images = noise_images(2, 8)
    source = open_source(written(tmp_path, images, name)[0])
    source.read([0])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read([1]), images[[1]])  # noqa: S301


def test_a_store_is_read_twice_at_once_and_across_a_fork(tmp_path) -> None:
    images = noise_images(2, 8)
    (path,) = written(tmp_path, images, "a.lmdb")
    one, two = open_source(path), open_source(path)
    np.testing.assert_array_equal(one.read([0]), two.read([0]))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        np.testing.assert_array_equal(pool.apply(one.read, ([1],)), images[[1]])


def test_choose_is_seeded_and_says_what_is_missing(tmp_path) -> None:
    source = open_source(written(tmp_path, noise_images(9, 4), "a.h5")[0])
    first, again = choose(source, 5, seed=1), choose(source, 5, seed=1)
    assert isinstance(first, Subset)
    np.testing.assert_array_equal(first.read(range(5)), again.read(range(5)))
    assert choose(source, 9, seed=1) is source
    with pytest.raises(InputError, match="has 9 images; 10 were asked for"):
        choose(source, 10, seed=1)


def test_the_map_grows_and_the_old_store_stays_until_the_new_is_whole(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pgtools.stores.formats.lmdb.FIRST_MAP_BYTES", 1 << 15)
    first = noise_images(2, 64)
    (path,) = written(tmp_path, first, "a.lmdb")

    def breaks_off():
        yield Item(noise_images(1, 64, seed=5)[0], Record("0"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_stores([output(path)], breaks_off(), Plan(2, 64))
    np.testing.assert_array_equal(open_source(path).read(range(2)), first)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.lmdb"]
    second = noise_images(3, 64, seed=9)
    written(tmp_path, second, "a.lmdb")
    np.testing.assert_array_equal(open_source(path).read(range(3)), second)


def test_the_same_images_give_the_same_bytes(tmp_path) -> None:
    images = smooth_images(5, 16)
    (tmp_path / "1").mkdir(), (tmp_path / "2").mkdir()
    one, two = (written(tmp_path / n, images, "a.lmdb", "a.h5") for n in "12")
    assert (one[0] / "data.mdb").read_bytes() == (two[0] / "data.mdb").read_bytes()
    assert one[1].read_bytes() == two[1].read_bytes()


def hdf5_of(path: Path, **arrays: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"data4x4": np.zeros((0, 3, 4, 4), np.uint8)}, "holds no images"),
        ({"data2x2": np.zeros((1, 3, 2, 2), np.uint8)}, "without data sets such as 'data4x4'"),
        ({"data6x6": np.zeros((1, 3, 6, 6), np.uint8)}, "R a power of two"),
        ({"data8x8": noise_images(3, 8), "data4x4": noise_images(2, 4)}, "/data4x4 holds 2 images, the top level 3"),
        ({"data8x8": noise_images(1, 8), "data4x4": np.zeros((1, 3, 4, 4))}, "/data4x4 is float64"),
    ],
)
def test_an_hdf5_file_that_cannot_be_read_later_is_refused_at_once(tmp_path, arrays, message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_source(hdf5_of(tmp_path / "x.h5", **arrays))


def test_the_levels_below_four_of_older_hdf5_files_are_ignored(tmp_path) -> None:
    images, low = noise_images(2, 4), {f"data{r}x{r}": np.zeros((1, 3, r, r), np.uint8) for r in (1, 2)}
    source = open_source(hdf5_of(tmp_path / "x.h5", data4x4=images, **low))
    assert source.levels == (4,)
    np.testing.assert_array_equal(source.read(range(2)), images)


@pytest.mark.parametrize("name", ["a.lmdb", "a.h5"])
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("version", "1", "version '1'"),
        ("version", 3, "store version 3"),
        ("count", "2", "count '2'"),
        ("levels", [8, "4"], "levels"),
        ("levels", [8, 6], "levels"),
        ("levels", 8, "header is damaged"),
        ("content", 5, "content 5"),
        ("content", "beef", "content 'beef'"),
        ("codecs", None, "header is damaged"),
        ("codecs", {"8": "raw"}, "codecs"),
        ("colour", "red", "colour 'red'"),
        ("classes", 0, "classes 0"),
        ("origin", [], r"origin \[\]"),
    ],
)
def test_a_header_of_wrong_types_is_refused(tmp_path, name: str, field: str, value: object, message: str) -> None:
    (path,) = written(tmp_path, noise_images(1, 8), name)
    header = open_source(path).header
    text = json.dumps(json.loads(header.to_json()) | {field: value})
    del header
    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            file.attrs[layout.HDF5_HEADER] = np.bytes_(text.encode())
    else:
        with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
            transaction.put(layout.LMDB_HEADER, text.encode())
    with pytest.raises(InputError, match=message):
        open_source(path)


def test_an_lmdb_of_less_than_one_image_is_refused(tmp_path) -> None:
    (path,) = written(tmp_path, noise_images(1, 8), "a.lmdb")
    with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
        transaction.put(layout.LMDB_LENGTH, b"0")
        transaction.delete(layout.LMDB_HEADER)
    with pytest.raises(InputError, match="holds no images"):
        open_source(path)


def not_an_image_source(folder: Path, kind: str) -> Path:
    path = folder / kind
    if kind == "missing":
        return path
    if kind == "text.txt":
        path.write_text("hello")
    elif kind == "empty":
        path.mkdir()
    elif kind == "odd":
        image_folder(path, noise_images(1, 8)[:, :, :6])
    elif kind == "mixed":
        image_folder(path, noise_images(1, 8))
        Image.new("RGB", (16, 16)).save(path / "9.png")
    elif kind == "cut":
        path.mkdir()
        (path / "0.jpg").write_bytes(jpeg(smooth_images(1, 64)[0].transpose(1, 2, 0))[:400])
    elif kind == "bare.lmdb":
        lmdb.open(str(path), lock=False).close()
    elif kind == "garbage.lmdb":
        path.mkdir()
        (path / "data.mdb").write_bytes(b"\x00" * 9000)
    elif kind == "other.h5":
        with h5py.File(path, "w") as file:
            file["x"] = np.zeros(3)
    elif kind == "cut.h5":
        written(folder, noise_images(3, 32), kind)
        path.write_bytes(path.read_bytes()[:-6000])
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "text.txt",
        "empty",
        "odd",
        "mixed",
        "cut",
        "bare.lmdb",
        "garbage.lmdb",
        "other.h5",
        "cut.h5",
    ],
)
def test_what_is_no_source_is_refused_by_name(tmp_path, kind: str) -> None:
    with pytest.raises(PgtoolsError, match=kind.split(".")[0]) as caught:
        source = open_source(not_an_image_source(tmp_path, kind))
        source.read(range(len(source)))
    assert "\n" not in caught.value.message


def test_a_folder_of_archives_says_to_name_one(tmp_path) -> None:
    (tmp_path / "train.zip").write_bytes(b"")
    with pytest.raises(InputError) as caught:
        open_source(tmp_path)
    assert "train.zip" in caught.value.hint


def test_a_missing_record_names_the_image(tmp_path) -> None:
    (path,) = written(tmp_path, noise_images(2, 8), "a.lmdb")
    with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
        transaction.delete(b"8-00001")
    with pytest.raises(InputError, match=r"image 1 at 8²: is missing\. Its name is '1\.png'"):
        open_source(path).read([1])


def theirs(path: Path, count: int) -> Path:
    """An HDF5 file as the authors' trainer has it, without our header."""
    return hdf5_of(path, data4x4=noise_images(count, 4))


def test_pickled_labels_are_refused(tmp_path) -> None:
    path = theirs(tmp_path / "a.h5", 2)
    np.save(tmp_path / "a-labels.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="not a plain"):
        _ = open_source(path).labels


def test_labels_beside_hdf5(tmp_path) -> None:
    path = theirs(tmp_path / "a.h5", 2)
    np.save(tmp_path / "a-labels.npy", np.eye(5, dtype=np.float32)[[2, 0]])
    labels = open_source(path).labels
    assert labels is not None
    assert labels.tolist() == [2, 0]
    assert open_source(path).classes == 5
    np.save(tmp_path / "a-labels.npy", np.array([0, -1]))
    with pytest.raises(InputError, match="class number -1"):
        _ = open_source(path).labels


def test_our_hdf5_has_the_labels_its_header_tells_of_whatever_stands_beside_it(tmp_path) -> None:
    """A process killed between the store and its labels file leaves those of the store that was replaced."""
    (with_labels,) = written(tmp_path, noise_images(3, 4), "a.h5", labels=[2, 0, 1])
    (without,) = written(tmp_path, noise_images(3, 4), "b.h5")
    np.save(tmp_path / "a-labels.npy", np.eye(3, dtype=np.float32))
    np.save(tmp_path / "b-labels.npy", np.eye(3, dtype=np.float32))
    assert open_source(with_labels).labels.tolist() == [2, 0, 1]
    assert open_source(without).labels is None


def test_a_store_needs_a_known_suffix(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"NAME\.lmdb or NAME\.h5"):
        store_outputs([tmp_path / "out"])


def test_a_level_that_is_not_there(tmp_path) -> None:
    source = open_source(written(tmp_path, noise_images(1, 8), "a.lmdb")[0])
    with pytest.raises(InputError, match="no level 16; it has 8, 4"):
        source.read([0], 16)
    for store in ("a.lmdb", "b.h5"):
        source = open_source(written(tmp_path, noise_images(1, 8), store)[0])
        with pytest.raises(InputError, match="1"):
            source.read([5])


def flipped(path: Path, level: int, index: int) -> None:
    """Change one bit of one stored image, as a bad disk would."""
    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            file[layout.hdf5_dataset(level)][index, 0, 1, 1] ^= 1
        return
    with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
        key = layout.lmdb_image_key(level, index)
        data = bytearray(transaction.get(key))
        data[-2] ^= 1
        transaction.put(key, bytes(data))


@pytest.mark.parametrize(("name", "codec"), [("a.lmdb", "raw"), ("a.lmdb", "webp"), ("a.lmdb", "png"), ("a.h5", "raw")])
@pytest.mark.parametrize("level", [16, 8])
def test_a_changed_bit_is_an_error_that_names_the_image_and_the_repair(tmp_path, name, codec, level) -> None:
    images = noise_images(4, 16)
    (path,) = written(tmp_path, images, name, codec=codec)
    flipped(path, level, 2)
    source = open_source(path)
    np.testing.assert_array_equal(source.read([0, 1, 3], level), mean_pyramid(images)[level][[0, 1, 3]])
    with pytest.raises(InputError, match=f"image 2 at {level}².*is damaged") as caught:
        source.read([1, 2], level)
    assert f"pgtools store verify {path} --repair" in caught.value.hint
    with pytest.raises(InputError, match="image 2"):
        written_again = items_of(source, range(4)) if level == 16 else iter([source.read([2], level)])
        list(written_again)
