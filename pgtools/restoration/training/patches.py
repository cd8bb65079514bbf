"""Training pairs from photographs: (what came of it, what it was), each named by the seed and its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pgtools.errors import InputError
from pgtools.imaging.photo import LOSSY, read_photo, size_of
from pgtools.imaging.resample import FILTERS, lanczos
from pgtools.restoration.degrade import jpeg, shrink
from pgtools.restoration.strength import usual_error
from pgtools.restoration.training.settings import PATCH, SCALE
from pgtools.runtime.files import human_bytes
from pgtools.runtime.memory import available_memory
from pgtools.runtime.progress import track
from pgtools.runtime.seeds import stream
from pgtools.runtime.workers import map_ahead

Image8 = NDArray[np.uint8]

# A photograph is learnt from at these sizes: a JPEG only where shrinking has wiped out its own artifacts.
REDUCTIONS = {True: (2, 3, 5), False: (1, 2)}
# Extra pixels around a patch: JPEG's grid may begin at any of them, and no filter sees the patch's border.
_GRID = 16
_RIM = 4


@dataclass(frozen=True)
class Pair:
    """One thing to learn.

    Attributes:
        seen: what the network gets, uint8 (P, P, 3).
        wanted: what it should give, uint8 (P·scale, P·scale, 3).
        error: RMS error in levels that is usual for a JPEG of its quality; 0 where nothing was lost.
    """

    seen: Image8
    wanted: Image8
    error: float


def check_pool(files: Sequence[Path], *, task: str) -> None:
    """Raise InputError if `load_pool` would fail, as far as the files' headers tell; it takes a moment only.

    Raises:
        InputError: files are no images (all of those are told), no photograph is large enough, or all together do not
            fit into memory.
    """
    smallest = _whole_side(task)
    needed, faults = 0, []
    for file in files:
        try:
            sizes = [_sides(*size_of(file), factor) for factor in REDUCTIONS[_is_lossy(file)]]
        except InputError as error:
            faults.append(error)
            continue
        needed += sum(3 * width * height for width, height in sizes if min(width, height) >= smallest)
    _refuse(faults)
    if not needed:
        raise _none_large(len(files), smallest)
    available = available_memory()
    if available is not None and needed > available:
        raise InputError(
            f"The {len(files)} photographs take {human_bytes(needed)} of memory; {human_bytes(available)} are left.",
            hint="Name a folder of fewer or smaller ones.",
        )


def load_pool(files: Sequence[Path], *, task: str) -> dict[Path, list[Image8]]:
    """Return each photograph's file → it at the sizes it is learnt from, in memory; those too small are left out.

    Raises:
        InputError: files are damaged (all of those are told), or no photograph is large enough.
    """
    smallest = _whole_side(task)
    pool, faults = {}, []
    read = track(map_ahead(_sizes, files), "Reading photographs", total=len(files))
    for file, sizes in zip(files, read, strict=True):
        if isinstance(sizes, InputError):
            faults.append(sizes)
        elif large := [image for image in sizes if min(image.shape[:2]) >= smallest]:
            pool[file] = large
    _refuse(faults)
    if not pool:
        raise _none_large(len(files), smallest)
    return pool


def draw_pair(pool: Sequence[Sequence[Image8]], task: str, seed: int, number: int) -> Pair:
    """Return training pair `number` of a seed; the same whatever was drawn before."""
    numbers = stream(seed, "restorer", task, number)
    sizes = pool[int(numbers.integers(len(pool)))]
    clean = _turned(_piece(sizes[int(numbers.integers(len(sizes)))], _whole_side(task), numbers), numbers)
    return _jpeg_pair(clean, numbers) if task == "dejpeg" else _shrunk_pair(clean, numbers)


def _whole_side(task: str) -> int:
    return PATCH[task] + _GRID if task == "dejpeg" else (PATCH[task] + 2 * _RIM) * SCALE[task]


def _refuse(faults: Sequence[InputError]) -> None:
    if faults:
        raise InputError(" ".join(fault.message for fault in faults), hint="Take these out of the folder.")


def _none_large(count: int, smallest: int) -> InputError:
    return InputError(
        f"None of the {count} photographs is large enough.",
        hint=f"PNGs of {smallest}² pixels or JPEGs of {2 * smallest}² and more are.",
    )


def _sizes(file: Path) -> list[Image8] | InputError:
    """The photograph at its sizes, or why it cannot be read: one damaged file hides no other."""
    try:
        photo = read_photo(file)
    except InputError as error:
        return error
    return [_reduced(photo, factor) for factor in REDUCTIONS[_is_lossy(file)]]


def _is_lossy(file: Path) -> bool:
    return file.suffix.lower() in LOSSY


def _sides(width: int, height: int, factor: int) -> tuple[int, int]:
    return max(width // factor, 1), max(height // factor, 1)


def _reduced(photo: Image8, factor: int) -> Image8:
    if factor == 1:
        return photo
    height, width = photo.shape[:2]
    return lanczos(photo, *_sides(width, height, factor))


def _piece(image: Image8, side: int, numbers: np.random.Generator) -> Image8:
    """A square somewhere in the image; half the time the busier of two, since much of a photograph is sky."""
    tops = numbers.integers(image.shape[0] - side + 1, size=2)
    lefts = numbers.integers(image.shape[1] - side + 1, size=2)
    pieces = [image[top : top + side, left : left + side] for top, left in zip(tops, lefts, strict=True)]
    if numbers.random() < 0.5:
        return max(pieces, key=lambda piece: float(piece.std()))
    return pieces[0]


def _turned(image: Image8, numbers: np.random.Generator) -> Image8:
    turned = np.rot90(image, k=int(numbers.integers(4)))
    return np.ascontiguousarray(turned[:, ::-1] if numbers.random() < 0.5 else turned)


def _jpeg_pair(clean: Image8, numbers: np.random.Generator) -> Pair:
    """One patch in sixteen is clean, one in ten is a JPEG of a JPEG, one a JPEG resized: as one finds in data sets."""
    kind = numbers.choice(["jpeg", "clean", "twice", "resized"], p=[0.74, 0.06, 0.1, 0.1])
    quality = int(numbers.integers(5, 98))
    seen, wanted, error = clean, clean, 0.0
    if kind != "clean":
        seen, error = _as_jpeg(seen, quality, numbers), usual_error(quality)
    if kind == "twice":
        later = int(numbers.integers(5, 98))
        shift = int(numbers.integers(8))
        seen, wanted = _as_jpeg(seen[shift:, shift:], later, numbers), wanted[shift:, shift:]
        error = usual_error(min(quality, later))
    if kind == "resized":
        side = int(numbers.integers(PATCH["dejpeg"] + 8, clean.shape[0] + 17))
        seen, wanted = _resized(seen, side), _resized(wanted, side)
    room = len(seen) - PATCH["dejpeg"]
    top, left = numbers.integers(room + 1, size=2)
    if numbers.random() < 0.75:  # the grid of a photo that was never cut begins at an even pixel
        top, left = top // 2 * 2, left // 2 * 2
    window = np.s_[top : top + PATCH["dejpeg"], left : left + PATCH["dejpeg"]]
    return Pair(seen[window], wanted[window], error)


def _shrunk_pair(clean: Image8, numbers: np.random.Generator) -> Pair:
    """Mostly the field's antialiased bicubic; a third by other filters or through a JPEG, as photos are."""
    name = str(numbers.choice(["bicubic", "box", "bilinear", "lanczos"], p=[0.79, 0.07, 0.07, 0.07]))
    seen = shrink(clean, SCALE["sr4"], filter=name)
    if numbers.random() < 0.15:
        seen = _as_jpeg(seen, int(numbers.integers(50, 98)), numbers)
    rim = _RIM * SCALE["sr4"]
    return Pair(seen[_RIM:-_RIM, _RIM:-_RIM], clean[rim:-rim, rim:-rim], 0.0)


def _as_jpeg(image: Image8, quality: int, numbers: np.random.Generator) -> Image8:
    subsampling = str(numbers.choice(["4:2:0", "4:4:4", "4:2:2"], p=[0.65, 0.25, 0.1]))
    return jpeg(image, quality, subsampling=subsampling)


def _resized(image: Image8, side: int) -> Image8:
    return np.asarray(Image.fromarray(image).resize((side, side), FILTERS["bicubic"]))
