"""Tables of landmarks in every form, and what CelebA's own tables say of a photo."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from pgtools.celebahq.cropping.crop import crop, crop_quad
from pgtools.celebahq.input.annotations import COLUMNS, Annotations, match, read_annotations, read_landmarks
from pgtools.celebahq.input.photos import StoredFile, find_photos
from pgtools.celebahq.manifest import read_manifest, write_manifest
from pgtools.errors import InputError
from pgtools.imaging.photo import decode
from tests.pictures import astronaut

NAMES = ["000001.jpg", "000002.jpg"]
ROWS = ["000001.jpg 165 184 244 176 196 249 194 271 266 260", "000002.jpg 140 204 220  204 168 254 146 289 226 289"]
TEXT = "\n".join(["2", " ".join(COLUMNS), *ROWS, ""])
CSV = "\n".join(["image_id," + ",".join(COLUMNS), *(",".join(row.split()) for row in ROWS), ""])
POINTS = {row.split()[0]: [float(word) for word in row.split()[1:]] for row in ROWS}
PAIRS = {name: np.reshape(points, (5, 2)).tolist() for name, points in POINTS.items()}
MANIFEST = "\n".join(
    [
        "index,file,face,kept,reason," + ",".join(COLUMNS) + ",zoom",
        *(f'{i},{row.split()[0]},1,yes,"a, b",{",".join(row.split()[1:])},2.0' for i, row in enumerate(ROWS)),
        f"2,000002.jpg,2,yes,,{','.join(['7'] * 10)},2.0",
        f",000003.jpg,,no,No face was found,{','.join([''] * 10)},",
        "",
    ]
)
FORMS = {
    "a.txt": TEXT,
    "a": TEXT.replace("\n", "\r\n"),
    "marked.txt": "\ufeff" + TEXT.replace("\n", "\r\n"),
    "a.csv": "\ufeff" + CSV,
    "A.CSV": CSV.replace("\n", "\r\n"),
    "manifest.csv": MANIFEST,
    "a.json": json.dumps(POINTS),
    "pairs.json": json.dumps(PAIRS),
    "file.json": json.dumps([{"file": name, "landmarks": points} for name, points in POINTS.items()]),
    "name.json": json.dumps([{"score": 1, "name": name, "landmarks": points} for name, points in PAIRS.items()]),
}


def table(folder: Path, name: str, text: str) -> StoredFile:
    (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    return StoredFile(folder / name)


def manifest(folder: Path, sources: dict[str, str], points: Sequence[object] | NDArray[np.float64] = ()) -> StoredFile:
    """A build's own, of photos whose points are from these sources."""
    values = np.ravel(points if len(points) else next(iter(POINTS.values()))).tolist()
    faces = {name: {"face": 1, "source": one, "landmarks": values, "reason": "x"} for name, one in sources.items()}
    outcomes = {name: {"sha256": "", "size": [9, 9], "faces": [face]} for name, face in faces.items()}
    write_manifest(folder / "a-manifest.csv", list(sources), outcomes, [])
    return StoredFile(folder / "a-manifest.csv")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_table(tmp_path: Path, form: str) -> None:
    points = read_landmarks(table(tmp_path, form, FORMS[form]))
    assert list(points) == NAMES
    for name, found in points.items():
        assert (found.dtype, found.shape) == (np.float64, (5, 2))
        np.testing.assert_array_equal(found, PAIRS[name])


