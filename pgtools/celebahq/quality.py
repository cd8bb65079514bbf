"""A quality score from the power spectrum: broad reach over frequencies, rough radial symmetry.

Convention: 0 (worst) to 1 (best); docs/celebahq.md gives the formula and what it orders.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import scipy.fft
from numpy.typing import NDArray

from pgtools.imaging.conventions import LUMA

SECTORS = 8
RINGS_PER_OCTAVE = 2
LOWEST_FREQUENCY = 4.0  # cycles per picture: below, a ring holds too few bins to judge its symmetry
NOTHING = 1e-12  # energy of a pixel whose luminance is a millionth of a level off the mean: float32's rounding


def quality_score(image: NDArray[np.uint8]) -> float:
    """Return how good a crop is, by its power spectrum alone, computed in float32 (which moves a score by 10⁻⁸).

    The spectrum of the Hann-windowed luminance is averaged over rings of equal width in octaves and eight sectors.
    Breadth is the evenness (normalised entropy) of the energy over the rings: photographs spread theirs about evenly
    over octaves, blur empties the high ones. Symmetry is the geometric over the arithmetic mean of a ring's sectors,
    averaged over the rings: motion blur, JPEG blocks and reflected borders favour directions.

    Args:
        image: uint8 (R, R, 3), R ≥ 4.

    Returns:
        Breadth × symmetry in [0, 1]; unchanged by mirroring and by scaling or shifting all brightness; 0 for an
        image of one colour.

    Source: the idea is Karras et al. 2018, appendix C, which gives no formula; the formula is ours.
    """
    side = image.shape[0]
    luma = cv2.transform(image.astype(np.float32), LUMA[None, :].astype(np.float32))
    window = _window(side)
    luma -= np.float32(np.vdot(luma, window) / window.sum(dtype=np.float64))
    luma *= window
    spectrum = scipy.fft.rfft2(luma, overwrite_x=True)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    bins, counts, frequencies = _polar_bins(side)
    energy = np.bincount(bins, weights=power.ravel(), minlength=counts.size + 1)[:-1].reshape(counts.shape)
    total = energy.sum()
    if total <= NOTHING * side**4:
        return 0.0
    density = energy / counts
    # Energy of a ring: its mean density times the area between its circles, which grows as frequency squared.
    share = density.mean(axis=1) * frequencies**2
    share /= share.sum()
    breadth = -np.sum(share * np.log(share + 1e-300)) / np.log(max(len(share), 2))
    floor = total * 1e-15  # an empty sector is 0 symmetry, not a division by zero
    symmetry = np.mean(np.exp(np.log(density + floor).mean(axis=1)) / (density + floor).mean(axis=1))
    return float(np.clip(breadth * symmetry, 0, 1))


@lru_cache(maxsize=4)
def _window(side: int) -> NDArray[np.float32]:
    hann = np.hanning(side + 2)[1:-1]
    return np.outer(hann, hann).astype(np.float32)


@lru_cache(maxsize=4)
def _polar_bins(side: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return every rfft2 coefficient's bin (the last: none), bin sizes (rings, sectors), ring frequencies.

    Sectors are centred on the axes and mirror onto one another; no coefficient lies on a sector's edge, because the
    tangents of the edges are irrational.
    """
    y = scipy.fft.fftfreq(side, 1 / side)[:, None]
    x = scipy.fft.rfftfreq(side, 1 / side)[None, :]
    radius = np.hypot(x, y)
    lowest = min(LOWEST_FREQUENCY, side / 8)
    rings = max(1, int(np.floor(RINGS_PER_OCTAVE * np.log2(side / 2 / lowest))))
    with np.errstate(divide="ignore"):
        ring = np.floor(RINGS_PER_OCTAVE * np.log2(radius / lowest))
    sector = np.rint(np.arctan2(y, x) / (np.pi / SECTORS)).astype(np.int64) % SECTORS
    inside = (ring >= 0) & (ring < rings)
    bins = np.where(inside, np.where(inside, ring, 0).astype(np.int64) * SECTORS + sector, rings * SECTORS)
    counts = np.bincount(bins.ravel(), minlength=rings * SECTORS + 1)[:-1].reshape(rings, SECTORS)
    middles = lowest * 2 ** ((np.arange(rings) + 0.5) / RINGS_PER_OCTAVE)
    return bins.ravel(), np.maximum(counts, 1).astype(np.float64), middles
