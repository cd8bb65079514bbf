"""The checkpoints of a run: which is the latest, which is the best, and which may go.

Whatever latest.json and best.json name is whole and stays: files are written before they are named, and removed only
while neither names them.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgtools.errors import InputError
from pgtools.progan.run.checkpoint import Checkpoint, read_checkpoint, save_checkpoint
from pgtools.runtime import run_format as names
from pgtools.runtime.files import sha256_of, write_json, written_aside

_GO_ON = f"Delete it and {names.LATEST}: --resume then goes on from the newest checkpoint that is left."


@dataclass(frozen=True)
class Best:
    """The moment of training with the best figure.

    Attributes:
        snapshot: the file of the generator.
        images: real images shown until then.
        metric, part: what was compared, e.g. "swd" and "average".
        value: the figure.
        file: the checkpoint, or None if it was gone by the time the moment became the best.
    """

    snapshot: Path
    images: int
    metric: str
    part: str
    value: float
    file: Path | None


class Checkpoints:
    """The folder `checkpoints` of a run.

    Args:
        run: the run folder.
        keep: how many of the newest checkpoints stay; 0 for all.
    """

    def __init__(self, run: Path, *, keep: int = 0) -> None:
        self._run, self._keep = run, keep
        self._folder = run / names.CHECKPOINTS
        self._latest, self._best = self._folder / names.LATEST, self._folder / names.BEST

    def path(self, images: int) -> Path:
        """Return the path of the checkpoint after so many images."""
        return self._folder / f"{images:09d}{names.SNAPSHOT_SUFFIX}"

    def files(self) -> list[Path]:
        """Return the checkpoints, in the order of training."""
        return sorted(file for file in self._folder.glob(f"*{names.SNAPSHOT_SUFFIX}") if file.stem.isdigit())

    def write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, name it the latest, in this order.

        Where it takes the place of one of the same moment, latest.json names both in between, so that a crash leaves
        no name without its file.

        Raises:
            OutputError: the disk does not take it; the one before it is still there.
        """
        file, before = self.path(checkpoint.images), self._pointer()
        with written_aside(file) as aside:
            save_checkpoint(aside, checkpoint)
            digest = sha256_of(aside)
            if before is not None and before["file"] == file.name and file.is_file():
                self._point(file, digest, replaces=sha256_of(file))
        self._point(file, digest)

    def latest(self) -> Path | None:
        """Return the latest checkpoint; None if none was written. Its content is not looked at.

        Without latest.json it is the newest file, which is whole as every file that has its name.

        Raises:
            InputError: latest.json is damaged, or what it names is missing.
        """
        pointer = self._pointer()
        if pointer is None:
            files = self.files()
            return files[-1] if files else None
        file: Path = self._folder / pointer["file"]
        if not file.is_file():
            raise InputError(f"{file} is missing, which {names.LATEST} names.", hint=_GO_ON.replace("it and ", ""))
        return file

    def read_latest(self) -> Checkpoint | None:
        """Return the latest checkpoint, once its SHA-256 is found to be the one that was written.

        Raises:
            InputError: the file is missing, or is not what was written.
        """
        file, pointer = self.latest(), self._pointer()
        if file is None:
            return None
        if pointer is not None and sha256_of(file) not in (pointer["sha256"], pointer.get("replaces")):
            raise InputError(f"{file} is damaged: its SHA-256 is not the one in {names.LATEST}.", hint=_GO_ON)
        return read_checkpoint(file)

    def prune(self, *, spare: Collection[int]) -> None:
        """Remove all checkpoints but the newest, the latest, the best and those after `spare` images."""
        if not self._keep:
            return
        latest, best = self.latest(), self.best()
        stays = {latest, best.file if best else None, *map(self.path, spare)}
        for file in self.files()[: -self._keep]:
            if file not in stays:
                file.unlink()

    def go_back(self, images: int) -> None:
        """Name the checkpoint after so many images the latest, if a later one is.

        Raises:
            InputError: there is none of that moment.
        """
        pointer, file = self._pointer(), self.path(images)
        if pointer is None or pointer["images"] <= images:
            return
        if not file.is_file():
            there = ", ".join(str(int(known.stem)) for known in self.files())
            raise InputError(f"{self._run} has no checkpoint {images}; it has {there}.")
        self._point(file, sha256_of(file))

    def drop_later(self, images: int) -> None:
        """Remove the checkpoints of later moments."""
        for file in self.files():
            if int(file.stem) > images:
                file.unlink()

    def best(self) -> Best | None:
        """Return the best moment; None if none was marked.

        Raises:
            InputError: best.json is damaged.
        """
        value = _read(self._best, {"snapshot": str, "images": int, "metric": str, "part": str, "value": (int, float)})
        if value is None:
            return None
        file = value.get("file")
        return Best(
            snapshot=self._run / names.SNAPSHOTS / value["snapshot"],
            images=value["images"],
            metric=value["metric"],
            part=value["part"],
            value=float(value["value"]),
            file=self._folder / file if isinstance(file, str) else None,
        )

    def mark_best(self, best: Best | None) -> None:
        """Write best.json, or remove it."""
        if best is None:
            self._best.unlink(missing_ok=True)
            return
        value = {
            "file": best.file.name if best.file else None,
            "snapshot": best.snapshot.name,
            "images": best.images,
            "metric": best.metric,
            "part": best.part,
            "value": best.value,
        }
        write_json(self._best, value)

    def _pointer(self) -> dict[str, Any] | None:
        return _read(self._latest, {"file": str, "images": int, "sha256": str})

    def _point(self, file: Path, digest: str, *, replaces: str = "") -> None:
        more = {"replaces": replaces} if replaces else {}
        write_json(self._latest, {"file": file.name, "images": int(file.stem), "sha256": digest, **more})


def _read(file: Path, fields: dict[str, Any]) -> dict[str, Any] | None:
    """Return a JSON object that has these fields; None if there is no such file."""
    try:
        value = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{file} is damaged ({error}).", hint="Delete it; it is written anew.") from None
    known = isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in fields.items())
    # A name with a folder in it could lead anywhere.
    if not known or any(Path(value[name]).name != value[name] for name in ("file", "snapshot") if value.get(name)):
        raise InputError(f"{file} is damaged: it lacks a field.", hint="Delete it; it is written anew.")
    found: dict[str, Any] = value
    return found
