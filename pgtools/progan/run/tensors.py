"""Files of named tensors and one JSON text, `pgtools`, that says what they are: safetensors, which cannot run code."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from pgtools.errors import InputError, OutputError
from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator

CHECKPOINT, NETWORKS, SNAPSHOT = "pgtools-checkpoint", "pgtools-networks", "pgtools-snapshot"
# Version 1 of a checkpoint was a file of torch.save.
VERSIONS = {CHECKPOINT: 2, NETWORKS: 1, SNAPSHOT: 1}
KINDS: dict[str, type[nn.Module]] = {"generator": Generator, "discriminator": Discriminator, "average": Generator}
# Far above any network of this program, and low enough that a forged header cannot make the reader build a million
# levels, divide by zero or leave the whole numbers that torch counts in.
MOST_PIXELS, _MOST = 1 << 16, (1 << 31) - 1
_RANGES: dict[str, tuple[int, int]] = {
    "resolution": (4, MOST_PIXELS),
    "latent": (1, _MOST),
    "labels": (0, _MOST),
    "channels": (1, _MOST),
    "fmap_base": (1, _MOST),
    "fmap_decay": (0, 8),
    "fmap_max": (1, _MOST),
    "stddev_group": (0, _MOST),
    "discrimination_kernels": (0, _MOST),
}
# Counts above it are no longer exact as the floats in which they are told.
_MOST_IMAGES = 1 << 53
# Of a name or value in a file, so much is told.
_TOLD = 60


@dataclasses.dataclass(frozen=True)
class Header:
    """What the JSON text of a file says.

    Attributes:
        format: one of CHECKPOINT, NETWORKS, SNAPSHOT.
        architecture: the shape of the networks.
        lod: level of detail they had grown to.
        images: real images shown until then.
        progress: where a checkpoint's run stood besides; plain JSON values.
    """

    format: str
    architecture: Architecture
    lod: float
    images: int
    progress: dict[str, Any] = dataclasses.field(default_factory=dict)


class TensorFile:
    """An open file of tensors; only those asked for are read.

    Attributes:
        header: what the file says of itself.
        names: of its tensors.
    """

    def __init__(self, path: Path, file: Any, header: Header) -> None:
        self.header, self.names = header, frozenset(file.keys())
        self._path, self._file = path, file

    def read(self, prefix: str = "") -> dict[str, Tensor]:
        """Return the tensors whose names begin with `prefix`, by the rest of their names, on the CPU."""
        chosen = sorted(name for name in self.names if name.startswith(prefix))
        return {name.removeprefix(prefix): self._file.get_tensor(name) for name in chosen}

    def expected(self, kind: str) -> dict[str, Tensor]:
        """Return name → tensor without storage of a network (a key of KINDS) of the header's architecture.

        Raises:
            InputError: no such network can be built.
        """
        try:
            with torch.device("meta"):
                return KINDS[kind](self.header.architecture).state_dict()
        except (RuntimeError, ValueError, TypeError, ArithmeticError) as error:
            reason = f"there is no {kind} of its architecture: {_first_line(error)}"
            raise damaged(self._path, self.header.format, reason) from None

    def check(self, prefix: str, expected: Mapping[str, Tensor]) -> None:
        """Raise InputError unless the tensors under `prefix` have just these names, shapes and types.

        Shapes are compared before any memory is taken, so a file costs no more than its own size.
        """
        found = {name.removeprefix(prefix) for name in self.names if name.startswith(prefix)}
        if odd := sorted(found ^ expected.keys()):
            word = "an unknown" if odd[0] in found else "no"
            raise damaged(self._path, self.header.format, f"it has {word} tensor {told(prefix + odd[0])}")
        for name, tensor in expected.items():
            there = self._file.get_slice(prefix + name)
            shape, kind = tuple(there.get_shape()), str(there.get_dtype())
            if shape != tuple(tensor.shape) or kind != _kind(tensor):
                wanted = f"{_kind(tensor)} {tuple(tensor.shape)}"
                reason = f"{prefix}{name} is {kind} {shape}, expected {wanted}"
                raise damaged(self._path, self.header.format, reason)


@contextlib.contextmanager
def opened(path: Path, *formats: str) -> Iterator[TensorFile]:
    """Open a file that is of one of these formats.

    Raises:
        InputError: the file is damaged, foreign, of another format or version.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield TensorFile(path, file, _header(path, file.metadata() or {}, formats))
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} is no readable safetensors file ({_first_line(error)}).") from None


