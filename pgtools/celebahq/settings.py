"""What a CelebA-HQ build can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgtools.errors import UsageError
from pgtools.runtime.settings import Settings, setting

# Name in the registry of models → name in facexlib.
DETECTORS = {"retinaface-mobile0.25": "mobile0.25", "retinaface-resnet50": "resnet50"}
ENGINES = ("fast", "exact")
FACES = ("largest", "centre", "all")
# What has no part in making the authors' own images.
NOT_THEIRS = (
    *("resolution", "faces", "min_face", "max_turn", "max_outside", "detector", "detector_weights", "restore"),
    *("superres", "engine", "rank", "keep", "min_score", "tile", "batch", "precision"),
)
# What --landmarks can be besides a file.
LANDMARKS = ("auto", "celeba", "facexlib")


@dataclass(frozen=True)
class BuildSettings(Settings):
    """Settings of `pgtools build-celebahq`.

    `batch`, `workers`, `scheduler` and `device` change how fast it is, not what comes out; but for a network's results,
    which may differ by one level on another device or in another batch.
    """

    resolution: int = setting(1024, low=4, high=1024, unit="pixels", help="Side of the crops; a power of two.")
    limit: int | None = setting(None, low=1, help="Take the first N photos only.")
    indices: str | None = setting(
        None, help="Take these photos only, counted from 0 in the order of their names, e.g. 0-9,42."
    )
    list: Path | None = setting(None, help="Take the photos named in this file only, one a line.")
    landmarks: str = setting(
        "auto",
        help="Where the five points come from: celeba (its annotation), facexlib, a FILE (CelebA's text, CSV or JSON), "
        "or auto: the annotation where there is one.",
    )
    faces: str = setting("largest", choices=FACES, help="Which faces that facexlib finds become crops.")
    min_face: float = setting(
        8.0, low=1.0, unit="pixels", help="Leave out faces whose crop square is smaller than this in the photo."
    )
    max_turn: float = setting(
        90.0, low=0.0, high=90.0, unit="degrees", help="Leave out faces turned further aside; estimated; 90 takes all."
    )
    max_outside: float = setting(
        1.0,
        low=0.0,
        high=1.0,
        help="Leave out crop squares of which a larger share lies outside the photo; 1 takes all.",
    )
    detector: str = setting(
        next(iter(DETECTORS)), choices=tuple(DETECTORS), help="facexlib's network for photos without annotation."
    )
    detector_weights: Path | None = setting(
        None, help="The detector's weights file; looked up in the cache if not given."
    )
    restore: str = setting(
        "pgtools-dejpeg", help="JPEG-artifact removal: none, or a network by its name or file (scale 1)."
    )
    superres: str = setting(
        "pgtools-sr4", help="Super-resolution: lanczos, or a network by its name or file (it enlarges)."
    )
    engine: str = setting(
        "fast", choices=ENGINES, help="How the square is resampled: fast, or exact, which follows the released builder."
    )
    rank: str = setting(
        "spectrum", choices=("spectrum", "none"), help="Score the crops by their power spectrum, or not at all."
    )
    keep: int | None = setting(None, low=1, help="Keep the best K crops by quality score; all if not given.")
    min_score: float | None = setting(None, low=0.0, high=1.0, help="Keep only crops of this quality score or better.")
    deltas: Path | None = setting(
        None, help="Make the authors' own images: the folder of their image_list.txt and deltas*.zip."
    )
    nearest: bool = setting(
        False, help="With --deltas: where the authors' image cannot be made, keep the one without the delta."
    )
    tile: int = setting(
        256, low=32, unit="pixels", help="Networks run in tiles of this side; smaller needs less memory."
    )
    batch: int = setting(1, low=1, unit="tiles", help="Tiles that a network gets at once; more can be faster on CUDA.")
    precision: str = setting(
        "auto",
        choices=("auto", "float32", "float16", "bfloat16"),
        help="What networks compute in: auto is float32 on the CPU, on CUDA the fastest that the network bears.",
    )
    workers: int | None = setting(
        None,
        low=1,
        help="Processes, or threads where a network runs on CUDA; if not given one a core, or one where a network is "
        "large and runs on the CPU.",
    )
    scheduler: str | None = setting(
        None, help="Work on an existing Dask cluster: its address, e.g. tcp://host:8786, or its scheduler file."
    )
    device: str = setting("auto", help="Where networks run: auto, cpu, cuda or cuda:N.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution & (self.resolution - 1):
            raise UsageError(f"--resolution is {self.resolution}; expected a power of two from 4 to 1024.")
        for name, value in (("--keep", self.keep), ("--min-score", self.min_score)):
            if value is not None and self.rank == "none":
                raise UsageError(
                    f"{name} needs scores; --rank none makes none.", hint="--limit takes the first N photos."
                )
        changed = [name for name in NOT_THEIRS if getattr(self, name) != type(self).__dataclass_fields__[name].default]
        if self.deltas and changed:
            option = changed[0].replace("_", "-")
            raise UsageError(f"--{option} does not go with --deltas, which makes the images that the authors made.")
        if self.nearest and not self.deltas:
            raise UsageError("--nearest says what to do where --deltas fails; it needs --deltas.")
        if self.scheduler and self.workers:
            raise UsageError("--workers does not go with --scheduler: the cluster has the workers it has.")

    def taking_part(self) -> dict[str, Any]:
        """Return name → value of the settings that have a part in this build."""
        idle = NOT_THEIRS if self.deltas else ("deltas", "nearest")
        return {name: value for name, value in self.as_dict().items() if name not in idle}
