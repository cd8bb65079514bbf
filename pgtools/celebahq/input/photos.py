"""Which photos there are: CelebA in every edition, any folder, any ZIP; and which of them are wanted."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pgtools.celebahq.input.files import FolderTree, StoredFile, Tree, ZipTree, is_photo
from pgtools.errors import InputError, UsageError
from pgtools.imaging.photo import SUFFIXES

__all__ = ["PhotoSet", "StoredFile", "find_photos", "select"]

# Where photos stand in the editions of CelebA, most original first; each goes with one table of landmarks.
LAYOUTS = {
    "img_celeba": "list_landmarks_celeba",
    "img_align_celeba": "list_landmarks_align_celeba",
    "img_align_celeba_png": "list_landmarks_align_celeba",
}
# CelebA's other tables.
TABLES = ("list_attr_celeba", "identity_CelebA", "list_eval_partition")
# CelebA's own folder, below what is named: itself, or torchvision's.
BASES = ("", "Img/", "celeba/", "celeba/Img/", "CelebA/", "CelebA/Img/")
# A 7z archive in parts is a folder, and is unpacked where it stands.
UNPACKED = tuple(f"{images}.7z" for images in LAYOUTS)
# Folders between CelebA's own and its photos.
INNER = frozenset({*LAYOUTS, *UNPACKED, "Img"})
RANGE = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?", re.ASCII)


@dataclass(frozen=True)
class PhotoSet:
    """Photos to build from.

    Attributes:
        root: the folder below which they are, or their ZIP.
        files: name → file, sorted by name; a name is the path below CelebA's folder of photos, else below what was
            named (bytes that are no UTF-8 as \\xNN), and what annotation, manifest and store call a photo.
        annotation: the table of landmarks that belongs to them, if there is one.
        base: CelebA's own folder, which holds Anno and Eval; of other photos the folder they, or their ZIP, are in.
        tables: CelebA's other tables by their names without suffix, those that are there.
    """

    root: Path
    files: dict[str, StoredFile]
    annotation: StoredFile | None
    base: Path
    tables: dict[str, StoredFile] = dataclasses.field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, sorted."""
        return tuple(self.files)


def find_photos(root: Path) -> PhotoSet:
    """Return the photos of CelebA (any edition), of any folder or of any ZIP, with the tables that belong to them.

    Of several editions in one folder the most original counts; another is taken by naming its folder. Hidden files
    and folders are left out, links to folders are followed.

    Args:
        root: CelebA's folder, one of its folders of photos, its ZIP, or any folder or ZIP of photos.

    Raises:
        InputError: `root` is neither folder nor ZIP, cannot be read, holds no photo, or holds two of one name.
    """
    if root.is_dir():
        tree: Tree = FolderTree(root)
    elif root.is_file() and is_photo(root.name):
        raise InputError(f"{root} is a single photo.", hint="Name the folder it is in, with --list or --limit.")
    elif root.is_file():
        tree = ZipTree(root, kept=INNER)
    else:
        found = "no regular file" if root.exists() else "missing"
        raise InputError(f"{root} is {found}; expected CelebA's folder, a folder of photos, or a ZIP of photos.")
    own = root.name if root.is_dir() else root.stem
    for images, landmarks in LAYOUTS.items():
        for folder in _places(tree, images):
            if files := _files(tree, folder):
                return _photo_set(tree, folder, files, (landmarks,))
    files = _files(tree, "")
    if not files:
        raise InputError(f"{root} holds no photos ({', '.join(sorted(SUFFIXES))}).", hint=_hint(root))
    return _photo_set(tree, "", files, (LAYOUTS[own],) if own in LAYOUTS else tuple(dict.fromkeys(LAYOUTS.values())))


def select(photos: PhotoSet, *, limit: int | None, indices: str | None, listed: Path | None) -> PhotoSet:
    """Return the photos that are wanted, in the order of their names.

    They are those that are listed, of these those at `indices`, and of these the first.

    Args:
        photos: all there are.
        limit: take so many at most.
        indices: positions among all photos, counted from 0 in the order of their names, e.g. "0-9,42".
        listed: a text file of names, one a line; blank lines and lines that begin with # are left out, and blanks
            around a name, unless a photo's name has them.

    Raises:
        UsageError: `limit` or `indices` is no such thing, or names a position that no photo has.
        InputError: the list cannot be read or names what is not there, or nothing is left.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit is {limit}; expected 1 or more.")
    names = list(photos.files)
    if listed is not None:
        wanted = _listed(listed, photos)
        names = [name for name in names if name in wanted]
    if indices is not None:
        all_names = list(photos.files)
        positions = {all_names[i] for one in _ranges(indices, len(all_names)) for i in one}
        names = [name for name in names if name in positions]
    names = names[:limit]
    if not names:
        raise InputError(f"None of the {len(photos.files)} photos of {photos.root} is both listed and at the indices.")
    return dataclasses.replace(photos, files={name: photos.files[name] for name in names})


def _places(tree: Tree, images: str) -> list[str]:
    """Return the folders of the tree in which an edition's photos may stand."""
    found = []
    for base in BASES:
        for place in (f"{base}{images}", f"{base}{images}.7z/{images}"):
            nested = f"{place}/{images}"  # Kaggle and torchvision nest the folder in itself
            found += [folder for folder in (nested, place) if tree.holds(folder)]
    return found


