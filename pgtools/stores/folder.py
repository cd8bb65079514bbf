"""A folder of image files, nested or not; sub-folders of the first level are classes."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.imaging.conventions import is_power_of_two
from pgtools.imaging.photo import SUFFIXES, decode
from pgtools.imaging.pyramid import LOWEST_LEVEL
from pgtools.runtime.workers import cpu_count
from pgtools.stores.source import ImageSource


class EncodedImages(ImageSource):
    """Images that are encoded files of some container; a sub-class says how to get the bytes of one.

    Args:
        name: the container's path.
        members: the image files' names inside it, with `/` between folders, in index order.
        dataset_json: a StyleGAN-style `dataset.json`, if there is one.
    """

    def __init__(self, name: str, members: Sequence[str], dataset_json: bytes | None) -> None:
        self.name, self.members = name, list(members)
        self.labels = _labels(name, self.members, dataset_json)
        self.resolution = self._decode(0).shape[-1]

    def __len__(self) -> int:
        return len(self.members)

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images at full resolution, decoded in threads."""
        images = in_threads(self._decode, indices)
        for i, image in zip(indices, images, strict=True):
            if image.shape[-1] != self.resolution:
                raise InputError(
                    f"{self.name}/{self.members[i]} is {image.shape[-1]}² pixels; the first is {self.resolution}².",
                    hint="All images of a source have one size.",
                )
        return np.stack(images) if images else np.zeros((0, 3, self.resolution, self.resolution), np.uint8)

    @abstractmethod
    def read_bytes(self, index: int) -> bytes:
        """Return the encoded bytes of one image."""

    def _decode(self, index: int) -> NDArray[np.uint8]:
        where = f"{self.name}/{self.members[index]}"
        image = decode(self.read_bytes(index), where=where)
        height, width = image.shape[:2]
        if height != width or not is_power_of_two(height) or height < LOWEST_LEVEL:
            raise InputError(
                f"{where} is {width}×{height} pixels; expected a square whose side is a power of two, from 4 up.",
                hint="For faces, pgtools build-celebahq makes such squares from photos.",
            )
        return np.ascontiguousarray(image.transpose(2, 0, 1))


class ImageFolder(EncodedImages):
    """Image files below a folder, ordered by their relative path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        files = {file.relative_to(path).as_posix(): file for file in path.rglob("*")}
        members = sorted(name for name, file in files.items() if is_image_name(name) and not file.is_dir())
        if not members:
            raise InputError(f"{path} holds no image files ({', '.join(sorted(SUFFIXES))}).", hint=_hint(path))
        description = path / "dataset.json"
        super().__init__(str(path), members, description.read_bytes() if description.is_file() else None)

    def read_bytes(self, index: int) -> bytes:
        """Return the encoded bytes of one image."""
        file = self.path / self.members[index]
        try:
            return file.read_bytes()
        except OSError as error:
            raise InputError(f"{file}: cannot be read ({error.strerror}).") from None


def recognises(path: Path) -> bool:
    """Return whether `path` is a folder."""
    return path.is_dir()


def is_image_name(member: str) -> bool:
    """Return whether a file of this relative name counts as an image: by its suffix, and not hidden.

    What macOS adds to a ZIP (`__MACOSX/._0001.png`) is named like an image and is none.
    """
    path = PurePosixPath(member)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES and not hidden


def in_threads(function: Callable[[int], NDArray[np.uint8]], indices: Sequence[int]) -> list[NDArray[np.uint8]]:
    """Return `[function(i) for i in indices]`, over this process's cores: decoders release the interpreter lock."""
    if len(indices) < 4:
        return [function(i) for i in indices]
    with ThreadPoolExecutor(cpu_count()) as pool:
        return list(pool.map(function, indices))


def _labels(name: str, members: Sequence[str], dataset_json: bytes | None) -> NDArray[np.int64] | None:
    """Labels from `dataset.json` where it gives any, else from the first sub-folder when every file is in one."""
    if dataset_json is not None:
        try:
            listed = json.loads(dataset_json).get("labels")
            if listed is None:
                return None
            by_name = {str(file): _class_number(label) for file, label in listed}
            return np.array([by_name[member] for member in members], dtype=np.int64)
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
            raise InputError(f"{name}: dataset.json does not give one class number an image ({error!r}).") from None
    folders = [PurePosixPath(member).parts[0] if "/" in member else "" for member in members]
    classes = sorted(set(folders))
    if len(classes) < 2 or "" in classes:
        return None
    return np.array([classes.index(folder) for folder in folders], dtype=np.int64)


def _class_number(label: object) -> int:
    if type(label) is not int or label < 0:
        raise ValueError(f"{label!r} is no class number")
    return label


def _hint(path: Path) -> str:
    archives = sorted(file.name for file in path.glob("*.zip"))
    return f"It holds {', '.join(archives)}: name the archive itself." if archives else "Name another folder."
