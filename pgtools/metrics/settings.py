"""What each metric can be told; light, so that commands and docs read it without loading torch."""

from __future__ import annotations

from dataclasses import dataclass

from pgtools.errors import UsageError
from pgtools.runtime.settings import Settings, setting


@dataclass(frozen=True)
class SwdSettings(Settings):
    """Sliced Wasserstein distance; the defaults are the paper's, except that the count is yours to name."""

    num_images: int | None = setting(
        None, low=1, help="Images a set. All, if both sets have as many; the paper takes 16384."
    )
    seed: int = setting(0, low=0, help="Names the patches, the directions and the choice of images.")
    neighbourhoods: int = setting(128, low=1, help="Patches an image and level.")
    size: int = setting(7, low=1, high=15, unit="pixels", help="Side of a patch, odd.")
    repeats: int = setting(4, low=1, help="Sets of directions; the spread is told over them.")
    directions: int = setting(128, low=1, help="Random directions a repeat.")
    batch: int = setting(16, low=1, unit="images", help="Read at once; no figure depends on it.")
    memory: float = setting(
        10.0,
        low=0,
        unit="GB",
        help="For patches: levels that do not fit are measured in further passes over the images.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size % 2 == 0:
            raise UsageError(f"--size is {self.size}; a patch has a centre pixel, so its side is odd.")

    def protocol(self) -> dict[str, int]:
        """Return what two figures must share to be comparable, besides the images' number and size."""
        names = ("seed", "neighbourhoods", "size", "repeats", "directions")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class MsssimSettings(Settings):
    """MS-SSIM between the images of one set."""

    num_images: int | None = setting(None, low=2, help="Images to pair; all that are there if not given.")
    pairs: int | None = setting(
        None,
        low=1,
        help="Random pairs. Half as many as images if not given, so that no image is used twice, at most "
        "10000 (the paper's number). More are drawn by shuffling the images again.",
    )
    seed: int = setting(0, low=0, help="Names the pairs and the choice of images.")
    batch: int = setting(4, low=1, unit="pairs", help="Measured at once; no figure depends on it.")


@dataclass(frozen=True)
class InceptionSettings(Settings):
    """Inception Score; the defaults are torch-fidelity's."""

    num_images: int | None = setting(
        None, low=1, help="Images to score; all that are there if not given. The paper takes 50000."
    )
    splits: int = setting(10, low=1, help="Parts the images are divided into; the score is the mean over them.")
    shuffle: bool = setting(True, help="Shuffle the images before they are split.")
    seed: int = setting(2020, low=0, help="Names the shuffle and the choice of images.")
    batch: int = setting(64, low=1, unit="images", help="In the network at once.")

    def protocol(self) -> dict[str, int]:
        """Return what two figures must share to be comparable, besides the images' number and the weights."""
        return {"splits": self.splits, "shuffle": self.shuffle, "seed": self.seed}