def _files(tree: Tree, folder: str) -> dict[str, StoredFile]:
    files: dict[str, StoredFile] = {}
    for path, file in tree.photos(folder):
        name = os.fsencode(path).decode("utf-8", "backslashreplace")
        if name in files:
            raise InputError(f"{tree.root} holds two photos that are named {name}.", hint="Rename one of them.")
        files[name] = file
    return dict(sorted(files.items()))


def _photo_set(tree: Tree, folder: str, files: dict[str, StoredFile], landmarks: tuple[str, ...]) -> PhotoSet:
    """Return the photos with the tables nearest to them: in their ZIP, in their folder, then outwards to the base."""
    inside = [folder]
    while inside[-1].rpartition("/")[2] in INNER:
        inside.append(inside[-1].rpartition("/")[0])
    outside = [tree.root.parent] if isinstance(tree, ZipTree) else [tree.root]
    if isinstance(tree, ZipTree) or not inside[-1]:
        while _name(outside[-1]) in INNER:
            outside.append(outside[-1].parent if outside[-1].name else outside[-1].absolute().parent)
    trees = [(tree, f"{place}/" if place else "") for place in inside]
    trees += [(FolderTree(place), "") for place in outside]
    tables = {stem: file for stem in (*landmarks, *TABLES) if (file := _table(trees, stem))}
    annotation = next((tables.pop(stem) for stem in landmarks if stem in tables), None)
    base = outside[-1] if isinstance(tree, ZipTree) or not inside[-1] else tree.root / inside[-1]
    root = tree.root if isinstance(tree, ZipTree) else tree.root / folder
    return PhotoSet(root, files, annotation, base, {stem: tables[stem] for stem in TABLES if stem in tables})


def _name(folder: Path) -> str:
    return folder.name or folder.absolute().name


def _table(trees: list[tuple[Tree, str]], stem: str) -> StoredFile | None:
    for tree, place in trees:
        for folder in ("Anno/", "Eval/", ""):
            for suffix in (".txt", ".csv"):
                if file := tree.file(f"{place}{folder}{stem}{suffix}"):
                    return file
    return None


def _hint(root: Path) -> str:
    """Return what helps where the photos are still packed."""
    if not root.is_dir():
        return ""
    packed = [root / base / f"{images}.zip" for base in BASES for images in LAYOUTS]
    archive = next((path for path in packed if path.is_file()), None)
    if archive:
        return f"Name the ZIP itself: {archive}."
    parts = [root / base / f"{images}.7z" for base in BASES for images in LAYOUTS]
    return "Unpack the .7z.001 file with 7-Zip." if any(path.exists() for path in parts) else ""


def _listed(listed: Path, photos: PhotoSet) -> set[str]:
    try:
        lines = listed.read_text("utf-8-sig").split("\n")  # a name may hold what splitlines ends lines at
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise InputError(f"{listed}: cannot be read as a list of names ({why}).") from None
    # A photo may be named so that its line looks like a comment, or begins or ends with blanks.
    names = [line if line in photos.files else line.strip() for line in lines]
    names = [name for name in names if name in photos.files or (name and not name.startswith("#"))]
    unknown = [name for name in names if name not in photos.files]
    if unknown:
        example = next(iter(photos.files))
        raise InputError(
            f"{listed} names {len(unknown)} photos that are not there, {unknown[0][:80]!r} first.",
            hint=f"Names are as in {example!r}, one a line.",
        )
    if not names:
        raise InputError(f"{listed} names no photo.", hint="Write one name a line.")
    return set(names)


def _ranges(indices: str, count: int) -> list[range]:
    """Return the positions that a text like "0-9,42" names."""
    ranges = []
    for part in indices.split(","):
        found = RANGE.fullmatch(part.strip())
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
        if first > last:
            raise UsageError(f"--indices has {part.strip()[:40]!r}; expected numbers and ranges like 0-9,42.")
        if last >= count:
            raise UsageError(f"--indices has {last}; the {count} photos are counted from 0 to {count - 1}.")
        ranges.append(range(first, last + 1))
    return ranges
