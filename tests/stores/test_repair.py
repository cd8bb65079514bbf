"""A repaired store is whole and holds exactly the images that could be saved."""

from __future__ import annotations

import io
import json
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
from PIL import Image

from pgtools.errors import InputError, OutputError, UsageError
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.stores.formats.lmdb import LmdbWriter
from pgtools.stores.jobs.repair import Repaired, repair
from pgtools.stores.jobs.settings import VerifySettings
from pgtools.stores.jobs.verify import Report, verify
from pgtools.stores.opening import open_source
from tests.pictures import jpeg, noise_images, smooth_images
from tests.stores import damage
from tests.stores.damage import ATTRIBUTES, COUNT, HDF5, LABELS, LMDB, SIDE, edit_lmdb
from tests.stores.sets import image_folder, written

ALL = VerifySettings(repair=True)
IMAGES = noise_images(COUNT, SIDE)


def store(folder: Path, name: str, **plan) -> Path:
    origin = {"name": "photos", "made": "a test"}
    return written(folder, IMAGES, name, labels=LABELS, attributes=ATTRIBUTES, origin=origin, **plan)[0]


def check_repaired(path: Path, lost: set[int], *, nameless: frozenset[int]) -> None:
    """What stands at `path` is whole and holds the images that are not lost, with all that is known of them."""
    kept = [index for index in range(COUNT) if index not in lost]
    assert verify(path, ALL).faults == ()
    source = open_source(path)
    assert source.labels is not None
    assert len(source) == len(kept)
    for level, expected in mean_pyramid(IMAGES[kept]).items():
        np.testing.assert_array_equal(source.read(range(len(kept)), level), expected)
    records = source.records(range(len(kept)))
    for index, record in zip(kept, records, strict=True):
        named = index not in nameless
        assert record.name == (f"{index}.png" if named else f"{index:08d}")
        assert record.attributes == (ATTRIBUTES[index] if named else {})
    assert source.colour == "rgb"
    assert source.classes == 3


@pytest.mark.parametrize("kind", LMDB)
def test_a_damaged_lmdb(tmp_path, kind: str) -> None:
    change, _, lost = LMDB[kind]
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, change)
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert done.dropped.keys() == lost
    if kind != "swapped whole":
        check_repaired(path, lost, nameless=frozenset({3} if kind in ("no record", "bad record") else ()))
    header = open_source(path).header
    assert header.origin["repaired"] == {"dropped": len(lost), "rebuilt": done.rebuilt}
    if kind not in ("header", "no header"):
        assert (header.origin["name"], header.origin["made"]) == ("photos", "a test")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.lmdb"]


@pytest.mark.parametrize("kind", HDF5)
def test_a_damaged_hdf5_file(tmp_path, kind: str) -> None:
    change, _, lost = HDF5[kind]
    path = store(tmp_path, "a.h5")
    with h5py.File(path, "a") as file:
        change(file)
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    nameless = {"bad hash": {3}, "no names": set(range(COUNT))}.get(kind, set())
    if kind != "swapped whole":
        check_repaired(path, lost, nameless=frozenset(nameless))
    assert verify(path, ALL).faults == ()
    assert np.load(tmp_path / "a-labels.npy").argmax(axis=1).tolist() == open_source(path).labels.tolist()


def test_images_that_were_swapped_with_their_records_keep_their_new_order(tmp_path) -> None:
    """Labels stand by number, so nobody can tell which order was meant; the images are all there."""
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, LMDB["swapped whole"][0])
    repair(path, ALL)
    assert verify(path, ALL).faults == ()
    source = open_source(path)
    np.testing.assert_array_equal(source.read(range(COUNT)), IMAGES[[0, 3, 2, 1, 4]])
    assert [record.name for record in source.records(range(COUNT))] == ["0.png", "3.png", "2.png", "1.png", "4.png"]


def test_nothing_to_repair_touches_nothing(tmp_path) -> None:
    for name in ("a.lmdb", "a.h5"):
        path = store(tmp_path, name)
        file = path / "data.mdb" if path.is_dir() else path
        before = (file.read_bytes(), file.stat().st_mtime_ns)
        assert isinstance(repair(path, ALL), Report)
        assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def stored(path: Path, key: bytes) -> bytes:
    with lmdb.open(str(path), lock=False, readonly=True) as environment, environment.begin() as transaction:
        return bytes(transaction.get(key))


