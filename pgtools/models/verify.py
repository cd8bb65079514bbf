"""Every file of weights on this machine, held against its hash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pgtools.models.entry import Model
from pgtools.models.registry import model_named, registry
from pgtools.models.weights import expected_hash, file_of, has_hash
from pgtools.runtime.files import sha256_of


@dataclass(frozen=True)
class Verified:
    """What became of the check of one file.

    Attributes:
        name: the network.
        path: its file.
        state: ok, damaged, missing, or unverified where no hash is known.
        sha256: the file's; empty if it is missing.
        expected: the SHA-256 it should have; empty if not known.
    """

    name: str
    path: Path
    state: str
    sha256: str
    expected: str

    @property
    def faulty(self) -> bool:
        """Whether the file cannot be used."""
        return self.state in ("damaged", "missing")


def verify(names: Sequence[str] = ()) -> list[Verified]:
    """Return what the hashes of the named networks' files tell, or of all files that are there.

    Raises:
        UsageError: the registry has no such name.
    """
    models = [model_named(name) for name in names] or [m for m in registry().values() if file_of(m).is_file()]
    return [_verify(model) for model in models]


def _verify(model: Model) -> Verified:
    path, expected = file_of(model), expected_hash(model)
    if not path.is_file():
        return Verified(model.name, path, "missing", "", expected)
    digest = sha256_of(path)
    state = "unverified" if not expected else "ok" if has_hash(model, digest) else "damaged"
    return Verified(model.name, path, state, digest, expected)
