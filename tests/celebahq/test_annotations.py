from pathlib import Path

import numpy as np
import pytest

from pgtools.celebahq.annotations import find_photos, read_landmarks
from pgtools.errors import InputError

NAMES = ["000001.jpg", "000002.jpg"]
COLUMNS = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y"
ROWS = ["000001.jpg 165 184 244 176 196 249 194 271 266 260", "000002.jpg 140 204 220  204 168 254 146 289 226 289"]
TEXT = "\n".join(["2", COLUMNS, *ROWS, ""])
CSV = "\n".join(["image_id," + ",".join(COLUMNS.split()), *(",".join(row.split()) for row in ROWS), ""])


def photos(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / name).write_bytes(b"")


@pytest.mark.parametrize("suffix", ["txt", "csv"])
def test_both_editions_of_the_table(tmp_path, suffix: str) -> None:
    path = tmp_path / f"list.{suffix}"
    path.write_text(TEXT if suffix == "txt" else CSV)
    points = read_landmarks(path)
    assert list(points) == NAMES
    np.testing.assert_array_equal(points["000001.jpg"], [[165, 184], [244, 176], [196, 249], [194, 271], [266, 260]])


@pytest.mark.parametrize(
    ("images", "annotation"),
    [
        ("img_celeba", "Anno/list_landmarks_celeba.txt"),
        ("img_align_celeba", "Anno/list_landmarks_align_celeba.txt"),
        ("Img/img_align_celeba", "Anno/list_landmarks_align_celeba.txt"),
        ("img_align_celeba/img_align_celeba", "list_landmarks_align_celeba.csv"),
        ("img_align_celeba_png", "Anno/list_landmarks_align_celeba.txt"),
        ("photos", None),
    ],
)
def test_every_layout_of_celeba(tmp_path, images: str, annotation: str | None) -> None:
    photos(tmp_path / images)
    if annotation:
        (tmp_path / annotation).parent.mkdir(exist_ok=True)
        (tmp_path / annotation).write_text("")
    found = find_photos(tmp_path)
    assert found.annotation == (tmp_path / annotation if annotation else None)
    assert [(found.folder / name).name for name in found.names] == NAMES


def test_the_photo_folder_itself_may_be_named(tmp_path) -> None:
    photos(tmp_path / "img_celeba")
    (tmp_path / "Anno").mkdir()
    (tmp_path / "Anno/list_landmarks_celeba.txt").write_text(TEXT)
    assert find_photos(tmp_path / "img_celeba").annotation == tmp_path / "Anno/list_landmarks_celeba.txt"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("hello\n", "line 1 is 'hello'"),
        (TEXT.replace(" 260", ""), "line 3"),
        (TEXT.replace("260", "x"), "line 3"),
        (TEXT.replace("260", "nan"), "line 3"),
        (TEXT.replace("2\n", "3\n", 1), "line 1 says 3 photos; 2 follow"),
    ],
)
def test_a_damaged_table_names_its_line(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_landmarks(path)


def test_no_folder_and_no_photos(tmp_path) -> None:
    with pytest.raises(InputError, match="missing"):
        find_photos(tmp_path / "none")
    with pytest.raises(InputError, match="no photos"):
        find_photos(tmp_path)


def test_file_names_may_hold_spaces(tmp_path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(TEXT.replace("000002.jpg", "my holiday 2.jpg"))
    assert list(read_landmarks(path)) == ["000001.jpg", "my holiday 2.jpg"]
