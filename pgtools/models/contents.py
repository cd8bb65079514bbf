"""Files of weights that hold weights and nothing else: what a file must be before pgtools keeps it."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgtools.errors import InputError
from pgtools.models.entry import SUFFIXES


def check_contents(path: Path, suffix: str, what: str) -> None:
    """Raise InputError unless a file holds tensors only; nothing in it is run.

    Args:
        path: the file, under whatever name it stands while it is fetched.
        suffix: how its name ends in the end: .safetensors, or .pth or .pt for what `torch.load(weights_only=True)`
            accepts.
        what: what messages call the file.

    Raises:
        InputError: it is anything else: a foreign pickle, a TorchScript archive, a damaged file, no tensors.
    """
    if suffix not in SUFFIXES:
        raise InputError(f"{what} is no file of weights; expected a name that ends in {', '.join(SUFFIXES)}.")
    try:
        held = _safetensors_names(path) if suffix == ".safetensors" else _tensors_of(path)
    except Exception as error:  # pickle, zip, torch and safetensors errors, and whatever a hostile file can raise
        # A KeyError's text is a bare key.
        said = "" if isinstance(error, KeyError) else str(error).strip()
        reason = (said or type(error).__name__).splitlines()[0][:120].rstrip(". ")
        raise InputError(
            f"{what} is no weights-only file ({reason}).",
            hint="It was refused before anything in it could run; expected safetensors or a plain PyTorch state dict.",
        ) from None
    if not held:
        raise InputError(f"{what} holds no tensors; expected the weights of a network.")


def _safetensors_names(path: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return list(file.keys())


def _tensors_of(path: Path) -> bool:
    import torch

    if zipfile.is_zipfile(path):
        _check_archive(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of storages that torch calls by older names
        return _holds_tensors(torch.load(path, map_location="cpu", weights_only=True))


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if any(entry.filename.endswith("/constants.pkl") or "/code/" in entry.filename for entry in entries):
        raise ValueError("it is a TorchScript archive, which is a program")
    # torch stores; a packed entry of some kilobytes can unpack to more than the memory.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError("its entries are compressed, which PyTorch's are not")


def _holds_tensors(value: Any, depth: int = 3) -> bool:
    """Whether a state dict, or one wrapped in others as trainers do, has a tensor in it."""
    import torch

    if isinstance(value, Mapping) and depth:
        return any(_holds_tensors(one, depth - 1) for one in value.values())
    return isinstance(value, torch.Tensor)
