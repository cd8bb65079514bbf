"""What the count of modes and the training of its classifier can be told; light, so that help loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from pgtools.runtime.settings import Settings, setting

# Images a set, and sets: appendix of Karras et al. 2018.
PAPER_IMAGES, PAPER_REPEATS = 25_600, 10


@dataclass(frozen=True)
class RecoveredModesSettings(Settings):
    """Recovered modes of stacked MNIST."""

    num_images: int | None = setting(
        None, low=2, help=f"Images a set. The paper's {PAPER_IMAGES}; all of a store that has fewer."
    )
    repeats: int = setting(
        PAPER_REPEATS,
        low=1,
        help="Sets that the figures are the mean of. A store gives as many as it holds, each image in one of them.",
    )
    seed: int = setting(0, low=0, help="Names a generator's images, the choice from a store, and a training.")
    least_accuracy: float = setting(
        0.9, low=0, high=1, help="Refuse a classifier that names a smaller share of its held-out digits right."
    )
    batch: int = setting(256, low=1, unit="images", help="Classified at once; no figure depends on it.")


@dataclass(frozen=True)
class DigitTraining(Settings):
    """Training of the digit classifier; the defaults pass 99 % on MNIST's test split."""

    epochs: int = setting(4, low=1, help="Times that every digit is seen.")
    batch: int = setting(128, low=2, unit="digits", help="In one step.")
    learning_rate: float = setting(4e-3, low=1e-6, high=1, help="At its peak, a quarter of the way.")
    shift: int = setting(2, low=0, high=8, unit="pixels", help="Digits are moved by up to so many, at random.")
    seed: int = setting(0, low=0, help="Names the first weights, the order of the digits and their shifts.")
