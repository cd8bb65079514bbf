"""Photos of a build made ready for its page: small, with the crop's square drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE = 320
# The lines are drawn twice as large and averaged down: smooth without a library for it.
_OVER = 2
_LINE, _CASING = (255, 214, 64), (20, 20, 20)
_BEYOND = (128, 128, 128)


def marked(photo: NDArray[np.uint8], quad: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a photo at most 320 pixels long with its crop square and its landmarks drawn.

    Where the square reaches beyond the photo, grey stands for what the builder mirrors and blurs, for at most the
    photo's own size on each side.

    Args:
        photo: uint8 RGB (H, W, 3).
        quad: float64 (4, 2), the square's corners in the photo, in order around it; not drawn if not finite.
        points: float64 (N, 2); those that are not finite are left out.
    """
    height, width = photo.shape[:2]
    corners = quad if np.isfinite(quad).all() else np.zeros((0, 2))
    low = np.clip(np.floor(corners.min(axis=0, initial=0)), (-width, -height), (0, 0))
    high = np.clip(np.ceil(corners.max(axis=0, initial=0)), (width, height), (2 * width, 2 * height))
    scale = SIDE * _OVER / float((high - low).max())
    canvas = Image.new("RGB", _pixels((high - low) * scale), _BEYOND)
    resized = Image.fromarray(photo).resize(_pixels(np.array([width, height]) * scale), Image.Resampling.LANCZOS)
    canvas.paste(resized, tuple(np.rint(-low * scale).astype(int).tolist()))
    draw = ImageDraw.Draw(canvas)
    ring = [tuple(corner) for corner in ((corners - low) * scale).tolist()]
    for colour, line, radius in ((_CASING, 6 * _OVER, 4 * _OVER), (_LINE, 3 * _OVER, 2.5 * _OVER)):
        if ring:
            draw.line([*ring, *ring[:2]], fill=colour, width=line, joint="curve")
        for x, y in ((points[np.isfinite(points).all(axis=1)] - low) * scale).tolist():
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return np.asarray(canvas.reduce(_OVER))


def _pixels(size: NDArray[np.float64]) -> tuple[int, int]:
    width, height = (max(_OVER, round(length)) for length in size.tolist())
    return width, height
