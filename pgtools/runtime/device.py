"""Which device computes: `auto` takes CUDA where there is one, else the CPU; both in whole float32."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from pgtools.errors import UsageError


def resolve_device(name: str) -> torch.device:
    """Return the torch device that `name` (auto, cpu, cuda, cuda:1) means on this machine.

    For CUDA, TF32 is switched off in this process, for matrix products and for cuDNN's convolutions: figures
    then agree with the CPU's to float32 rounding.

    Raises:
        UsageError: the name is no device, or CUDA is asked for and not there.
    """
    device = _named(name)
    if device.type == "cuda":
        # torch lets cuDNN round factors to TF32's 10 bits unless told otherwise: errors of 1e-3, unsaid.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
    return device


@contextlib.contextmanager
def repeatable(*, threads: int | None = None) -> Iterator[None]:
    """Let cuDNN take only algorithms that give the same bytes every time, and the CPU so many threads, while inside."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark, torch.get_num_threads()
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        if threads:
            torch.set_num_threads(threads)
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before[:2]
        if threads:
            torch.set_num_threads(before[2])


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Let every operation give the same bytes every time while inside, on CUDA too; one that cannot raises.

    cuBLAS asks for its workspace setting before it is first used in the process.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with repeatable():
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _named(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device is {name!r}; expected auto, cpu, cuda or cuda:N.") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device is {name!r}; pgtools runs on cpu and cuda.")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"--device is {name!r}, but this torch finds no CUDA device.", hint="Use --device cpu.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device is {name!r}, but there are {torch.cuda.device_count()} CUDA devices.")
    return device
