"""Checkpoints: networks, optimizers and progress of a run in one file; reading it runs no code.

Random streams and the order of the data follow from the seed and the images shown, so no generator's state is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.run.tensors import CHECKPOINT, KINDS, Header, TensorFile, damaged, joined, opened, save
from pgtools.runtime.files import written_aside

ADAM = ("exp_avg", "exp_avg_sq", "step")
PLAYERS = ("generator", "discriminator")


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on.

    Attributes:
        architecture: the shape of the networks.
        tensors: `generator/…`, `discriminator/…`, `average/…` as in their state dicts;
            `adam/generator/PARAMETER/exp_avg`, `…/exp_avg_sq`, `…/step` and the same of the discriminator, for the
            parameters that took part.
        progress: where the run stands, as plain JSON values: a tuple comes back as a list.
        lod: level of detail.
        images: real images shown.
    """

    architecture: Architecture
    tensors: dict[str, Tensor]
    progress: dict[str, Any]
    lod: float
    images: int

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors under a prefix such as "generator" or "adam/generator", without it."""
        start = prefix + "/"
        return {name.removeprefix(start): value for name, value in self.tensors.items() if name.startswith(start)}

    def check_architecture(self, expected: Architecture) -> None:
        """Raise InputError unless these are networks of this shape.

        Raises:
            InputError: a field differs, with its name.
        """
        for name, wanted in vars(expected).items():
            if (found := getattr(self.architecture, name)) != wanted:
                raise InputError(f"The checkpoint is of networks with {name} {found}; the run's have {wanted}.")


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all.

    Raises:
        OutputError: the disk does not take it.
    """
    with written_aside(path) as aside:
        save_checkpoint(aside, checkpoint)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in place, for callers that have more to do before it gets its name."""
    shape, progress = checkpoint.architecture, checkpoint.progress
    save(path, checkpoint.tensors, Header(CHECKPOINT, shape, checkpoint.lod, checkpoint.images, progress))


def read_checkpoint(path: Path) -> Checkpoint:
    """Return what `write_checkpoint` wrote, on the CPU.

    Raises:
        InputError: the file is damaged, foreign, of another version, or its tensors are not those of its networks.
    """
    with opened(path, CHECKPOINT) as file:
        known: set[str] = set()
        for kind in KINDS:
            expected = file.expected(kind)
            file.check(f"{kind}/", expected)
            known |= {f"{kind}/{name}" for name in expected}
        for player in PLAYERS:
            known |= _check_adam(path, file, player)
        if odd := sorted(file.names - known):
            raise damaged(path, CHECKPOINT, f"it has an unknown tensor {odd[0]}")
        header = file.header
        return Checkpoint(header.architecture, file.read(), header.progress, header.lod, header.images)


def gathered(networks: Mapping[str, nn.Module], adams: Mapping[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, by their names there.

    Args:
        networks: kind → network, all of KINDS.
        adams: player → its optimizer, all of PLAYERS.
    """
    weights = {kind: network.state_dict() for kind, network in networks.items()}
    moments = {f"adam/{player}": adam_tensors(adam, networks[player]) for player, adam in adams.items()}
    return joined({**weights, **moments})


def spread(
    checkpoint: Checkpoint, networks: Mapping[str, nn.Module], adams: Mapping[str, torch.optim.Optimizer]
) -> None:
    """Give networks and optimizers what `gathered` took from them.

    Raises:
        InputError: an optimizer's state is of another network.
        RuntimeError: weights are of another network.
    """
    for kind, network in networks.items():
        network.load_state_dict(checkpoint.part(kind))
    for player, adam in adams.items():
        restore_adam(adam, networks[player], checkpoint.part(f"adam/{player}"))


def adam_tensors(optimizer: torch.optim.Optimizer, network: nn.Module) -> dict[str, Tensor]:
    """Return the state of Adam as PARAMETER/exp_avg, PARAMETER/exp_avg_sq, PARAMETER/step.

    A parameter that never took part has no state, and no entry. The tensors are the optimizer's own, not copies.
    """
    found: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            found[f"{name}/{key}"] = torch.as_tensor(value, dtype=torch.float32)
    return found


@torch.no_grad()
def restore_adam(optimizer: torch.optim.Optimizer, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give Adam the state that `adam_tensors` returned; parameters without an entry have none afterwards.

    State that is there is overwritten in place, so that a recorded CUDA graph still points at it. Learning rate and βs
    are not part of it.

    Raises:
        InputError: there is state of a parameter that the network does not have, or of another shape.
    """
    parameters = dict(network.named_parameters())
    named = {name.rpartition("/")[0] for name in tensors}
    if odd := sorted(named - parameters.keys()):
        raise InputError(f"The optimizer's state names a parameter {odd[0]}, which the network does not have.")
    for group in optimizer.param_groups:
        on_device = bool(group.get("fused") or group.get("capturable"))
        for name, parameter in parameters.items():
            if not any(parameter is other for other in group["params"]):
                continue
            if name not in named:
                optimizer.state.pop(parameter, None)
                continue
            state = optimizer.state[parameter]
            for key in ADAM:
                value = tensors[f"{name}/{key}"]
                if key not in state:
                    state[key] = _blank(key, parameter, on_device=on_device)
                if state[key].shape != value.shape:
                    raise InputError(f"The optimizer's {name}/{key} is {tuple(value.shape)}; the network has another.")
                state[key].copy_(value)


def _blank(key: str, parameter: Tensor, *, on_device: bool) -> Tensor:
    """As torch.optim.Adam begins: the step is a number beside the CPU's loop, unless a kernel counts it."""
    if key == "step":
        return torch.zeros((), dtype=torch.float32, device=parameter.device if on_device else "cpu")
    return torch.empty_like(parameter, memory_format=torch.preserve_format)


def _check_adam(path: Path, file: TensorFile, player: str) -> set[str]:
    """Check one optimizer's tensors against its network's parameters, and return their names."""
    prefix, network = f"adam/{player}/", file.expected(player)
    stated = {name.removeprefix(prefix).rpartition("/")[0] for name in file.names if name.startswith(prefix)}
    if odd := sorted(stated - network.keys()):
        raise damaged(path, CHECKPOINT, f"its optimizer has a parameter {odd[0]}, which the network does not have")
    scalar = torch.empty((), device="meta")
    expected = {f"{name}/{key}": scalar if key == "step" else network[name] for name in stated for key in ADAM}
    file.check(prefix, expected)
    return {prefix + name for name in expected}
