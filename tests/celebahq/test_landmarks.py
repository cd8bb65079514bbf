"""facexlib's detector: every face, in one order, in the photo's own pixels."""

import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pgtools.celebahq.landmarks import CONFIDENCE, LONGEST_SIDE, FaceDetector
from pgtools.errors import InputError
from pgtools.imaging.photo import read_photo
from tests.conftest import SHARED
from tests.pictures import ASTRONAUT_POINTS, astronaut, photo_like


class Recorder:
    """In RetinaFace's place: remembers what it saw and finds what it is told to."""

    def __init__(self, *rows: list[float]) -> None:
        self.rows = np.array(rows, dtype=np.float32).reshape(-1, 15)

    def detect_faces(self, image: np.ndarray, conf_threshold: float) -> np.ndarray:
        self.seen, self.threshold, self.threads = image, conf_threshold, torch.get_num_threads()
        return self.rows


def detector(*rows: list[float]) -> tuple[FaceDetector, Recorder]:
    found = FaceDetector("retinaface-mobile0.25", Path("none.pth"), "cpu")
    recorder = Recorder(*rows)
    found._model = recorder
    return found, recorder


ROW = [10, 20, 30, 60, 0.9, *range(10)]


def test_a_photo_is_seen_as_it_is_in_bgr() -> None:
    finder, recorder = detector(ROW)
    photo = photo_like(40, 50)
    (face,) = finder.faces(photo)
    np.testing.assert_array_equal(recorder.seen, photo[:, :, ::-1])
    np.testing.assert_array_equal(face.points, np.arange(10.0).reshape(5, 2))
    np.testing.assert_array_equal(face.box, [10, 20, 30, 60])
    assert face.confidence == pytest.approx(0.9)
    assert face.points.dtype == face.box.dtype == np.float64
    assert recorder.threshold == CONFIDENCE


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((4096, 1000), (2048, 500)),
        ((3, 4000), (2, 2048)),
        ((9000, 1), (2048, 1)),
        ((1, 9000), (1, 2048)),
        ((2048, 2048), (2048, 2048)),
    ],
)
def test_large_photos_are_reduced_and_points_come_back(size, seen) -> None:
    finder, recorder = detector(ROW)
    (face,) = finder.faces(np.zeros((*size, 3), np.uint8))
    assert recorder.seen.shape[:2] == seen
    assert max(seen) <= LONGEST_SIDE
    height, width = np.array(size) / seen
    np.testing.assert_allclose(face.points, np.arange(10.0).reshape(5, 2) * [width, height])
    np.testing.assert_allclose(face.box, np.array([10, 20, 30, 60]) * [width, height, width, height])


def test_the_largest_face_comes_first_whatever_the_detectors_order() -> None:
    small, large = [0, 0, 10, 10, 0.99, *range(10)], [50, 50, 90, 90, 0.81, *range(10)]
    for rows in ([small, large], [large, small]):
        boxes = [face.box[0] for face in detector(*rows)[0].faces(photo_like(100, 100))]
        assert boxes == [50, 0]


def test_one_thread_searches_and_the_others_come_back() -> None:
    """Sums over several threads end in other last digits, and a crop's bytes would depend on the machine's cores."""
    finder, recorder = detector(ROW)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        finder.faces(photo_like(40, 50))
        assert recorder.threads == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_it_travels_without_its_network() -> None:
    finder, _ = detector(ROW)
    copy = pickle.loads(pickle.dumps(finder))  # noqa: S301
    assert copy._model is None
    assert (copy.network, copy.weights, copy.device) == (finder.network, finder.weights, finder.device)


def test_a_file_of_other_weights_is_refused(tmp_path) -> None:
    torch.save({"layer": torch.zeros(1)}, tmp_path / "other.pth")
    torch.save({"layer": torch.zeros(1)}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "cut.pth").write_bytes((tmp_path / "other.pth").read_bytes()[:200])
    (tmp_path / "text.pth").write_text("no weights")
    faults = {
        "other.pth": " does not hold the weights of retinaface-resnet50.",
        "old.pth": " does not hold the weights of retinaface-resnet50.",
        "cut.pth": " does not hold the weights of retinaface-resnet50.",
        "text.pth": " is no file of PyTorch weights.",
        "missing.pth": ": cannot be read (No such file or directory).",
    }
    for name, fault in faults.items():
        with pytest.raises(InputError) as caught:
            FaceDetector("retinaface-resnet50", tmp_path / name, "cpu").load()
        assert caught.value.message == f"{tmp_path / name}{fault}"
        assert caught.value.hint == "`pgtools models fetch retinaface-resnet50` gets the right file."


