"""The build as a job: bad photos, best K, resuming, kills."""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgtools.celebahq import process
from pgtools.celebahq.build import build
from pgtools.celebahq.settings import BuildSettings
from pgtools.celebahq.worker import crop_path
from pgtools.demo.faces import write_faces
from pgtools.errors import InputError, MissingModelError, OutputError, UsageError
from pgtools.imaging.photo import read_photo
from pgtools.stores.opening import open_source
from tests.pictures import astronaut, jpeg

# The job is the same without networks, and faster; tests/celebahq/test_restore.py has them.
PLAIN = {"restore": "none", "superres": "lanczos"}
PAPERS = ["a-build.json", "a-manifest.csv", "a-manifest.parquet"]
SMALL = {"resolution": 32, "workers": 1, **PLAIN}


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faces") / "celeba"
    write_faces(folder, count=24, seed=3, layout="aligned")
    return folder


@pytest.fixture(autouse=True)
def chunks_of_eight(monkeypatch) -> None:
    """So that it is known how far a build has come when it is interrupted."""
    monkeypatch.setattr("pgtools.celebahq.build.chunk_size", lambda job, photos: 8)


def manifest(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def bytes_of(store: Path) -> bytes:
    return (store / "data.mdb").read_bytes()


def test_faces_become_both_stores_and_a_manifest(faces, tmp_path) -> None:
    result = build(faces, [tmp_path / "a.lmdb", tmp_path / "a.h5"], BuildSettings(**SMALL))
    assert (result.photos, result.kept, result.skipped) == (24, 24, {})
    one, two = open_source(tmp_path / "a.lmdb"), open_source(tmp_path / "a.h5")
    assert one.levels == (32, 16, 8, 4)
    np.testing.assert_array_equal(one.read(range(24), 8), two.read(range(24), 8))
    rows = manifest(result.manifest)
    assert [row["index"] for row in rows] == [str(i) for i in range(24)]
    assert sorted(int(row["rank"]) for row in rows) == list(range(1, 25))
    assert sorted(p.name for p in tmp_path.iterdir()) == [*PAPERS, "a.h5", "a.lmdb"]


def test_workers_change_nothing(faces, tmp_path) -> None:
    for workers in (1, 2):
        build(faces, [tmp_path / f"{workers}.lmdb"], BuildSettings(resolution=32, workers=workers, keep=10, **PLAIN))
    assert bytes_of(tmp_path / "1.lmdb") == bytes_of(tmp_path / "2.lmdb")
    assert (tmp_path / "1-manifest.csv").read_text() == (tmp_path / "2-manifest.csv").read_text()


def test_the_best_are_kept(faces, tmp_path) -> None:
    result = build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL, keep=5))
    rows = manifest(result.manifest)
    kept = {row["file"] for row in rows if row["kept"] == "yes"}
    assert kept == {row["file"] for row in sorted(rows, key=lambda row: -float(row["score"]))[:5]}
    assert {row["reason"] for row in rows if row["kept"] == "no"} == {"below the best K"}
    assert len(open_source(tmp_path / "a.lmdb")) == 5


def test_bad_photos_are_skipped_and_counted(faces, tmp_path) -> None:
    folder = tmp_path / "celeba"
    shutil.copytree(faces, folder)
    images = folder / "img_align_celeba"
    (images / "000003.jpg").write_bytes((images / "000003.jpg").read_bytes()[:900])
    (images / "000004.jpg").write_bytes(b"not an image")
    (images / "999999.jpg").write_bytes(jpeg(astronaut()))
    result = build(folder, [tmp_path / "a.lmdb"], BuildSettings(**SMALL, landmarks="celeba"))
    assert result.kept == 22
    assert sorted(result.skipped.values()) == [1, 1, 1]
    reasons = {row["file"]: row["reason"] for row in manifest(result.manifest) if row["kept"] == "no"}
    assert reasons["000003.jpg"].startswith("is damaged")
    assert reasons["000004.jpg"].startswith("is not an image")
    assert reasons["999999.jpg"] == "the photo has no landmarks"