@pytest.mark.parametrize("codec", ["jpeg", "png", "webp", "raw"])
def test_tops_are_copied_and_codecs_kept(tmp_path, codec: str) -> None:
    path = store(tmp_path, "a.lmdb", codec=codec)
    tops = [stored(path, b"32-%05d" % index) for index in range(COUNT)]
    before = open_source(path).header
    edit_lmdb(path, lambda t: (t.delete(b"8-00001"), t.delete(b"32-00003")))
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert [stored(path, b"32-%05d" % index) for index in range(COUNT - 1)] == [*tops[:3], tops[4]]
    after = open_source(path).header
    assert after.codecs == before.codecs
    assert {**after.origin, "repaired": None} == {**before.origin, "repaired": None}
    assert (done.rebuilt, dict(done.dropped)) == (1, {3: "3.png"})


@pytest.mark.parametrize("kind", ["header", "no lower"])
def test_a_grey_store_stays_grey(tmp_path, kind: str) -> None:
    grey = noise_images(COUNT, SIDE)[:, :1].repeat(3, axis=1)
    for path in written(tmp_path, grey, "a.lmdb", "a.h5", colour="grey"):
        if path.suffix == ".lmdb":
            edit_lmdb(path, LMDB[kind][0])
        else:
            with h5py.File(path, "a") as file:
                HDF5["header" if kind == "header" else "no names"][0](file)
        assert isinstance(repair(path, ALL), Repaired)
        source = open_source(path)
        assert source.colour == "grey"
        np.testing.assert_array_equal(source.read(range(COUNT)), grey)
        assert verify(path, ALL).faults == ()


def test_labels_that_cannot_be_saved_are_told(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, lambda t: t.put(b"pgtools-labels", b"\0" * 16))
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert done.labels_lost
    assert open_source(path).labels is None
    np.testing.assert_array_equal(open_source(path).read(range(COUNT)), IMAGES)


def test_a_second_repair_adds_up(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, LMDB["no top"][0])
    repair(path, ALL)
    edit_lmdb(path, lambda t: (t.delete(b"32-00001"), t.delete(b"8-00000")))
    repair(path, ALL)
    assert open_source(path).header.origin["repaired"] == {"dropped": 2, "rebuilt": 1}


def others_lmdb(path: Path, images: np.ndarray) -> None:
    with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"length", str(len(images)).encode())
        for i, image in enumerate(images):
            for side in (32, 16):
                picture = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize((side, side)))
                transaction.put(f"{side}-{i:05d}".encode(), jpeg(picture))


def test_another_programs_lmdb_stays_in_its_format_and_gains_a_header(tmp_path) -> None:
    images = smooth_images(4, 32)
    others_lmdb(tmp_path / "x", images)
    tops = [stored(tmp_path / "x", b"32-%05d" % index) for index in range(4)]
    edit_lmdb(tmp_path / "x", lambda t: (t.put(b"32-00001", b"gone"), t.put(b"16-00002", t.get(b"16-00000"))))
    done = repair(tmp_path / "x", ALL)
    assert isinstance(done, Repaired)
    assert done.dropped.keys() == {1}
    source = open_source(tmp_path / "x")
    assert source.header.codecs == {32: "jpeg", 16: "raw", 8: "raw", 4: "raw"}
    assert [stored(tmp_path / "x", b"32-%05d" % index) for index in range(3)] == [tops[0], tops[2], tops[3]]
    seen = np.stack([np.asarray(Image.open(io.BytesIO(tops[i]))).transpose(2, 0, 1) for i in (0, 2, 3)])
    for level, expected in mean_pyramid(seen).items():
        np.testing.assert_array_equal(source.read(range(3), level), expected)
    assert verify(tmp_path / "x", ALL).faults == ()


def test_another_programs_hdf5_file(tmp_path) -> None:
    images = smooth_images(4, 32)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for side, level in mean_pyramid(images).items():
            file[f"data{side}x{side}"] = level
        file["data8x8"][1] = file["data8x8"][3]
    np.save(tmp_path / "x-labels.npy", np.array([3, 1, 0, 1]))
    done = repair(tmp_path / "x.h5", ALL)
    assert isinstance(done, Repaired)
    assert not done.dropped
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(source.read(range(4), 8), mean_pyramid(images)[8])
    assert source.labels.tolist() == [3, 1, 0, 1]
    assert source.header is not None


