"""Images of any size become squares: a crop, then a resize whose filter is named."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgtools.errors import InputError, UsageError
from pgtools.imaging.conventions import is_power_of_two
from pgtools.imaging.resample import FILTERS

CROPS = ("none", "centre", "celeba")
# The authors' crop of CelebA's aligned 178×218 images for their 128² set: centre (x, y) and side, in pixels.
CELEBA_SIZE, CELEBA_CENTRE, CELEBA_SIDE = (178, 218), (89, 121), 128


@dataclass(frozen=True)
class Fit:
    """What is done to each image of a folder, an archive or a data set before it is an image of the source.

    Attributes:
        crop: "none"; "centre", the largest square in the middle; "celeba", 128² around (89, 121).
        resize: side in pixels to resize to; None leaves the size.
        filter: of the resize: lanczos, bicubic, bilinear, box, nearest, as Pillow antialiases them.

    Raises:
        UsageError: there is no such crop or filter, or the size is no power of two from 4 to 8192.
    """

    crop: str = "none"
    resize: int | None = None
    filter: str = "lanczos"

    def __post_init__(self) -> None:
        if self.crop not in CROPS:
            raise UsageError(f"There is no crop {self.crop!r}; there are {', '.join(CROPS)}.")
        if self.filter not in FILTERS:
            raise UsageError(f"There is no filter {self.filter!r}; there are {', '.join(FILTERS)}.")
        if self.resize is not None and not (4 <= self.resize <= 8192 and is_power_of_two(self.resize)):
            raise UsageError(f"Resizing to {self.resize}; expected a power of two from 4 to 8192.")

    def __call__(self, image: NDArray[np.uint8], *, where: str) -> NDArray[np.uint8]:
        """Return a uint8 RGB image (H, W, 3) cropped and resized.

        Raises:
            InputError: it is too small for the crop, or resizing would change its proportions.
        """
        cropped = self._crop(image, where)
        height, width = cropped.shape[:2]
        if self.resize is None or (height, width) == (self.resize, self.resize):
            return cropped
        if height != width:
            raise InputError(
                f"{where} is {width}×{height} pixels; a square is to become {self.resize}×{self.resize}.",
                hint="Pass --crop centre as well.",
            )
        filter_ = FILTERS[self.filter]
        return np.asarray(Image.fromarray(cropped).resize((self.resize, self.resize), filter_))

    def as_dict(self) -> dict[str, Any]:
        """Return name → plain value, as a store's header keeps it."""
        return asdict(self)

    def _crop(self, image: NDArray[np.uint8], where: str) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        if self.crop == "none":
            return image
        if self.crop == "centre":
            side = min(height, width)
            top, left = (height - side) // 2, (width - side) // 2
            return np.ascontiguousarray(image[top : top + side, left : left + side])
        (x, y), half = CELEBA_CENTRE, CELEBA_SIDE // 2
        if (width, height) != CELEBA_SIZE:
            raise InputError(
                f"{where} is {width}×{height} pixels; CelebA's aligned images are 178×218.",
                hint="--crop celeba is for img_align_celeba.",
            )
        return np.ascontiguousarray(image[y - half : y + half, x - half : x + half])
