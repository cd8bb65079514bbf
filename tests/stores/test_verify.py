"""Every kind of damage is found and named; what is whole has no faults."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import lmdb
import numpy as np
import pytest
from PIL import Image

from pgtools.errors import InputError, UsageError
from pgtools.stores.jobs.convert import convert
from pgtools.stores.jobs.settings import ConvertSettings, VerifySettings
from pgtools.stores.jobs.verify import Report, verify
from pgtools.stores.opening import FORMATS
from tests.pictures import noise_images, smooth_images
from tests.stores import damage
from tests.stores.damage import ATTRIBUTES, COUNT, HDF5, LABELS, LMDB, SIDE, edit_lmdb
from tests.stores.sets import image_folder, written

ALL = VerifySettings()


def texts(report: Report) -> str:
    return "\n".join(map(str, report.faults))


def store(folder: Path, name: str, **plan) -> Path:
    images = noise_images(COUNT, SIDE)
    return written(folder, images, name, labels=LABELS, attributes=ATTRIBUTES, **plan)[0]


@pytest.mark.parametrize("codec", ["auto", "raw", "png", "webp", "jpeg"])
def test_a_whole_store_has_no_faults(tmp_path, codec: str) -> None:
    for path in written(tmp_path, smooth_images(5, 64), "a.lmdb", "a.h5", labels=LABELS, codec=codec):
        for settings in (ALL, VerifySettings(quick=True), VerifySettings(level=8)):
            report = verify(path, settings)
            assert (report.images, report.faults) == (5, ())


def test_a_large_store_goes_through_webp(tmp_path) -> None:
    path = written(tmp_path, smooth_images(2, 512), "a.lmdb")[0]
    assert verify(path, ALL).faults == ()
    edit_lmdb(path, lambda t: damage.flip(t, b"512-00001", 900))
    report = verify(path, ALL)
    assert "image 1 (1.png) at 512²" in texts(report)
    assert report.lost == {1: "1.png"}
    assert "512²: its stored bytes have changed" in texts(verify(path, VerifySettings(quick=True)))


@pytest.mark.parametrize("kind", LMDB)
def test_damage_of_an_lmdb_is_found(tmp_path, kind: str) -> None:
    change, text, lost = LMDB[kind]
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, change)
    report = verify(path, ALL)
    assert text in texts(report)
    assert report.lost.keys() == lost
    assert all("\n" not in str(fault) for fault in report.faults)


@pytest.mark.parametrize("kind", HDF5)
def test_damage_of_an_hdf5_file_is_found(tmp_path, kind: str) -> None:
    change, text, lost = HDF5[kind]
    path = store(tmp_path, "a.h5")
    with h5py.File(path, "a") as file:
        change(file)
    report = verify(path, ALL)
    assert text in texts(report)
    assert report.lost.keys() == lost


@pytest.mark.parametrize("kind", ["top", "lower", "no top", "no lower", "no record", "bad record", "swapped whole"])
def test_the_quick_check_finds_what_checksums_tell(tmp_path, kind: str) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, LMDB[kind][0])
    assert verify(path, VerifySettings(quick=True)).faults


def test_one_fault_a_place_and_all_of_them(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    for kind in ("top", "no top", "no lower", "bad record"):
        edit_lmdb(path, LMDB[kind][0])
    report = verify(path, ALL)
    assert [(fault.image, fault.level) for fault in report.faults] == [(0, 32), (2, 32), (3, None), (4, 4)]


@pytest.mark.parametrize("name", ["a.lmdb", "a.h5"])
def test_a_label_of_no_class_is_told_by_its_record(tmp_path, name: str) -> None:
    """One bit must not cost all labels: the record's checksum is over its image's label."""
    path = store(tmp_path, name)
    if name == "a.lmdb":
        edit_lmdb(path, lambda t: damage.flip_bit(t, b"pgtools-labels", 8 + 5, 6))
    else:
        (tmp_path / "a-labels.npy").unlink()
        with h5py.File(path, "a") as file:
            file["labels"][1, 0] = 7
    report = verify(path, ALL)
    number = 2 + (1 << 46) if name == "a.lmdb" else 7
    assert texts(report) == f"image 1 (1.png): its label is {number}; expected 0 to 2; by its record it was 2"


@pytest.mark.parametrize("labels", [b"", b"\x00" * 8 * (COUNT - 1), b"\xff" * 8 * COUNT, None])
def test_damaged_labels_are_a_fault_and_no_stop(tmp_path, labels: bytes | None) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, lambda t: t.delete(b"pgtools-labels") if labels is None else t.put(b"pgtools-labels", labels))
    report = verify(path, ALL)
    assert "label" in texts(report)
    assert report.images == COUNT
    assert not report.lost


def test_labels_beside_an_hdf5_file_that_disagree(tmp_path) -> None:
    path = store(tmp_path, "a.h5")
    np.save(tmp_path / "a-labels.npy", np.roll(LABELS, 1))
    assert texts(verify(path, ALL)) == "a-labels.npy beside it has other labels"


def multi_hot(path: Path, count: int) -> Path:
    """Write an HDF5 file of another program whose labels are forty attributes an image; return its labels."""
    with h5py.File(path, "w") as file:
        file["data32x32"] = noise_images(count, 32)
    labels = path.with_name(f"{path.stem}-labels.npy")
    np.save(labels, np.random.default_rng(0).integers(0, 2, (count, 40)).astype(np.float32))
    return labels


def test_labels_of_other_people_that_are_not_one_class_an_image_are_no_fault(tmp_path, pgtools) -> None:
    multi_hot(tmp_path / "x.h5", 5)
    report = verify(tmp_path / "x.h5", ALL)
    assert (report.faults, report.lost) == ((), {})
    assert report.notes == ("labels in x-labels.npy are not one class an image; kept as they are",)
    outcome = pgtools("store", "verify", tmp_path / "x.h5")
    assert (outcome.code, "note: labels in x-labels.npy" in outcome.out) == (0, True)


def test_labels_of_other_people_that_are_too_few_are_a_fault(tmp_path) -> None:
    np.save(multi_hot(tmp_path / "x.h5", 5), np.zeros((4, 3)))
    assert "x-labels.npy has shape (4, 3); expected (5,)" in texts(verify(tmp_path / "x.h5", ALL))


CHANGED = "image 1 (1.png): its record or its label has changed (CRC-32)"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: damage.flip_bit(t, b"pgtools-labels", 8, 1),
        lambda t: damage.edit_record(t, 1, attributes={"score": 9.0, "split": "train"}),
        lambda t: damage.edit_record(t, 1, attributes={}),
    ],
    ids=["label", "score", "attributes"],
)
def test_a_changed_label_or_score_is_found(tmp_path, change) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, change)
    for quick in (False, True):
        assert texts(verify(path, VerifySettings(quick=quick))) == CHANGED


def test_a_changed_name_is_found(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, lambda t: damage.edit_record(t, 1, name="X.png"))
    assert texts(verify(path, ALL)) == CHANGED.replace("1.png", "X.png")


@pytest.mark.parametrize("column", ["labels", "attributes"])
def test_a_changed_label_or_score_of_an_hdf5_file_is_found(tmp_path, column: str) -> None:
    path = store(tmp_path, "a.h5")
    with h5py.File(path, "a") as file:
        file[column][1, 0] = 1 if column == "labels" else b'{"score": 9.0}'
    (tmp_path / "a-labels.npy").unlink()
    assert texts(verify(path, ALL)) == CHANGED


def test_records_are_not_held_against_labels_that_cannot_be_read(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, lambda t: t.delete(b"pgtools-labels"))
    assert texts(verify(path, ALL)) == "its labels are missing"


def test_a_top_encoded_anew_has_changed_but_not_its_pixels(tmp_path) -> None:
    """The bytes are not those that were stored, so their checksum differs; the image is whole."""
    path = store(tmp_path, "a.lmdb", codec="png")
    data = io.BytesIO()
    Image.fromarray(noise_images(COUNT, SIDE)[2].transpose(1, 2, 0)).save(data, "PNG", compress_level=0)
    edit_lmdb(path, lambda t: t.put(b"32-00002", data.getvalue()))
    report = verify(path, ALL)
    assert texts(report) == "image 2 (2.png) at 32²: its stored bytes have changed (CRC-32), but not its pixels"
    assert not report.lost


@pytest.mark.parametrize("codec", ["jpeg", "png"])
def test_bytes_that_are_what_was_stored_are_not_lost_for_their_hash(tmp_path, codec: str) -> None:
    """Another decoder gives other pixels, or the hash itself has changed: the CRC-32 tells that the bytes are whole."""
    path = store(tmp_path, "a.lmdb", codec=codec)
    edit_lmdb(path, lambda t: damage.edit_record(t, 2, sha256="7" * 64))
    report = verify(path, ALL)
    assert not report.lost
    assert "image 2 (2.png) at 32²: its record's SHA-256 is of other pixels" in texts(report)
    assert "fingerprint" not in texts(report)
    # Without a check of its record, as older stores have none.
    edit_lmdb(path, lambda t: damage.edit_record(t, 2, check=None))
    assert not verify(path, ALL).lost


def test_without_a_checksum_the_hash_alone_tells(tmp_path) -> None:
    """As in version 1."""
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, lambda t: damage.edit_record(t, 2, sha256="7" * 64, crc32={}, check=None))
    assert verify(path, ALL).lost == {2: "2.png"}


def test_levels_are_those_of_all_images_and_not_of_the_first(tmp_path) -> None:
    damage.others_lmdb(tmp_path / "x", noise_images(20, 32), (32, 16))
    ours = written(tmp_path, noise_images(20, 32), "a.lmdb")[0]
    for path in (tmp_path / "x", ours):
        edit_lmdb(path, lambda t: [t.delete(b"32-%05d" % index) for index in range(17)])
        report = verify(path, ALL)
        assert report.lost.keys() == set(range(17))
        assert "image 16" in texts(report)
        assert "at 32²: is missing" in texts(report)


@pytest.mark.parametrize("kind", ["told", "hidden"])
def test_images_are_counted_by_every_key(tmp_path, kind: str) -> None:
    """Those that the count tells and nobody has are missing; those beyond it are looked at, behind a gap too."""
    path = tmp_path / "x"
    damage.others_lmdb(path, noise_images(6, 32), (32, 16))
    if kind == "told":
        edit_lmdb(path, lambda t: [t.delete(b"%d-%05d" % (side, i)) for side in (32, 16) for i in (4, 5)])
        report = verify(path, ALL)
        assert texts(report) == "image 4: nothing is stored of it\nimage 5: nothing is stored of it"
        assert report.lost.keys() == {4, 5}
    else:
        edit_lmdb(path, lambda t: (t.put(b"length", b"2"), t.delete(b"32-00003")))
        report = verify(path, ALL)
        assert report.images == 6
        assert report.lost.keys() == {3}


def test_one_damaged_key_does_not_make_a_hundred_thousand_images(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, lambda t: t.put(b"32-90003", t.get(b"32-00003")))
    assert verify(path, ALL).images == COUNT


@pytest.mark.parametrize("format", [None, "lmdb"])
def test_a_store_without_its_count_is_still_a_store(tmp_path, format: str | None) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, lambda t: t.delete(b"length"))
    report = verify(path, VerifySettings(format=format))
    assert "without the key 'length'" in texts(report)
    assert (report.images, report.lost) == (COUNT, {})


def test_a_key_out_of_order_is_a_fault(tmp_path) -> None:
    path = store(tmp_path, "a.lmdb")
    _, at = damage.leaf_of(path, b"length")
    damage.overwrite(path, at, b"0ength")
    assert "keys are out of order" in texts(verify(path, VerifySettings(format="lmdb")))


def test_a_truncated_file(tmp_path) -> None:
    path = written(tmp_path, noise_images(20, 64), "a.lmdb")[0] / "data.mdb"
    whole = path.read_bytes()
    found = 0
    for cut in range(4096, len(whole), 16 * 4096):
        path.write_bytes(whole[:-cut])
        try:
            found += bool(verify(path.parent, ALL).faults)
        except InputError as error:
            found += "\n" not in error.message
    assert found == len(range(4096, len(whole), 16 * 4096))
    hdf5 = store(tmp_path, "a.h5")
    hdf5.write_bytes(hdf5.read_bytes()[:-6000])
    with pytest.raises(InputError, match="not a readable HDF5 file"):
        verify(hdf5, ALL)


def test_other_peoples_stores(tmp_path) -> None:
    """Levels by another filter are theirs to choose; another picture is a fault."""
    images = smooth_images(3, 32)
    with lmdb.open(str(tmp_path / "x"), lock=False) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"length", b"3")
        for i, image in enumerate(images):
            for side in (32, 16, 8):
                data = io.BytesIO()
                resized = Image.fromarray(image.transpose(1, 2, 0)).resize((side, side), Image.Resampling.LANCZOS)
                resized.save(data, "JPEG", quality=95)
                transaction.put(f"{side}-{i:05d}".encode(), data.getvalue())
    assert verify(tmp_path / "x", ALL).faults == ()
    with pytest.raises(UsageError, match="no checksums"):
        verify(tmp_path / "x", VerifySettings(quick=True))
    edit_lmdb(tmp_path / "x", lambda t: t.put(b"16-00001", t.get(b"16-00002")))
    assert texts(verify(tmp_path / "x", ALL)) == "image 1 at 16²: shows another picture than the top"


def test_a_folder_with_a_damaged_file(tmp_path) -> None:
    folder = image_folder(tmp_path / "f", noise_images(4, 16))
    assert verify(folder, ALL).faults == ()
    file = folder / "0002.png"
    file.write_bytes(file.read_bytes()[:200])
    report = verify(folder, ALL)
    assert [fault.image for fault in report.faults] == [2]
    assert "0002.png" in texts(report)
    assert report.lost == {2: "0002.png"}


def test_a_level_that_is_not_stored(tmp_path) -> None:
    with pytest.raises(UsageError, match="does not store the level 64; it stores 32, 16, 8, 4"):
        verify(store(tmp_path, "a.lmdb"), VerifySettings(level=64))


@pytest.mark.parametrize(("codec", "step", "fault"), [("jpeg", 2, False), ("jpeg", 3, True), ("png", 1, True)])
def test_a_jpeg_top_allows_what_decoders_differ_by(tmp_path, codec: str, step: int, fault: bool) -> None:
    """Another decoder's rounding is no damage; more than that is."""
    path = written(tmp_path, np.full((1, 3, 16, 16), 99, np.uint8), "a.lmdb", codec=codec)[0]

    def change(transaction) -> None:
        pixels = np.array(Image.open(io.BytesIO(transaction.get(b"8-00000"))))
        pixels[3, 4, 1] += step
        damage.put_image(transaction, 8, 0, b"P6\n8 8\n255\n" + pixels.tobytes())

    edit_lmdb(path, change)
    assert bool(verify(path, ALL).faults) is fault


@pytest.mark.parametrize("format", [known for known in FORMATS if known.writer], ids=lambda known: known.name)
def test_every_format_that_is_written_verifies_and_tells_damage(tmp_path, format) -> None:
    suffix = format.suffixes[0] if format.suffixes else ""
    (begun,) = written(tmp_path, noise_images(4, 32), "begun.h5", labels=[0, 1, 1, 2])
    path = tmp_path / f"other{suffix}"
    convert([begun], [path], ConvertSettings(to=format.name))
    settings = VerifySettings(format=format.name)
    assert (verify(path, settings).images, texts(verify(path, settings))) == (4, "")
    files = [file for file in [path, *path.rglob("*")] if file.is_file() and file.stat().st_size > 12_000]
    for file in files or [file for file in path.rglob("*") if file.suffix == ".png"][:1]:
        data = bytearray(file.read_bytes())
        place = data.find(noise_images(4, 32)[2, 0, 0, :8].tobytes())  # raw pixels, where a format stores them
        place = place + 3 if place >= 0 else len(data) // 2
        data[place : place + 8] = bytes(8)
        file.write_bytes(data)
    try:
        assert verify(path, settings).faults
    except InputError as error:
        assert "\n" not in error.message