def test_what_is_no_file_of_weights_is_told_before_pytorch_is_there(tmp_path) -> None:
    (tmp_path / "list.txt").write_text("a.jpg")
    program = f"""
import sys
from pathlib import Path
from pgtools.celebahq.landmarks import FaceDetector
from pgtools.errors import InputError
try:
    FaceDetector("retinaface-mobile0.25", Path({str(tmp_path / "list.txt")!r}), "cpu").load()
except InputError as error:
    print(error.message, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'list.txt'} is no file of PyTorch weights. False\n"


class Harmful:
    """What a pickle may do when it is loaded without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_weights_run_no_code(tmp_path) -> None:
    torch.save({"layer": Harmful(tmp_path / "touched")}, tmp_path / "weights.pth")
    with pytest.raises(InputError, match="does not hold"):
        FaceDetector("retinaface-mobile0.25", tmp_path / "weights.pth", "cpu").load()
    assert not (tmp_path / "touched").exists()


@pytest.fixture(scope="module")
def real() -> FaceDetector:
    return FaceDetector("retinaface-mobile0.25", SHARED / "weights/detection_mobilenet0.25_Final.pth", "cpu")


@pytest.mark.shared
def test_the_astronaut_is_found(real) -> None:
    """Known answer: the points read off the picture, to a twentieth of the eyes' distance and a little."""
    (face,) = real.faces(astronaut())
    assert np.abs(face.points - ASTRONAUT_POINTS).max() < 4
    assert face.confidence > 0.99
    assert (face.box[:2] < face.points.min(axis=0)).all()
    assert (face.box[2:] > face.points.max(axis=0)).all()


@pytest.mark.shared
def test_every_face_of_a_group_is_found(real) -> None:
    """The portrait beside itself at half and a quarter of its size."""
    photo = astronaut()
    group = np.zeros((512, 1024, 3), np.uint8)
    group[:, :512] = photo
    group[:256, 512:768] = cv2.resize(photo, (256, 256), interpolation=cv2.INTER_AREA)
    faces = real.faces(group)
    assert len(faces) == 2
    assert np.abs(faces[0].points - ASTRONAUT_POINTS).max() < 5
    assert np.abs(faces[1].points - (ASTRONAUT_POINTS / 2 + [512, 0])).max() < 5


@pytest.mark.shared
def test_a_photo_beyond_the_limit_gives_the_points_of_the_smaller_one(real) -> None:
    large = cv2.resize(astronaut()[:, 128:320], (960, 2560), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(large, (768, 2048), interpolation=cv2.INTER_AREA)
    (found,), (expected,) = real.faces(large), real.faces(small)
    np.testing.assert_allclose(found.points, expected.points * 1.25)
    assert np.abs(found.points / 5 + [128, 0] - ASTRONAUT_POINTS).max() < 8


@pytest.mark.shared
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 2048), (3, 4000), (4000, 3), (33, 17)])
def test_tiny_and_elongated_photos_have_no_face_and_do_no_harm(real, size) -> None:
    assert real.faces(photo_like(64, 64)[:1, :1].repeat(size[0], 0).repeat(size[1], 1)) == []


@pytest.mark.shared
def test_points_do_not_depend_on_threads(real) -> None:
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(real.faces(astronaut())[0].points)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


@pytest.mark.shared
def test_real_portraits_are_where_they_were_annotated(real, shared) -> None:
    """Golden: the annotation of the shared portraits was made by RetinaFace itself and rounded to whole pixels."""
    folder = shared / "data/celeba-real"
    lines = [line.split() for line in (folder / "Anno/list_landmarks_celeba.txt").read_text().splitlines()[2:]]
    known = {name: np.array(numbers, float).reshape(5, 2) for name, *numbers in lines}
    for name in ("000001.jpg", "000002.jpg", "000005.jpg", "000024.jpg"):
        best = real.faces(read_photo(folder / "img_celeba" / name, upright=False))[0]
        eyes = np.hypot(*(known[name][1] - known[name][0]))
        assert np.abs(best.points - known[name]).max() < 0.12 * eyes, name


def test_resnet50_is_built_without_a_word(tmp_path) -> None:
    """facexlib asks torchvision for it in a way that warns; the user can do nothing about that."""
    torch.save({"layer": torch.zeros(1)}, tmp_path / "other.pth")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match="does not hold"):
            FaceDetector("retinaface-resnet50", tmp_path / "other.pth", "cpu").load()
