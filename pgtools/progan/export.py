"""A generator as a file that runs without pgtools: ONNX, or torch.export's program; each is tried before it is kept.

Both come from one capture by `torch.export`, which every torch that pgtools takes (2.6 on) has. ONNX is translated
from it by `torch.onnx.export(dynamo=True)`: the older exporter, which traces, is deprecated, and refuses a
convolution whose weights are computed as the equalized learning rate computes them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pgtools import __version__
from pgtools.errors import ComputeError, InputError, UsageError
from pgtools.progan.generator import Generator
from pgtools.progan.run.snapshot import Snapshot
from pgtools.progan.sampling.source import latents_of
from pgtools.progan.schedule import live_levels
from pgtools.runtime.files import check_writable, written_aside

ONNX, PROGRAM = ".onnx", ".pt2"
# The oldest that the exporter writes without converting; runtimes since 2023 read it.
OPSET = 18
# Sums in another order differ by about 1e-6; a wrong layer by far more.
TOLERANCE = 1e-4
CHECKED_BATCHES = (1, 5)
# torch takes a size of 1 in the example for a size that never changes.
EXAMPLE_BATCH = 2
# Name of the JSON text in a .pt2; in ONNX its entries are the model's metadata.
FACTS = "pgtools.json"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        file: the path.
        facts: what the file says of itself: version, source, lod, images shown, sizes.
        difference: largest difference of a channel between the file's images and the network's, in [-1, 1]; None
            where it was not checked.
    """

    file: Path
    facts: dict[str, Any]
    difference: float | None


