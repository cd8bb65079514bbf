"""What a worker does: photos from disk through `process`, crops written aside, outcomes back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.manifest import Outcome
from pgtools.celebahq.process import Crop, Steps, process
from pgtools.errors import ComputeError, InputError
from pgtools.imaging.photo import decode, encode_png
from pgtools.runtime.files import written_aside


@dataclass(frozen=True)
class Task:
    """One photo for a worker: its name, its file, where its crop goes, its points if they are known."""

    name: str
    file: Path
    crop: Path
    landmarks: NDArray[np.float64] | None


class Worker:
    """Processes a chunk of photos; it travels to another process as the steps it does.

    An outcome marked "passing" says nothing final of its photo: the journal leaves it out, so it is tried again, if
    need be by a later run. It may have a hint beside its reason.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def __call__(self, tasks: Sequence[Task]) -> list[tuple[str, Outcome]]:
        """Return (name, outcome) of each; an outcome is a score with points and square, or a reason."""
        return [(task.name, self._one(task)) for task in tasks]

    def _one(self, task: Task) -> Outcome:
        try:
            result = self._process(task)
        except InputError as error:
            # The message begins with the file, which the manifest has in a column of its own.
            return {"reason": error.message.removeprefix(f"{task.file}: ").rstrip(".")}
        except ComputeError as error:
            return {"reason": error.message.rstrip("."), "hint": error.hint, "passing": True}
        except OSError as error:
            return {"reason": f"cannot be read ({error.strerror})", "passing": True}
        except Exception as error:  # out of memory, say: one photo must not end a build of 202,599
            return {"reason": f"failed ({type(error).__name__}: {error})".replace("\n", " "), "passing": True}
        with written_aside(task.crop) as aside:
            aside.write_bytes(encode_png(result.image))
        source = "facexlib" if task.landmarks is None else "celeba"
        points, quad = result.landmarks.ravel().tolist(), result.quad.ravel().tolist()
        return {"score": result.score, "landmarks": points, "quad": quad, "source": source}

    def _process(self, task: Task) -> Crop:
        # An annotation names pixels as they are stored, before any EXIF orientation.
        photo = decode(task.file.read_bytes(), where=str(task.file), upright=task.landmarks is None)
        return process(photo, task.landmarks, self.steps)


def crop_path(crops: Path, name: str) -> Path:
    """Return where the crop of a photo stands while the build runs; it depends on the photo's name alone."""
    return crops / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.png"
