"""Names for image files that every file system takes and that sort in the images' order."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.photo import SUFFIXES

SUFFIX = ".png"
# What Windows does not take in a name, and what no name should hold.
FORBIDDEN = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
DRIVE = re.compile(r"[A-Za-z]:(?=/)")
# Names of devices on Windows, whatever their suffix.
RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)
# Of one folder or file, in UTF-8; file systems take 255, and a number and a suffix may be added.
MAX_PART_BYTES = 120
# Of a whole relative path; Windows takes 260 characters in all.
MAX_NAME_BYTES = 180


def safe_name(name: str) -> str:
    """Return a relative path with `/` and the suffix .png that names a visible file below any folder.

    Drive letters, leading slashes, `.` and `..` go; backslashes become slashes; what some system refuses becomes `_`.
    A known image suffix is replaced by .png, any other is kept before it. Folders go where the whole would be too long.
    "" becomes "image.png".
    """
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode("utf-8").replace("\\", "/"))
    parts = [part for part in DRIVE.sub("", text, count=1).split("/") if part.strip() not in ("", ".", "..")]
    last = PurePosixPath(parts.pop()) if parts else PurePosixPath("image")
    stem = last.stem if last.suffix.lower() in SUFFIXES else last.name
    folders = [_safe_part(part) for part in parts]
    # A folder that is named like an image could stand where one of that name is to go.
    folders = [folder + "_" if folder.lower().endswith(SUFFIX) else folder for folder in folders]
    file = _safe_part(stem) + SUFFIX
    whole = "/".join([*folders, file])
    return whole if len(whole.encode()) <= MAX_NAME_BYTES else file


def valid_text(text: str) -> str:
    """Return a text with what is no Unicode in it spelt out: the byte 0xff of a file name becomes `\\udcff`.

    Python keeps such bytes of a name as lone surrogates, which no file format takes.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def member_names(names: Sequence[str], labels: NDArray[np.int64] | None) -> list[str]:
    """Return a file's relative path for each image; as strings they ascend, so that sorting keeps the images' order.

    The images' own names are kept where they can be: made safe, and numbered where two are the same. If they do not
    ascend, the index goes before them. Images that come class by class stand in a folder a class, `00003/…`, unless
    their names already have such folders; classes that come mixed cannot, as sorting would bring them together.

    Args:
        names: of the images, in index order; any text.
        labels: class numbers, int64 (N,), if there are classes.
    """
    unique = _numbered([safe_name(name) for name in names])
    folders = _class_folders(labels, len(names))
    given = labels_by_folder(unique)
    told = given is not None and labels is not None and np.array_equal(given, labels)
    chosen = unique if told else [folder + name for folder, name in zip(folders, unique, strict=True)]
    if all(one < other for one, other in pairwise(chosen)) and _spelt_alike(chosen):
        return chosen
    lasts = [name.rpartition("/")[2] for name in unique]
    return [f"{folder}{index:08d}-{last}" for index, (folder, last) in enumerate(zip(folders, lasts, strict=True))]


def labels_by_folder(members: Sequence[str]) -> NDArray[np.int64] | None:
    """Return the classes that relative paths tell: the first sub-folders, numbered in the order of their names.

    Returns:
        int64 (N,); None if a file is in no sub-folder, all are in one, or the sub-folders are StyleGAN's thousands.
    """
    folders = [member.split("/", 1)[0] if "/" in member else "" for member in members]
    classes = sorted(set(folders))
    if len(classes) < 2 or "" in classes or all(map(_is_stylegan, members)):
        return None
    numbers = {folder: number for number, folder in enumerate(classes)}
    return np.array([numbers[folder] for folder in folders], dtype=np.int64)


def check_member(name: str, archive: Path) -> None:
    """Raise InputError if a file inside an archive is named so that it would lead out of it, or in no readable way.

    Raises:
        InputError: the path is absolute, has a part `..`, or holds control characters.
    """
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        raise InputError(f"{archive} names a file outside of itself: {name!r}.", hint="Do not use this archive.")
    if CONTROL.search(name):
        raise InputError(f"{archive} names a file {name!r}, with control characters.", hint="Rename it and pack anew.")


def stylegan_name(index: int) -> str:
    """Return the path of an image in a data set of StyleGAN2-ADA or StyleGAN3, e.g. '00001/img00001234.png'."""
    return f"{index // 1000:05d}/img{index:08d}{SUFFIX}"


def _is_stylegan(member: str) -> bool:
    found = re.fullmatch(r"(\d{5,})/img(\d{8,})\.\w+", member, re.ASCII)
    return found is not None and int(found[1]) == int(found[2]) // 1000


def _safe_part(part: str) -> str:
    """Return one folder's or file's name, without its suffix, as every system takes it."""
    kept = FORBIDDEN.sub("_", part).encode()[:MAX_PART_BYTES].decode("utf-8", "ignore")
    kept = kept.strip(" ").rstrip(". ") or "_"
    # A leading dot hides a file, and what begins like macOS's own folder is skipped with it.
    if kept.startswith(".") or kept == "__MACOSX":
        kept = "_" + kept.lstrip(".")
    return "_" + kept if RESERVED.fullmatch(kept) else kept


def _numbered(names: Sequence[str]) -> list[str]:
    """Return the names with `_2`, `_3`, … before the suffix where an earlier one is the same to some file system."""
    taken: dict[str, int] = {}
    unique = []
    for name in names:
        found, number = name, 1
        while found.casefold() in taken:
            number = max(number, taken[name.casefold()]) + 1
            taken[name.casefold()] = number
            found = f"{name.removesuffix(SUFFIX)}_{number}{SUFFIX}"
        taken[found.casefold()] = 1
        unique.append(found)
    return unique


def _spelt_alike(members: Sequence[str]) -> bool:
    """Return whether no two folders differ in case alone: where case does not count they would be one."""
    folders = {member.rpartition("/")[0] for member in members}
    spelt = {"/".join(folder.split("/")[: depth + 1]) for folder in folders for depth in range(folder.count("/") + 1)}
    return len({one.casefold() for one in spelt}) == len(spelt)


def _class_folders(labels: NDArray[np.int64] | None, count: int) -> list[str]:
    """Return `00003/` for each image of class 3; "" for all where classes come mixed or not at all."""
    if labels is None or not (labels[1:] >= labels[:-1]).all():
        return [""] * count
    digits = max(5, len(str(labels.max())))
    return [f"{label:0{digits}d}/" for label in labels]
