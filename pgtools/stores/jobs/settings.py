"""What the `pgtools store` commands can be told. Imports nothing heavy: help texts are made from these classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pgtools.errors import UsageError
from pgtools.runtime.settings import Settings, setting

# The same as `imaging.fit.CROPS`, `imaging.resample.FILTERS` and `stores.codecs.CODECS`, which need numpy; tested.
CROPS = ("none", "centre", "celeba")
FILTERS = ("lanczos", "bicubic", "bilinear", "box", "nearest")
CODECS = ("auto", "raw", "png", "webp", "jpeg")
JPEG_QUALITY = 95


@dataclass(frozen=True)
class SourceSettings(Settings):
    """How the source is read."""

    format: str | None = setting(None, help="Format of the source; told by what the path holds if not given.")
    split: str | None = setting(
        None, help="Only this split: train, test, … or all. A data set's own first split if not given."
    )
    skip_damaged: bool = setting(False, help="Leave out images that cannot be read, and name them.")


@dataclass(frozen=True)
class FitSettings(Settings):
    """What is done to images that may have any size."""

    crop: str = setting(
        "none", choices=CROPS, help="The largest square in the middle, or the authors' 128² of CelebA's aligned images."
    )
    resize: int | None = setting(None, low=4, high=8192, unit="pixels", help="Resize to this side, a power of two.")
    filter: str = setting("lanczos", choices=FILTERS, help="Filter of the resize.")


@dataclass(frozen=True)
class SelectionSettings(Settings):
    """Which images are taken: those that meet every condition, in their own order."""

    indices: str | None = setting(None, help="Numbers and Python's slices, e.g. 0:100,205,300:400:2.")
    label: str | None = setting(None, help="Class numbers, e.g. 3 or 3,7.")
    min_score: float | None = setting(None, help="Scores from here up.")
    max_score: float | None = setting(None, help="Scores up to here.")
    names: Path | None = setting(None, help="File of images' names, one a line.")
    best: int | None = setting(None, low=1, help="The K best scores of what is left.")
    num_images: int | None = setting(None, low=1, help="The first N of what is left.")


@dataclass(frozen=True)
class WriteSettings(Settings):
    """What the new stores are like."""

    to: str | None = setting(None, help="Format to write; told by the name of the output if not given.")
    codec: str = setting(
        "auto",
        choices=CODECS,
        help="Of an LMDB: raw up to 256² and lossless WebP above (auto), or one for all; JPEG is lossy.",
    )
    quality: int | None = setting(None, low=1, high=100, help=f"Of --codec jpeg; {JPEG_QUALITY} if not given.")
    shuffle: bool = setting(False, help="In the shuffled order of the authors' tools.")
    grey: bool | None = setting(None, help="Store one channel of three equal ones; where the source says so by itself.")
    labels: bool = setting(True, help="Keep the labels.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.quality is not None and self.codec != "jpeg":
            raise UsageError(f"--quality is of JPEG; --codec is {self.codec}.")


@dataclass(frozen=True)
class LevelSettings(Settings):
    """Which level becomes the top."""

    level: int | None = setting(None, low=4, unit="pixels", help="Take this level of the source for the new top.")


@dataclass(frozen=True)
class ConvertSettings(WriteSettings, SelectionSettings, LevelSettings, FitSettings, SourceSettings):
    """Settings of `pgtools store convert`, and of the job behind `subset`, `merge` and `extract`."""


@dataclass(frozen=True)
class SubsetSettings(WriteSettings, LevelSettings, SourceSettings, SelectionSettings):
    """Settings of `pgtools store subset`."""


@dataclass(frozen=True)
class MergeSettings(WriteSettings):
    """Settings of `pgtools store merge`."""


@dataclass(frozen=True)
class ExtractSettings(LevelSettings, SourceSettings, SelectionSettings):
    """Settings of `pgtools store extract`."""


@dataclass(frozen=True)
class VerifySettings(Settings):
    """Settings of `pgtools store verify`."""

    format: str | None = setting(None, help="Format of the source; told by what the path holds if not given.")
    level: int | None = setting(None, low=4, unit="pixels", help="Only this level, against the top; all if not given.")
    quick: bool = setting(False, help="Only the checksums of the stored bytes, without decoding.")
    repair: bool = setting(False, help="Build the store anew from what can be saved, if it has faults.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.repair and (self.quick or self.level is not None):
            raise UsageError("--repair needs the whole store checked; leave --quick and --level out.")
