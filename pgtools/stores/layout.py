"""The store format, once: which keys and data sets hold what. docs/formats.md says the same for people.

An LMDB store is what the PyTorch GAN trainers read, an HDF5 store what the authors' first trainer read; both carry the
header below besides, so that pgtools knows their content without reading the images.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

from pgtools.errors import InputError
from pgtools.imaging.conventions import is_power_of_two
from pgtools.imaging.pyramid import LOWEST_LEVEL

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
    """Return the key of what pgtools knows of one image: JSON with its name and SHA-256."""
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
        fields["levels"] = tuple(fields["levels"])
        header = Header(**fields)
    except (ValueError, TypeError, KeyError):
        raise InputError(f"{where}: its pgtools header is damaged.", hint="Build the store again.") from None
    if fault := _fault(header):
        raise InputError(f"{where}: its pgtools header is damaged: {fault}.", hint="Build the store again.")
    if header.version > VERSION:
        raise InputError(
            f"{where} has store version {header.version}; this pgtools reads up to {VERSION}.",
            hint="Upgrade pgtools.",
        )
    return header


def _fault(header: Header) -> str:
    """Return what is wrong with a header's values, which came from a file; "" if nothing is."""
    if type(header.version) is not int or type(header.count) is not int or header.count < 0:
        return f"version {header.version!r} and count {header.count!r}; expected whole numbers"
    if not header.levels or not all(is_level(level) for level in header.levels):
        return f"levels {list(header.levels)}; expected powers of two from {LOWEST_LEVEL} up"
    if not is_hash(header.content):
        return f"content {header.content!r}; expected 64 hex digits"
    return "" if isinstance(header.codec, str) else f"codec {header.codec!r}; expected a name"


def is_level(side: object) -> bool:
    """Return whether `side` can be a level: a power of two from 4 up."""
    return type(side) is int and side >= LOWEST_LEVEL and is_power_of_two(side)


def is_hash(text: object) -> bool:
    """Return whether `text` is a SHA-256 in 64 hex digits."""
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None


@dataclass(frozen=True)
class Record:
    """What a store keeps beside one image: where it came from and its SHA-256 at the top level."""

    name: str
    sha256: str