def test_nothing_but_bad_photos_is_an_error(tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(b"")
    (tmp_path / "list_landmarks_celeba.txt").write_text("0\nx\n")
    with pytest.raises(InputError, match="None of the 1 photos"):
        (tmp_path / "photos").rename(tmp_path / "img_celeba")
        build(tmp_path, [tmp_path / "a.lmdb"], BuildSettings(**SMALL, landmarks="celeba"))
    assert not (tmp_path / "a.lmdb").exists()


def test_without_annotation_and_weights_the_error_says_how_to_get_them(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(jpeg(astronaut()))
    with pytest.raises(MissingModelError) as caught:
        build(tmp_path / "photos", [tmp_path / "a.lmdb"], BuildSettings(**SMALL))
    assert "detection_mobilenet0.25_Final.pth" in caught.value.hint
    with pytest.raises(InputError, match="no CelebA landmark file"):
        build(tmp_path / "photos", [tmp_path / "a.lmdb"], BuildSettings(**SMALL, landmarks="celeba"))


def test_an_output_that_exists_is_refused_before_any_work(faces, tmp_path) -> None:
    (tmp_path / "a.lmdb").mkdir()
    with pytest.raises(OutputError, match="already exists"):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))


class Stop(BaseException):
    """Stands for a Ctrl-C at a chosen moment."""


def interrupted_build(faces: Path, out: Path, settings: BuildSettings, monkeypatch, *, after: int) -> None:
    """Run a build that is broken off after some chunks have entered the journal."""
    from pgtools.runtime.journal import Journal

    record, calls = Journal.record, []

    def record_then_stop(self, outcomes) -> None:
        record(self, outcomes)
        calls.append(1)
        if len(calls) == after:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "record", record_then_stop)
        with pytest.raises(Stop):
            build(faces, [out], settings)


@pytest.mark.parametrize("keep", [None, 5])
def test_an_interrupted_build_goes_on(faces, tmp_path, monkeypatch, keep: int | None) -> None:
    settings = BuildSettings(**SMALL, keep=keep)
    build(faces, [tmp_path / "whole.lmdb"], settings)
    interrupted_build(faces, tmp_path / "a.lmdb", settings, monkeypatch, after=2)
    assert not (tmp_path / "a.lmdb").exists()
    result = build(faces, [tmp_path / "a.lmdb"], settings)
    assert result.resumed == 16
    assert bytes_of(tmp_path / "a.lmdb") == bytes_of(tmp_path / "whole.lmdb")
    assert not (tmp_path / "a.lmdb.build").exists()


def test_other_settings_do_not_mix(faces, tmp_path, monkeypatch) -> None:
    interrupted_build(faces, tmp_path / "a.lmdb", BuildSettings(**SMALL), monkeypatch, after=1)
    with pytest.raises(InputError, match="resolution was 32, is 64"):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**{**SMALL, "resolution": 64}))


def test_a_photo_that_changed_is_done_again(faces, tmp_path, monkeypatch) -> None:
    folder = tmp_path / "celeba"
    shutil.copytree(faces, folder)
    interrupted_build(folder, tmp_path / "a.lmdb", BuildSettings(**SMALL), monkeypatch, after=2)
    photo = folder / "img_align_celeba/000002.jpg"
    photo.write_bytes(jpeg(astronaut()))
    crop_path(tmp_path / "a.lmdb.build/crops", "000004.jpg").unlink()
    result = build(folder, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))
    build(folder, [tmp_path / "fresh.lmdb"], BuildSettings(**SMALL))
    assert result.resumed == 15
    assert bytes_of(tmp_path / "a.lmdb") == bytes_of(tmp_path / "fresh.lmdb")


def test_two_builds_of_one_output_exclude_each_other(faces, tmp_path) -> None:
    from pgtools.runtime.files import folder_lock

    with folder_lock(tmp_path / "a.lmdb.build"), pytest.raises(OutputError, match="in use"):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))


def copied(faces: Path, folder: Path) -> Path:
    shutil.copytree(faces, folder)
    return folder


