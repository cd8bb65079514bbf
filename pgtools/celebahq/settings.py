"""What a CelebA-HQ build can be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pgtools.errors import UsageError
from pgtools.runtime.settings import Settings, setting

# Name in the registry of models → name in facexlib.
DETECTORS = {"retinaface-mobile0.25": "mobile0.25", "retinaface-resnet50": "resnet50"}


@dataclass(frozen=True)
class BuildSettings(Settings):
    """Settings of `pgtools build-celebahq`; everything but `workers`, `batch` and `device` decides what comes out."""

    resolution: int = setting(1024, low=4, high=1024, unit="pixels", help="Side of the crops; a power of two.")
    keep: int | None = setting(None, low=1, help="Keep the best K crops by quality score; all if not given.")
    landmarks: str = setting(
        "auto",
        choices=("auto", "celeba", "facexlib"),
        help="Where the five points come from: CelebA's annotation, facexlib, or the annotation where there is one.",
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
        None, low=1, help="Processes; if not given one a core, or one in all where a network runs on CUDA or is large."
    )
    device: str = setting("auto", help="Where networks run: auto, cpu, cuda or cuda:N.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.resolution & (self.resolution - 1):
            raise UsageError(f"--resolution is {self.resolution}; expected a power of two from 4 to 1024.")
