"""A source of images as one HTML page to look through: search, filter, sort, enlarge; it loads nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from pgtools.errors import InputError
from pgtools.imaging.pyramid import mean_level
from pgtools.runtime.workers import in_threads
from pgtools.stores.layout import Attribute, Record
from pgtools.stores.source import ImageSource, LevelStore, image_hash

LARGEST_THUMBNAIL = 128
# Where a pixel is worth seeing as it is, an image is small enough to be kept as it is.
LOSSLESS_UP_TO = 64
QUALITY = 82
SAMPLE = 8
# Names, hashes and attributes of an image in the page, where nothing better is known.
FACTS_BYTES = 300
BATCH_BYTES = 16 << 20
LARGEST_EXACT = 2**53 - 1


@dataclass(frozen=True)
class Selection:
    """What of a source the page shows.

    Attributes:
        source: the images.
        count: how many, from the first on.
        side: of each picture in the page, one of the source's levels.
    """

    source: ImageSource
    count: int
    side: int


def select(source: ImageSource, count: int, level: int | None = None) -> Selection:
    """Return what the page will show: at most `count` images, at `level` or else at the largest level up to 128².

    Raises:
        InputError: the count is below 1, or the source has no such level.
    """
    if count < 1:
        raise InputError(f"--count is {count}; expected 1 or more.")
    if level is None:
        level = max((side for side in source.levels if side <= LARGEST_THUMBNAIL), default=source.resolution)
    return Selection(source, min(count, len(source)), source.check_level(level))


def expected_bytes(selection: Selection) -> int:
    """Return about how many bytes the page will have, told from a few of its images.

    Raises:
        InputError: one of them is damaged.
    """
    chosen = np.unique(np.linspace(0, selection.count - 1, SAMPLE).astype(np.int64)).tolist()
    images = selection.source.read(chosen, selection.side)
    encoded = sum(len(_encoded(image)) for image in images) / len(images)
    return int((encoded * 4 / 3 + FACTS_BYTES) * selection.count)


def pieces(selection: Selection, *, name: str) -> Iterator[str]:
    """Yield the page piece by piece, so that a page of any size is never in memory as a whole.

    Names and attributes come from files, so they enter the page as JSON in which no character can end the script
    element, and the page shows them as text only. Its policy lets no other script run, and nothing be loaded.

    Args:
        selection: what it shows.
        name: the heading, usually the name of the source.

    Raises:
        InputError: an image or its record is damaged.
    """
    environment = Environment(
        loader=PackageLoader("pgtools.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    own = {file: environment.get_template(file).render() for file in ("page.css", "browser.css", "browser.js")}
    style, script = own["page.css"] + own["browser.css"], own["browser.js"]
    source = selection.source
    yield from environment.get_template("browser.html").generate(
        name=name.encode("utf-8", "replace").decode("utf-8"),  # a path need not be valid Unicode
        total=len(source),
        shown=selection.count,
        resolution=source.resolution,
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        policy=_policy(style, script),
        head=Markup(_safe_json(_head(selection))),  # noqa: S704
        rows=(Markup(row) for row in _rows(selection)),  # noqa: S704
    )


def _head(selection: Selection) -> dict[str, Any]:
    source = selection.source
    stored = source.stored_levels if isinstance(source, LevelStore) else [source.resolution]
    return {
        "side": selection.side,
        "resolution": source.resolution,
        "levels": list(source.levels),
        "stored": sorted(stored, reverse=True),
        "classes": source.classes,
    }


def _rows(selection: Selection) -> Iterator[str]:
    """Yield each image as JSON: number, name, label, attributes, SHA-256, WebP in base64; commas between them."""
    source = selection.source
    labels = source.labels
    at_once = max(1, min(64, BATCH_BYTES // (3 * source.resolution**2)))
    for start in range(0, selection.count, at_once):
        chunk = range(start, min(start + at_once, selection.count))
        images, hashes = _images_and_hashes(source, chunk, selection.side)
        encoded = in_threads(_encoded, list(images))
        for index, record, sha256, data in zip(chunk, source.records(chunk), hashes, encoded, strict=True):
            label = None if labels is None else int(labels[index])
            yield ("," if index else "") + "\n" + _safe_json(_row(index, record, label, sha256, data))


def _row(index: int, record: Record, label: int | None, sha256: str, data: bytes) -> list[Any]:
    attributes = {name: _exact(value) for name, value in record.attributes.items()}
    return [index, record.name, label, attributes, sha256, base64.b64encode(data).decode("ascii")]


def _exact(value: Attribute) -> Attribute:
    """Return a whole number that JavaScript would round as text, and all else as it is."""
    return str(value) if isinstance(value, int) and abs(value) > LARGEST_EXACT else value


def _images_and_hashes(source: ImageSource, chunk: Sequence[int], side: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Read images at one level and their hashes at the top; where no hash is stored, each image is read just once."""
    if isinstance(source, LevelStore) and source.header is not None:
        return source.read(chunk, side), source.image_hashes(chunk)
    tops = source.read(chunk)
    return mean_level(tops, side), [image_hash(image) for image in tops]


def _encoded(image: NDArray[np.uint8]) -> bytes:
    """Return a uint8 (3, side, side) image as WebP: as it is where it is small, else lossy."""
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    if picture.width <= LOSSLESS_UP_TO:
        picture.save(buffer, "WEBP", lossless=True, method=2)
    else:
        picture.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()


def _safe_json(value: Any) -> str:
    """Return JSON that stays data inside a script element, whatever texts it holds."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _policy(style: str, script: str) -> str:
    """Return a policy that lets run and apply just this script and style, and nothing be loaded."""
    # What stands between the tags counts, the line break after the opening one included.
    hashes = [base64.b64encode(hashlib.sha256(f"\n{text}".encode()).digest()).decode() for text in (style, script)]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
