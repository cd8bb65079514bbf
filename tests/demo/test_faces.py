"""The drawn photographs: landmarks against the picture, determinism, the CelebA folder they make."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pgtools.demo import faces
from pgtools.demo.faces import Photo, compose, draw, write_faces
from pgtools.demo.paint import rgb
from pgtools.demo.people import Pose, sample_person, sample_shot
from pgtools.errors import OutputError, UsageError
from pgtools.runtime.seeds import stream

POSES = [
    Pose(x=300, y=260, unit=120, roll=0.0, yaw=0.0, pitch=0.0),
    Pose(x=280, y=270, unit=110, roll=0.5, yaw=0.0, pitch=0.0),
    Pose(x=310.3, y=290.7, unit=100, roll=-0.6, yaw=0.3, pitch=0.1),
    Pose(x=300, y=250, unit=120, roll=0.2, yaw=-0.32, pitch=-0.14),
]


def portrait(pose: Pose, **features: object) -> Photo:
    """One plain person, 600×600, with some features replaced."""
    person = dataclasses.replace(
        sample_person(stream(0, "test")),
        glasses="none",
        beard="none",
        freckles=False,
        eye_open=1.3,
        **features,
    )
    plain = {"blur": 0.0, "noise": 0.0, "saturation": 1.0, "exposure": 0.95, "tint": rgb(1, 1, 1)}
    shot = dataclasses.replace(sample_shot(stream(0, "test"), 1.0), **plain)
    return compose(person, pose, shot, 600, 600, stream(0, "strands"))


def change(a: Photo, b: Photo) -> NDArray[np.float64]:
    """How much every pixel differs, (H, W); what is random is drawn alike in both."""
    return np.abs(a.image.astype(np.float64) - b.image).sum(axis=2)


def centroid(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def in_head_frame(points: NDArray[np.float64], pose: Pose) -> NDArray[np.float64]:
    """Picture points (N, 2) as (along the line of the eyes, down the face) from the pose's origin, in pixels."""
    c, s = np.cos(pose.roll), np.sin(pose.roll)
    return (points - (pose.x, pose.y)) @ np.array([[c, -s], [s, c]])


@pytest.mark.parametrize("pose", POSES)
def test_eye_landmarks_are_where_the_irises_are_painted(pose: Pose) -> None:
    # What changes with the colour of a wide-open eye is its iris; the catch-light is white in both.
    a, b = (portrait(pose, eye_colour=colour, eye_size=1.4) for colour in (rgb(255, 0, 0), rgb(0, 255, 0)))
    iris = (change(a, b) > 30).astype(float)
    y, x = np.mgrid[:600, :600]
    side = (np.stack([x, y], axis=2) - a.landmarks[:2].mean(axis=0)) @ (a.landmarks[1] - a.landmarks[0])
    found = np.array([centroid(iris * (side < 0)), centroid(iris * (side > 0))])
    np.testing.assert_allclose(found, a.landmarks[:2], atol=0.5)


@pytest.mark.parametrize("pose", POSES)
def test_nose_landmark_is_where_the_tip_shines(pose: Pose) -> None:
    a, b = (portrait(pose, nose_shine=shine) for shine in (0.0, 1.0))
    dull, shiny = (photo.image[..., 2].astype(np.float64) for photo in (a, b))
    # The share of what is missing to white (blue 244, exposed at 0.95) that the shine adds, whatever is below it.
    gain = (shiny - dull) / (244 * 0.95 - dull)
    np.testing.assert_allclose(centroid(np.where(gain > 0.05, gain, 0)), a.landmarks[2], atol=0.5)


@pytest.mark.parametrize("pose", POSES)
def test_mouth_landmarks_are_the_ends_of_the_lips(pose: Pose) -> None:
    a, b = (portrait(pose, lip_colour=colour, teeth=0.0) for colour in (rgb(255, 0, 0), rgb(0, 0, 255)))
    y, x = np.nonzero(change(a, b) > 30)
    lips = in_head_frame(np.stack([x, y], axis=1), pose)
    ends = lips[[lips[:, 0].argmin(), lips[:, 0].argmax()]]
    # One pixel and a bit: the corner is the point of a wedge, found here to whole pixels.
    np.testing.assert_allclose(ends, in_head_frame(a.landmarks[3:], pose), atol=1.2)


