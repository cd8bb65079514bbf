"""Weights on disk: checkpoints to go on from, snapshots to look at. Neither file can run code when read.

A checkpoint is what `torch.load(weights_only=True)` reads: tensors and plain values. A snapshot is a
safetensors file of the averaged generator, whose metadata hold one JSON text, `pgtools`.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.generator import Generator
from pgtools.runtime.files import written_aside

CHECKPOINT = "pgtools-checkpoint"
SNAPSHOT = "pgtools-snapshot"
VERSION = 1


@dataclass(frozen=True)
class Snapshot:
    """A generator as it was at one moment of training.

    Attributes:
        generator: the averaged generator, in evaluation mode, on the CPU.
        lod: level of detail it had grown to.
        images: real images shown until then.
    """

    generator: Generator
    lod: float
    images: int


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all."""
    with written_aside(path) as aside:
        torch.save({"format": CHECKPOINT, "version": VERSION, **state}, aside)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what `write_checkpoint` wrote, on the CPU.

    Raises:
        InputError: the file is damaged, foreign, or of another version.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of foreign pickles, which are refused here
            state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file raises almost anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} is no readable checkpoint ({reason}).") from None
    if not isinstance(state, dict) or state.get("format") != CHECKPOINT:
        raise InputError(f"{path} is not a checkpoint of pgtools.")
    if state.get("version") != VERSION:
        raise InputError(f"{path} has checkpoint version {state.get('version')}; this pgtools reads {VERSION}.")
    return state


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a generator with all that is needed to build it again."""
    header = {
        "format": SNAPSHOT,
        "version": VERSION,
        "architecture": asdict(snapshot.generator.shape),
        "lod": snapshot.lod,
        "images": snapshot.images,
    }
    tensors = {name: tensor.detach().cpu() for name, tensor in snapshot.generator.state_dict().items()}
    with written_aside(path) as aside:
        safetensors.torch.save_file(tensors, aside, {"pgtools": json.dumps(header)})


def read_snapshot(path: Path) -> Snapshot:
    """Return the snapshot in a file.

    Raises:
        InputError: the file is damaged, foreign, or of another version.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} is no readable safetensors file ({error}).") from None
    if "pgtools" not in metadata:
        raise InputError(f"{path} is not a snapshot of pgtools: its metadata lack the entry `pgtools`.")
    try:
        header = json.loads(metadata["pgtools"])
        if (header["format"], header["version"]) != (SNAPSHOT, VERSION):
            raise ValueError(f"format {header['format']} {header['version']}, expected {SNAPSHOT} {VERSION}")
        generator = Generator(Architecture(**header["architecture"]))
        generator.load_state_dict(tensors)
        lod, images = float(header["lod"]), int(header["images"])
    except (ValueError, TypeError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is a damaged snapshot ({str(error).splitlines()[0]}).") from None
    return Snapshot(generator.eval().requires_grad_(False), lod, images)
