"""The store format, once: which keys and data sets hold what. docs/formats.md says the same for people.

An LMDB store is what the PyTorch GAN trainers read, an HDF5 store what the authors' first trainer read; both carry the
header below besides, so that pgtools knows their content without reading the images.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pgtools.errors import InputError
from pgtools.imaging.conventions import is_power_of_two
from pgtools.imaging.pyramid import LOWEST_LEVEL

VERSION = 2

# LMDB keys. The first two are the field's; ours begin with "pgtools".
LMDB_LENGTH = b"length"
LMDB_HEADER = b"pgtools-header"
LMDB_LABELS = b"pgtools-labels"

# HDF5: `data{level}x{level}` is the field's; our header is an attribute of the file. Our columns have two axes and
# fewer columns than the images have pixels in a row, because the authors' later tool takes the data set with the
# largest last axis for the images.
HDF5_HEADER = "pgtools-header"
HDF5_NAMES = "names"
HDF5_HASHES = "sha256"
HDF5_CHECKSUMS = "crc32"
HDF5_LABELS = "labels"
HDF5_ATTRIBUTES = "attributes"
HDF5_CHECKS = "checks"

# A header or a record longer than this is none: a damaged file can announce any length.
MAX_TEXT_BYTES = 1 << 20
# No image of a data set is larger; a damaged file can announce any size.
MAX_LEVEL = 8192

Colour = Literal["rgb", "grey"]
Attribute = str | int | float | bool


def lmdb_image_key(level: int, index: int) -> bytes:
    """Return the key of one encoded image, e.g. b'128-00042'."""
    return f"{level}-{index:05d}".encode()


def lmdb_record_key(index: int) -> bytes:
    """Return the key of what pgtools knows of one image: a `StoredRecord` as JSON."""
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
        codecs: level → how its images are encoded: "raw", "png", "webp" or "jpeg-QUALITY".
        colour: "rgb", or "grey" if every image has three equal channels and one is stored.
        classes: number of classes of the labels; None without labels.
        origin: what the store was made from: `name`, `sha256` (the fingerprint of what was given to be stored), and
            what else the maker tells, as plain JSON.
        version: of this format.
    """

    count: int
    levels: tuple[int, ...]
    content: str
    codecs: Mapping[int, str]
    colour: Colour = "rgb"
    classes: int | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)
    version: int = VERSION

    def to_json(self) -> str:
        """Return the header as JSON."""
        return json.dumps(asdict(self), sort_keys=True)


def header_from_json(text: str | bytes, *, where: str) -> Header:
    """Return the header that `to_json` wrote, or that version 1 of the format did.

    Raises:
        InputError: the text is no header, or of a newer version.
    """
    try:
        fields = json.loads(text)
        version = fields["version"]
        if type(version) is int and version > VERSION:
            raise InputError(
                f"{where} has store version {version}; this pgtools reads up to {VERSION}.", hint="Upgrade pgtools."
            )
        if version == 1:
            fields["codecs"] = dict.fromkeys(fields["levels"], fields["codec"])
        known = {name: fields[name] for name in Header.__dataclass_fields__ if name in fields}
        known["codecs"] = {int(level): codec for level, codec in known["codecs"].items()}
        header = Header(**{**known, "levels": tuple(fields["levels"])})
        fault = _fault(header)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        fault = "it is no JSON object of that kind"
    if fault:
        raise InputError(f"{where}: its pgtools header is damaged: {fault}.", hint=_repair(where))
    return header


def _fault(header: Header) -> str:
    """Return what is wrong with a header's values, which came from a file; "" if nothing is."""
    if type(header.version) is not int or type(header.count) is not int or header.count < 0:
        return f"version {header.version!r} and count {header.count!r}; expected whole numbers"
    if not header.levels or not all(is_level(level) for level in header.levels):
        return f"levels {list(header.levels)}; expected powers of two from {LOWEST_LEVEL} up"
    if list(header.levels) != sorted(set(header.levels), reverse=True):
        return f"levels {list(header.levels)}; expected the largest first"
    if not is_hash(header.content):
        return f"content {header.content!r}; expected 64 hex digits"
    if set(header.codecs) != set(header.levels) or not all(isinstance(c, str) for c in header.codecs.values()):
        return f"codecs {dict(header.codecs)}; expected a name for each level"
    if header.colour not in ("rgb", "grey"):
        return f"colour {header.colour!r}; expected rgb or grey"
    if header.classes is not None and (type(header.classes) is not int or header.classes < 1):
        return f"classes {header.classes!r}; expected a number from 1 up"
    return "" if isinstance(header.origin, dict) else f"origin {header.origin!r}; expected an object"


