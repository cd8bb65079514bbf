"""The authors' two formats, written here: stand-ins for their classes, and pickles as both Pythons make them."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator

CODE = "open('was-here', 'w').write('x'); raise SystemExit('this was run')"


class TensorFlowNetwork:
    """What the released trainer's class keeps when pickled."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state

    def __getstate__(self) -> dict[str, Any]:
        return self.state


class TheanoNetwork(TensorFlowNetwork):
    """What the first trainer's class keeps when pickled."""


# The names that the files ask for; tests put both classes where these are looked up.
CLASSES = {"tfutil": TensorFlowNetwork, "network": TheanoNetwork}
for _module, _class in CLASSES.items():
    _class.__module__, _class.__qualname__, _class.__name__ = _module, "Network", "Network"


def released(network: torch.nn.Module, shape: Architecture, **other: Any) -> TensorFlowNetwork:
    """One of our networks as the released trainer would save it; `other` are further keyword arguments."""
    words = {
        "num_channels": shape.channels,
        "resolution": shape.resolution,
        "label_size": shape.labels,
        "fmap_base": shape.fmap_base,
        "fmap_max": shape.fmap_max,
        "latent_size": shape.latent,
    }
    function = "G_paper" if isinstance(network, Generator) else "D_paper"
    return TensorFlowNetwork(
        {
            "version": 2,
            "name": function[0],
            "static_kwargs": words | other,
            "build_module_src": CODE,
            "build_func_name": function,
            "variables": variables_of(network, shape),
        }
    )


def variables_of(network: torch.nn.Module, shape: Architecture) -> list[tuple[str, NDArray[Any]]]:
    """Our weights under their names, in their layout."""
    found: list[tuple[str, NDArray[Any]]] = [("lod", np.float32(0.5))]  # type: ignore[list-item]
    for name, tensor in network.state_dict().items():
        *path, part = name.split(".")
        values = tensor.numpy()
        if path[0] == "blocks":
            up = {"conv0": "Conv0_up", "conv1": "Conv1"} if isinstance(network, Generator) else {}
            down = {"conv0": "Conv0", "conv1": "Conv1_down"} if isinstance(network, Discriminator) else {}
            fused = up | down
            layer = fused[path[2]] if shape.fused_scale else path[2].capitalize()
            theirs = f"{path[1]}x{path[1]}/{layer}"
        elif path[0] in ("to_rgb", "from_rgb"):
            side = "ToRGB" if path[0] == "to_rgb" else "FromRGB"
            theirs = f"{side}_lod{(shape.resolution // int(path[1])).bit_length() - 1}"
        else:
            theirs = f"4x4/{path[0].capitalize()}"
        if values.ndim == 4:
            values = values.transpose(2, 3, 1, 0)
            if theirs.endswith("_up"):
                values = values[::-1, ::-1].transpose(0, 1, 3, 2)
        elif values.ndim == 2:
            values = values.T
        found.append((f"{theirs}/{part}", np.ascontiguousarray(values)))
    return found


def first(function: str, arrays: list[NDArray[Any]], *, lod: float = 0.0, **words: Any) -> TheanoNetwork:
    """A network as the first trainer saves it: the function's name, its keyword arguments, arrays in order."""
    return TheanoNetwork(
        {
            "build_func_spec": {"func": function, **words},
            "build_module_src": CODE,
            "param_values": arrays,
            "toplevel_params": {"cur_lod": np.asarray(lod, np.float32)},
        }
    )


def python2(value: Any) -> bytes:
    """The pickle that Python 2 makes, protocol 2: every text and every array's bytes are one kind of string."""
    out = io.BytesIO()
    _Python2Pickler(out, 2).dump(value)
    return out.getvalue()


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def _save_string(self, data: bytes | str) -> None:
        coded = data.encode("latin1") if isinstance(data, str) else data
        self.write(b"T" + struct.pack("<i", len(coded)) + coded)
        self.memoize(data)

    dispatch[bytes] = dispatch[str] = _save_string
