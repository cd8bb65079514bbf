"""The form that the authors' released trainer saves: TensorFlow variables by name.

A network's state is a dict {version: 2, name, static_kwargs, build_module_src, build_func_name, variables}. The text of
build_module_src is their Python module; it is never looked at.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.progan.config import Architecture
from pgtools.progan.karras.stored import Numbers, Part, Side, Stored, Words, level_of_detail, plain

VERSION = 2
FIELDS = ("static_kwargs", "variables")
# Their name of a layer -> ours; levels and colour layers are handled apart.
LAYERS = {"Dense": "dense", "Conv": "conv", "Dense0": "dense0", "Dense1": "dense1"}
BLOCK_LAYERS = {"Conv0": "conv0", "Conv0_up": "conv0", "Conv1": "conv1", "Conv1_down": "conv1"}
FUSED = ("Conv0_up/weight", "Conv1_down/weight")


def stored_by_released(state: dict[str, Any], size: int) -> Stored:
    """Return a network of the released trainer under our names.

    Args:
        state: what the pickle keeps of it.
        size: bytes of the file.

    Raises:
        ValueError: it is of another version or kind, or an option, a name or an array is not known here.
    """
    if state["version"] != VERSION:
        raise ValueError(f"network version {plain(state['version'])}; this pgtools reads {VERSION}")
    if missing := [field for field in FIELDS if field not in state]:
        raise ValueError(f"a network without {missing[0]}")
    words, variables = Words(state["static_kwargs"]), _variables(state["variables"])
    side: Side = "generator" if "4x4/Dense/weight" in variables else "discriminator"
    shape = _shape(words, variables, side)
    lod = level_of_detail(variables.pop("lod", 0.0), shape.resolution)
    numbers, parts = Numbers(size), {}
    for name, value in variables.items():
        parts[_our_name(name, shape.resolution)] = Part(name, _our_layout(name, numbers.read(value, name)))
    if len(parts) != len(variables):
        raise ValueError("it has a layer under two names")
    return Stored(plain(state.get("name", side)).strip("'"), side, shape, parts, scaled=False, lod=lod)


def _variables(pairs: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs if isinstance(pairs, (list, tuple)) else [None]:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ValueError("its variables are no list of names and arrays")
        if pair[0] in found:
            raise ValueError(f"it has the variable {plain(pair[0])} twice")
        found[pair[0]] = pair[1]
    return found


def _shape(words: Words, variables: dict[str, Any], side: Side) -> Architecture:
    """The shape that their keyword arguments describe; what they leave out has their functions' default."""
    words.choice("pixelnorm_epsilon", 1e-8, 1e-8)
    group = words.integer("mbstd_group_size", 4, low=0)
    resolution = words.resolution(32)
    fused = any(name.endswith(FUSED) for name in variables) if resolution > 4 else words.flag("fused_scale", True)
    shape = Architecture(
        resolution=resolution,
        labels=words.integer("label_size", 0, low=0),
        channels=words.integer("num_channels", 1),
        fmap_base=words.integer("fmap_base", 8192),
        fmap_decay=words.decay("fmap_decay", 1.0),
        fmap_max=words.integer("fmap_max", 512),
        fused_scale=fused,
        stddev_group=group if group > 1 else 0,  # theirs leaves the layer out for 0 and 1
        equalized=words.flag("use_wscale", True),
        latent=1,
    )
    if side == "discriminator":
        return shape
    return replace(shape, latent=words.integer("latent_size", shape.fmap(0)), **words.generator())


def _our_name(name: str, resolution: int) -> str:
    """Return 8x8/Conv0_up/weight as blocks.8.conv0.weight, ToRGB_lod0/bias as to_rgb.32.bias."""
    if found := re.fullmatch(r"(To|From)RGB_lod(\d{1,2})/(weight|bias)", name):
        side, lod, part = found.groups()
        return f"{side.lower()}_rgb.{resolution >> int(lod)}.{part}"
    found = re.fullmatch(r"(\d{1,5})x\1/(\w+)/(weight|bias)", name)
    level, layer, part = found.groups() if found else ("", "", "")
    if level == "4" and layer in LAYERS:
        return f"{LAYERS[layer]}.{part}"
    if layer in BLOCK_LAYERS:
        return f"blocks.{level}.{BLOCK_LAYERS[layer]}.{part}"
    raise ValueError(f"it has a variable {plain(name)} that is not known here")


def _our_layout(name: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """Outputs first, as a plain convolution; both sides store weights without their run-time scale."""
    if values.ndim == 4 and name.endswith("Conv0_up/weight"):
        # (kh, kw, out, in) of a transposed convolution -> (out, in, kh, kw), turned by 180°.
        values = values.transpose(2, 3, 0, 1)[:, :, ::-1, ::-1]
    elif values.ndim == 4:
        values = values.transpose(3, 2, 0, 1)  # (kh, kw, in, out) -> (out, in, kh, kw)
    elif values.ndim == 2:
        values = values.T  # (in, out) -> (out, in)
    return values.astype(np.float32, copy=False)
