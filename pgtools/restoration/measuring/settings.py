"""What `pgtools models measure` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from pgtools.runtime.settings import Settings, setting


@dataclass(frozen=True)
class MeasureSettings(Settings):
    """Settings of `pgtools models measure`; the first four decide what is measured."""

    longest: int = setting(
        640,
        low=64,
        unit="pixels",
        help="Larger photos are reduced to this side before they are measured.",
    )
    halve_lossy: bool = setting(
        True, help="Halve photos in JPEG or WebP first: their own artifacts would be measured as the photo."
    )
    subsampling: str = setting(
        "4:2:0", choices=("4:2:0", "4:2:2", "4:4:4"), help="Colour of the JPEGs that a restorer is measured on."
    )
    superres: str = setting(
        "lanczos", help="What enlarges after a restorer on clean photos: lanczos, or a network by name or file."
    )
    tile: int = setting(256, low=32, unit="pixels", help="Networks run in tiles of this side.")
    batch: int = setting(1, low=1, help="Tiles that a network gets at once.")
    precision: str = setting(
        "auto", choices=("auto", "float32", "float16", "bfloat16"), help="What networks compute in."
    )
    device: str = setting("auto", help="Where networks run: auto, cpu, cuda or cuda:N.")