def test_photos_that_come_and_go_between_two_runs_are_not_mixed_up(faces, tmp_path, monkeypatch) -> None:
    folder = copied(faces, tmp_path / "celeba")
    images = folder / "img_align_celeba"
    (images / "000020.jpg").rename(tmp_path / "000020.jpg")
    interrupted_build(folder, tmp_path / "a.lmdb", BuildSettings(**SMALL), monkeypatch, after=2)
    (images / "000001.jpg").unlink()
    (tmp_path / "000020.jpg").rename(images / "000020.jpg")
    build(folder, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))
    build(folder, [tmp_path / "fresh.lmdb"], BuildSettings(**SMALL))
    assert bytes_of(tmp_path / "a.lmdb") == bytes_of(tmp_path / "fresh.lmdb")


def test_a_kept_crop_that_is_gone_is_made_again(faces, tmp_path, monkeypatch) -> None:
    """Once the resumed build counted such a photo twice, dropped another for it, and never ended."""
    settings = BuildSettings(**SMALL, keep=3)
    build(faces, [tmp_path / "whole.lmdb"], settings)
    interrupted_build(faces, tmp_path / "a.lmdb", settings, monkeypatch, after=3)
    # Stopped as the third chunk of eight came in: the best three of the first two, and this one.
    assert len(list((tmp_path / "a.lmdb.build/crops").iterdir())) == 3 + 8
    kept = [row["file"] for row in manifest(tmp_path / "whole-manifest.csv") if row["kept"] == "yes"]
    crop_path(tmp_path / "a.lmdb.build/crops", kept[1]).unlink()
    build(faces, [tmp_path / "a.lmdb"], settings)
    assert bytes_of(tmp_path / "a.lmdb") == bytes_of(tmp_path / "whole.lmdb")


def test_stopped_between_store_and_manifest_it_goes_on(faces, tmp_path, monkeypatch) -> None:
    def stop(*_: object, **words: object) -> None:
        raise Stop

    outputs = [tmp_path / "a.lmdb", tmp_path / "a.h5"]
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr("pgtools.celebahq.build.write_manifest", stop)
        build(faces, outputs, BuildSettings(**SMALL))
    assert build(faces, outputs, BuildSettings(**SMALL)).resumed == 24
    assert sorted(p.name for p in tmp_path.iterdir()) == [*PAPERS, "a.h5", "a.lmdb"]


def test_what_killed_builds_left_beside_the_output_goes(faces, tmp_path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name in PAPERS:
        (tmp_path / f".{name}.{dead.pid}.partial").write_text("half")
    (tmp_path / f".a.lmdb.build.{dead.pid}.partial").mkdir()
    build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))
    assert sorted(p.name for p in tmp_path.iterdir()) == [*PAPERS, "a.lmdb"]


def test_a_strangers_work_folder_and_late_files_stay(faces, tmp_path, monkeypatch) -> None:
    (tmp_path / "a.lmdb.build").mkdir()
    (tmp_path / "a.lmdb.build/thesis.txt").write_text("")
    with pytest.raises(OutputError, match="no interrupted build"):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))
    assert (tmp_path / "a.lmdb.build/thesis.txt").exists()

    def someone_writes(*_: object) -> None:
        (tmp_path / "b.h5").write_text("not ours")

    monkeypatch.setattr("pgtools.celebahq.build.check_space", someone_writes)
    with pytest.raises(OutputError, match="already exists"):
        build(faces, [tmp_path / "b.lmdb", tmp_path / "b.h5"], BuildSettings(**SMALL))
    assert (tmp_path / "b.h5").read_text() == "not ours"


def test_storing_again_replaces_only_what_it_began(faces, tmp_path, monkeypatch) -> None:
    def stop(*_: object, **words: object) -> None:
        raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr("pgtools.celebahq.build.write_manifest", stop)
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))
    (tmp_path / "other.h5").write_text("not ours")
    with pytest.raises(OutputError, match=r"other\.h5 already exists"):
        build(faces, [tmp_path / "a.lmdb", tmp_path / "other.h5"], BuildSettings(**SMALL))


