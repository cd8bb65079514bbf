"""A path becomes an `ImageSource`, by what the path holds."""

from __future__ import annotations

from pathlib import Path

from pgtools.errors import InputError
from pgtools.stores import archive, folder, hdf5, lmdb
from pgtools.stores.source import ImageSource


def open_source(path: Path) -> ImageSource:
    """Open images on disk by what the path holds: an LMDB, an HDF5 file, a ZIP or a folder of images.

    Raises:
        InputError: nothing is there, or it holds no images that pgtools reads.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist.", hint="Name a folder, a ZIP, an LMDB or an HDF5 file of images.")
    for recognises, open_ in (
        (lmdb.recognises, lmdb.LmdbStore),
        (hdf5.recognises, hdf5.Hdf5Store),
        (archive.recognises, archive.ImageArchive),
        (folder.recognises, folder.ImageFolder),
    ):
        if recognises(path):
            return open_(path)
    raise InputError(
        f"{path} is no image source.",
        hint="pgtools reads LMDB and HDF5 stores, ZIP archives and folders of images.",
    )
