"""A network against photographs: the job around `protocol`, and its results as plain values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pgtools.errors import InputError, UsageError
from pgtools.imaging.photo import LOSSY, photos_in, read_photo
from pgtools.imaging.resample import lanczos
from pgtools.restoration.measuring.protocol import (
    LATER_SCALE,
    QUALITIES,
    AtQuality,
    Enlargement,
    Image8,
    Network,
    OnClean,
    enlarge_again,
    enlarge_by_lanczos,
    restore_at,
    restore_clean,
)
from pgtools.restoration.measuring.settings import MeasureSettings
from pgtools.restoration.network import ImageNetwork, find_network
from pgtools.runtime.files import sha256_of
from pgtools.runtime.progress import track

Row = TypeVar("Row", AtQuality, OnClean, Enlargement)

# Of the photo as it is measured: without its border it still has to hold the window of SSIM.
SMALLEST = 32


@dataclass(frozen=True)
class Photo:
    """A photograph as it is measured: its file's name, uint8 RGB (H, W, 3), both sides multiples of 4."""

    name: str
    image: Image8

    @property
    def size(self) -> str:
        """Width × height."""
        return f"{self.image.shape[1]}×{self.image.shape[0]}"


@dataclass(frozen=True)
class Restored:
    """What a restorer does to one photo."""

    photo: str
    size: str
    jpeg: tuple[AtQuality, ...]
    clean: OnClean


@dataclass(frozen=True)
class Enlarged:
    """What an enlarger does to one photo."""

    photo: str
    size: str
    figures: Enlargement


@dataclass(frozen=True)
class Evaluation:
    """The figures of a network.

    Attributes:
        network: as it was named.
        sha256: of its weights file.
        scale: 1 for a restorer.
        settings: how it was measured.
        restored: one a photo, for a restorer; else empty.
        enlarged: one a photo, for an enlarger; else empty.
    """

    network: str
    sha256: str
    scale: int
    settings: MeasureSettings
    restored: tuple[Restored, ...] = ()
    enlarged: tuple[Enlarged, ...] = ()


def evaluate(name: str, paths: Sequence[Path], settings: MeasureSettings) -> Evaluation:
    """Return the figures of a network on photographs.

    Args:
        name: of a network, or its file.
        paths: photographs, or folders of them.
        settings: see MeasureSettings.

    Raises:
        InputError: a photo cannot be read or is too small, or a file is no network.
        MissingModelError: a network's weights are not on this machine.
        UsageError: no network has this name, or `settings.superres` does not enlarge 4 times.
    """
    network = _opened(name, settings)
    enlarge = _what_follows(settings) if network.scale == 1 else None
    photos = read_photos(_files(paths), longest=settings.longest, halve_lossy=settings.halve_lossy)
    found = partial(Evaluation, name, sha256_of(network.weights), network.scale, settings)
    measured = track(photos, "Measuring", total=len(photos))
    if enlarge is None:
        figures = [(photo, enlarge_again(photo.image, network, network.scale)) for photo in measured]
        return found(enlarged=tuple(Enlarged(photo.name, photo.size, row) for photo, row in figures))
    return found(restored=tuple(_restored(photo, network, enlarge, settings) for photo in measured))


def read_photos(files: Iterable[Path], *, longest: int, halve_lossy: bool = True) -> list[Photo]:
    """Return the photographs as they are measured.

    Args:
        files: images that pgtools reads.
        longest: a photo is reduced to at most so many pixels a side, by Lanczos.
        halve_lossy: one in JPEG or WebP is at least halved, which wipes out most of its own artifacts.

    Raises:
        InputError: one of them cannot be read, or is too small; all of those are told.
    """
    photos, faults = [], []
    for file in files:
        try:
            photos.append(Photo(file.name, _prepared(file, longest, halve_lossy)))
        except InputError as error:
            faults.append(error.message)
    if faults:
        raise InputError(" ".join(faults), hint="Leave these out, or name others.")
    return photos


def mean(rows: Sequence[Row]) -> Row:
    """Return the mean of every figure over photos.

    Where a PSNR is infinite or None, the photo is left out of it. A loss without end is not: what spoilt one photo that
    was equal to its reference has a mean of −inf, whatever it did to the others.
    """
    values = {field.name: _mean([getattr(row, field.name) for row in rows]) for field in fields(rows[0])}
    return type(rows[0])(**values)


def plain(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain values for JSON, with the means.

    JSON has no infinity: None stands for it. A photo's gain of None beside a `psnr_after` is a loss without end.
    """
    restored, enlarged = evaluation.restored, evaluation.enlarged
    means: dict[str, Any]
    if restored:
        by_quality = zip(*(photo.jpeg for photo in restored), strict=True)
        clean = asdict(mean([photo.clean for photo in restored]))
        means = {"jpeg": [asdict(mean(rows)) for rows in by_quality], "clean": clean}
    else:
        means = asdict(mean([photo.figures for photo in enlarged]))
    facts = {"network": evaluation.network, "sha256": evaluation.sha256, "scale": evaluation.scale}
    photos = [asdict(photo) for photo in restored or enlarged]
    return _finite({**facts, "settings": evaluation.settings.as_dict(), "means": means, "photos": photos})  # type: ignore[no-any-return]


def _mean(values: Sequence[float | None]) -> Any:
    if -math.inf in values:
        return -math.inf
    known = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.mean(known)) if known else None


def _opened(name: str, settings: MeasureSettings, *, others: Sequence[str] = ()) -> ImageNetwork:
    file = find_network(name, others=others)
    how = {"tile": settings.tile, "batch": settings.batch}
    network = ImageNetwork(file, device=settings.device, precision=settings.precision, **how)
    network.load()
    return network


def _what_follows(settings: MeasureSettings) -> Network:
    if settings.superres == "lanczos":
        return enlarge_by_lanczos
    network = _opened(settings.superres, settings, others=["lanczos"])
    if network.scale != LATER_SCALE:
        raise UsageError(f"--superres {settings.superres} enlarges {network.scale} times; expected {LATER_SCALE}.")
    return network


def _files(paths: Sequence[Path]) -> list[Path]:
    return [file for path in paths for file in (photos_in(path) if path.is_dir() else [path])]


def _restored(photo: Photo, restore: Network, enlarge: Network, settings: MeasureSettings) -> Restored:
    rows = (restore_at(photo.image, restore, quality, subsampling=settings.subsampling) for quality in QUALITIES)
    return Restored(photo.name, photo.size, tuple(rows), restore_clean(photo.image, restore, enlarge))


def _prepared(file: Path, longest: int, halve_lossy: bool) -> Image8:
    image = read_photo(file)
    height, width = image.shape[:2]
    share = min(1.0, longest / max(height, width), 0.5 if halve_lossy and file.suffix.lower() in LOSSY else 1.0)
    height, width = round(height * share), round(width * share)
    if min(height, width) < SMALLEST:
        raise InputError(f"{file}: is {width}×{height} pixels when measured; {SMALLEST} a side are needed.")
    if share < 1:
        image = lanczos(image, width, height)
    return np.ascontiguousarray(image[: height // 4 * 4, : width // 4 * 4])


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
