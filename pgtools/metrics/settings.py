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
    seeds: int = setting(
        1, low=1, help="Draws of patches and directions, by seeds from --seed on: the mean is told, and their scatter."
    )
    neighbourhoods: int = setting(128, low=1, help="Patches an image and level.")
    size: int = setting(7, low=1, high=15, unit="pixels", help="Side of a patch, odd.")
    repeats: int = setting(4, low=1, help="Sets of directions.")
    directions: int = setting(128, low=1, help="Random directions a repeat.")
    replicates: int = setting(
        500, low=0, help="Resamplings of the images, for standard error, floor and verdict; under 2 leaves these out."
    )
    batch: int = setting(64, low=1, unit="images", help="Read at once; no figure depends on it.")
    memory: float | None = setting(
        None,
        low=0,
        unit="GB",
        help="For patches; what does not fit lies on the disk of temporary files meanwhile.  [default: half of what "
        "is free]",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size % 2 == 0:
            raise UsageError(f"--size is {self.size}; a patch has a centre pixel, so its side is odd.")

    def protocol(self) -> dict[str, int]:
        """Return what two figures must share to be comparable, besides the images' number and size."""
        names = ("seed", "seeds", "neighbourhoods", "size", "repeats", "directions")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class MsssimSettings(Settings):
    """MS-SSIM between the images of one set, or between two sets."""

    num_images: int | None = setting(None, low=2, help="Images to pair; all that are there if not given.")
    pairs: int | None = setting(
        None,
        low=1,
        help="Random pairs. Half as many as images if not given, so that no image is used twice, at most "
        "10000 (the paper's number). More are drawn by shuffling the images again.",
    )
    seed: int = setting(0, low=0, help="Names the pairs and the choice of images.")
    batch: int = setting(16, low=1, unit="pairs", help="Read at once; no figure depends on it.")

    def protocol(self) -> dict[str, int | None]:
        """Return what two figures must share to be comparable, besides the images' number and size."""
        return {"pairs": self.pairs, "seed": self.seed}


@dataclass(frozen=True)
class InceptionSettings(Settings):
    """Inception Score; the defaults are torch-fidelity's."""

    num_images: int | None = setting(
        None, low=1, help="Images to score; all that are there if not given. The paper takes 50000."
    )
    splits: int = setting(10, low=1, help="Parts the images are divided into; the score is the mean over them.")
    shuffle: bool = setting(True, help="Shuffle the images before they are split.")
    seed: int = setting(2020, low=0, help="Names the shuffle and the choice of images.")
    bootstrap: int = setting(200, low=0, help="Draws for the standard error; 0 leaves it out.")
    batch: int = setting(64, low=1, unit="images", help="Read at once; the network takes 64 at most.")

    def protocol(self) -> dict[str, int]:
        """Return what two figures must share to be comparable, besides the images' number and the weights."""
        return {"splits": self.splits, "shuffle": self.shuffle, "seed": self.seed}


# The layers of the network that two sets can be compared in, by the number of their features.
LAYERS = ("2048", "768", "192", "64")


@dataclass(frozen=True)
class FidSettings(Settings):
    """Fréchet Inception distance; the defaults are torch-fidelity's."""

    num_images: int | None = setting(
        None, low=2, help="Images of FAKE; all that are there if not given. Papers take 50000."
    )
    layer: str = setting("2048", choices=LAYERS, help="Features: the network's last pooling, or an earlier layer.")
    seed: int = setting(2020, low=0, help="Names the choice of images.")
    errors: bool = setting(True, help="Tell standard error and floor; takes about as long again as the distance.")
    batch: int = setting(64, low=1, unit="images", help="Read at once; the network takes 64 at most.")

    def protocol(self) -> dict[str, int | str]:
        """Return what two figures must share to be comparable, besides the images' numbers and the weights."""
        return {"layer": self.layer, "seed": self.seed}


@dataclass(frozen=True)
class KidSettings(Settings):
    """Kernel Inception distance by the polynomial kernel; the defaults are torch-fidelity's."""

    num_images: int | None = setting(None, low=2, help="Images of FAKE; all that are there if not given.")
    subsets: int = setting(100, low=1, help="Random subsets; the distance is the mean over them.")
    subset_size: int = setting(1000, low=2, unit="images", help="Of each set in a subset.")
    degree: int = setting(3, low=1, help="Of the kernel (gamma · x·y + coef0) ** degree.")
    gamma: float | None = setting(None, low=0, help="Of the kernel; 1 / number of features if not given.")
    coef0: float = setting(1.0, help="Of the kernel.")
    layer: str = setting("2048", choices=LAYERS, help="Features: the network's last pooling, or an earlier layer.")
    seed: int = setting(2020, low=0, help="Names the subsets and the choice of images.")
    errors: bool = setting(True, help="Tell standard error and floor.")
    batch: int = setting(64, low=1, unit="images", help="Read at once; the network takes 64 at most.")

    def protocol(self) -> dict[str, int | float | str | None]:
        """Return what two figures must share to be comparable, besides the images' numbers and the weights."""
        names = ("subsets", "subset_size", "degree", "gamma", "coef0", "layer", "seed")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class PrecisionRecallSettings(Settings):
    """Improved precision and recall; the defaults are torch-fidelity's."""

    num_images: int | None = setting(None, low=2, help="Images of FAKE; all that are there if not given.")
    neighbourhood: int = setting(3, low=1, help="An image's ball reaches to its so many-th neighbour of its own set.")
    layer: str = setting("2048", choices=LAYERS, help="Features: the network's last pooling, or an earlier layer.")
    seed: int = setting(2020, low=0, help="Names the choice of images and the draws for the standard error.")
    bootstrap: int = setting(200, low=0, help="Draws for the standard error of recall and F1; 0 leaves it out.")
    batch: int = setting(64, low=1, unit="images", help="Read at once; the network takes 64 at most.")

    def protocol(self) -> dict[str, int | str]:
        """Return what two figures must share to be comparable, besides the images' numbers and the weights."""
        return {"neighbourhood": self.neighbourhood, "layer": self.layer, "seed": self.seed}
