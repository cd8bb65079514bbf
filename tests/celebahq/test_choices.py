"""A build and what it can be told: which photos, which faces, which crops stay."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pgtools.celebahq.build import build
from pgtools.celebahq.input.given import Given
from pgtools.celebahq.job import chunk_size
from pgtools.celebahq.settings import BuildSettings
from pgtools.celebahq.worker import crop_path
from pgtools.demo.faces import write_faces
from pgtools.errors import InputError, OutputError, UsageError
from pgtools.runtime.journal import Journal
from pgtools.stores.codecs import encode
from pgtools.stores.opening import open_source
from tests.celebahq.test_build import Stop, bytes_of, copied, interrupted_build, manifest

PLAIN = {"restore": "none", "superres": "lanczos"}
SMALL = {"resolution": 32, "workers": 1, **PLAIN}


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("faces") / "celeba"
    write_faces(folder, count=12, seed=4, layout="aligned")
    return folder


def names_in(store: Path) -> list[str]:
    source = open_source(store)
    return [record.name for record in source.records(range(len(source)))]


def test_some_photos_only(faces, tmp_path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("000009.jpg\n# the first\n000001.jpg\n")
    for store, chosen, expected in (
        ("a", {"limit": 2}, ["000001.jpg", "000002.jpg"]),
        ("b", {"indices": "0-1,11"}, ["000001.jpg", "000002.jpg", "000012.jpg"]),
        ("c", {"list": listed}, ["000001.jpg", "000009.jpg"]),
    ):
        build(faces, [tmp_path / f"{store}.lmdb"], BuildSettings(**SMALL, **chosen))
        assert names_in(tmp_path / f"{store}.lmdb") == expected


def test_a_zip_gives_the_same_crops(faces, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "w") as archive:
        for photo in sorted((faces / "img_align_celeba").iterdir()):
            archive.write(photo, f"img_align_celeba/{photo.name}")
    shutil.copytree(faces / "Anno", tmp_path / "Anno")
    build(faces, [tmp_path / "folder.lmdb"], BuildSettings(**SMALL))
    for workers in (1, 2):
        out = tmp_path / f"zip{workers}.lmdb"
        build(tmp_path / "img_align_celeba.zip", [out], BuildSettings(**{**SMALL, "workers": workers}))
        assert open_source(out).fingerprint() == open_source(tmp_path / "folder.lmdb").fingerprint()


def test_landmarks_from_a_file_of_ones_own(faces, tmp_path) -> None:
    build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))
    rows = manifest(tmp_path / "a-manifest.csv")
    points = [key for key in rows[0] if key.endswith(("_x", "_y")) and not key.startswith("quad")]
    own = {row["file"]: [float(row[key]) for key in points] for row in rows[:5]}
    (tmp_path / "own.json").write_text(json.dumps(own))
    for file in ("own.json", "a-manifest.csv"):
        out = tmp_path / f"{file}.lmdb"
        result = build(faces, [out], BuildSettings(**SMALL, landmarks=str(tmp_path / file), limit=6))
        assert result.kept == (5 if file == "own.json" else 6)
        np.testing.assert_array_equal(open_source(out).read([4], 32), open_source(tmp_path / "a.lmdb").read([4], 32))
    assert {row["landmarks_source"] for row in manifest(tmp_path / "own.json-manifest.csv")} == {"file", ""}
    with pytest.raises(UsageError, match=r"nowhere\.csv.*expected auto, celeba, facexlib, or a file"):
        build(faces, [tmp_path / "b.lmdb"], BuildSettings(**SMALL, landmarks=str(tmp_path / "nowhere.csv")))


def test_crops_below_a_score_are_not_kept(faces, tmp_path) -> None:
    build(faces, [tmp_path / "all.lmdb"], BuildSettings(**SMALL))
    scores = sorted(float(row["score"]) for row in manifest(tmp_path / "all-manifest.csv"))
    least = (scores[6] + scores[7]) / 2
    result = build(faces, [tmp_path / "some.lmdb"], BuildSettings(**SMALL, min_score=least))
    assert result.kept == 5
    kept = {row["kept"] for row in manifest(tmp_path / "some-manifest.csv") if float(row["score"]) >= least}
    assert kept == {"yes"}
    with pytest.raises(InputError, match=r"the best score is 0\.\d"):
        build(faces, [tmp_path / "none.lmdb"], BuildSettings(**SMALL, min_score=1.0))


def test_without_ranking_all_stay_and_none_is_scored(faces, tmp_path) -> None:
    result = build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL, rank="none"))
    assert result.kept == 12
    assert {row["score"] for row in manifest(result.manifest)} == {""}
    assert "score" not in open_source(tmp_path / "a.lmdb").records([0])[0].attributes
    for wrong in ({"keep": 3}, {"min_score": 0.5}):
        with pytest.raises(UsageError, match="needs scores"):
            BuildSettings(**SMALL, rank="none", **wrong)


def test_celebas_own_tables_reach_store_and_manifest(faces, tmp_path) -> None:
    folder = copied(faces, tmp_path / "celeba")
    names = [f"{i:06d}.jpg" for i in range(1, 13)]
    lines = [f"{name} {1 if i % 2 else -1} 1" for i, name in enumerate(names)]
    (folder / "Anno/list_attr_celeba.txt").write_text("12\nSmiling Young\n" + "\n".join(lines) + "\n")
    (folder / "Anno/identity_CelebA.txt").write_text("".join(f"{name} {i + 40}\n" for i, name in enumerate(names)))
    (folder / "Eval").mkdir()
    (folder / "Eval/list_eval_partition.txt").write_text("".join(f"{name} {i % 3}\n" for i, name in enumerate(names)))
    build(folder, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))
    known = open_source(tmp_path / "a.lmdb").records([1])[0].attributes
    assert (known["Smiling"], known["Young"], known["identity"], known["split"]) == (True, True, 41, "valid")
    row = manifest(tmp_path / "a-manifest.csv")[1]
    assert (row["Smiling"], row["identity"], row["split"]) == ("1", "41", "valid")


def test_crops_are_encoded_once(faces, tmp_path, monkeypatch) -> None:
    """The bytes in the store are those of the crop in the making, which are what the store itself would have made."""
    build(faces, [tmp_path / "a.lmdb"], BuildSettings(**{**SMALL, "resolution": 512}, limit=1))
    source = open_source(tmp_path / "a.lmdb")
    assert source.encoded(0, 512) == encode(source.read([0], 512)[0], "webp")
    levels = []
    monkeypatch.setattr(
        "pgtools.stores.formats.lmdb.encode", lambda image, codec: levels.append(len(image[0])) or encode(image, codec)
    )
    build(faces, [tmp_path / "b.lmdb"], BuildSettings(**{**SMALL, "resolution": 512}, limit=1))
    assert 512 not in levels and 256 in levels
    assert bytes_of(tmp_path / "a.lmdb") == bytes_of(tmp_path / "b.lmdb")


def test_a_torn_crop_is_made_again(faces, tmp_path, monkeypatch) -> None:
    """Power went before the disk had the bytes: the file is there and is not what was written."""
    build(faces, [tmp_path / "whole.lmdb"], BuildSettings(**SMALL))
    interrupted_build(faces, tmp_path / "a.lmdb", BuildSettings(**SMALL), monkeypatch, after=2)
    torn = crop_path(tmp_path / "a.lmdb.build/crops", "000002.jpg")
    torn.write_bytes(torn.read_bytes()[:500])
    told: list[str] = []
    build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL), told=told.append)
    assert bytes_of(tmp_path / "a.lmdb") == bytes_of(tmp_path / "whole.lmdb")
    assert [line for line in told if "made again" in line]


def test_photos_that_changed_are_named(faces, tmp_path, monkeypatch) -> None:
    folder = copied(faces, tmp_path / "celeba")
    interrupted_build(folder, tmp_path / "a.lmdb", BuildSettings(**SMALL), monkeypatch, after=1)
    photo = folder / "img_align_celeba/000003.jpg"
    photo.write_bytes((folder / "img_align_celeba/000004.jpg").read_bytes())
    told: list[str] = []
    build(folder, [tmp_path / "a.lmdb"], BuildSettings(**SMALL), told=told.append)
    assert [line for line in told if "1 photos are not what they were" in line and "000003.jpg" in line]


def test_how_many_are_kept_may_change_on_the_way(faces, tmp_path, monkeypatch) -> None:
    interrupted_build(faces, tmp_path / "a.lmdb", BuildSettings(**SMALL, keep=2), monkeypatch, after=2)
    build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL, keep=7))
    build(faces, [tmp_path / "fresh.lmdb"], BuildSettings(**SMALL, keep=7))
    assert open_source(tmp_path / "a.lmdb").fingerprint() == open_source(tmp_path / "fresh.lmdb").fingerprint()


def test_what_the_crops_take_is_told_before_the_first(faces, tmp_path, monkeypatch) -> None:
    told: list[str] = []

    def stop(*_: object) -> None:
        raise Stop

    monkeypatch.setattr(Journal, "record", stop)
    with pytest.raises(Stop):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL), told=told.append)
    assert "12 photos, 12 with landmarks" in told[0]
    assert "free" in told[1]


def test_settings_that_contradict_each_other_are_refused(tmp_path) -> None:
    for wrong, message in (
        ({"deltas": tmp_path, "keep": 3}, "does not go with --deltas"),
        ({"deltas": tmp_path, "resolution": 256}, "--resolution does not go with --deltas"),
        ({"deltas": tmp_path, "min_face": 60.0}, "--min-face does not go with --deltas"),
        ({"nearest": True}, "needs --deltas"),
        ({"scheduler": "tcp://a:1", "workers": 2}, "does not go with --scheduler"),
    ):
        with pytest.raises(UsageError, match=message):
            BuildSettings(**wrong)


def test_the_manifest_is_plain_csv(faces, tmp_path) -> None:
    build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL, limit=3))
    with (tmp_path / "a-manifest.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert {len(row) for row in rows} == {len(rows[0])}


def test_a_folder_that_keeps_no_crops_ends_the_build(faces, tmp_path, monkeypatch) -> None:
    """A worker of a cluster that does not share the folder once made the build go round for ever."""
    monkeypatch.setattr("pgtools.celebahq.worker.write_crop", lambda path, image: "0" * 64)
    with pytest.raises(OutputError, match="are not there"):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))


def test_a_name_from_where_one_stands_is_enough(faces, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(faces.parent)
    build(Path("celeba"), [tmp_path / "a.lmdb"], BuildSettings(**{**SMALL, "workers": 2}))
    assert len(open_source(tmp_path / "a.lmdb")) == 12


def test_a_table_of_other_photos_is_refused_before_the_first(faces, tmp_path) -> None:
    (tmp_path / "own.json").write_text(json.dumps({"other.jpg": [1, 1, 9, 1, 5, 5, 2, 9, 8, 9]}))
    with pytest.raises(InputError, match="None of the 12 photos is in") as caught:
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL, landmarks=str(tmp_path / "own.json")))
    assert "other photos" in caught.value.hint
    assert not list(tmp_path.glob("a.lmdb*"))


def test_what_gives_nothing_says_why_and_can_be_corrected(faces, tmp_path) -> None:
    """The corrected command was once refused, as the work folder had been begun with other settings."""
    with pytest.raises(InputError, match=r"to keep: face is small \(12\)\.") as caught:
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL, min_face=6000.0))
    assert "--min-face" in caught.value.hint
    assert list(tmp_path.iterdir()) == []
    assert build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL, min_face=10.0)).kept == 12


def test_too_little_space_is_told_before_the_journal_is_begun(faces, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pgtools.runtime.files.free_space", lambda folder: 1000)
    with pytest.raises(OutputError, match="are needed"):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL))
    assert not (tmp_path / "a.lmdb.build").exists()


def test_the_page_is_never_where_the_build_writes(faces, tmp_path) -> None:
    """`--report` once replaced the finished store."""
    for wrong in ("a.h5", "a-manifest.csv", "a-build.json", "a.h5.build/journal.sqlite"):
        with pytest.raises(UsageError, match="where the build itself writes"):
            build(faces, [tmp_path / "a.h5"], BuildSettings(**SMALL), also={tmp_path / wrong: print})
    with pytest.raises(UsageError, match="lies in the folder of the photos"):
        inside = faces / "img_align_celeba/report.html"
        build(faces, [tmp_path / "a.h5"], BuildSettings(**SMALL), also={inside: print})
    (tmp_path / "page.html").write_text("someone's")
    with pytest.raises(OutputError, match=r"page\.html already exists"):
        build(faces, [tmp_path / "a.h5"], BuildSettings(**SMALL), also={tmp_path / "page.html": print})


def test_killed_before_the_page_the_same_command_writes_it(faces, tmp_path) -> None:
    def stop(result: object) -> None:
        raise Stop

    page = tmp_path / "page.html"
    with pytest.raises(Stop):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL), also={page: stop})
    page.write_text("<!doctype html>half")
    written = []
    assert build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL), also={page: written.append}).resumed == 12
    assert len(written) == 1


def test_what_someone_put_there_meanwhile_is_not_replaced(faces, tmp_path) -> None:
    def stop(result: object) -> None:
        raise Stop

    with pytest.raises(Stop):
        build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL), also={tmp_path / "page.html": stop})
    for name in ("a-manifest.csv", "a-build.json", "a-manifest.parquet"):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_text("someone's")
        with pytest.raises(OutputError, match="already exists"):
            build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL), also={tmp_path / "page.html": print})
        (tmp_path / name).write_bytes(kept)
    build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL), also={tmp_path / "page.html": print})


def test_two_builds_that_share_a_manifest_exclude_each_other(faces, tmp_path, monkeypatch) -> None:
    interrupted_build(faces, tmp_path / "a.lmdb", BuildSettings(**SMALL), monkeypatch, after=1)
    with pytest.raises(OutputError, match=r"a\.lmdb\.build is a build that writes a-manifest\.csv too"):
        build(faces, [tmp_path / "a.h5"], BuildSettings(**SMALL))


def test_a_torn_crop_makes_no_resumed_build(faces, tmp_path, monkeypatch) -> None:
    from pgtools.celebahq import build as module

    store, torn = module.store_crops, []

    def tear(job, *arguments):
        if not torn:
            torn.append(1)
            crop_path(job.crops, "000002.jpg").write_bytes(b"torn")
        return store(job, *arguments)

    monkeypatch.setattr(module, "store_crops", tear)
    assert build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL)).resumed == 0


def test_more_photos_may_come_that_need_a_detector(faces, tmp_path, monkeypatch) -> None:
    """A detector that is needed by some does not undo what the annotation gave to others."""
    interrupted_build(faces, tmp_path / "a.lmdb", BuildSettings(**SMALL, limit=9), monkeypatch, after=1)
    given_states = Given.states
    seen = []

    def states(self, detector):
        found = given_states(self, "another detector")
        seen.append(found)
        return found

    monkeypatch.setattr(Given, "states", states)
    assert build(faces, [tmp_path / "a.lmdb"], BuildSettings(**SMALL)).resumed > 0
    assert all("another detector" not in state for state in seen[0].values())


def test_chunks_leave_every_worker_its_turns(tmp_path) -> None:
    from types import SimpleNamespace

    def size(photos: int, *, workers: int = 2, batch: int = 1, network: object = None, kind: str = "processes") -> int:
        steps = SimpleNamespace(restore=network, superres=None)
        job = SimpleNamespace(steps=steps, workers=workers, kind=kind, settings=SimpleNamespace(batch=batch))
        return chunk_size(job, photos)  # type: ignore[arg-type]

    assert [size(n) for n in (1, 8, 9, 40, 64, 1000)] == [1, 1, 2, 5, 8, 8]
    assert size(1000, network=object()) == 1
    assert size(1000, network=object(), batch=16) == 16
    assert size(1000, network=object(), kind="threads") == 8
