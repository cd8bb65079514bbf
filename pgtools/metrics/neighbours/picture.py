"""Generated images and their neighbours on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pgtools.imaging.resample import enlarge_nearest

HEADS = ("generated", "nearest training images, their distance below")
# Narrower cells are enlarged: a face of 32 pixels is no picture on a screen, and heads and captions need the width.
CELL = 96
HEAD, CAPTION, LETTERS = 24, 16, 12
# Of a cell: between a generated image and its neighbours, and between any two.
GAP, LINE = 0.25, 1 / 32


def sheet(
    generated: NDArray[np.uint8], neighbours: NDArray[np.uint8], captions: Sequence[Sequence[str]]
) -> NDArray[np.uint8]:
    """Return a picture, uint8 (height, width, 3) on white, a row for each generated image, a head above each part.

    The generated image is on the left; to its right, beyond a gap, are its neighbours, the nearest first, each above
    its caption. Images below 96² are enlarged by the whole number that brings them there, each pixel to a square.

    Args:
        generated: uint8 (K, 3, R, R).
        neighbours: uint8 (K, M, 3, R, R).
        captions: K rows of M short texts.
    """
    rows, columns, _, side, _ = neighbours.shape
    times = -(-CELL // side)
    cell = side * times
    gap, line = round(cell * GAP), round(cell * LINE)
    lefts = [0, *(cell + gap + column * (cell + line) for column in range(columns))]
    tops = [HEAD + row * (cell + CAPTION + line) for row in range(rows)]
    font = ImageFont.load_default(LETTERS)
    width = max(lefts[-1] + cell, lefts[1] + math.ceil(font.getlength(HEADS[1])))
    picture = Image.new("RGB", (width, tops[-1] + cell + CAPTION), "white")
    pen = ImageDraw.Draw(picture)
    for left, head in zip(lefts, HEADS, strict=False):
        pen.text((left, HEAD / 2), head, "black", font, anchor="lm")
    for row, top in enumerate(tops):
        for left, image in zip(lefts, (generated[row], *neighbours[row]), strict=True):
            pixels = enlarge_nearest(np.ascontiguousarray(image.transpose(1, 2, 0)), times)
            picture.paste(Image.fromarray(pixels), (left, top))
        for left, caption in zip(lefts[1:], captions[row], strict=True):
            pen.text((left + cell / 2, top + cell + CAPTION / 2), caption, "black", font, anchor="mm")
    return np.asarray(picture)
