"""A path on the command line becomes an image source: what is on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgtools.stores.source import ImageSource


def open_images(path: Path, *, count: int | None, seed: int, device: str) -> ImageSource:
    """Return the images at `path`.

    Images on disk are all there, whatever the count: the metric chooses among them.

    Args:
        path: a folder, a ZIP, an LMDB or an HDF5 file of images.
        count: how many images a generator is to make.
        seed: of the latents a generator starts from.
        device: where a generator runs: auto, cpu, cuda, cuda:N.
    """
    from pgtools.stores.source import open_source

    return open_source(path)
