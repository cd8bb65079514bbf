"""A minibatch shared by processes (torchrun, PyTorch's DDP) and by the parts of a process (gradient accumulation).

The minibatch of the schedule is that of all processes together, and what it computes does not depend on how it is
shared: the groups of the minibatch standard deviation are those of the whole minibatch, and each lies whole in one
part. Image n of N belongs to group n mod (N/G); a part takes a run of groups. Losses are means over images and parts
are of equal size, so the mean of the parts' gradients is the gradient of the whole.
"""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pgtools.errors import ComputeError, UsageError
from pgtools.progan.config import Architecture
from pgtools.runtime.device import resolve_device
from pgtools.runtime.distributed import Processes

# The others wait while the first process scores a snapshot, which may take hours on a slow machine. Gradients are
# averaged in a group of their own, in which a process that froze is noticed after PyTorch's usual time.
PATIENCE = datetime.timedelta(hours=24)


@dataclass(frozen=True)
class Place:
    """Where a run computes.

    Attributes:
        device: of this process.
        processes: that share every minibatch and agree on what to do; none of them gives up while another works.
    """

    device: torch.device
    processes: Processes = field(default_factory=Processes.alone)


@contextlib.contextmanager
def launched(device: str) -> Iterator[Place]:
    """Join the processes that torchrun started, if it did, and yield where this one computes.

    Under torchrun, `auto` and `cuda` mean the GPU of this process's number on its machine.

    Raises:
        UsageError: the device is not there, or a single GPU is named for several processes.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        yield Place(resolve_device(device))
        return
    if device.startswith("cuda:"):
        raise UsageError(f"--device is {device!r} under torchrun, where each process has its own GPU; expected cuda.")
    found = resolve_device(device)
    if found.type == "cuda":
        found = resolve_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(found)
    dist.init_process_group("nccl" if found.type == "cuda" else "gloo")
    patient = dist.new_group(backend="gloo", timeout=PATIENCE)
    yield Place(found, Processes(patient if isinstance(patient, dist.ProcessGroup) else None))
    # After an error the groups stay as they are: to take them down the others would have to help, who may be waiting.
    dist.destroy_process_group()


@contextlib.contextmanager
def others_answering(processes: Processes) -> Iterator[None]:
    """Say in pgtools' own words when the others are gone in the middle of common work.

    Raises:
        ComputeError: communication failed.
    """
    try:
        yield
    except RuntimeError as error:
        if processes.count == 1 or isinstance(error, torch.OutOfMemoryError):
            raise
        raise ComputeError(
            f"The other processes no longer answer process {processes.rank} ({str(error).splitlines()[0]}).",
            hint="One of them failed: its own message says why.",
        ) from error


def places(count: int, group: int, *, part: int, parts: int) -> NDArray[np.int64]:
    """Return which images of a minibatch one of several equal parts takes: whole groups.

    Args:
        count: images in the minibatch.
        group: images that the minibatch standard deviation compares; 0 for none.
        part: from 0 up.
        parts: how many there are; must divide the number of groups.
    """
    members = min(group, count) or 1
    groups = count // members
    taken = np.arange(groups * part // parts, groups * (part + 1) // parts)
    found: NDArray[np.int64] = (np.arange(members)[:, None] * groups + taken).ravel()
    return found


def check_shares(shape: Architecture, minibatch: dict[int, float], *, processes: int, micro_batch: int | None) -> None:
    """Raise UsageError unless every minibatch can be shared so.

    Raises:
        UsageError: a minibatch has fewer groups than processes, or not a multiple; a part would be smaller than a
            group; or a layer needs the whole minibatch at once.
    """
    for resolution, images in minibatch.items():
        if resolution > shape.resolution:
            continue
        members = min(shape.stddev_group, int(images)) or 1
        groups = int(images) // members
        if groups % processes:
            raise UsageError(
                f"The minibatch of {images:g} at {resolution}² has {groups} groups of {members} (--stddev-group); "
                f"they cannot be shared equally by {processes} processes.",
                hint=f"Name a minibatch that is a multiple of {members * processes}, e.g. with --minibatch.",
            )
        if micro_batch is not None and micro_batch < members:
            raise UsageError(
                f"--micro-batch is {micro_batch}; a group of {members} images must stay together.",
                hint=f"Use --micro-batch {members} or more, or a smaller --stddev-group.",
            )
        shared = processes > 1 or (micro_batch is not None and micro_batch < images)
        if shared and (shape.batch_norm or shape.discrimination_kernels):
            layer = "batch norm" if shape.batch_norm else "minibatch discrimination"
            raise UsageError(
                f"These networks have {layer}, which needs the whole minibatch in one process and part.",
                hint="Train in one process, without --micro-batch.",
            )


def part_count(count: int, group: int, micro_batch: int | None) -> int:
    """Return into how few equal parts of whole groups `count` images are taken, none above `micro_batch`."""
    members = min(group, count) or 1
    groups = count // members
    most = max(1, (micro_batch or count) // members)  # groups a part
    return next(parts for parts in range(1, groups + 1) if groups % parts == 0 and groups // parts <= most)


def shared_gradients(module: nn.Module, processes: Processes) -> nn.Module:
    """Return the module whose backward averages gradients over the processes; the module itself for one process.

    Layers of levels that do not take part have no gradient; DDP is told to look for them.
    """
    if processes.count == 1:
        return module
    return DistributedDataParallel(module, find_unused_parameters=True)


@contextlib.contextmanager
def averaging(module: nn.Module, *, now: bool) -> Iterator[None]:
    """Let a shared module's forward and backward average gradients, or only add them up for a later one."""
    if now or not isinstance(module, DistributedDataParallel):
        yield
    else:
        with module.no_sync():
            yield
