"""pgtools: from a photograph to a verdict. Importing this package imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    from pgtools.stores.source import ImageSource

__version__ = "0.1.0"
__all__ = ["__version__", "open"]


def open(
    images: str | os.PathLike[str] | Any,
    *,
    format: str | None = None,
    split: str | None = None,
    crop: str | None = None,
    resize: int | None = None,
    filter: str = "lanczos",
) -> ImageSource:
    """Open images as one kind of object, whatever holds them.

    Args:
        images: a path: an LMDB or HDF5 store, TFRecords, a ZIP or a folder of images, CIFAR, MNIST, SVHN, LSUN, CelebA
            (docs/stores.md lists all); or a data set object of torchvision or Hugging Face `datasets`.
        format: how to read the path, one of the names in docs/stores.md; told by what the path holds if not given.
        split: "train", "test", … or "all", of a data set with official parts; the training part if not given.
        crop: "none", "centre" (the largest square in the middle) or "celeba" (128² around (89, 121)), for images of any
            size; what the format is usually cropped to if neither `crop` nor `resize` is given.
        resize: side in pixels to resize to, a power of two.
        filter: of the resize: lanczos, bicubic, bilinear, box or nearest, as Pillow antialiases them.

    Returns:
        ImageSource: `len(source)`, `source.resolution`, `source.labels`, `source.read(indices, level)` → uint8 NumPy
        (N, 3, level, level), `source.tensor(indices, level)` → torch, `source.dataset(level)` → a torch Dataset.

    Raises:
        InputError: nothing is there, or it holds no images that pgtools reads.
        UsageError: the format has no such split, or takes no crop.

    Example:
        >>> import pgtools
        >>> faces = pgtools.open("celeba-hq.lmdb")
        >>> faces.read([0, 7], level=256).shape
        (2, 3, 256, 256)
    """
    import os
    from pathlib import Path

    from pgtools.errors import UsageError
    from pgtools.imaging.fit import Fit
    from pgtools.stores.format import Reading
    from pgtools.stores.formats.objects import from_dataset
    from pgtools.stores.opening import open_source

    fit = None if crop is None and resize is None else Fit(crop or "none", resize, filter)
    if isinstance(images, (str, os.PathLike)):
        return open_source(Path(images), format=format, reading=Reading(fit, split))
    if format or split:
        raise UsageError("A data set object is what it is: format and split are for paths.")
    return from_dataset(images, fit=fit)
