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


@pytest.mark.parametrize("labels", [b"", b"\x00" * 8 * (COUNT - 1), b"\xff" * 8 * COUNT, None])
def test_damaged_labels_are_a_fault_and_no_stop(tmp_path, labels: bytes | None) -> None:
    path = store(tmp_path, "a.lmdb")
    edit_lmdb(path, lambda t: t.delete(b"pgtools-labels") if labels is None else t.put(b"pgtools-labels", labels))
    report = verify(path, ALL)
    assert "labels" in texts(report)
    assert report.images == COUNT
    assert not report.lost


def test_labels_beside_an_hdf5_file_that_disagree(tmp_path) -> None:
    path = store(tmp_path, "a.h5")
    np.save(tmp_path / "a-labels.npy", np.roll(LABELS, 1))
    assert texts(verify(path, ALL)) == "a-labels.npy beside it has other labels"


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
