"""Which photos are found: every edition of CelebA, any folder, any ZIP; and which of them are taken."""

from __future__ import annotations

import errno
import os
import pickle
import struct
import threading
import zipfile
from pathlib import Path

import pytest

from pgtools.celebahq.input import files as stored
from pgtools.celebahq.input.photos import PhotoSet, StoredFile, find_photos, select
from pgtools.errors import InputError, UsageError
from pgtools.runtime.zips import ZipArchive

NAMES = ("000001.jpg", "000002.jpg")
WILD, ALIGNED = "list_landmarks_celeba", "list_landmarks_align_celeba"


def fill(root: Path, *files: str) -> Path:
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


def zipped(path: Path, *files: str, packed: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name in files:
            archive.writestr(name, name.encode())
    return path


def many(folder: str, *names: str) -> list[str]:
    return [f"{folder}/{name}" for name in names or NAMES]


# where the photos are, where their table is, where CelebA's own folder is
LAYOUTS = {
    "in the wild": ("img_celeba", f"Anno/{WILD}.txt", "."),
    "as downloaded": ("Img/img_celeba", f"Anno/{WILD}.txt", "."),
    "unpacked by 7z": ("Img/img_celeba.7z/img_celeba", f"Anno/{WILD}.txt", "."),
    "aligned": ("Img/img_align_celeba", f"Anno/{ALIGNED}.txt", "."),
    "Kaggle": ("img_align_celeba/img_align_celeba", f"{ALIGNED}.csv", "."),
    "PNG": ("Img/img_align_celeba_png.7z/img_align_celeba_png", f"Anno/{ALIGNED}.txt", "."),
    "torchvision": ("celeba/img_align_celeba", f"celeba/{ALIGNED}.txt", "celeba"),
    "below a folder": ("CelebA/Img/img_celeba", f"CelebA/Anno/{WILD}.txt", "CelebA"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_edition_of_celeba(tmp_path: Path, layout: str) -> None:
    images, table, base = LAYOUTS[layout]
    eval_folder = "Eval" if table.startswith("Anno") else str(Path(table).parent)
    fill(tmp_path, *many(images), table, f"{Path(table).parent}/list_attr_celeba.txt", "README.txt")
    fill(tmp_path, f"{eval_folder}/list_eval_partition.csv", "list_bbox_celeba.txt")
    for named in (tmp_path, tmp_path / images):  # CelebA's folder, and the photos' own
        found = find_photos(named)
        assert found.names == NAMES
        assert found.root == tmp_path / images
        assert found.annotation == StoredFile(tmp_path / table)
        assert found.base == tmp_path / base
        assert sorted(found.tables) == ["list_attr_celeba", "list_eval_partition"]
        assert [file.read() for file in found.files.values()] == [name.encode() for name in many(images)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_zip_of_every_edition_is_the_same_as_its_folder(tmp_path: Path, layout: str) -> None:
    images, table, _ = LAYOUTS[layout]
    attributes = f"{Path(table).parent}/list_attr_celeba.txt".removeprefix("./")
    path = zipped(tmp_path / "x/CelebA.zip", *many(images), table, attributes)
    found = find_photos(path)
    assert (found.names, found.root, found.base) == (NAMES, path, path.parent)
    assert found.annotation == StoredFile(path, table)
    assert found.tables == {"list_attr_celeba": StoredFile(path, attributes)}
    assert [file.read() for file in found.files.values()] == [name.encode() for name in many(images)]


def test_celebas_own_zip_finds_the_tables_beside_it(tmp_path: Path) -> None:
    path = zipped(tmp_path / "Img/img_align_celeba.zip", *many("img_align_celeba"), "__MACOSX/._x.jpg")
    fill(tmp_path, f"Anno/{ALIGNED}.txt", f"Anno/{WILD}.txt", "Eval/list_eval_partition.txt")
    found = find_photos(path)
    assert (found.names, found.base) == (NAMES, tmp_path)
    assert found.annotation == StoredFile(tmp_path / f"Anno/{ALIGNED}.txt")
    assert list(found.tables) == ["list_eval_partition"]
    with pytest.raises(InputError, match="no photos") as caught:
        find_photos(tmp_path)
    assert str(path) in caught.value.hint


def test_a_zip_without_folders_goes_by_its_own_name(tmp_path: Path) -> None:
    path = zipped(tmp_path / "img_align_celeba.zip", *NAMES)
    fill(tmp_path, f"{WILD}.txt", f"{ALIGNED}.txt")
    assert find_photos(path).annotation == StoredFile(tmp_path / f"{ALIGNED}.txt")


def test_of_two_editions_the_most_original_counts_unless_the_other_is_named(tmp_path: Path) -> None:
    fill(tmp_path, *many("img_align_celeba"), "Img/img_celeba/a.jpg", f"Anno/{WILD}.txt", f"Anno/{ALIGNED}.txt")
    assert find_photos(tmp_path).annotation == StoredFile(tmp_path / f"Anno/{WILD}.txt")
    aligned = find_photos(tmp_path / "img_align_celeba")
    assert (aligned.names, aligned.annotation) == (NAMES, StoredFile(tmp_path / f"Anno/{ALIGNED}.txt"))
    (tmp_path / "Img/img_celeba/a.jpg").unlink()  # the parts of a 7z may stand there, not unpacked
    assert find_photos(tmp_path).names == NAMES


def test_any_folder_and_any_zip_of_photos(tmp_path: Path) -> None:
    files = ["b/a.JPG", "c.webp", "b/d e.avif", "b/c/é.png", "notes.txt", ".hidden.jpg", ".thumbs/a.jpg", "jpg"]
    names = ("b/a.JPG", "b/c/é.png", "b/d e.avif", "c.webp")
    fill(tmp_path / "photos", *files, "__MACOSX/a.jpg")
    os.mkfifo(tmp_path / "photos/pipe.jpg")
    found = find_photos(tmp_path / "photos")
    assert (found.names, found.annotation, found.tables) == (names, None, {})
    assert (found.root, found.base) == (tmp_path / "photos", tmp_path / "photos")
    for path in (zipped(tmp_path / "1.zip", *files), zipped(tmp_path / "2.zip", *many("photos", *files))):
        assert find_photos(path).names == names, path
    fill(tmp_path / "photos", f"{WILD}.txt")
    assert find_photos(tmp_path / "photos").annotation == StoredFile(tmp_path / f"photos/{WILD}.txt")


def test_the_folder_one_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, *many("img_celeba"), f"Anno/{WILD}.txt")
    monkeypatch.chdir(tmp_path / "img_celeba")
    found = find_photos(Path())
    assert found.annotation is not None
    assert (found.names, found.annotation.path.samefile(tmp_path / f"Anno/{WILD}.txt")) == (NAMES, True)


def test_links_are_followed_and_nothing_is_listed_twice(tmp_path: Path) -> None:
    fill(tmp_path, "photos/b/1.jpg", "elsewhere/2.jpg")
    (tmp_path / "photos/a").symlink_to(tmp_path / "photos/b")
    (tmp_path / "photos/b/round").symlink_to(tmp_path / "photos")
    (tmp_path / "photos/c").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos/d.jpg").symlink_to(tmp_path / "elsewhere/2.jpg")
    (tmp_path / "photos/e.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert find_photos(tmp_path / "photos").names == ("b/1.jpg", "c/2.jpg", "d.jpg")


def test_names_that_are_no_text_are_spelt_out_and_never_fall_together(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.jpg")).write_bytes(b"x")
    (found,) = find_photos(tmp_path).files.items()
    assert (found[0], found[1].read()) == ("\\xff.jpg", b"x")
    fill(tmp_path, "\\xff.jpg")
    with pytest.raises(InputError, match=r"two photos that are named \\xff.jpg"):
        find_photos(tmp_path)


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        path = zipped(tmp_path / "a.zip", "a.jpg", "a.jpg")
    with pytest.raises(InputError, match=r"a\.zip holds two photos that are named a\.jpg"):
        find_photos(path)


def test_what_holds_no_photos_says_so_in_a_line(tmp_path: Path) -> None:
    for named, message in [
        (tmp_path / "none", "is missing; expected CelebA's folder, a folder of photos, or a ZIP"),
        (fill(tmp_path, "a.txt") / "a.txt", r"a\.txt is not a readable ZIP"),
        (zipped(tmp_path / "b.zip", "readme.md"), r"b\.zip holds no photos \(\.avif"),
        (zipped(tmp_path / "c.zip", "../a.jpg"), "names a file outside of itself"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            find_photos(named)
        assert "\n" not in caught.value.message
    fill(tmp_path, "Img/img_celeba.7z/img_celeba.7z.001")
    with pytest.raises(InputError, match="no photos") as caught:
        find_photos(tmp_path)
    assert "7-Zip" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "b").chmod(0)
    with pytest.raises(InputError, match=r"b: cannot be read \(Permission denied\)"):
        find_photos(tmp_path)


class TestStoredFile:
    """Bytes from a file or a ZIP, anywhere, and what became of them."""

    def test_a_file_that_changes_has_another_state(self, tmp_path: Path) -> None:
        file = StoredFile(fill(tmp_path, "a.jpg") / "a.jpg")
        before = file.state()
        assert before == [5, (tmp_path / "a.jpg").stat().st_mtime_ns]
        os.utime(tmp_path / "a.jpg", ns=(0, 7))
        assert file.state() == [5, 7]
        (tmp_path / "a.jpg").unlink()
        assert file.state() == []
        with pytest.raises(FileNotFoundError):
            file.read()

    def test_a_member_is_read_in_place_by_name_alone_too(self, tmp_path: Path) -> None:
        path = zipped(tmp_path / "a.zip", "b/a.jpg", "c.txt")
        (file,) = find_photos(path).files.values()
        assert str(file) == f"{path}:b/a.jpg"
        plain = StoredFile(path, "b/a.jpg")
        assert plain == file
        assert plain.read() == file.read() == b"b/a.jpg"
        assert plain.state() == file.state() == [7, zipfile.ZipFile(path).getinfo("b/a.jpg").CRC]
        with pytest.raises(InputError, match=r"a\.zip:d\.jpg: is not in the ZIP"):
            StoredFile(path, "d.jpg").read()
        assert StoredFile(path, "d.jpg").state() == []
        path.unlink()
        assert file.state() == []
        with pytest.raises(FileNotFoundError):
            file.read()

    def test_it_travels_in_a_few_bytes_and_the_directory_is_not_read_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = zipped(tmp_path / "a.zip", *[f"{i:06d}.jpg" for i in range(500)])
        file = find_photos(path).files["000321.jpg"]
        data = pickle.dumps(file)
        assert len(data) < 500
        stored._archive.cache_clear()
        monkeypatch.setattr(ZipArchive, "entries", property(lambda self: pytest.fail("read the directory")))
        assert pickle.loads(data).read() == b"000321.jpg"  # noqa: S301

    def test_threads_share_one_open_zip(self, tmp_path: Path) -> None:
        path = zipped(tmp_path / "a.zip", *[f"{i:06d}.jpg" for i in range(200)])
        files = find_photos(path).files
        wrong: list[str] = []

        def read_all() -> None:
            wrong.extend(name for name, file in files.items() if file.read() != name.encode())

        stored._archive.cache_clear()
        threads = [threading.Thread(target=read_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (wrong, stored._archive.cache_info().currsize) == ([], 1)

    def test_a_zip_that_was_replaced_is_opened_anew(self, tmp_path: Path) -> None:
        path = zipped(tmp_path / "a.zip", "a.jpg")
        assert find_photos(path).files["a.jpg"].read() == b"a.jpg"
        zipped(tmp_path / "b.zip", "0.jpg", "a.jpg", packed=zipfile.ZIP_STORED).replace(path)
        assert [file.read() for file in find_photos(path).files.values()] == [b"0.jpg", b"a.jpg"]

    def test_a_zip_that_is_packed_anew_gives_the_same_photos(self, tmp_path: Path) -> None:
        """As between the listing and the reading of a long build: every photo of it was lost for good."""
        path = zipped(tmp_path / "a.zip", *NAMES, "000003.jpg")
        files = find_photos(path).files
        before = {name: file.state() for name, file in files.items()}
        travelled = pickle.loads(pickle.dumps(files))  # noqa: S301
        zipped(tmp_path / "b.zip", "000003.jpg", *reversed(NAMES), packed=zipfile.ZIP_STORED).replace(path)
        for given in (files, travelled):
            assert {name: file.read() for name, file in given.items()} == {name: name.encode() for name in files}
            assert {name: file.state() for name, file in given.items()} == before
        path.write_bytes(zipped(tmp_path / "c.zip", *NAMES, "000003.jpg").read_bytes())  # the same inode
        assert [file.read() for file in files.values()] == [name.encode() for name in files]

    def test_a_zip_that_is_replaced_between_two_looks_at_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is open decides where its members stand, not what stood at its path a moment before or after."""
        path = zipped(tmp_path / "a.zip", *NAMES)
        (tmp_path / "again.zip").write_bytes(path.read_bytes())
        file = find_photos(path).files[NAMES[0]]
        stored._archive.cache_clear()
        plain = os.open

        def replaced_first(name: Path, *rest: int) -> int:
            if name == path and (tmp_path / "b.zip").exists():
                (tmp_path / "b.zip").replace(path)
            return plain(name, *rest)

        monkeypatch.setattr(os, "open", replaced_first)
        zipped(tmp_path / "b.zip", *reversed(NAMES), packed=zipfile.ZIP_STORED)
        assert file.read() == NAMES[0].encode()
        archive = ZipArchive(path)
        (tmp_path / "again.zip").replace(path)
        first, _ = archive.entries[0]
        assert first == NAMES[1]

    @pytest.mark.parametrize("now", [b"", b"PK", None])
    def test_a_zip_that_is_being_written_says_nothing_final(self, tmp_path: Path, now: bytes | None) -> None:
        path = zipped(tmp_path / "a.zip", *NAMES)
        file = find_photos(path).files[NAMES[1]]
        path.write_bytes(zipped(tmp_path / "b.zip", NAMES[0]).read_bytes() if now is None else now)
        with pytest.raises(OSError, match="its ZIP has changed since it was listed"):
            file.read()
        zipped(path, *reversed(NAMES))
        assert file.read() == NAMES[1].encode()

    @pytest.mark.parametrize(
        ("offset", "format", "value", "message"),
        [
            (8, "<H", 1, "is encrypted or packed in a way"),
            (10, "<H", 99, "is encrypted or packed in a way"),
            (24, "<I", (512 << 20) + 1, "announces more than 512 MiB"),
            (16, "<I", 7, "is damaged \\(its checksum differs\\)"),
            (42, "<I", 3, "is damaged \\(no header\\)"),
            (42, "<I", 9999, "is damaged \\(.*a.zip is cut short"),
        ],
    )
    def test_one_bad_member_is_a_fault_of_its_own(
        self, tmp_path: Path, offset: int, format: str, value: int, message: str
    ) -> None:
        path = zipped(tmp_path / "a.zip", "a.jpg", "b.jpg")
        data = bytearray(path.read_bytes())
        struct.pack_into(format, data, data.index(b"PK\x01\x02") + offset, value)
        path.write_bytes(data)
        files = find_photos(path).files
        with pytest.raises(InputError, match=f"a.zip:a.jpg: {message}"):
            files["a.jpg"].read()
        assert files["b.jpg"].read() == b"b.jpg"

    def test_a_fault_of_the_disk_stays_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It may pass, so that a build tries the photo again; damage does not."""
        files = find_photos(zipped(tmp_path / "a.zip", "a.jpg")).files

        def fails(*_: object) -> bytes:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(os, "pread", fails)
        with pytest.raises(OSError, match="Input/output error"):
            files["a.jpg"].read()

    @pytest.mark.parametrize("name", ["open", "fstat", "pread"])
    @pytest.mark.parametrize("placed", [True, False])
    def test_a_fault_of_the_disk_on_opening_a_zip_stays_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, placed: bool
    ) -> None:
        """zipfile makes "no zip file" of what it cannot read, and it was final."""
        path = zipped(tmp_path / "a.zip", "a.jpg")
        file = find_photos(path).files["a.jpg"] if placed else StoredFile(path, "a.jpg")
        stored._archive.cache_clear()

        def fails(*_: object) -> int:
            raise OSError(errno.ESTALE, "Stale file handle")

        with monkeypatch.context() as patched:
            patched.setattr(os, name, fails)
            with pytest.raises(OSError, match="Stale file handle"):
                file.read()
        assert file.read() == b"a.jpg"

    def test_a_damaged_directory_is_damage(self, tmp_path: Path) -> None:
        path = zipped(tmp_path / "a.zip", "a.jpg")
        data = path.read_bytes()
        start = data.index(b"PK\1\2")
        for damaged in (b"", data[:-30], data[:start] + b"PKxx" + data[start + 4 :]):
            path.write_bytes(damaged)
            with pytest.raises(InputError, match=r"a\.zip is not a readable ZIP"):
                find_photos(path)
            with pytest.raises(InputError) as caught:
                StoredFile(path, "a.jpg").read()
            assert caught.value.message.startswith(f"{path}:a.jpg: cannot be read ({path} is not a readable ZIP")

    def test_what_is_no_regular_file_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.jpg")
        with pytest.raises(InputError, match="is no regular file"):
            StoredFile(tmp_path / "a.jpg").read()


@pytest.fixture
def ten(tmp_path: Path) -> PhotoSet:
    return find_photos(fill(tmp_path / "ten", *[f"{i}.jpg" for i in range(9)], "#1.jpg"))


def chosen(photos: PhotoSet, **wanted: object) -> list[str]:
    return list(select(photos, **{"limit": None, "indices": None, "listed": None, **wanted}).files)  # type: ignore[arg-type]


class TestSelect:
    """`--list`, then `--indices`, then `--limit`."""

    def test_each_alone(self, ten: PhotoSet, tmp_path: Path) -> None:
        names = list(ten.names)
        assert names[0] == "#1.jpg"
        assert chosen(ten) == names
        assert chosen(ten, limit=3) == names[:3]
        assert chosen(ten, limit=99) == names
        assert chosen(ten, indices=" 7-9, 0,8 ") == [names[0], *names[7:]]
        listed = tmp_path / "list.txt"
        listed.write_bytes("\ufeff8.jpg\r\n\r\n# a comment\r\n  2.jpg  \r\n#1.jpg\r\n2.jpg".encode())
        assert chosen(ten, listed=listed) == ["#1.jpg", "2.jpg", "8.jpg"]

    def test_names_with_blanks_and_line_ends_of_other_scripts(self, tmp_path: Path) -> None:
        names = [" a.jpg", "a.jpg", "b.jpg", "c\u2028d.jpg", "e\x85f\x0cg.jpg"]
        photos = find_photos(fill(tmp_path / "blanks", *names))
        listed = tmp_path / "list.txt"
        for wanted in ([" a.jpg"], ["a.jpg"], ["b.jpg", "c\u2028d.jpg"], ["e\x85f\x0cg.jpg"]):
            listed.write_bytes("".join(f"{name}\r\n" for name in wanted).encode())
            assert chosen(photos, listed=listed) == wanted
        listed.write_text("\t b.jpg \n")
        assert chosen(photos, listed=listed) == ["b.jpg"]

    def test_together_indices_count_all_photos_and_the_limit_comes_last(self, ten: PhotoSet, tmp_path: Path) -> None:
        listed = tmp_path / "list.txt"
        listed.write_text("1.jpg\n3.jpg\n5.jpg\n7.jpg\n")
        assert chosen(ten, listed=listed, indices="4-9", limit=2) == ["3.jpg", "5.jpg"]
        with pytest.raises(InputError, match=r"None of the 10 photos of .* is both listed and at the indices"):
            chosen(ten, listed=listed, indices="0")

    def test_the_rest_of_the_set_stays(self, ten: PhotoSet) -> None:
        found = select(ten, limit=1, indices=None, listed=None)
        assert (found.root, found.base, found.names) == (ten.root, ten.base, ("#1.jpg",))

    @pytest.mark.parametrize(
        ("indices", "message"),
        [
            ("", "has ''; expected numbers and ranges like 0-9,42"),
            ("1,,2", "has ''"),
            ("-1", "has '-1'"),
            ("3-1", "has '3-1'"),
            ("1-", "has '1-'"),
            ("a", "has 'a'"),
            ("²", "has '²'"),
            ("1.5", "has '1.5'"),
            ("10", "has 10; the 10 photos are counted from 0 to 9"),
            ("0-999999999999999999", "has 999999999999999999; the 10 photos"),
            ("9" * 5000, "has '9999"),
        ],
    )
    def test_wrong_indices_are_wrong_usage(self, ten: PhotoSet, indices: str, message: str) -> None:
        with pytest.raises(UsageError, match=f"--indices {message}"):
            chosen(ten, indices=indices)

    def test_no_limit_below_one(self, ten: PhotoSet) -> None:
        with pytest.raises(UsageError, match="--limit is 0; expected 1 or more"):
            chosen(ten, limit=0)

    def test_a_list_of_what_is_not_there(self, ten: PhotoSet, tmp_path: Path) -> None:
        listed = tmp_path / "list.txt"
        listed.write_text("1.jpg\nx.jpg\ny.jpg\n")
        with pytest.raises(InputError, match=r"list\.txt names 2 photos that are not there, 'x\.jpg' first"):
            chosen(ten, listed=listed)
        listed.write_text("\n# nothing\n")
        with pytest.raises(InputError, match="names no photo"):
            chosen(ten, listed=listed)
        listed.write_bytes(b"\xff\n")
        with pytest.raises(InputError, match="cannot be read as a list of names"):
            chosen(ten, listed=listed)
        with pytest.raises(InputError, match="cannot be read"):
            chosen(ten, listed=tmp_path / "none.txt")