def is_level(side: object) -> bool:
    """Return whether `side` can be a level: a power of two from 4 to 8192."""
    return type(side) is int and LOWEST_LEVEL <= side <= MAX_LEVEL and is_power_of_two(side)


def is_hash(text: object) -> bool:
    """Return whether `text` is a SHA-256 in 64 hex digits."""
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None


@dataclass(frozen=True)
class Record:
    """What is known of one image beside its pixels and its class.

    Attributes:
        name: where it came from, e.g. the path of its file in the folder it was read from, with `/` between folders.
        attributes: name → text, number or truth value. "split" ("train", "test", …) and "score" (higher is better)
            have a meaning to `pgtools store subset`.
    """

    name: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredRecord:
    """A record with its checksums, as a store keeps it.

    Attributes:
        name, attributes: as in `Record`.
        sha256: of the C×H×W bytes of the image at the top level, as it is read (three channels).
        crc32: level → CRC-32 of what is stored: the encoded bytes in an LMDB, the C×H×W bytes in HDF5. Empty in
            version 1.
        check: `record_check` of all this and of the image's label; None in version 1.
    """

    name: str
    sha256: str
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    crc32: Mapping[int, int] = field(default_factory=dict)
    check: int | None = None

    def to_json(self) -> bytes:
        """Return the record as JSON."""
        return json.dumps(asdict(self), sort_keys=True).encode()


def record_check(record: StoredRecord, label: int | None) -> int:
    """Return the CRC-32 of what is kept of an image beside its pixels, its label (None without) included.

    It is over the JSON list [name, sha256, attributes, [[level, crc32], … largest first], label], with sorted keys, no
    spaces, and everything beyond ASCII escaped.
    """
    levels = sorted(record.crc32.items(), reverse=True)
    text = json.dumps(
        [record.name, record.sha256, dict(record.attributes), levels, label], sort_keys=True, separators=(",", ":")
    )
    return zlib.crc32(text.encode("ascii"))


def record_from_json(text: bytes, *, where: str) -> StoredRecord:
    """Return the record that `StoredRecord.to_json` wrote.

    Raises:
        InputError: the text is no record.
    """
    try:
        fields = json.loads(text)
        crc32 = {int(level): int(value) for level, value in fields.get("crc32", {}).items()}
        check, attributes = fields.get("check"), checked_attributes(fields.get("attributes", {}))
        record = StoredRecord(fields["name"], fields["sha256"], attributes, crc32, check)
        if not isinstance(record.name, str) or not is_hash(record.sha256) or type(check) not in (int, type(None)):
            raise ValueError("no name or no hash")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(f"{where} is damaged.", hint=_repair(where.split(":")[0])) from None
    return record


def attributes_to_json(attributes: Mapping[str, Attribute]) -> str:
    """Return attributes as JSON; "" if there are none."""
    return json.dumps(dict(attributes), sort_keys=True) if attributes else ""


def attributes_from_json(text: str) -> dict[str, Attribute]:
    """Return the attributes that `attributes_to_json` wrote, or raise ValueError."""
    try:
        return checked_attributes(json.loads(text)) if text else {}
    except RecursionError:
        raise ValueError("nested too deeply") from None


def checked_attributes(value: object) -> dict[str, Attribute]:
    """Return `value` if it is a flat object of texts, finite numbers and truth values; else raise ValueError."""
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{value!r} is no set of attributes")
    for name, one in value.items():
        if not isinstance(one, (str, int, float, bool)) or (isinstance(one, float) and not math.isfinite(one)):
            raise ValueError(f"{name} is {one!r}")
    return value


def labels_fault(labels: Iterable[int], classes: int | None) -> str:
    """Return what is wrong with class numbers from a file; "" if nothing is."""
    numbers = list(labels)
    if classes is None or not numbers:
        return "" if classes is None else "there are no labels"
    low, high = min(numbers), max(numbers)
    return "" if low >= 0 and high < classes else f"class numbers {low} to {high}; expected 0 to {classes - 1}"


def _repair(path: str) -> str:
    return f"`pgtools store verify {path} --repair` keeps what can be saved."


def repair_hint(path: object) -> str:
    """Return the hint that every fault of a store ends with: the command that repairs it."""
    return _repair(str(path))
