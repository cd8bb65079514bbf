"""Photos through the steps: several faces, groups, faults of one."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from pgtools.celebahq import worker as worker_module
from pgtools.celebahq.cropping.crop import crop, crop_quad
from pgtools.celebahq.faces import Face, Limits
from pgtools.celebahq.input.files import StoredFile
from pgtools.celebahq.process import Passage, Steps, process, process_together
from pgtools.celebahq.quality import quality_score
from pgtools.celebahq.worker import Task, Worker, crop_path, read_crop
from pgtools.errors import InputError, OutputError
from pgtools.restoration.network import ImageNetwork
from tests.pictures import ASTRONAUT_POINTS, astronaut, jpeg
from tests.restoration.networks import tiny_compact


class Detector:
    """Finds the same faces in every photo."""

    def __init__(self, *points: np.ndarray) -> None:
        self.found = [Face(one, np.array([*one.min(axis=0), *one.max(axis=0)]), 1.0) for one in points]

    def faces(self, photo: np.ndarray) -> list[Face]:
        return self.found


SMALL_FACE = ASTRONAUT_POINTS * 0.5 + 20


@pytest.fixture
def superres(tmp_path) -> ImageNetwork:
    return ImageNetwork(tiny_compact(tmp_path / "superres.safetensors", 4), device="cpu")


def written(folder: Path, *photos: np.ndarray) -> list[Task]:
    tasks = []
    for number, photo in enumerate(photos):
        file = folder / f"{number}.jpg"
        file.write_bytes(jpeg(photo))
        tasks.append(Task(file.name, StoredFile(file), ASTRONAUT_POINTS))
    return tasks


def test_a_photo_with_points_becomes_its_crop() -> None:
    (one,) = process(astronaut(), ASTRONAUT_POINTS, Steps(64))
    np.testing.assert_array_equal(one.image, crop(astronaut(), crop_quad(ASTRONAUT_POINTS), resolution=64))
    np.testing.assert_array_equal(one.quad, crop_quad(ASTRONAUT_POINTS))
    assert one.score == quality_score(one.image)
    assert (one.reason, one.zoom) == ("", pytest.approx(64 / np.hypot(*(one.quad[3] - one.quad[0]))))


@pytest.mark.parametrize(("how", "expected"), [("largest", [0]), ("all", [0, 1])])
def test_of_several_faces_the_chosen_become_crops(how, expected) -> None:
    points = [ASTRONAUT_POINTS, SMALL_FACE]
    crops = process(astronaut(), None, Steps(64, faces=how, detector=Detector(*reversed(points))))
    assert len(crops) == len(expected)
    for one, place in zip(crops, expected, strict=True):
        np.testing.assert_array_equal(one.landmarks, points[place])
        np.testing.assert_array_equal(one.image, crop(astronaut(), crop_quad(points[place]), resolution=64))


def test_a_face_beyond_the_limits_is_left_out_and_the_others_are_not() -> None:
    side = np.hypot(*(crop_quad(SMALL_FACE)[3] - crop_quad(SMALL_FACE)[0]))
    steps = Steps(64, faces="all", detector=Detector(ASTRONAUT_POINTS, SMALL_FACE), limits=Limits(min_face=side + 1))
    large, small = process(astronaut(), None, steps)
    assert (large.reason, large.image.shape) == ("", (64, 64, 3))
    assert small.reason.startswith("face is small (")
    assert small.image.size == 0


def test_without_a_face_or_a_detector_the_photo_says_why() -> None:
    with pytest.raises(InputError, match="No face was found"):
        process(astronaut(), None, Steps(64, detector=Detector()))
    with pytest.raises(InputError, match="has no landmarks"):
        process(astronaut(), None, Steps(64))
    (outside,) = process(astronaut(), ASTRONAUT_POINTS + 5000, Steps(64))
    assert outside.reason == "the crop square lies outside the photo"


def test_networks_see_photos_together_and_give_what_they_give_alone(superres, monkeypatch) -> None:
    seen = []
    restore_many = ImageNetwork.restore_many
    monkeypatch.setattr(
        ImageNetwork, "restore_many", lambda self, images: seen.append(len(images)) or restore_many(self, images)
    )
    photo = np.ascontiguousarray(astronaut()[::4, ::4])
    photos = [photo, np.ascontiguousarray(photo[:, ::-1]), photo + 0]
    steps = Steps(256, superres=superres)
    passages = [Passage(one, ASTRONAUT_POINTS / 4) for one in photos]
    process_together(passages, steps)
    assert seen == [3]
    for one, passage in zip(photos, passages, strict=True):
        (alone,) = process(one, ASTRONAUT_POINTS / 4, steps)
        np.testing.assert_array_equal(passage.crops[0].image, alone.image)
        assert "superres" in passage.crops[0].steps
        assert set(passage.seconds) == {"crop", "enlarge", "score"}


def test_the_steps_are_those_that_were_taken(superres, tmp_path) -> None:
    restore = ImageNetwork(tiny_compact(tmp_path / "restore.safetensors", 1, unshuffle=2), device="cpu")
    small = np.ascontiguousarray(astronaut()[::4, ::4])
    for photo, scale, steps, expected in (
        (small, 0.25, Steps(256, restore=restore, superres=superres), ["restore", "superres", "lanczos"]),
        (small, 0.25, Steps(256), ["lanczos"]),
        (astronaut(), 1, Steps(32, superres=superres), ["reduce"]),
        (astronaut()[:, 150:], 1, Steps(32), ["reduce", "padding"]),
    ):
        moved = ASTRONAUT_POINTS * scale - (512 - photo.shape[1] if scale == 1 else 0, 0)
        (one,) = process(np.ascontiguousarray(photo), moved, steps)
        assert one.steps == expected


def test_time_with_a_network_is_shared(superres, monkeypatch) -> None:
    photo = np.ascontiguousarray(astronaut()[::4, ::4])
    clock = iter(range(0, 1000, 8))
    monkeypatch.setattr("pgtools.celebahq.process.time.perf_counter", lambda: float(next(clock)))
    passages = [Passage(photo, ASTRONAUT_POINTS / 4) for _ in range(4)]
    process_together(passages, Steps(64, superres=superres))
    assert [passage.seconds["enlarge"] for passage in passages] == [2.0] * 4


def test_a_photo_that_no_network_bears_leaves_the_others_alone(superres, monkeypatch) -> None:
    photo = np.ascontiguousarray(astronaut()[::4, ::4])
    restore_many = ImageNetwork.restore_many

    def choosy(self, images):
        if any(image.max() == 0 for image in images):
            raise MemoryError("too dark")
        return restore_many(self, images)

    monkeypatch.setattr(ImageNetwork, "restore_many", choosy)
    passages = [Passage(one, ASTRONAUT_POINTS / 4) for one in (photo, photo * 0, photo + 0)]
    process_together(passages, Steps(256, superres=superres))
    assert [type(passage.error) for passage in passages] == [type(None), MemoryError, type(None)]
    np.testing.assert_array_equal(passages[0].crops[0].image, passages[2].crops[0].image)


def test_a_worker_writes_every_crop_and_says_what_it_is(tmp_path) -> None:
    tasks = written(tmp_path, astronaut(), astronaut()[:, ::-1])
    steps = Steps(64, faces="all", detector=Detector(ASTRONAUT_POINTS, SMALL_FACE))
    tasks[1] = Task(tasks[1].name, tasks[1].file)
    (_, one), (_, two) = Worker(steps, tmp_path / "crops")(tasks)
    assert [face["source"] for face in one["faces"] + two["faces"]] == ["celeba", "facexlib", "facexlib"]
    assert one["size"] == [512, 512]
    for name, face in (("0.jpg", one["faces"][0]), ("1.jpg", two["faces"][0]), ("1.jpg#2", two["faces"][1])):
        planes, _ = read_crop(crop_path(tmp_path / "crops", name), 64, face["sha256"])
        assert quality_score(np.ascontiguousarray(planes.transpose(1, 2, 0))) == face["score"]


def test_photos_are_done_in_groups_of_bounded_size(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(worker_module, "PIXELS_TOGETHER", 2 * 512 * 512)
    sizes = []
    together = worker_module.process_together
    monkeypatch.setattr(
        worker_module, "process_together", lambda p, *a, **k: sizes.append(len(p)) or together(p, *a, **k)
    )
    outcomes = Worker(Steps(32), tmp_path / "crops")(written(tmp_path, *[astronaut()] * 5))
    assert sizes == [2, 2, 1]
    assert [name for name, _ in outcomes] == [f"{i}.jpg" for i in range(5)]


def test_a_crop_that_is_not_what_was_written_is_noticed(tmp_path) -> None:
    ((_, outcome),) = Worker(Steps(512), tmp_path / "crops")(written(tmp_path, astronaut()))
    path, sha256 = crop_path(tmp_path / "crops", "0.jpg"), outcome["faces"][0]["sha256"]
    whole = path.read_bytes()
    read_crop(path, 512, sha256)
    for torn in (b"", whole[: len(whole) // 2], whole[:2000] + bytes(3000) + whole[5000:]):
        path.write_bytes(torn)
        with pytest.raises(InputError):
            read_crop(path, 512, sha256)


def test_a_worker_travels_and_a_full_disk_ends_the_build(tmp_path, monkeypatch) -> None:
    tasks = written(tmp_path, astronaut())
    worker = pickle.loads(pickle.dumps(Worker(Steps(32), tmp_path / "crops")))  # noqa: S301
    assert "faces" in worker(tasks)[0][1]

    def full(self: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device"):
        worker(tasks)
