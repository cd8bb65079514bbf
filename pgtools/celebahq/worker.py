"""What a worker does: photos from disk through `process`, crops written aside, outcomes back."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.cropping.crop import crop_quad, side_of
from pgtools.celebahq.deltas import Deltas
from pgtools.celebahq.input.files import StoredFile
from pgtools.celebahq.manifest import Outcome, crop_name
from pgtools.celebahq.process import Crop, Passage, Steps, process_together, reason_of
from pgtools.errors import ComputeError, InputError, OutputError
from pgtools.imaging.photo import MissingReaderError, decode
from pgtools.runtime.files import written_aside
from pgtools.stores.codecs import codec_for, decode_into, encode
from pgtools.stores.source import image_hash

# Pixels of photos that are in memory at once: a chunk of 8 in-the-wild photos has about 3 million, one of 60 million
# goes alone.
PIXELS_TOGETHER = 16_000_000


@dataclass(frozen=True)
class Task:
    """One photo for a worker.

    Attributes:
        name, file: of the photo.
        landmarks: its five points if they are known, float64 (5, 2).
        source: where they are from, "celeba" or "file".
        upright: whether they name pixels of the photo as its EXIF orientation turns it.
    """

    name: str
    file: StoredFile
    landmarks: NDArray[np.float64] | None = None
    source: str = "celeba"
    upright: bool = False


class Worker:
    """Processes a chunk of photos; it travels to another process as the steps it does.

    An outcome marked "passing" says nothing final of its photo: the journal leaves it out, so it is tried again, if
    need be by a later run. It may have a hint beside its reason.

    Args:
        steps: what to do.
        crops: folder that the crops go into.
        deltas: the authors' differences, if their own images are to be made; then `steps` is not looked at.
        nearest: keep the image without the delta where the authors' own cannot be made.
    """

    def __init__(self, steps: Steps, crops: Path, deltas: Deltas | None = None, *, nearest: bool = False) -> None:
        self.steps, self.crops, self.deltas, self.nearest = steps, crops, deltas, nearest
        self._turn = threading.Lock()

    def __call__(self, tasks: Sequence[Task]) -> list[tuple[str, Outcome]]:
        """Return (name, outcome) of each, in their order: the faces with points, square and score, or a reason."""
        outcomes: dict[str, Outcome] = {}
        for group in self._decoded(tasks, outcomes):
            process_together([passage for _, passage, _ in group], self.steps, turn=self._turn)
            for task, passage, known in group:
                outcomes[task.name] = self._outcome(task, passage, known)
        return [(task.name, outcomes[task.name]) for task in tasks]

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_turn"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state, _turn=threading.Lock())

    def _decoded(
        self, tasks: Sequence[Task], outcomes: dict[str, Outcome]
    ) -> Iterator[list[tuple[Task, Passage, Outcome]]]:
        """Yield photos in groups of bounded size; what cannot be read goes straight into `outcomes`."""
        group: list[tuple[Task, Passage, Outcome]] = []
        pixels = 0
        for task in tasks:
            start = time.perf_counter()
            try:
                data = task.file.read()
                known: Outcome = {"sha256": hashlib.sha256(data).hexdigest()}
                if self.deltas is not None:
                    outcomes[task.name] = self._replayed(task, data, known)
                    continue
                # An annotation names pixels as they are stored, before any EXIF orientation.
                photo = decode(data, where=str(task.file), upright=task.upright or task.landmarks is None)
            except Exception as error:
                outcomes[task.name] = _fault(error, str(task.file))
                continue
            height, width = photo.shape[:2]
            if group and pixels + height * width > PIXELS_TOGETHER:
                yield group
                group, pixels = [], 0
            passage = Passage(photo, task.landmarks)
            passage.took("decode", time.perf_counter() - start)
            group.append((task, passage, {**known, "size": [width, height]}))
            pixels += height * width
        if group:
            yield group

    def _outcome(self, task: Task, passage: Passage, known: Outcome) -> Outcome:
        """Write the crops of a photo and return what became of it."""
        if passage.error is not None:
            return {**known, **_fault(passage.error, str(task.file))}
        start = time.perf_counter()
        source = "facexlib" if task.landmarks is None or task.upright else task.source
        faces = []
        for number, crop in enumerate(passage.crops, start=1):
            face: Outcome = {"face": number, "source": source, "landmarks": crop.landmarks.ravel().tolist()}
            faces.append(face | ({"reason": crop.reason} if crop.reason else self._kept(task.name, number, crop)))
        passage.took("encode", time.perf_counter() - start)
        return {**known, "seconds": passage.seconds, "faces": faces}

    def _kept(self, name: str, number: int, crop: Crop) -> Outcome:
        """Write one crop and return what is known of it."""
        sha256 = write_crop(crop_path(self.crops, crop_name(name, number)), crop.image)
        known: Outcome = {"quad": crop.quad.ravel().tolist(), "zoom": crop.zoom, "steps": crop.steps, "sha256": sha256}
        return known if crop.score is None else {**known, "score": crop.score}

    def _replayed(self, task: Task, data: bytes, known: Outcome) -> Outcome:
        """Return the outcome of one of the authors' images, its crop written."""
        if self.deltas is None or task.landmarks is None:
            raise InputError("The photo has no landmarks.")
        start = time.perf_counter()
        result = self.deltas.replay(task.name, data, task.landmarks)
        if not (result.exact or self.nearest):
            return {**known, "reason": result.reason}
        crop = Crop(task.landmarks, image=result.image, steps=["released", *(["delta"] if result.exact else [])])
        crop.quad = crop_quad(task.landmarks)
        crop.zoom = len(crop.image) / side_of(crop.quad)
        face = {"face": 1, "source": task.source, "landmarks": task.landmarks.ravel().tolist()}
        face |= self._kept(task.name, 1, crop)
        if not result.exact:
            face["note"] = result.reason
        return {**known, "seconds": {"replay": time.perf_counter() - start}, "faces": [face]}