def save(path: Path, tensors: Mapping[str, Tensor], header: Header) -> None:
    """Write a file in place, with the permissions that any new file gets; callers write it aside.

    Raises:
        OutputError: the file cannot be written, or `progress` is no plain JSON.
    """
    fields = {"format": header.format, "version": VERSIONS[header.format], **dataclasses.asdict(header)}
    if header.format != CHECKPOINT:
        fields.pop("progress")
    kept = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    try:
        path.touch()  # the umask's permissions, where safetensors lets none but the owner read
        permissions = stat.S_IMODE(path.stat().st_mode)
        safetensors.torch.save_file(kept, path, {"pgtools": json.dumps(fields, allow_nan=False)})
        path.chmod(permissions)
    except (OSError, safetensors.SafetensorError) as error:
        raise OutputError(f"{path.parent} takes no file of {_size(kept)} bytes ({error}).") from None
    except (TypeError, ValueError) as error:
        raise OutputError(f"What is to be said in {path.name} is no plain JSON ({error}).") from None


def joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return {"generator/conv.bias": …} for {"generator": {"conv.bias": …}}."""
    return {f"{prefix}/{name}": tensor for prefix, tensors in parts.items() for name, tensor in tensors.items()}


def damaged(path: Path, format: str, reason: str) -> InputError:
    """Return the error for a file of ours that does not hold together."""
    return InputError(f"{path} is a damaged {format.removeprefix('pgtools-')} ({reason}).")


def told(value: object) -> str:
    """Return a name or value found in a file for a message: on one line and not long, whatever it holds."""
    text = value if isinstance(value, str) and value.isprintable() else ascii(value)
    return text if len(text) <= _TOLD else f"{text[:_TOLD]}…"


def _header(path: Path, metadata: Mapping[str, str], formats: tuple[str, ...]) -> Header:
    words = " or ".join(format.removeprefix("pgtools-") for format in formats)
    if "pgtools" not in metadata:
        raise InputError(f"{path} is not a {words} of pgtools: its metadata lack the entry `pgtools`.")
    try:
        value = json.loads(metadata["pgtools"])
        format, version = value["format"], value["version"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise damaged(path, formats[0], f"its entry `pgtools` lacks {_first_line(error)}") from None
    if format not in formats:
        found = told(format).removeprefix("pgtools-")
        raise InputError(f"{path} holds {found} of pgtools; expected {words}.", hint=_HINTS.get(formats, ""))
    if version != VERSIONS[format]:
        raise InputError(
            f"{path} is a damaged or other {format.removeprefix('pgtools-')}: it has version {told(version)}; "
            f"this pgtools reads {VERSIONS[format]}."
        )
    try:
        return _checked_header(value)
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise damaged(path, format, _first_line(error)) from None


def _checked_header(value: dict[str, Any]) -> Header:
    shape = _checked_shape(value["architecture"])
    lod, images, progress = value["lod"], value["images"], value.get("progress", {})
    if type(lod) not in (int, float) or not 0 <= lod <= math.log2(shape.resolution / 4):
        raise ValueError(f"its lod is {told(lod)}")
    if type(images) is not int or not 0 <= images <= _MOST_IMAGES:
        raise ValueError(f"its images are {told(images)}")
    if not isinstance(progress, dict):
        raise ValueError("its progress is no table")
    return Header(value["format"], shape, float(lod), images, progress)


def _checked_shape(value: object) -> Architecture:
    fields = {field.name: field for field in dataclasses.fields(Architecture)}
    if not isinstance(value, dict):
        raise ValueError("its architecture is no table")
    if odd := sorted(value.keys() - fields.keys()):
        raise ValueError(f"its architecture has {told(odd[0])}")
    for name, found in value.items():
        kind = fields[name].type  # as text; a whole number may stand for a float
        if type(found).__name__ not in (kind, "int" if kind == "float" else kind):
            raise ValueError(f"its {name} is {told(found)}, expected {kind}")
        least, most = _RANGES.get(name, (False, True))
        if not least <= found <= most:
            raise ValueError(f"its {name} is {told(found)}, expected {least} to {most}")
    shape = Architecture(**value)
    if shape.resolution & (shape.resolution - 1):
        raise ValueError(f"its resolution is {shape.resolution}, expected a power of two")
    return shape


# Where a file of the wrong format is named, what to do with the right one.
_HINTS: dict[tuple[str, ...], str] = {(CHECKPOINT,): "Name a run's checkpoints/NUMBER.safetensors."}


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _kind(tensor: Tensor) -> str:
    return {torch.float32: "F32", torch.int64: "I64"}.get(tensor.dtype, str(tensor.dtype))


def _size(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