class AtLevel(nn.Module):
    """The generator at the level of detail it had grown to, with nothing but tensors as inputs.

    Args:
        generator: in evaluation mode.
        lod: level of detail.
    """

    def __init__(self, generator: Generator, lod: float) -> None:
        super().__init__()
        self.generator, self.lod = generator, lod

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return images (N, channels, L, L) of latents (N, latent) and one-hot labels (N, labels)."""
        images: Tensor = self.generator(latents, self.lod, labels)
        return images


def check_export(file: Path, *, overwrite: bool, check: bool) -> None:
    """Raise an error now if a generator could not be exported to `file` later.

    Raises:
        UsageError: the suffix is neither .onnx nor .pt2.
        InputError: a package is missing that writes ONNX or, with `check`, runs it.
        OutputError: the file exists and `overwrite` is off, or cannot be written.
    """
    suffix = file.suffix.lower()
    if suffix not in (ONNX, PROGRAM):
        raise UsageError(f"{file} is no name of an export.", hint=f"Name a file that ends in {ONNX} or {PROGRAM}.")
    needed = ("onnx", "onnxscript", *(["onnxruntime"] if check else [])) if suffix == ONNX else ()
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"{file} is ONNX, which needs the package{'s' * (len(missing) > 1)} {' and '.join(missing)}.",
            hint='pip install "pgtools[export]", or name a file ending in .pt2',
        )
    check_writable(file, overwrite=overwrite, what="file")


def export_generator(snapshot: Snapshot, file: Path, *, source: str, check: bool = True) -> Exported:
    """Write a generator as ONNX (.onnx) or torch.export's program (.pt2), whole or not at all.

    Inputs are `latents`, float32 (batch, latent), standard normal, and for networks with classes `labels`, float32
    one-hot (batch, labels). The output `images` is float32 (batch, channels, L, L), about [-1, 1], not clipped, where
    L is the upper live level: while a run still grows, smaller than the final resolution. The batch is any from 1 up.

    The check runs the written file, ONNX by onnxruntime. A .pt2 is read by `torch.export.load`, which may unpickle:
    this happens to the file just written alone, never to one from elsewhere.

    Args:
        snapshot: the generator, in evaluation mode, on the CPU, and how far it had grown.
        file: what stands there is replaced.
        source: where the generator comes from, for the file's own facts.
        check: run the file on batches of 1 and 5 and compare its images with the network's.

    Raises:
        UsageError, InputError, OutputError: see `check_export`.
        ComputeError: the file's images differ from the network's by more than 1e-4; nothing is left behind.
    """
    check_export(file, overwrite=True, check=check)
    network = AtLevel(snapshot.generator, snapshot.lod).eval()
    is_onnx, facts = file.suffix.lower() == ONNX, facts_of(snapshot, source)
    with written_aside(file) as aside, _quiet():
        program = _captured(network)
        (_write_onnx if is_onnx else _write_program)(program, aside, facts)
        difference = _difference(network, aside, is_onnx=is_onnx) if check else None
        # A NaN is no agreement.
        if difference is not None and not difference <= TOLERANCE:
            raise ComputeError(
                f"{file} would make images that differ from the network's by {difference:.2g}; expected {TOLERANCE:g} "
                "at most.",
                hint="Try the other format, .pt2 or .onnx, or other versions of torch, onnxscript and onnxruntime.",
            )
    return Exported(file, facts, difference)


def facts_of(snapshot: Snapshot, source: str) -> dict[str, Any]:
    """Return what an exported file says of itself."""
    shape = snapshot.generator.shape
    return {
        "pgtools": __version__,
        "source": source,
        "lod": snapshot.lod,
        "images": snapshot.images,
        "latent": shape.latent,
        "labels": shape.labels,
        "channels": shape.channels,
        "resolution": live_levels(shape.resolution, snapshot.lod).upper,
        "range": [-1, 1],
    }


def describe(exported: Exported) -> str:
    """Return lines that tell what was written: sizes, format, and how well it agrees."""
    facts = exported.facts
    classes = f" and {facts['labels']} labels" if facts["labels"] else ""
    side, kind = facts["resolution"], f"ONNX, opset {OPSET}" if exported.file.suffix.lower() == ONNX else "torch.export"
    lines = [f"{exported.file}: {kind}; {facts['latent']} latents{classes} to {facts['channels']}×{side}×{side} images"]
    if exported.difference is not None:
        batches = " and ".join(map(str, CHECKED_BATCHES))
        lines.append(f"largest difference from the network: {exported.difference:.2g}, in batches of {batches}")
    return "\n".join(lines)


def _captured(network: AtLevel) -> torch.export.ExportedProgram:
    inputs = _inputs(network, EXAMPLE_BATCH)
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(network, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # lines of code with their paths on this machine, which would be written
    return program


def _inputs(network: AtLevel, count: int) -> tuple[Tensor, ...]:
    """The latents of the first images of seed 0 and, with classes, one class after the other."""
    shape = network.generator.shape
    latents = latents_of(0, range(count), shape.latent)
    return (latents, torch.eye(shape.labels)[torch.arange(count) % shape.labels]) if shape.labels else (latents,)


def _write_program(program: torch.export.ExportedProgram, file: Path, facts: dict[str, Any]) -> None:
    with file.open("wb") as handle:
        torch.export.save(program, handle, extra_files={FACTS: json.dumps(facts)})


def _write_onnx(program: torch.export.ExportedProgram, file: Path, facts: dict[str, Any]) -> None:
    onnx = importlib.import_module("onnx")
    names = ["latents", "labels"] if facts["labels"] else ["latents"]
    translated = torch.onnx.export(
        program, (), input_names=names, output_names=["images"], opset_version=OPSET, dynamo=True, verbose=False
    )
    if translated is None:
        raise ComputeError("torch translated the generator into no ONNX.", hint="Name a file ending in .pt2.")
    model = translated.model_proto
    _name_batch(model.graph)
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model)
    file.write_bytes(model.SerializeToString())


def _name_batch(graph: Any) -> None:
    """Call the batch `batch`, where torch numbers its symbols."""
    symbol = graph.input[0].type.tensor_type.shape.dim[0].dim_param
    for value in [*graph.input, *graph.output, *graph.value_info]:
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == symbol:
                size.dim_param = "batch"


@torch.no_grad()
def _difference(network: AtLevel, file: Path, *, is_onnx: bool) -> float:
    run = _onnx_runner(file) if is_onnx else _program_runner(file)
    found = []
    for count in CHECKED_BATCHES:
        inputs = _inputs(network, count)
        wanted, got = network(*inputs).numpy(), run(*inputs)
        if got.shape != wanted.shape or got.dtype != wanted.dtype:
            return float("inf")
        found.append(float(np.abs(got - wanted).max()))
    return float(np.max(found))  # a NaN stays one


def _program_runner(file: Path) -> Any:
    with file.open("rb") as handle:
        module = torch.export.load(handle).module()
    return lambda *inputs: module(*inputs).numpy()


def _onnx_runner(file: Path) -> Any:
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda *inputs: session.run(
        ["images"], {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    )[0]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep to itself what the exporters warn and log of their own affairs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