def test_foreign_labels_are_not_taken_for_a_new_stores(faces, tmp_path) -> None:
    np.save(tmp_path / "a-labels.npy", np.zeros(7))
    with pytest.raises(OutputError, match="taken for the labels"):
        build(faces, [tmp_path / "a.h5"], BuildSettings(**SMALL))


def test_a_fault_that_passes_gets_a_second_try(faces, tmp_path, monkeypatch) -> None:
    finish, calls = process.finish, []

    def once_broken(*arguments, **words):
        calls.append(1)
        if len(calls) == 5:
            raise MemoryError("too much")
        return finish(*arguments, **words)

    monkeypatch.setattr(process, "finish", once_broken)
    assert build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL)).kept == 24
    assert len(calls) == 25


def test_what_is_not_ours_is_never_replaced(faces, tmp_path) -> None:
    folder = copied(faces, tmp_path / "photos.lmdb")
    (tmp_path / "folder.h5").mkdir()
    for out, message in (("photos.lmdb", "but no lmdb"), ("folder.h5", "is a folder")):
        with pytest.raises(OutputError, match=message):
            build(faces, [tmp_path / out], BuildSettings(**SMALL), overwrite=True)
    with pytest.raises(UsageError, match="lies in the folder of the photos"):
        build(folder, [folder / "img_align_celeba/a.lmdb"], BuildSettings(**SMALL))
    with pytest.raises(UsageError, match="named twice"):
        build(faces, [tmp_path / "a.lmdb", tmp_path / "a.lmdb"], BuildSettings(**SMALL))
    assert len(list(folder.rglob("*.jpg"))) == 24


def test_annotated_points_name_stored_pixels(faces, tmp_path) -> None:
    """An EXIF orientation turns a photo whose face is searched for, not one whose points are given."""
    folder = copied(faces, tmp_path / "celeba")
    photo = folder / "img_align_celeba/000001.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    segment = exif.tobytes()
    data = photo.read_bytes()
    photo.write_bytes(data[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:])
    assert read_photo(photo).shape == (178, 218, 3)
    for name, root in (("turned", folder), ("plain", faces)):
        build(root, [tmp_path / f"{name}.lmdb"], BuildSettings(**SMALL))
    assert bytes_of(tmp_path / "turned.lmdb") == bytes_of(tmp_path / "plain.lmdb")


def test_a_passing_fault_is_not_final(faces, tmp_path, monkeypatch) -> None:
    folder = copied(faces, tmp_path / "celeba")
    photo = folder / "img_align_celeba/000003.jpg"
    read_bytes = Path.read_bytes

    def flaky(path: Path) -> bytes:
        if path == photo:
            raise OSError(5, "Input/output error")
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", flaky)
        interrupted_build(folder, tmp_path / "a.lmdb", BuildSettings(**SMALL), monkeypatch, after=2)
    assert build(folder, [tmp_path / "a.lmdb"], BuildSettings(**SMALL)).kept == 24


def test_a_photo_that_breaks_a_step_is_skipped(faces, tmp_path, monkeypatch) -> None:
    def broken(*_: object, **words: object) -> None:
        raise MemoryError("too much")

    monkeypatch.setattr(process, "finish", broken)
    with pytest.raises(InputError, match="failed"):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))


def test_photos_missing_from_the_annotation_are_counted(faces, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path / "cache"))
    folder = copied(faces, tmp_path / "celeba")
    (folder / "img_align_celeba/new face.jpg").write_bytes(jpeg(astronaut()))
    with pytest.raises(MissingModelError, match="1 of 25 photos are not in") as caught:
        build(folder, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))
    assert "--landmarks celeba" in caught.value.hint


def test_a_name_that_is_no_utf8_is_a_name_like_any_other(faces, tmp_path) -> None:
    folder = copied(faces, tmp_path / "celeba")
    odd = os.fsencode(folder / "img_align_celeba") + b"/\xff.jpg"
    Path(os.fsdecode(odd)).write_bytes(jpeg(astronaut()))
    result = build(folder, [tmp_path / "a.lmdb"], BuildSettings(**SMALL, landmarks="celeba"))
    assert (result.kept, result.skipped) == (24, {"the photo has no landmarks": 1})
    assert "\\xff.jpg" in result.manifest.read_text("utf-8")