def crop_path(crops: Path, name: str) -> Path:
    """Return where a crop stands while the build runs; it depends on the crop's name alone."""
    return crops / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.crop"


def write_crop(path: Path, image: NDArray[np.uint8]) -> str:
    """Write a crop, uint8 (R, R, 3), as an LMDB store will have it; return the SHA-256 of its C×H×W bytes.

    Raises:
        OutputError: it cannot be written: the disk is full, say.
    """
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    data = encode(planes, crop_codec(len(image)))
    try:
        with written_aside(path) as aside:
            aside.write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written ({error.strerror}).", hint="Run it again once it can be: it goes on."
        ) from None
    return image_hash(planes)


def read_crop(path: Path, resolution: int, sha256: str) -> tuple[NDArray[np.uint8], bytes]:
    """Return a crop as uint8 (3, R, R), and the bytes it is stored as.

    Raises:
        InputError: the file is missing, or not what was written (power was lost, a disk failed).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from None
    planes = np.empty((3, resolution, resolution), np.uint8)
    decode_into(data, planes, where=str(path))
    if image_hash(planes) != sha256:
        raise InputError(f"{path}: is not the crop that was written.")
    return planes, data


def crop_codec(resolution: int) -> str:
    """Return how crops are encoded: as the top level of an LMDB store, so that they are encoded once."""
    return codec_for(resolution, resolution, "auto", 0)


def _fault(error: Exception, where: str) -> Outcome:
    """Return the outcome of a photo that gave nothing."""
    if isinstance(error, OutputError):
        raise error
    if isinstance(error, InputError):
        # The message begins with the file, which the manifest has in a column of its own.
        told = InputError(error.message.removeprefix(f"{where}: "))
        return {"reason": reason_of(told), **({"passing": True} if isinstance(error, MissingReaderError) else {})}
    if isinstance(error, ComputeError):
        return {"reason": reason_of(error), "hint": error.hint, "passing": True}
    if isinstance(error, OSError):
        return {"reason": f"cannot be read ({error.strerror})", "passing": True}
    # Out of memory, say: one photo must not end a build of 202,599.
    return {"reason": f"failed ({type(error).__name__}: {error})".replace("\n", " "), "passing": True}
