"""What can be chosen of `pgtools generate`; light, since its help reads it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pgtools.errors import UsageError
from pgtools.runtime.settings import Settings, setting

COUNT = 64
CLASS_COLUMNS = 8
# Of a list that is written out; --count may be larger, and takes no memory.
MOST_LISTED = 1_000_000


@dataclass(frozen=True)
class GenerateSettings(Settings):
    """Which images `pgtools generate` makes, and how a grid shows them."""

    count: int | None = setting(
        None, help=f"The first so many images of the seed.  [default: {COUNT}]", low=1, high=1_000_000_000
    )
    images: str | None = setting(None, help="Numbers of images in place of --count, e.g. 0-15,42.")
    seed: int = setting(0, help="Image i depends on seed and i.", low=0)
    snapshot: str | None = setting(
        None, help="Of a run: best, latest, or the number of images it had been shown.  [default: latest]"
    )
    truncation: float = setting(
        1.0,
        help="Above 0, 1 at most: the share of its angle to the network's most typical latent that a latent keeps. "
        "Less gives less variety, 1 leaves all as it is. (The networks normalise latents: their length says nothing.)",
    )
    labels: str | None = setting(
        None, help="Classes that images have in turn, e.g. 3 or 0,1,2; drawn by seed and number if not given."
    )
    columns: int | None = setting(None, help="Images in a row of a grid or a video.", low=1, high=1024)
    class_rows: bool = setting(
        False, help=f"In the grid, a row a class: the first {CLASS_COLUMNS} (or --columns) images, as each."
    )

    def __post_init__(self) -> None:
        if not 0 < self.truncation <= 1:
            raise UsageError(f"--truncation is {self.truncation:g}; expected a number above 0, 1 at most.")
        super().__post_init__()
        if self.count is not None and self.images is not None:
            raise UsageError("--count and --images both say which images.", hint="Pass one of them.")
        if self.class_rows and len(self.numbers) < self.row_length:
            raise UsageError(f"--class-rows shows {self.row_length} images in a row; {len(self.numbers)} are chosen.")
        self.classes, self.which_snapshot  # noqa: B018 (read for their errors)

    @property
    def numbers(self) -> Sequence[int]:
        """Numbers of the images, ascending, each once."""
        return range(self.count or COUNT) if self.images is None else sorted(set(listed(self.images, "--images")))

    @property
    def classes(self) -> tuple[int, ...]:
        """Classes that the images have in turn; none if the seed draws them."""
        return () if self.labels is None else tuple(listed(self.labels, "--labels"))

    @property
    def which_snapshot(self) -> int | Literal["best", "latest"] | None:
        """Which snapshot of a run: the number of images it had been shown, or a name."""
        if self.snapshot is None:
            return None
        if self.snapshot == "best":
            return "best"
        if self.snapshot == "latest":
            return "latest"
        if not re.fullmatch(r"[0-9]{1,18}", self.snapshot):
            raise UsageError(f"--snapshot is {self.snapshot!r}; expected best, latest or a number of images.")
        return int(self.snapshot)

    @property
    def row_length(self) -> int:
        """Images in a row of a grid that has a row a class."""
        return self.columns or CLASS_COLUMNS


def listed(text: str, option: str) -> list[int]:
    """Return [0, 1, 2, 42] for "0-2,42".

    Raises:
        UsageError: a part is neither a whole number nor two with a dash, ascending; or there are more than a million.
    """
    numbers: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,18})(?:-([0-9]{1,18}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if last < first:
            raise UsageError(f"{option} has {part!r}; expected whole numbers from 0 up, e.g. 0-15,42.")
        if len(numbers) + last - first >= MOST_LISTED:
            raise UsageError(
                f"{option} names more than {MOST_LISTED:,} numbers.", hint="Make them in several commands."
            )
        numbers += range(first, last + 1)
    return numbers
