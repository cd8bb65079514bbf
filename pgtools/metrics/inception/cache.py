"""Features on disk: sets that were seen before, by the same network, are not run through it again.

A file is named after what made it (content of the images, hash of the weights, layers, version of this format), never
after a path, so that it cannot be out of date. Files are written aside and renamed. Any that is damaged is told,
and made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import platformdirs
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from pgtools.errors import OutputError
from pgtools.metrics.inception.network import WIDTHS
from pgtools.runtime.files import check_free_space, human_bytes, remove_stale, written_aside

VERSION = 1
LIMIT_GB = 4.0
_SUFFIX = ".features.safetensors"
_ROWS = 4096


def metrics_cache_folder() -> Path:
    """Return the folder of features: `features` in $PGTOOLS_CACHE, else in the user's cache folder."""
    given = os.environ.get("PGTOOLS_CACHE")
    return Path(given or platformdirs.user_cache_dir("pgtools", appauthor=False)) / "features"


@dataclass(frozen=True)
class Key:
    """What determines the features of a set.

    Attributes:
        fingerprint: of the images' content.
        count: of the images.
        resolution: their side in pixels.
        weights: SHA-256 of the network's file.
    """

    fingerprint: str
    count: int
    resolution: int
    weights: str

    def text(self) -> str:
        """Return the key as JSON, with the layers and the version of the format."""
        return json.dumps({**asdict(self), "layers": list(WIDTHS), "version": VERSION}, sort_keys=True)

    def file_name(self) -> str:
        """Return the name of the file that holds these features."""
        return hashlib.sha256(self.text().encode()).hexdigest()[:32] + _SUFFIX


def _silent(line: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class FeatureCache:
    """Features that earlier runs left.

    Attributes:
        folder: where; `metrics_cache_folder()` if not given.
        gigabytes: 10^9 bytes it may take; those used longest ago go first.
        say: told a line when features are taken from here, or could not be.
    """

    folder: Path | None = None
    gigabytes: float = LIMIT_GB
    say: Callable[[str], None] = field(default=_silent, compare=False)

    def read(self, key: Key, into: Mapping[str, NDArray[Any]], name: str) -> bool:
        """Fill the arrays with the features of a set, and return whether they were there.

        Args:
            key: what the features are of.
            into: layer → float32 (N, width), to be filled.
            name: of the set, for people.
        """
        path = self._path(key)
        if not path.is_file():
            return False
        try:
            _fill(path, key, into)
        except (OSError, ValueError, KeyError, TypeError, struct.error, safetensors.SafetensorError) as error:
            self.say(f"Warning: {path} is damaged ({_first_line(error)}); the features are made again.")
            return False
        with contextlib.suppress(OSError):
            os.utime(path)  # used now: the last to go
        self.say(f"Features of {name} come from the cache.")
        return True

    def write(self, key: Key, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep the features of a set; where that cannot be, say so and go on."""
        path, size = self._path(key), sum(array.nbytes for array in arrays.values())
        if size > self.gigabytes * 1e9:
            self.say(f"The features take {human_bytes(size)}; the cache is limited to {self.gigabytes:g} GB.")
            return
        try:
            self._make_room(path, size)
            remove_stale(path)
            check_free_space(path.parent, size)
            with written_aside(path) as aside:
                safetensors.numpy.save_file(dict(arrays), aside, {"pgtools": key.text(), "crc32c": _checksum(arrays)})
        except (OSError, OutputError, safetensors.SafetensorError) as error:
            self.say(f"Warning: the features are not kept in {path.parent} ({_first_line(error)}).")

    def _path(self, key: Key) -> Path:
        return (self.folder or metrics_cache_folder()) / key.file_name()

    def _make_room(self, path: Path, size: int) -> None:
        """Remove what was used longest ago until `size` more bytes fit."""
        held = [(file, file.stat()) for file in path.parent.glob(f"*{_SUFFIX}") if file != path]
        taken = sum(state.st_size for _, state in held)
        for file, state in sorted(held, key=lambda entry: entry[1].st_mtime_ns):
            if taken + size <= self.gigabytes * 1e9:
                return
            file.unlink(missing_ok=True)
            taken -= state.st_size


def _fill(path: Path, key: Key, into: Mapping[str, NDArray[Any]]) -> None:
    with safetensors.safe_open(path, framework="numpy") as file:
        told = file.metadata() or {}
        if told.get("pgtools") != key.text():
            raise ValueError("it says it holds something else")
        for layer, array in into.items():
            rows = file.get_slice(layer)
            if tuple(rows.get_shape()) != array.shape or rows.get_dtype() != "F32":
                raise ValueError(f"its {layer} are {rows.get_dtype()} {rows.get_shape()}")
            for start in range(0, len(array), _ROWS):
                stop = min(start + _ROWS, len(array))
                array[start:stop] = np.asarray(rows[start:stop])
    if told.get("crc32c") != _checksum(into):
        raise ValueError("its values have changed")


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the CRC-32C over all layers, 8 hex digits; safetensors itself has none."""
    found = 0
    for array in arrays.values():
        for start in range(0, len(array), _ROWS):
            found = google_crc32c.extend(found, array[start : start + _ROWS].tobytes())
    return f"{found:08x}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
