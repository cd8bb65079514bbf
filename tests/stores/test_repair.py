"""A repaired store is whole and holds exactly the images that could be saved."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
from PIL import Image

from pgtools.errors import InputError, OutputError, UsageError
from pgtools.imaging.pyramid import mean_pyramid
from pgtools.stores import layout
from pgtools.stores.formats.lmdb import LmdbWriter
from pgtools.stores.jobs.repair import Repaired, repair
from pgtools.stores.jobs.salvage import ScannedPages
from pgtools.stores.jobs.settings import VerifySettings
from pgtools.stores.jobs.verify import Report, check, verify
from pgtools.stores.opening import open_source
from tests.pictures import noise_images, smooth_images
from tests.stores import damage
from tests.stores.damage import ATTRIBUTES, COUNT, HDF5, LABELS, LMDB, SIDE, edit_lmdb, others_lmdb
from tests.stores.sets import image_folder, written

ALL = VerifySettings(repair=True)
IMAGES = noise_images(COUNT, SIDE)


def store(folder: Path, name: str, **plan) -> Path:
    origin = {"name": "photos", "made": "a test"}
    return written(folder, IMAGES, name, labels=LABELS, attributes=ATTRIBUTES, origin=origin, **plan)[0]


def check_repaired(
    path: Path, lost: set[int], *, nameless: frozenset[int] = frozenset(), bare: frozenset[int] = frozenset()
) -> None:
    """What stands at `path` is whole and holds the images that are not lost, with all that is known of them.

    Args:
        path: the store.
        lost: images that are gone.
        nameless, bare: images whose name is, and whose attributes are, not known any more.
    """
    kept = [index for index in range(COUNT) if index not in lost]
    assert verify(path, ALL).faults == ()
    source = open_source(path)
    assert source.labels.tolist() == [LABELS[index] for index in kept]
    assert len(source) == len(kept)
    for level, expected in mean_pyramid(IMAGES[kept]).items():
        np.testing.assert_array_equal(source.read(range(len(kept)), level), expected)
    records = source.records(range(len(kept)))
    for index, record in zip(kept, records, strict=True):
        assert record.name == (f"{index:08d}" if index in nameless else f"{index}.png")
        assert record.attributes == ({} if index in bare else ATTRIBUTES[index])
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
        gone = frozenset({3} if kind in ("no record", "bad record") else ())
        check_repaired(path, lost, nameless=gone, bare=gone)
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
    if len(lost) == COUNT:
        before = path.read_bytes()
        with pytest.raises(InputError, match="no image can be saved"):
            repair(path, ALL)
        assert path.read_bytes() == before
        return
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert done.dropped.keys() == lost
    nameless = frozenset(range(COUNT) if kind == "no names" else ())
    bare = frozenset({3} if kind == "bad attributes" else ())
    if kind != "swapped whole":
        check_repaired(path, lost, nameless=nameless, bare=bare)
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


def test_a_label_of_no_class_is_restored_from_its_record(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, lambda t: damage.flip_bit(t, b"pgtools-labels", 8 + 5, 6))
    assert isinstance(repair(path, ALL), Repaired)
    check_repaired(path, set())


def test_a_second_repair_adds_up(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, LMDB["no top"][0])
    repair(path, ALL)
    edit_lmdb(path, lambda t: (t.delete(b"32-00001"), t.delete(b"8-00000")))
    repair(path, ALL)
    assert open_source(path).header.origin["repaired"] == {"dropped": 2, "rebuilt": 1}


def test_another_programs_lmdb_keeps_every_whole_byte_and_gains_a_header(tmp_path) -> None:
    path, sides = tmp_path / "x", (32, 16)
    others_lmdb(path, smooth_images(4, 32), sides, "JPEG")
    before = {side: [stored(path, b"%d-%05d" % (side, index)) for index in range(4)] for side in sides}
    edit_lmdb(path, lambda t: (t.put(b"32-00001", b"gone"), t.put(b"16-00002", t.get(b"16-00000"))))
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert (done.dropped.keys(), done.rebuilt) == ({1}, 1)
    assert [stored(path, b"32-%05d" % index) for index in range(3)] == [before[32][i] for i in (0, 2, 3)]
    assert [stored(path, b"16-%05d" % index) for index in (0, 2)] == [before[16][i] for i in (0, 3)]
    source = open_source(path)
    assert source.header.codecs == {32: "jpeg", 16: "jpeg", 8: "raw", 4: "raw"}
    seen = np.stack([np.asarray(Image.open(io.BytesIO(before[32][i]))).transpose(2, 0, 1) for i in (0, 2, 3)])
    means = mean_pyramid(seen)
    np.testing.assert_array_equal(source.read([1], 16), means[16][[1]])
    for level in (32, 8, 4):
        np.testing.assert_array_equal(source.read(range(3), level), means[level])
    assert verify(path, ALL).faults == ()
    # What is its own now is held against its checksums, but still not against the means.
    edit_lmdb(path, lambda t: t.put(b"16-00000", t.get(b"16-00002")))
    assert [str(fault) for fault in verify(path, ALL).faults] == [
        "image 0 (00000000) at 16²: its stored bytes have changed (CRC-32)"
    ]


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


def test_another_programs_hdf5_file_keeps_its_whole_levels(tmp_path) -> None:
    images = smooth_images(3, 32)
    theirs = {side: level | 3 if side < 32 else level for side, level in mean_pyramid(images).items() if side > 4}
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for side, level in theirs.items():
            file[f"data{side}x{side}"] = level
        file["data8x8"][1] = 255 - file["data8x8"][1]
    done = repair(tmp_path / "x.h5", ALL)
    assert isinstance(done, Repaired)
    source = open_source(tmp_path / "x.h5")
    np.testing.assert_array_equal(source.read(range(3), 16), theirs[16])
    np.testing.assert_array_equal(source.read([0, 2], 8), theirs[8][[0, 2]])
    np.testing.assert_array_equal(source.read([1], 8), mean_pyramid(images)[8][[1]])
    assert verify(tmp_path / "x.h5", ALL).faults == ()


def others_hdf5(path: Path, labels: np.ndarray, *, lost: bool) -> tuple[bytes, bytes]:
    """Write another program's HDF5 file with a damaged level, or a top beyond reading; return both files' bytes."""
    images = smooth_images(4, 32)
    with h5py.File(path, "w") as file:
        file.create_dataset("data32x32", data=images, chunks=(1, 3, 32, 32), compression="gzip")
        file["data16x16"] = mean_pyramid(images)[16]
        file["data16x16"][1] = 255 - file["data16x16"][1]
        place = file["data32x32"].id.get_chunk_info(2).byte_offset
    if lost:
        with path.open("r+b") as raw:
            raw.seek(place + 20)
            raw.write(bytes(50))
    beside = path.with_name(f"{path.stem}-labels.npy")
    np.save(beside, labels)
    return path.read_bytes(), beside.read_bytes()


MULTI_HOT = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]], np.float32)


@pytest.mark.parametrize("labels", [MULTI_HOT, MULTI_HOT[:3], np.array([3, 1, 0, 1]), np.eye(9)[[3, 1, 0, 1]]])
def test_labels_of_other_people_are_never_touched(tmp_path, labels: np.ndarray) -> None:
    path, beside = tmp_path / "x.h5", tmp_path / "x-labels.npy"
    _, before = others_hdf5(path, labels, lost=False)
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert not done.labels_lost
    assert beside.read_bytes() == before
    assert verify(path, ALL).faults == ()
    # Nor where a later repair of what is a store of ours by now would drop an image.
    with h5py.File(path, "a") as file:
        file["data32x32"][2, 0, 0, 0] ^= 1
    with pytest.raises(OutputError, match=r"1 images of .* cannot be saved; its labels would no longer fit"):
        repair(path, ALL)
    assert beside.read_bytes() == before
    # Nor before.
    both = others_hdf5(path, labels, lost=True)
    with pytest.raises(OutputError, match="no longer fit") as caught:
        repair(path, ALL)
    assert "Move x-labels.npy away" in caught.value.hint
    assert (path.read_bytes(), beside.read_bytes()) == both
    beside.rename(tmp_path / "mine.npy")
    assert repair(path, ALL).dropped.keys() == {2}


@pytest.mark.parametrize("content", [b"no array", np.lib.format.magic(1, 0) + b"\x10\0junk"])
def test_a_file_of_labels_that_cannot_be_read_is_left_alone(tmp_path, content: bytes) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["data32x32"] = IMAGES
    ours = store(tmp_path, "a.h5")
    for one in (path, ours):
        beside, before = one.with_name(f"{one.stem}-labels.npy"), one.read_bytes()
        beside.write_bytes(content)
        assert verify(one, ALL).faults
        with pytest.raises(InputError, match="is not what pgtools wrote, and is not repaired"):
            repair(one, ALL)
        assert (beside.read_bytes(), one.read_bytes()) == (content, before)


def test_labels_beside_a_store_of_ours_stand_in_for_its_damaged_column(tmp_path) -> None:
    path = store(tmp_path, "a.h5")
    with h5py.File(path, "a") as file:
        del file["labels"]
        file["data32x32"][1, 0, 0, 0] ^= 1
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert not done.labels_lost
    check_repaired(path, {1})
    assert np.load(tmp_path / "a-labels.npy").argmax(axis=1).tolist() == [LABELS[i] for i in (0, 2, 3, 4)]


def test_labels_beside_a_store_of_ours_that_differ_are_not_overwritten(tmp_path) -> None:
    path = store(tmp_path, "a.h5")
    np.save(tmp_path / "a-labels.npy", np.roll(LABELS, 1))
    with pytest.raises(InputError, match="has other labels"):
        repair(path, ALL)
    assert np.load(tmp_path / "a-labels.npy").tolist() == np.roll(LABELS, 1).tolist()


def test_the_labels_of_a_store_that_is_replaced_go_with_it(tmp_path) -> None:
    store(tmp_path, "a.h5")
    assert (tmp_path / "a-labels.npy").exists()
    written(tmp_path, IMAGES, "a.h5")
    assert not (tmp_path / "a-labels.npy").exists()


def test_what_has_changed_in_a_record_stays_as_it_is_and_is_named(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")

    def change(transaction) -> None:
        damage.edit_record(transaction, 1, name="X.png")
        damage.edit_record(transaction, 3, attributes={"score": 9.0})
        damage.flip_bit(transaction, b"pgtools-labels", 0)

    edit_lmdb(path, change)
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert not done.dropped
    assert done.found.damaged == {0, 1, 3}
    source = open_source(path)
    assert [record.name for record in source.records(range(COUNT))] == ["0.png", "X.png", "2.png", "3.png", "4.png"]
    assert source.records([3])[0].attributes == {"score": 9.0}
    assert source.labels.tolist() == [1, *LABELS[1:]]
    np.testing.assert_array_equal(source.read(range(COUNT)), IMAGES)
    assert verify(path, ALL).faults == ()


def test_nobody_else_writes_the_store_from_the_first_look_on(tmp_path, monkeypatch) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, LMDB["no lower"][0])

    def meanwhile(examined, settings) -> Report:
        report = check(examined, settings)
        with pytest.raises(OutputError, match="in use by another pgtools"):
            written(tmp_path, noise_images(9, 32, seed=1), "a.lmdb")
        return report

    monkeypatch.setattr("pgtools.stores.jobs.repair.check", meanwhile)
    assert isinstance(repair(path, ALL), Repaired)
    check_repaired(path, set())


def test_a_path_that_is_not_there_makes_no_folder(tmp_path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        repair(tmp_path / "new" / "a.lmdb", ALL)
    assert not list(tmp_path.iterdir())


def test_images_keep_the_size_that_most_of_them_have(tmp_path) -> None:
    """The first tops are gone: the rest is not made smaller."""
    images = noise_images(20, 32)
    others_lmdb(tmp_path / "x", images, (32, 16))
    written(tmp_path, images, "a.lmdb")
    for path in (tmp_path / "x", tmp_path / "a.lmdb"):
        edit_lmdb(path, lambda t: [t.delete(b"32-%05d" % index) for index in range(17)])
        done = repair(path, ALL)
        assert isinstance(done, Repaired)
        assert done.dropped.keys() == set(range(17))
        np.testing.assert_array_equal(open_source(path).read(range(3)), images[17:])


def test_a_leaf_page_with_the_first_tops(tmp_path) -> None:
    """A page of noise where the tops of the first images were listed: only these are dropped, and each is named."""
    images = noise_images(200, 32)
    path = tmp_path / "x"
    others_lmdb(path, images, (32, 16))
    at, _ = damage.leaf_of(path, b"32-00000")
    damage.overwrite(path, at, np.random.default_rng(0).bytes(4096))
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert 0 < len(done.dropped) < 150
    kept = [index for index in range(200) if index not in done.dropped]
    source = open_source(path)
    assert source.resolution == 32
    np.testing.assert_array_equal(source.read(range(len(kept))), images[kept])
    assert verify(path, ALL).faults == ()


def test_images_at_the_end_that_nobody_has_are_named(tmp_path) -> None:
    path = tmp_path / "x"
    others_lmdb(path, noise_images(6, 32), (32,))
    edit_lmdb(path, lambda t: (t.delete(b"32-00005"), t.put(b"length", b"7"), t.put(b"32-00001", b"")))
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert done.dropped.keys() == {1, 5, 6}
    assert len(open_source(path)) == 4


@pytest.mark.parametrize("format", [None, "lmdb"])
@pytest.mark.parametrize("new", [b"lengtX", b"lengti", b"0ength", b"mength"])
def test_a_damaged_count_is_made_anew(tmp_path, new: bytes, format: str | None) -> None:
    path = store(tmp_path, "a.lmdb")
    _, at = damage.leaf_of(path, b"length")
    damage.overwrite(path, at, new)
    done = repair(path, VerifySettings(repair=True, format=format))
    assert isinstance(done, Repaired)
    assert "length" in str(done.found.faults[0])
    check_repaired(path, set())
    one_bit = bin(new[0] ^ ord("l")).count("1") + bin(new[-1] ^ ord("h")).count("1") == 1
    assert done.keys == ((repr(new.decode()),) if one_bit else ())


def test_a_key_out_of_order_hides_no_image(tmp_path) -> None:
    """A search by halving that meets the damaged key goes the wrong way and finds none of its neighbours."""
    images = noise_images(40, 32)
    (path,) = written(tmp_path, images, "a.lmdb", labels=[0, 1] * 20)
    _, at = damage.leaf_of(path, b"32-00020")
    damage.overwrite(path, at, b"s2-00020")
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert done.dropped == {20: "20.png"}
    kept = [index for index in range(40) if index != 20]
    np.testing.assert_array_equal(open_source(path).read(range(39)), images[kept])


def test_a_damaged_key_of_a_branch_hides_no_image(tmp_path) -> None:
    images = noise_images(60, 64)
    (path,) = written(tmp_path, images, "a.lmdb", labels=[0, 1] * 30)
    data = (path / "data.mdb").read_bytes()
    branches = [at for at in range(8192, len(data), 4096) if data[at + 10 : at + 12] == b"\x01\x00"]
    for at in branches:
        while (at := data.find(b"64-000", at + 1, at + 4096)) > 0:
            damage.overwrite(path, at, b"63-000")
    assert branches
    done = repair(path, ALL)
    assert isinstance(done, Repaired)
    assert not done.dropped
    np.testing.assert_array_equal(open_source(path).read(range(60)), images)


def test_few_keys_of_another_program_are_carried_and_many_are_not_dropped(tmp_path) -> None:
    path, hdf5 = store(tmp_path, "a.lmdb"), store(tmp_path, "b.h5")
    edit_lmdb(path, lambda t: (t.delete(b"8-00001"), t.put(b"captions", b"my work")))
    assert isinstance(repair(path, ALL), Repaired)
    check_repaired(path, set())
    assert stored(path, b"captions") == b"my work"
    edit_lmdb(path, lambda t: (t.delete(b"8-00001"), t.put(b"captions", b"my work" * 600)))
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


def test_levels_that_pgtools_does_not_keep_are_not_renumbered(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, lambda t: (t.delete(b"32-00001"), t.put(b"2-00003", b"four pixels")))
    with pytest.raises(OutputError, match=r"'2-00003'.*not replaced"):
        repair(path, ALL)


def test_a_salvage_takes_the_newest_copy_of_a_key(tmp_path) -> None:
    """A transaction writes its pages anew and leaves the old ones, with the old values, where they are."""
    (tmp_path / "x").mkdir()
    with lmdb.open(str(tmp_path / "x"), lock=False) as environment:
        for value in (b"old", b"new"):
            with environment.begin(write=True) as transaction:
                transaction.put(b"a", value)
    data = (tmp_path / "x" / "data.mdb").read_bytes()
    assert b"old" in data
    pages = ScannedPages(tmp_path / "x" / "data.mdb", where="x")
    assert pages.get(b"a") == b"new"


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


def test_levels_of_another_program_are_made_anew_in_their_own_codec(tmp_path) -> None:
    others_lmdb(tmp_path / "x", noise_images(3, 32), (32, 16))
    edit_lmdb(tmp_path / "x", lambda t: t.delete(b"16-00001"))
    assert isinstance(repair(tmp_path / "x", ALL), Repaired)
    assert open_source(tmp_path / "x").header.codecs == {32: "png", 16: "png", 8: "raw", 4: "raw"}


def test_images_that_only_a_lower_level_names_are_dropped_by_name(tmp_path) -> None:
    """Without a count and without their tops; a page of both was lost."""
    path = tmp_path / "x"
    lost = [b"length", *(b"16-%05d" % index for index in range(26, 30))]
    others_lmdb(path, noise_images(30, 16), (16, 8), without=lost)
    done = repair(path, VerifySettings(repair=True, format="lmdb"))
    assert isinstance(done, Repaired)
    assert done.dropped.keys() == {26, 27, 28, 29}


def test_where_nothing_names_the_lost_images_the_sum_of_the_keys_is_told(tmp_path) -> None:
    path, images = tmp_path / "x", noise_images(30, 16)
    others_lmdb(path, images, (16,), without=[b"length"])
    at, _ = damage.leaf_of(path, b"16-00029")
    damage.overwrite(path, at, np.random.default_rng(0).bytes(4096))
    told = "\n".join(map(str, verify(path, VerifySettings(format="lmdb")).faults))
    assert re.search(r"its tree counts 30 keys, of which \d+ are found; nothing tells how many images there were", told)


def test_a_store_whose_largest_level_is_lost_is_not_made_a_smaller_one(tmp_path) -> None:
    """Records tell of the top even where every page that named it is cut off, and a smaller store is no repair."""
    path = store(tmp_path, "a.lmdb")
    with lmdb.open(str(path), lock=False) as environment, environment.begin(write=True) as transaction:
        for index in range(len(IMAGES)):
            transaction.delete(layout.lmdb_image_key(32, index))
        transaction.delete(layout.LMDB_HEADER)
    before = (path / "data.mdb").read_bytes()
    with pytest.raises(InputError, match="no image can be saved; nothing was changed"):
        repair(path, ALL)
    assert (path / "data.mdb").read_bytes() == before


def test_a_store_that_lost_all_that_tells_of_it_is_not_guessed_at(tmp_path) -> None:
    (path,) = written(tmp_path, noise_images(9, 64), "a.lmdb")
    file = path / "data.mdb"
    whole = file.read_bytes()
    told = []
    for share in (0.05, 0.2, 0.4):
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError) as caught:
            repair(path, ALL)
        told.append(caught.value.message)
        assert file.read_bytes() == whole[: int(share * len(whole))]
    assert any("nobody can tell which level was its top" in message for message in told), told