def test_what_a_repaired_store_would_lack_is_not_replaced(tmp_path) -> None:
    path, hdf5 = store(tmp_path, "a.lmdb"), store(tmp_path, "b.h5")
    edit_lmdb(path, lambda t: (t.delete(b"8-00001"), t.put(b"captions", b"my work")))
    with h5py.File(hdf5, "a") as file:
        HDF5["lower"][0](file)
        file["captions"] = np.zeros(3)
    for one in (path, hdf5):
        with pytest.raises(OutputError, match=r"captions.*not replaced"):
            repair(one, ALL)
        assert verify(one, ALL).faults
    (path / "notes.txt").write_text("mine")
    edit_lmdb(path, lambda t: t.delete(b"captions"))
    with pytest.raises(OutputError, match="more than an LMDB"):
        repair(path, ALL)
    assert (path / "notes.txt").exists()


def test_a_store_of_which_nothing_can_be_saved_stays(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, lambda t: [t.delete(b"32-%05d" % index) for index in range(COUNT)])
    before = (path / "data.mdb").read_bytes()
    with pytest.raises(InputError, match=r"no image can be saved|holds no images"):
        repair(path, ALL)
    assert (path / "data.mdb").read_bytes() == before


def test_too_little_space_and_a_bad_disk_leave_the_old_store(tmp_path, monkeypatch) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, LMDB["no lower"][0])
    before = (path / "data.mdb").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000})())
        with pytest.raises(OutputError, match=r"1\.0 kB free"):
            repair(path, ALL)
    with monkeypatch.context() as patched:
        put = LmdbWriter._put

        def garbled(writer: LmdbWriter, key: bytes, value: bytes) -> None:
            put(writer, key, value[:-1] + b"?" if key == b"8-00001" else value)

        patched.setattr(LmdbWriter, "_put", garbled)
        with pytest.raises(OutputError, match="reads back with a fault"):
            repair(path, ALL)
    assert (path / "data.mdb").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.lmdb"]


def test_folders_are_not_repaired(tmp_path) -> None:
    with pytest.raises(UsageError, match="no LMDB or HDF5 store"):
        repair(image_folder(tmp_path / "f", IMAGES), ALL)


def test_a_header_survives_as_json(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, LMDB["no lower"][0])
    repair(path, ALL)
    told = json.loads(stored(path, b"pgtools-header"))
    assert told["count"] == COUNT
    assert np.frombuffer(stored(path, b"pgtools-labels"), "<i8").tolist() == damage.LABELS


def cut_off(path: Path, share: float) -> None:
    data = path / "data.mdb"
    whole = data.read_bytes()
    data.write_bytes(whole[: int(len(whole) * share)])


@pytest.mark.parametrize(("share", "least"), [(0.6, 1), (0.9, 25), (0.99, 35)])
def test_a_truncated_lmdb_keeps_what_lies_before_the_cut(tmp_path, share: float, least: int) -> None:
    images = noise_images(40, 64)
    with pytest.MonkeyPatch.context() as patched:  # many transactions, as a large store has them
        patched.setattr("pgtools.stores.formats.lmdb.PENDING_BYTES", 1 << 16)
        (path,) = written(tmp_path, images, "a.lmdb", attributes=[{"score": float(i)} for i in range(40)])
    cut_off(path, share)
    assert verify(path, ALL).faults
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert verify(path, ALL).faults == ()
    source = open_source(path)
    assert len(source) >= least
    assert source.resolution == 64
    for index, record in enumerate(source.records(range(len(source)))):
        original = int(record.name.removesuffix(".png"))
        np.testing.assert_array_equal(source.read([index])[0], images[original])
        assert record.attributes in ({"score": float(original)}, {})


def test_a_damaged_page_of_the_tree_loses_no_image(tmp_path) -> None:
    images = noise_images(60, 64)
    (path,) = written(tmp_path, images, "a.lmdb", labels=[0, 1] * 30)
    data = bytearray((path / "data.mdb").read_bytes())
    branches = [at for at in range(8192, len(data), 4096) if data[at + 10 : at + 12] == b"\x01\x00"]
    root = [at for at in branches if int.from_bytes(data[at : at + 8], "little") == at // 4096]
    assert root
    for at in root:
        data[at + 16 : at + 64] = b"\xff" * 48
    (path / "data.mdb").write_bytes(data)
    assert verify(path, ALL).faults
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert not done.dropped
    source = open_source(path)
    np.testing.assert_array_equal(source.read(range(60)), images)
    assert source.labels.tolist() == [0, 1] * 30
    assert [record.name for record in source.records([0, 59])] == ["0.png", "59.png"]
