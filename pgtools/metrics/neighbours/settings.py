"""What the search for neighbours can be told; light, so that help loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from pgtools.runtime.settings import Settings, setting

PIXELS, INCEPTION = "pixels", "inception"


@dataclass(frozen=True)
class NeighboursSettings(Settings):
    """Nearest training images of generated ones."""

    count: int = setting(8, low=1, high=256, help="Generated images, one a row of the picture.")
    nearest: int = setting(5, low=1, high=64, help="Training images shown for each.")
    seed: int = setting(0, low=0, help="Names the generated images.")
    space: str = setting(
        PIXELS, choices=(PIXELS, INCEPTION), help="What is compared: pixels, or features of the Inception network."
    )
    distance: str = setting("l2", choices=("l2", "l1"), help="Of pixels: root mean square, or mean of the difference.")
    crop: float = setting(
        1.0, low=0.01, high=1, help="Compare only the middle: this share of the side. 0.5 is the face in CelebA-HQ."
    )
    level: int | None = setting(
        None, low=4, unit="pixels", help="Compare at this lower level, which is faster; the images' own if not given."
    )
    batch: int = setting(64, low=1, unit="images", help="Training images read at once, fewer where they are large.")