def test_killed_at_a_random_moment_and_started_again(faces, tmp_path) -> None:
    """SIGKILL up to five times, each at a random moment, then to the end: the same bytes, and nothing left over."""
    (tmp_path / "whole").mkdir()
    build(faces, [tmp_path / "whole/a.lmdb"], BuildSettings(resolution=256, keep=9, workers=1, **PLAIN))
    words = ["build-celebahq", str(faces), str(tmp_path / "a.lmdb"), "--resolution", "256", "--keep", "9"]
    words += ["--restore", "none", "--superres", "lanczos"]
    command = [sys.executable, "-m", "pgtools", *words, "--workers", "1"]
    moments = random.Random(os.environ.get("PGTOOLS_TEST_SEED"))
    killed = 0
    for _ in range(5):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (tmp_path / "a.lmdb.build/crops").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 1.0))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        if process.returncode == 0:
            break
    else:
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert killed >= 1
    assert bytes_of(tmp_path / "a.lmdb") == bytes_of(tmp_path / "whole/a.lmdb")
    assert (tmp_path / "a-manifest.csv").read_text() == (tmp_path / "whole/a-manifest.csv").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == [*PAPERS, "a-report.html", "a.lmdb", "whole"]


@pytest.mark.shared
def test_facexlib_finds_the_annotated_points(shared, tmp_path) -> None:
    """Within 3 pixels at a face of 100 (half the crop's side), as the annotation was made by the same detector."""
    weights = shared / "weights/detection_mobilenet0.25_Final.pth"
    (tmp_path / "img_celeba").mkdir()
    for name in sorted((shared / "data/celeba-real/img_celeba").iterdir())[::4]:
        shutil.copy(name, tmp_path / "img_celeba")
    shutil.copy(shared / "data/celeba-real/Anno/list_landmarks_celeba.txt", tmp_path)
    settings = BuildSettings(resolution=16, landmarks="facexlib", detector_weights=weights, **PLAIN)
    result = build(tmp_path, [tmp_path / "a.lmdb"], settings)
    annotated = build(tmp_path, [tmp_path / "b.lmdb"], BuildSettings(resolution=16, workers=1, **PLAIN))
    assert result.kept == annotated.kept == 8
    for found, given in zip(manifest(result.manifest), manifest(annotated.manifest), strict=True):
        points = [key for key in given if key.endswith(("_x", "_y")) and not key.startswith("quad")]
        distance = max(
            np.hypot(float(found[x]) - float(given[x]), float(found[y]) - float(given[y]))
            for x, y in zip(points[::2], points[1::2], strict=True)
        )
        face = (
            np.hypot(
                float(given["quad_tr_x"]) - float(given["quad_tl_x"]),
                float(given["quad_tr_y"]) - float(given["quad_tl_y"]),
            )
            / 2
        )
        assert distance / face * 100 < 3, given["file"]


@pytest.mark.shared
def test_a_photo_without_a_face_is_reported(shared, tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(jpeg(astronaut()))
    (tmp_path / "photos/b.jpg").write_bytes(jpeg(np.full((200, 200, 3), 90, np.uint8)))
    weights = shared / "weights/detection_mobilenet0.25_Final.pth"
    settings = BuildSettings(resolution=64, detector_weights=weights, **PLAIN)
    result = build(tmp_path / "photos", [tmp_path / "a.lmdb"], settings)
    assert (result.kept, result.skipped) == (1, {"no face was found": 1})


def test_wrong_weights_are_refused(tmp_path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.jpg").write_bytes(jpeg(astronaut()))
    (tmp_path / "w.pth").write_bytes(b"no weights")
    with pytest.raises(InputError, match="is no file of PyTorch weights"):
        build(tmp_path / "photos", [tmp_path / "a.lmdb"], BuildSettings(detector_weights=tmp_path / "w.pth"))
