"""Statistics of real images in a file: `mu` and `sigma` in an .npz, as FID programs write them."""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import InputError
from pgtools.metrics.inception.scores import Statistics
from pgtools.runtime.files import sha256_of

# What numpy and zipfile raise on damaged archives; a header is read as a Python literal.
_DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,  # NotImplementedError of a packing that zipfile does not know, an entry that says it is encrypted
    SyntaxError,
    tokenize.TokenError,
    MemoryError,
    OverflowError,
    lzma.LZMAError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
# Larger features make squares that float64 does not hold.
_LARGEST = 1e100


@dataclass(frozen=True)
class StatisticsFile:
    """A file of statistics, and the hash that results record of it.

    Attributes:
        path: an .npz file.
        sha256: of the file, 64 hex digits.
    """

    path: Path
    sha256: str

    @classmethod
    def of(cls, path: Path) -> StatisticsFile:
        """Return the file at `path` with its hash.

        Raises:
            InputError: it cannot be read.
        """
        try:
            return cls(path, sha256_of(path))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror}).") from None

    def read(self, features: int) -> Statistics:
        """Return the statistics, in float64.

        Nothing in the file is run: pickled arrays are refused.

        Args:
            features: how many the layer has.

        Raises:
            InputError: the file holds no `mu` (d,) and `sigma` (d, d) of so many features, finite, `sigma` symmetric
                with no variance under 0 along any direction.
        """
        try:
            if not zipfile.is_zipfile(self.path):
                raise ValueError("it is no .npz archive")
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as held:
                if missing := {"mu", "sigma"} - set(held.files):
                    raise ValueError(f"it has no {' and no '.join(sorted(missing))}")
                mu, sigma = (_checked(held, name, shape) for name, shape in _shapes(features))
        except _DAMAGED as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            raise InputError(
                f"{self.path} holds no statistics of {features} features ({reason}).",
                hint="Expected an .npz with mu (d,) and sigma (d, d), of the same network and --layer.",
            ) from None
        return Statistics(mu, sigma)


def _shapes(features: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return ("mu", (features,)), ("sigma", (features, features))


def _checked(held: Any, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    # A packed entry of some kilobytes can unpack to more than the memory.
    if held.zip.getinfo(f"{name}.npy").file_size > math.prod(shape) * 16 + 4096:
        raise ValueError(f"its {name} is larger than {' × '.join(map(str, shape))} numbers")
    found = held[name]
    if found.shape != shape or found.dtype.kind != "f":
        raise ValueError(f"its {name} is {found.dtype} of shape {found.shape}")
    values: NDArray[np.float64] = found.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"its {name} has values that are no finite numbers")
    if float(np.abs(values).max(initial=0.0)) > _LARGEST:
        raise ValueError(f"its {name} has values above {_LARGEST:g}")
    if name == "sigma":
        scale = max(float(np.abs(values).max()), np.finfo(np.float64).tiny)
        if (
            float(np.abs(values - values.T).max()) > 1e-4 * scale
            or float(np.linalg.eigvalsh(values)[0]) < -1e-6 * scale
        ):
            raise ValueError("its sigma is no covariance")
    return values