@pytest.mark.parametrize("pose", POSES)
def test_landmarks_turn_with_the_head(pose: Pose) -> None:
    """Rolling the head by 90 degrees more turns the landmarks about the head's origin, and nothing else."""
    upright = portrait(pose).landmarks - (pose.x, pose.y)
    rolled = portrait(dataclasses.replace(pose, roll=pose.roll + np.pi / 2)).landmarks - (pose.x, pose.y)
    np.testing.assert_allclose(rolled, np.stack([-upright[:, 1], upright[:, 0]], axis=1), atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(index=st.integers(0, 10**6), layout=st.sampled_from(["wild", "aligned"]))
def test_any_photograph_is_in_range(index: int, layout: faces.Layout) -> None:
    photo = draw(3, index, layout=layout)
    height, width, channels = photo.image.shape
    assert photo.image.dtype == np.uint8
    assert channels == 3
    assert 178 <= width <= 900
    assert 30 <= photo.quality <= 95
    assert (photo.landmarks >= 0).all()
    assert (photo.landmarks < (width, height)).all()
    left_eye, right_eye, nose, left_mouth, right_mouth = photo.landmarks
    along = (right_eye - left_eye) / np.linalg.norm(right_eye - left_eye)
    down = np.array([-along[1], along[0]])
    assert (right_mouth - left_mouth) @ along > 0
    assert (left_eye + right_eye) @ down / 2 < nose @ down < (left_mouth + right_mouth) @ down / 2
    if layout == "aligned":
        assert (width, height) == (178, 218)
        assert abs(left_eye[1] - 111) < 12
        assert abs(right_eye[1] - 111) < 12


def test_photograph_depends_on_seed_and_index_alone() -> None:
    again = draw(5, 7)
    draw(5, 6)
    np.testing.assert_array_equal(draw(5, 7).image, again.image)
    assert not np.array_equal(draw(5, 7).landmarks, draw(6, 7).landmarks)
    assert not np.array_equal(draw(5, 7).landmarks, draw(5, 8).landmarks)


def test_photographs_vary() -> None:
    small = [np.asarray(Image.fromarray(draw(0, i, layout="aligned").image).resize((16, 16))) for i in range(24)]
    # Half the contrast of a photograph (about 55 levels) at every pixel, over the series.
    assert np.std(np.stack(small).astype(float), axis=0).mean() > 30


def digests(out: Path) -> dict[str, str]:
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("layout", ["wild", "aligned"])
def test_folder_is_celebas(tmp_path: Path, layout: faces.Layout) -> None:
    write_faces(tmp_path / "out", count=3, seed=1, layout=layout)
    images, annotations = {
        "wild": ("img_celeba", "list_landmarks_celeba.txt"),
        "aligned": ("img_align_celeba", "list_landmarks_align_celeba.txt"),
    }[layout]
    names = [f"{i:06d}.jpg" for i in (1, 2, 3)]
    assert sorted(digests(tmp_path / "out")) == [
        f"Anno/{annotations}",
        *(f"{images}/{name}" for name in names),
    ]
    count, columns, *rows = (tmp_path / "out" / "Anno" / annotations).read_text().splitlines()
    assert count == "3"
    assert columns == (
        "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
    )
    for i, (name, row) in enumerate(zip(names, rows, strict=True)):
        photo = draw(1, i, layout=layout)
        assert row.split() == [name, *(str(int(v)) for v in np.rint(photo.landmarks).ravel())]
        stored = np.asarray(Image.open(tmp_path / "out" / images / name))
        assert stored.shape == photo.image.shape
        assert np.abs(stored.astype(float) - photo.image).mean() < 12


def test_files_do_not_depend_on_count_or_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "CHUNK", 2)
    write_faces(tmp_path / "a", count=3, seed=2, layout="aligned", workers=1)
    write_faces(tmp_path / "b", count=5, seed=2, layout="aligned", workers=2)
    a, b = digests(tmp_path / "a"), digests(tmp_path / "b")
    assert {name: a[name] for name in a if "img" in name}.items() <= b.items()
    rows = [(tmp_path / out / faces.PATHS["aligned"][1]).read_text().splitlines() for out in "ab"]
    assert rows[0][1:] == rows[1][1:5]


def test_an_output_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write_faces(tmp_path, count=1, seed=0)
    with pytest.raises(OutputError, match=r"note\.txt"):
        write_faces(tmp_path, count=1, seed=0, overwrite=True)
    with pytest.raises(OutputError, match="is a file"):
        write_faces(tmp_path / "note.txt", count=1, seed=0, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_overwrite_replaces_an_earlier_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_faces(out, count=2, seed=0, layout="aligned")  # an empty folder is as good as none
    write_faces(out, count=1, seed=0, layout="wild", overwrite=True)
    assert sorted(digests(out)) == ["Anno/list_landmarks_celeba.txt", "img_celeba/000001.jpg"]


def test_an_interrupted_run_leaves_nothing_that_looks_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(seed: int, index: int, *, layout: faces.Layout) -> Photo:
        if index == 1:
            raise KeyboardInterrupt
        return draw(seed, index, layout=layout)

    monkeypatch.setattr(faces, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_faces(tmp_path / "out", count=3, seed=0, layout="aligned")
    assert list(tmp_path.iterdir()) == []


def test_a_count_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--count is 0"):
        write_faces(tmp_path / "out", count=0, seed=0)


@pytest.mark.shared
def test_retinaface_finds_the_landmarks(shared: Path) -> None:
    """An independent judge: a detector trained on photographs finds drawn faces where the annotation says."""
    torch = pytest.importorskip("torch")
    from facexlib.detection.retinaface import RetinaFace

    network = RetinaFace(network_name="mobile0.25", device="cpu")
    path = shared / "weights" / "detection_mobilenet0.25_Final.pth"
    weights = torch.load(path, map_location="cpu", weights_only=True)
    network.load_state_dict({name.removeprefix("module."): value for name, value in weights.items()})
    network.eval()
    for index in range(4):
        photo = draw(1, index, layout="aligned")
        with torch.no_grad():
            found = network.detect_faces(photo.image[..., ::-1].copy(), 0.8)
        assert len(found) == 1
        eyes = np.linalg.norm(photo.landmarks[1] - photo.landmarks[0])
        distance = np.linalg.norm(found[0][5:].reshape(5, 2) - photo.landmarks, axis=1) / eyes
        assert distance.mean() < 0.12  # measured over 50 faces: 0.06 on average
