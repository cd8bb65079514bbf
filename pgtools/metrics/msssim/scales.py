"""What is said once for every way to compute MS-SSIM: the scales, their weights, the window at each."""

from __future__ import annotations

from pgtools.imaging.ssim import SIGMA, WINDOW, gaussian

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
SCALES = len(WEIGHTS)
SMALLEST = 1 << (SCALES - 1)


def window_at(side: int) -> list[float]:
    """Return the window along one axis for planes of that side, of sum 1; under 11 pixels it is as large as they."""
    size = min(WINDOW, side)
    return gaussian(size, size * SIGMA / WINDOW)
