"""Two sources side by side: what they are, and image by image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.runtime.progress import bar
from pgtools.stores.jobs.convert import bytes_of, format_of
from pgtools.stores.source import ImageSource, content_hash

HASHED_AT_ONCE = 256
READ_BYTES = 16 << 20
RECORDS_AT_ONCE = 1024
NAMED = 10
Digests = NDArray[np.uint8]  # (N, 32)


@dataclass(frozen=True)
class Comparison:
    """How two sources differ.

    Attributes:
        facts: fact → its value in A and in B.
        same: the same images in the same order.
        permutation: the same images in another order.
        differing: of the images that both have a number for, how many differ; None where their sizes do.
        first: the first few numbers of those.
        largest: the largest absolute difference of a channel of a pixel, 0 to 255; None if nothing was compared.
        psnr: of the differing images together, in dB, higher is closer; None if nothing was compared.
        labels: "equal", "different", or who has some.
        records: how many of the images that both have a number for have another name or other attributes.
    """

    facts: dict[str, tuple[Any, Any]]
    same: bool
    permutation: bool
    differing: int | None
    first: tuple[int, ...]
    largest: int | None
    psnr: float | None
    labels: str
    records: int


def compare(a: ImageSource, b: ImageSource) -> Comparison:
    """Return how two sources differ.

    The images' hashes are compared first, which stores of pgtools know without reading the images; pixels are read only
    of images whose hashes differ. Whether a store's hashes are true is what `verify` checks.

    Raises:
        InputError: an image or a record is damaged.
    """
    one, two = image_digests(a), image_digests(b)
    same = one.shape == two.shape and bool((one == two).all()) and a.resolution == b.resolution
    both = min(len(one), len(two))
    places = np.flatnonzero((one[:both] != two[:both]).any(axis=1)) if a.resolution == b.resolution else None
    permutation = not same and one.shape == two.shape and np.array_equal(_sorted(one), _sorted(two))
    largest, psnr = (None, None) if places is None or permutation else _pixels(a, b, places)
    return Comparison(
        facts={
            "images": (len(a), len(b)),
            "resolution": (a.resolution, b.resolution),
            "levels": (list(a.levels), list(b.levels)),
            "colour": (a.colour, b.colour),
            "classes": (a.classes, b.classes),
            "fingerprint": (_fingerprint(one), _fingerprint(two)),
        },
        same=same,
        permutation=permutation,
        differing=None if places is None else len(places),
        first=() if places is None else tuple(places[:NAMED].tolist()),
        largest=largest,
        psnr=psnr,
        labels=_labels(a, b),
        records=_differing_records(a, b, both),
    )


def image_digests(source: ImageSource) -> Digests:
    """Return the SHA-256 of every image, uint8 (N, 32), with a progress bar."""
    digests = np.empty((len(source), 32), np.uint8)
    with bar(f"Hashing {source.name}", len(source)) as advance:
        for start in range(0, len(source), HASHED_AT_ONCE):
            stop = min(start + HASHED_AT_ONCE, len(source))
            hashes = "".join(source.image_hashes(range(start, stop)))
            digests[start:stop] = np.frombuffer(bytes.fromhex(hashes), np.uint8).reshape(-1, 32)
            advance(stop - start)
    return digests


def fingerprint(source: ImageSource) -> str:
    """Return the source's fingerprint: from its header where it has one, else by reading it, with a progress bar."""
    header = getattr(source, "header", None)
    return source.fingerprint() if header else _fingerprint(image_digests(source))


def _fingerprint(digests: Digests) -> str:
    return content_hash(digest.tobytes().hex() for digest in digests)


def _sorted(digests: Digests) -> Digests:
    return digests[np.lexsort(digests.T)]


def _pixels(a: ImageSource, b: ImageSource, places: NDArray[np.int64]) -> tuple[int | None, float | None]:
    """Largest absolute difference and PSNR (dB) over the images at `places`."""
    if not len(places):
        return None, None
    largest, squares = 0, 0
    size = max(1, min(64, READ_BYTES // (3 * a.resolution**2)))
    with bar("Comparing", len(places)) as advance:
        for start in range(0, len(places), size):
            chunk = places[start : start + size].tolist()
            apart = a.read(chunk).astype(np.int32) - b.read(chunk)
            largest = max(largest, int(np.abs(apart).max()))
            squares += int(np.square(apart).sum(dtype=np.int64))
            advance(len(chunk))
    mean = squares / (len(places) * 3 * a.resolution**2)
    return largest, 10 * math.log10(255**2 / mean) if mean else None


def _labels(a: ImageSource, b: ImageSource) -> str:
    one, two = a.labels, b.labels
    if one is None or two is None:
        return "none" if one is two else "only in A" if two is None else "only in B"
    return "equal" if np.array_equal(one, two) else "different"


def _differing_records(a: ImageSource, b: ImageSource, count: int) -> int:
    differing = 0
    with bar("Comparing names and attributes", count) as advance:
        for start in range(0, count, RECORDS_AT_ONCE):
            chunk: Sequence[int] = range(start, min(start + RECORDS_AT_ONCE, count))
            differing += sum(one != two for one, two in zip(a.records(chunk), b.records(chunk), strict=True))
            advance(len(chunk))
    return differing


def source_facts(source: ImageSource, path: Path, format: str | None = None) -> dict[str, Any]:
    """Return what is known of a source, as plain JSON; None for what only stores of pgtools know.

    Args:
        source: what stands at the path.
        path: of the source, for its name, its format and its size on disk.
        format: its format; told by what the path holds if not given.

    Raises:
        InputError: an image is damaged.
    """
    header = getattr(source, "header", None)
    known, size = format_of(path, format), bytes_of(path)
    return {
        "path": str(path),
        "format": known.name if known else None,
        "images": len(source),
        "resolution": source.resolution,
        "levels": list(source.levels),
        "stored": sorted(getattr(source, "stored_levels", [source.resolution]), reverse=True),
        "colour": source.colour,
        "classes": source.classes,
        "version": header.version if header else None,
        "codecs": {str(level): header.codecs[level] for level in header.levels} if header else None,
        "origin": dict(header.origin) if header else None,
        "bytes": size,
        "bytes_per_image": round(size / len(source)),
        "fingerprint": fingerprint(source),
    }
