"""A path on the command line becomes an image source: what is on disk, or what a trained generator makes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pgtools.errors import InputError

if TYPE_CHECKING:
    from pgtools.stores.source import ImageSource


def open_real(path: Path) -> ImageSource:
    """Return the real images at `path`, all that are there.

    Raises:
        InputError: there are none, or it is a generator, which is what swapped arguments look like.
    """
    from pgtools.progan.run.folder import check_no_lost_run
    from pgtools.progan.sampling.source import holds_generator
    from pgtools.stores.opening import open_source

    if holds_generator(path):
        raise InputError(
            f"{path} is a generator, not a set of real images.",
            hint="Did you swap REAL and FAKE? The real images come first.",
        )
    check_no_lost_run(path)
    return open_source(path)


def open_images(path: Path, *, count: int | None, seed: int, device: str) -> ImageSource:
    """Return the images at `path`.

    Images on disk are all there, whatever the count: the metric chooses among them.

    Args:
        path: images (a folder, a ZIP, an LMDB, an HDF5 file), or a generator (a run, a snapshot, the authors'
            pickle).
        count: how many images a generator is to make.
        seed: of the latents a generator starts from.
        device: where a generator runs: auto, cpu, cuda, cuda:N.

    Raises:
        InputError: there are no images, or what is left of a run whose config.json is gone.
    """
    from pgtools.progan.run.folder import check_no_lost_run
    from pgtools.progan.sampling.source import holds_generator, open_generator
    from pgtools.runtime.device import resolve_device
    from pgtools.stores.opening import open_source

    if holds_generator(path):
        return open_generator(path, count=count, seed=seed, device=resolve_device(device))
    check_no_lost_run(path)
    return open_source(path)