def test_a_table_inside_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("Anno/list.csv", CSV)
    assert list(read_landmarks(StoredFile(tmp_path / "a.zip", "Anno/list.csv"))) == NAMES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 is ''; expected the number of photos"),
        ("hello\n", "line 1 is 'hello'"),
        ("²\n", "line 1 is '²'"),
        (TEXT.replace(" 260", ""), "line 3 is '000001.jpg 165 184 244"),
        (TEXT.replace("260", "x"), "line 3"),
        (TEXT.replace("260", "nan"), "line 3"),
        (TEXT.replace("260", "-inf"), "line 3"),
        (TEXT.replace("260", "1e7"), "line 3"),
        (TEXT.replace("2\n", "3\n", 1), "line 1 says 3 photos; 2 follow"),
        (TEXT.replace("000002", "000001"), "line 4 names '000001.jpg' a second time"),
        ("9" * 5000, "line 1"),
        ("\udcff", "is no text in UTF-8"),
    ],
)
def test_a_damaged_text_names_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"list.txt: {message}"):
        read_landmarks(table(tmp_path, "list.txt", text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 is ''; expected the columns image_id"),
        ("image_id,lefteye_x\n", "line 1 is 'image_id,lefteye_x'"),
        (CSV.replace("image_id", "x"), "line 1"),
        (CSV.replace(",260", ""), "line 2 has 10 cells; its header has 11"),
        (CSV.replace(",260", ",x"), "line 2 is '000001.jpg,165,184"),
        (CSV.replace("140,", ","), "line 3"),
        (CSV.replace("000002", "000001"), "line 3 names '000001.jpg' a second time"),
        (CSV.replace("000002.jpg", "x" * 200_000), "line 3 is no CSV"),
    ],
)
def test_a_damaged_csv_names_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"list.csv: {message}"):
        read_landmarks(table(tmp_path, "list.csv", text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("7", "is '7'; expected"),
        ("[7]", "entry 1 is '7'; expected"),
        ('[{"file": "a.jpg"}]', r"entry 1 \('a.jpg'\) is 'None'"),
        ('[{"file": 7, "landmarks": []}]', "entry 1 is "),
        ('{"a.jpg": [1, 2, 3]}', r"entry 1 \('a.jpg'\) is '\[1, 2, 3\]'"),
        ('{"a.jpg": [[1, 2, 3], [1], 1, 2, 3]}', "entry 1"),
        ('{"a.jpg": {"x": 1}}', "entry 1"),
        ('{"a.jpg": [1, 2, 3, 4, 5, 6, 7, 8, 9, NaN]}', "entry 1"),
        ('{"a.jpg": [1, 2, 3, 4, 5, 6, 7, 8, 9, true]}', "entry 1"),
        ('{"a.jpg": [1, 2, 3, 4, 5, 6, 7, 8, 9, 1' + "0" * 400 + "]}", "entry 1"),
        ('{"a.jpg": [1, 2, 3, 4, 5, 6, 7, 8, 9, 1' + "0" * 5000 + "]}", "is no JSON"),
        (f'{{"a.jpg": {POINTS["000001.jpg"]}, "a.jpg": {POINTS["000001.jpg"]}}}', "entry 2 names 'a.jpg' a second"),
    ],
)
def test_damaged_json_names_its_entry(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"list.json: {message}") as caught:
        read_landmarks(table(tmp_path, "list.json", text))
    assert "\n" not in caught.value.message


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.txt: cannot be read \(No such file"):
        read_landmarks(StoredFile(tmp_path / "none.txt"))
    with pytest.raises(InputError, match=r"is no regular file|cannot be read"):
        read_landmarks(StoredFile(tmp_path))


@pytest.mark.parametrize("name", ["a\nb.jpg", "a\r\nb.jpg", "a\rb.jpg", "a\u2028b.jpg", 'a,"b".jpg', " a.jpg "])
def test_a_manifest_gives_back_every_name_that_it_was_given(tmp_path: Path, name: str) -> None:
    written = manifest(tmp_path, {name: "file", "last.jpg": "celeba"})
    assert list(read_landmarks(written)) == [name, "last.jpg"]
    assert [row["file"] for row in read_manifest(written.path)] == [name, "last.jpg"]


def test_a_manifest_says_which_points_are_of_the_upright_photo(tmp_path: Path) -> None:
    found = read_landmarks(manifest(tmp_path, {"a.jpg": "facexlib", "b.jpg": "celeba", "c.jpg": "file"}))
    assert (list(found), found.upright) == (["a.jpg", "b.jpg", "c.jpg"], {"a.jpg"})
    chosen = found.of(["a.png", "b.jpg", "d.jpg"])
    assert (list(chosen), chosen.upright) == (["a.png", "b.jpg"], {"a.png"})
    np.testing.assert_array_equal(chosen["a.png"], found["a.jpg"])
    assert match(["a.png"], found).keys() == {"a.png"}
    for form, text in FORMS.items():
        assert read_landmarks(table(tmp_path, form, text)).upright == set(), form


@pytest.mark.parametrize("source", ["facexlib", "celeba"])
def test_points_of_a_manifest_cut_the_face_of_a_turned_photo(tmp_path: Path, source: str) -> None:
    """Those that were found in the upright photo were laid onto the pixels as stored: another place."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.fromarray(astronaut()).save(buffer, "PNG", exif=exif)
    seen = decode(buffer.getvalue(), where="x", upright=source == "facexlib")
    points = np.array([[200, 100], [240, 104], [218, 126], [204, 148], [238, 150]], float)
    read = read_landmarks(manifest(tmp_path, {"a.png": source}, points)).of(["a.png"])
    photo = decode(buffer.getvalue(), where="x", upright="a.png" in read.upright)
    found = crop(photo, crop_quad(read["a.png"]), resolution=64)
    np.testing.assert_array_equal(found, crop(seen, crop_quad(points), resolution=64))


def test_file_names_may_hold_spaces(tmp_path: Path) -> None:
    file = table(tmp_path, "list.txt", TEXT.replace("000002.jpg", "my holiday 2.jpg"))
    assert list(read_landmarks(file)) == ["000001.jpg", "my holiday 2.jpg"]


@settings(deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["a.txt", "a.csv", "a.json"]), st.booleans())
def test_no_bytes_do_more_than_be_refused(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str, begun: bool
) -> None:
    start = {"a.txt": TEXT[:150], "a.csv": CSV[:200], "a.json": json.dumps(PAIRS)[:90]}[name].encode() if begun else b""
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(start + data)
    try:
        points = read_landmarks(StoredFile(path))
    except InputError as error:
        assert "\n" not in error.message
    else:
        assert all(np.isfinite(found).all() and found.shape == (5, 2) for found in points.values())


NUMBERS = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=10, max_size=10)
WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8)


@settings(deadline=None)
@given(st.dictionaries(WORDS, NUMBERS, min_size=1, max_size=4))
def test_all_forms_give_the_same_numbers(
    tmp_path_factory: pytest.TempPathFactory, known: dict[str, list[float]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    rows = [f"{name} {' '.join(map(repr, values))}" for name, values in known.items()]
    header = ",".join(["file", *COLUMNS])
    cells = [f'"{name.replace(chr(34), chr(34) * 2)}",{",".join(map(repr, v))}' for name, v in known.items()]
    for name, text in [
        ("p.txt", "\n".join([str(len(known)), "x", *rows])),
        ("p.csv", "\n".join([header, *cells])),
        ("p.json", json.dumps(known)),
    ]:
        found = read_landmarks(table(folder, name, text))
        assert {key: points.ravel().tolist() for key, points in found.items()} == known, name


def test_a_photo_has_its_own_line_or_that_of_its_name_with_another_suffix() -> None:
    known = {"a.jpg": 1, "b.jpg": 2, "x/c.jpg": 3, "d.jpg": 4, "d.png": 5, "e": 6}
    assert match(["a.jpg", "b.png", "x/c.png", "c.png", "d.webp", "e.jpg"], known) == {
        "a.jpg": 1,
        "b.png": 2,
        "x/c.png": 3,
        "e.jpg": 6,
    }
    assert match(["a.jpg", "a.png"], known) == {"a.jpg": 1}  # the line is another photo's


def celeba(root: Path, images: str = "Img/img_celeba", suffix: str = ".jpg") -> Path:
    for folder in (images, "Anno", "Eval"):
        (root / folder).mkdir(parents=True)
    for number in (1, 2, 3):
        (root / images / f"00000{number}{suffix}").write_bytes(b"")
    lines = ["2", "Bald Smiling ", "000001.jpg  1 -1", "000002.jpg -1  1"]
    (root / "Anno/list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    (root / "Anno/identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 7\n000003.jpg 1\n")
    (root / "Eval/list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 2\n")
    return root


EXPECTED = {
    "000001": {"Bald": True, "Smiling": False, "identity": 2880, "split": "train"},
    "000002": {"Bald": False, "Smiling": True, "identity": 7, "split": "test"},
    "000003": {"identity": 1},
}


def said(annotations: Annotations, suffix: str = ".jpg") -> dict[str, dict[str, bool | int | str]]:
    return {stem: annotations.of(stem + suffix) for stem in EXPECTED}


def test_celebas_own_tables(tmp_path: Path) -> None:
    annotations = read_annotations(find_photos(celeba(tmp_path)))
    assert said(annotations) == EXPECTED
    assert type(annotations.of("000001.jpg")["Bald"]) is bool
    assert annotations.of("9.jpg") == {}


def test_tables_with_a_mark_and_line_ends_of_windows(tmp_path: Path) -> None:
    for path in sorted(celeba(tmp_path).glob("*/*.txt")):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert said(read_annotations(find_photos(tmp_path))) == EXPECTED


def test_the_png_edition_has_the_same_lines(tmp_path: Path) -> None:
    annotations = read_annotations(find_photos(celeba(tmp_path, "Img/img_align_celeba_png", ".png")))
    assert said(annotations, ".png") == EXPECTED


def test_kaggles_tables(tmp_path: Path) -> None:
    images = tmp_path / "img_align_celeba/img_align_celeba"
    images.mkdir(parents=True)
    for stem in EXPECTED:
        (images / f"{stem}.jpg").write_bytes(b"")
    (tmp_path / "list_attr_celeba.csv").write_text("image_id,Bald,Smiling\n000001.jpg,1,-1\n000002.jpg,-1,1\n")
    (tmp_path / "list_eval_partition.csv").write_text("image_id,partition\n000001.jpg,0\n000002.jpg,2\n")
    found = said(read_annotations(find_photos(tmp_path)))
    assert found == {stem: {k: v for k, v in one.items() if k != "identity"} for stem, one in EXPECTED.items()}


def test_without_tables_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    assert read_annotations(find_photos(tmp_path)).of("a.jpg") == {}
    assert Annotations().of("a.jpg") == {}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("Anno/list_attr_celeba.txt", "1\nBald\n000001.jpg 2\n", "line 3 is '000001.jpg 2'"),
        ("Anno/list_attr_celeba.txt", "2\nBald\n000001.jpg 1\n", "line 1 says 2 photos; 1 follow"),
        ("Anno/list_attr_celeba.txt", "", "lines 1 and 2"),
        ("Anno/identity_CelebA.txt", "000001.jpg -1", "line 1 is '000001.jpg -1'"),
        ("Eval/list_eval_partition.txt", "000001.jpg 0\n000001.jpg 1\n", "line 2"),
    ],
)
def test_a_broken_table_is_an_error_at_once(tmp_path: Path, name: str, text: str, message: str) -> None:
    (celeba(tmp_path) / name).write_text(text)
    with pytest.raises(InputError, match=f"{name}: {message}"):
        read_annotations(find_photos(tmp_path))


@pytest.mark.parametrize("text", ["image_id,Bald,Bald\n", "\n", "image_id\n", "image_id,Bald\n000001.jpg\n"])
def test_a_broken_csv_of_attributes(tmp_path: Path, text: str) -> None:
    (celeba(tmp_path) / "Anno/list_attr_celeba.txt").unlink()
    (tmp_path / "Anno/list_attr_celeba.csv").write_text(text)
    with pytest.raises(InputError, match=r"list_attr_celeba\.csv: line "):
        read_annotations(find_photos(tmp_path))


def points_of(shared: Path) -> dict[str, NDArray[np.float64]]:
    photos = find_photos(shared / "data/celeba-real")
    assert photos.annotation is not None
    return match(photos.names, read_landmarks(photos.annotation))


@pytest.mark.shared
def test_the_real_portraits(shared: Path) -> None:
    found = points_of(shared)
    assert len(found) == 32
    np.testing.assert_array_equal(found["000001.jpg"][0], [87, 44])
