"""The store format, once: which keys and data sets hold what. docs/formats.md says the same for people.

An LMDB store is what the PyTorch GAN trainers read, an HDF5 store what the authors' first trainer read; both carry the
header below besides, so that pgtools knows their content without reading the images.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from pgtools.errors import InputError

VERSION = 1

# LMDB keys. The first two are the field's; ours begin with "pgtools".
LMDB_LENGTH = b"length"
LMDB_HEADER = b"pgtools-header"

# HDF5: `data{level}x{level}` is the field's; our header is an attribute of the file, our columns are (N, 1), because
# the authors' later tool takes the data set with the largest last axis for the images.
HDF5_HEADER = "pgtools-header"
HDF5_NAMES = "names"
HDF5_HASHES = "sha256"


def lmdb_image_key(level: int, index: int) -> bytes:
    """Return the key of one encoded image, e.g. b'128-00042'."""
    return f"{level}-{index:05d}".encode()


def lmdb_record_key(index: int) -> bytes:
    """Return the key of what pgtools knows of one image: JSON with its name, label and SHA-256."""
    return f"pgtools-record-{index:05d}".encode()


def hdf5_dataset(level: int) -> str:
    """Return the name of the data set of one level, e.g. 'data128x128'."""
    return f"data{level}x{level}"


@dataclass(frozen=True)
class Header:
    """What a store says of itself.

    Attributes:
        count: number of images.
        levels: sides in pixels, largest first.
        content: fingerprint of the images, as `ImageSource.fingerprint` gives it.
        codec: how an image is encoded: "png" in an LMDB, "raw" in HDF5.
        version: of this format.
    """

    count: int
    levels: tuple[int, ...]
    content: str
    codec: str
    version: int = VERSION

    def to_json(self) -> str:
        """Return the header as JSON."""
        return json.dumps(asdict(self), sort_keys=True)


def header_from_json(text: str | bytes, *, where: str) -> Header:
    """Return the header that `to_json` wrote.

    Raises:
        InputError: the text is no header, or of a newer version.
    """
    try:
        fields = json.loads(text)
        fields["levels"] = tuple(int(level) for level in fields["levels"])
        header = Header(**fields)
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{where}: its pgtools header is damaged.", hint="Build the store again.") from None
    if header.version > VERSION:
        raise InputError(
            f"{where} has store version {header.version}; this pgtools reads up to {VERSION}.",
            hint="Upgrade pgtools.",
        )
    return header


@dataclass(frozen=True)
class Record:
    """What a store keeps beside one image: where it came from, its class, its SHA-256 at the top level."""

    name: str
    sha256: str
    label: int | None = None
