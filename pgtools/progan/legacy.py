"""The authors' saved networks, read without running anything from the file.

A snapshot of theirs is a pickle of (G, D, Gs); `runtime.pickles` reads it with a closed list of names. The
text of their Python module, which such a file also carries, is never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.runtime.pickles import array_of, read_pickle

# Choices of theirs that these networks do not offer, and the only value that agrees.
FIXED = {
    "normalize_latents": True,
    "use_wscale": True,
    "use_pixelnorm": True,
    "use_leakyrelu": True,
    "pixelnorm_epsilon": 1e-8,
}
# Their name of a layer -> ours; levels and colour layers are handled apart.
LAYERS = {"Dense": "dense", "Conv": "conv", "Dense0": "dense0", "Dense1": "dense1"}
BLOCK_LAYERS = {"Conv0": "conv0", "Conv0_up": "conv0", "Conv1": "conv1", "Conv1_down": "conv1"}


@dataclass(frozen=True)
class LegacyNetworks:
    """The three networks of a snapshot, in evaluation mode, and the level of detail they had reached."""

    generator: Generator
    discriminator: Discriminator
    average: Generator
    lod: float


class SavedNetwork:
    """Stands in for their Network object and keeps its state."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def read_legacy(path: Path) -> LegacyNetworks:
    """Return the networks of a snapshot that the authors' released trainer saved.

    Raises:
        InputError: the file cannot be read, is no such snapshot, or asks for anything but numbers and
            containers.
    """
    generator, discriminator, average = (_state(network, path) for network in _unpickle(path))
    try:
        return LegacyNetworks(
            _network(generator, Generator),
            _network(discriminator, Discriminator),
            _network(average, Generator),
            float(_variables(average)["lod"]),
        )
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} holds networks of another kind ({str(error).splitlines()[0]}).") from None


def _unpickle(path: Path) -> tuple[Any, Any, Any]:
    found = read_pickle(path, what="snapshot of the authors'", known={"tfutil.Network": SavedNetwork})
    if not isinstance(found, (tuple, list)) or len(found) != 3:
        raise InputError(f"{path} holds {type(found).__name__}; expected the three networks (G, D, Gs).")
    return found[0], found[1], found[2]


def _state(network: Any, path: Path) -> dict[str, Any]:
    state = network.state if isinstance(network, SavedNetwork) else None
    if not isinstance(state, dict) or not {"version", "static_kwargs", "variables"} <= set(state):
        raise InputError(f"{path} holds an object that is not one of the authors' networks.")
    if state["version"] != 2:
        raise InputError(f"{path} has network version {state['version']}; this pgtools reads 2.")
    return state


def _network(state: dict[str, Any], build: Callable[[Architecture], Any]) -> Any:
    """A network of ours with the weights of theirs."""
    variables = _variables(state)
    shape = _architecture(state["static_kwargs"], variables)
    network: nn.Module = build(shape)
    tensors = {
        _our_name(name, shape.resolution): _our_layout(name, values)
        for name, values in variables.items()
        if name != "lod"
    }
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def _variables(state: dict[str, Any]) -> dict[str, NDArray[Any]]:
    return {str(name): np.asarray(array_of(value), dtype=np.float32) for name, value in state["variables"]}


def _architecture(words: dict[str, Any], variables: dict[str, NDArray[Any]]) -> Architecture:
    """The shape that their keyword arguments describe; what they leave out has their functions' default."""
    for name, value in FIXED.items():
        if words.get(name, value) != value:
            raise ValueError(f"{name} is {words[name]}; only {value} is known here")
    shape = Architecture(
        resolution=int(words["resolution"]),
        labels=int(words.get("label_size", 0)),
        channels=int(words["num_channels"]),
        fmap_base=int(words.get("fmap_base", 8192)),
        fmap_decay=float(words.get("fmap_decay", 1.0)),
        fmap_max=int(words.get("fmap_max", 512)),
        fused_scale=any(name.endswith(("Conv0_up/weight", "Conv1_down/weight")) for name in variables),
        stddev_group=int(words.get("mbstd_group_size", 4)),
        latent=1,
    )
    latent = int(words.get("latent_size") or shape.fmap(0))
    return Architecture(**{**shape.__dict__, "latent": latent})


def _our_name(name: str, resolution: int) -> str:
    """Return 8x8/Conv0_up/weight as blocks.8.conv0.weight, ToRGB_lod0/bias as to_rgb.32.bias."""
    if found := re.fullmatch(r"(To|From)RGB_lod(\d+)/(weight|bias)", name):
        side, lod, part = found.groups()
        return f"{side.lower()}_rgb.{resolution >> int(lod)}.{part}"
    found = re.fullmatch(r"(\d+)x\1/(\w+)/(weight|bias)", name)
    level, layer, part = found.groups() if found else ("", "", "")
    if level == "4" and layer in LAYERS:
        return f"{LAYERS[layer]}.{part}"
    if layer in BLOCK_LAYERS:
        return f"blocks.{level}.{BLOCK_LAYERS[layer]}.{part}"
    raise ValueError(f"it has a variable {name!r}")


def _our_layout(name: str, values: NDArray[Any]) -> Tensor:
    """Outputs first, as a plain convolution; both sides store weights unscaled."""
    if name.endswith("Conv0_up/weight"):
        # (kh, kw, out, in) of a transposed convolution -> (out, in, kh, kw), turned by 180°.
        values = values.transpose(2, 3, 0, 1)[:, :, ::-1, ::-1]
    elif values.ndim == 4:
        values = values.transpose(3, 2, 0, 1)  # (kh, kw, in, out) -> (out, in, kh, kw)
    elif values.ndim == 2:
        values = values.T  # (in, out) -> (out, in)
    return torch.tensor(np.ascontiguousarray(values))
