"""How far JPEG has taken a photo from itself, read off its pixels: what a guided network is told.

JPEG rounds the 8×8 cosine coefficients of the luma to multiples of the steps in its table. After decoding they still
lie near those multiples, so each step can be found as the one that explains its coefficients best, whatever program
wrote the file and whatever became of it since, as long as its pixels were not scaled.

Source: Fan and de Queiroz, Identification of bitmap compression history: JPEG detection and quantizer estimation,
IEEE Transactions on Image Processing, 2003.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from pgtools.imaging.conventions import luminance

BLOCK = 8
# The luma table of the JPEG standard (ITU-T T.81, table K.1), which libjpeg scales by quality.
STANDARD = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
# Coefficients that are looked at: the twenty of lowest frequency after the mean, which are the last to become zero.
_ORDER = sorted(
    ((row, column) for row in range(BLOCK) for column in range(BLOCK)), key=lambda place: (sum(place), place)
)
COEFFICIENTS = tuple(_ORDER[1:21])
# Steps that are tried: 1 leaves no trace in 8-bit pixels, and a baseline file has none above 255.
_STEPS = np.arange(2, 256, dtype=np.float32)[:, None]
# Standard deviation of a coefficient around its multiple after rounding to Y, then to RGB; measured 0.35 to 0.42.
_NOISE = 0.42
# Share of coefficients that something else has moved.
_STRAYS = 0.05
# A step is believed if it explains a coefficient better than no step by so many nats on average, and in sum.
_EVIDENCE, _EVIDENCE_IN_SUM = 0.12, 8.0
# Side of the middle of an image that is looked at.
_LARGEST = 1536
# Found steps that make a JPEG, if they are half of those looked for.
_ENOUGH = 3
# Different blocks that are needed.
_BLOCKS = 16
# Values of a coefficient that are needed, and that are used at most.
_FEW, _USED = 4, 1500


def usual_error(quality: float) -> float:
    """Return about how many levels (RMS, of 255) a JPEG of some quality differs from its photograph; 0 for 100.

    A fit by eye to photographs in 4:2:0: 0.55·sqrt(S), with S libjpeg's percentage of the standard table, 5000/q for
    a quality q under 50, else 200 − 2q.
    """
    return _error_of(5000 / quality if quality < 50 else 200 - 2 * quality)


def jpeg_strength(image: NDArray[np.uint8]) -> float:
    """Return how many levels (RMS) an image is off by a JPEG compression in its past; 0 if it shows none.

    The scale is that of `usual_error`, so a libjpeg file of quality q gives about `usual_error(q)`. The blocks may
    begin anywhere, as in a photo that was cut afterwards, if there are some hundreds of them.

    Nothing is found in a JPEG that was scaled, or of which a third was painted over; from a quality of 96 or so on; and
    in text or drawings on pure white, where the decoder cut off what rings around every line. Of several compressions
    the last is found.

    Args:
        image: uint8 RGB (H, W, 3); under some dozens of blocks nothing is found.
    """
    if min(image.shape[:2]) < 2 * BLOCK:
        return 0.0
    image = _middle(image)
    luma = luminance(image)
    # Where a channel is at its end, the decoder has cut values off, and the coefficients are no longer where they were.
    whole: NDArray[np.bool_] = np.all((image > 0) & (image < 255), axis=2)
    return _strength_at(luma, whole, (0, 0)) or _strength_at(luma, whole, grid_of(luma))


def grid_of(luma: NDArray[np.float64]) -> tuple[int, int]:
    """Return (row, column), 0..7 each, where the first whole block begins, going by the steps between neighbours."""
    begins = []
    for axis in (0, 1):
        jumps = np.abs(np.diff(luma, axis=axis)).mean(axis=1 - axis)
        # A jump stands out against its neighbours, or it belongs to the picture.
        excess = jumps[1:-1] - (jumps[:-2] + jumps[2:]) / 2
        by_place = [float(np.median(excess[place::BLOCK])) for place in range(BLOCK)]
        begins.append((int(np.argmax(by_place)) + 2) % BLOCK)
    return begins[0], begins[1]


def found_steps(
    luma: NDArray[np.float64], whole: NDArray[np.bool_], grid: tuple[int, int]
) -> dict[tuple[int, int], int]:
    """Return coefficient (row, column) → step of the JPEG table, 0 if it shows none; without those nearly all zero.

    Args:
        luma: float64 (H, W) in 0..255.
        whole: bool (H, W), false where a value was cut off; blocks with such pixels are left out.
        grid: where the first block begins.
    """
    blocks = _blocks(luma - 128, grid)
    blocks = blocks[_blocks(whole, grid).all(axis=(1, 2))]
    values = scipy.fft.dctn(blocks.astype(np.float32), axes=(1, 2), norm="ortho")
    chosen = values[:, [row for row, _ in COEFFICIENTS], [column for _, column in COEFFICIENTS]]  # (N, 20)
    # A pattern that repeats is no evidence: a chequerboard lies on any lattice.
    _, first = np.unique(np.rint(chosen).astype(np.int16), axis=0, return_index=True)
    if len(first) < _BLOCKS:
        return {}
    found = {}
    for place, magnitudes in zip(COEFFICIENTS, np.abs(chosen[np.sort(first)]).T, strict=True):
        magnitudes = magnitudes[magnitudes > 3 * _NOISE]
        if len(magnitudes) >= _FEW:
            found[place] = _step_of(magnitudes)
    return found


def _middle(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the middle of a large image, cut along the grid: more would cost memory and tell nothing new."""
    begins = [max(side - _LARGEST, 0) // 2 // BLOCK * BLOCK for side in image.shape[:2]]
    return image[begins[0] : begins[0] + _LARGEST, begins[1] : begins[1] + _LARGEST]


def _strength_at(luma: NDArray[np.float64], whole: NDArray[np.bool_], grid: tuple[int, int]) -> float:
    steps = found_steps(luma, whole, grid)
    found = [step / STANDARD[place] for place, step in steps.items() if step]
    if len(found) < max(_ENOUGH, len(steps) / 2):
        return 0.0
    return _error_of(100 * float(np.median(found)))


def _error_of(percentage: float) -> float:
    return 0.55 * math.sqrt(percentage)


def _blocks(plane: NDArray[np.generic], grid: tuple[int, int]) -> NDArray[np.generic]:
    """Return the whole blocks of a plane, (N, 8, 8)."""
    plane = plane[grid[0] :, grid[1] :]
    rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    plane = plane[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK)
    return plane.transpose(0, 2, 1, 3).reshape(-1, BLOCK, BLOCK)


def _step_of(magnitudes: NDArray[np.float32]) -> int:
    """Return the step whose multiples explain the coefficients best, 0 if none does much better than no step.

    The log-likelihood ratio of one coefficient c, against a density that is even over a step q: with r its distance
    from the nearest multiple but zero, log((1 − strays)·q·N(r; noise) + strays). Zeros tell nothing: smooth photos
    have them too.
    """
    if len(magnitudes) > _USED:
        magnitudes = magnitudes[np.linspace(0, len(magnitudes) - 1, _USED).astype(int)]
    distance = magnitudes - _STEPS * np.maximum(np.rint(magnitudes / _STEPS), 1)  # (steps, N)
    density = _STEPS / (_NOISE * math.sqrt(2 * math.pi)) * np.exp(-np.square(distance) / (2 * _NOISE**2))
    ratios = np.log((1 - _STRAYS) * density + _STRAYS).mean(axis=1)
    best = int(ratios.argmax())
    believed = ratios[best] > _EVIDENCE and ratios[best] * len(magnitudes) > _EVIDENCE_IN_SUM
    return int(_STEPS[best, 0]) if believed else 0
