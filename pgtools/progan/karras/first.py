"""The form that the authors' first trainer saves: a list of Theano arrays in the order in which the layers were made.

A network's state is a dict {build_func_spec, build_module_src, param_values, toplevel_params}:

1. build_func_spec names the function and its keyword arguments; what it leaves out has that trainer's default, which
   is not the released one's: fmap_base 4096, fmap_max 256.
2. param_values holds weight, run-time scale and bias of one layer after the other; without `use_wscale` no scale. The
   scale is the deviation that the first weights happened to have, so it is near gain/√fan_in and not equal to it.
3. toplevel_params holds `cur_lod`.

Convention: Theano's convolution turns the kernel by 180°, PyTorch's does not. Scaling is plain: 2×2 means after bias
and activation. The minibatch statistics run over the whole minibatch, which was 16 images at most. The text of
build_module_src is their Python module; it is never looked at.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pgtools.progan.config import Architecture
from pgtools.progan.karras.stored import Numbers, Part, Side, Stored, Words, level_of_detail, plain

FIELDS = ("param_values", "toplevel_params")
FUNCTIONS: dict[str, Side] = {
    "G_paper": "generator",
    "G_progressive_8": "generator",
    "D_paper": "discriminator",
    "D_progressive_8": "discriminator",
}
WHOLE_MINIBATCH = 16
Kind = Literal["from 1x1", "3x3", "to 1x1", "colour", "dense"]
AXES: dict[Kind, int] = {"from 1x1": 4, "3x3": 4, "to 1x1": 4, "colour": 2, "dense": 2}


def stored_by_first(state: dict[str, Any], size: int) -> Stored:
    """Return a network of the first trainer under our names.

    Args:
        state: what the pickle keeps of it.
        size: bytes of the file.

    Raises:
        ValueError: it is of another kind, or an option or an array is not known here.
    """
    spec = state["build_func_spec"]
    function = spec.get("func") if isinstance(spec, dict) else None
    if not isinstance(function, str) or function not in FUNCTIONS:
        raise ValueError(f"its network is a {plain(function)}; only {', '.join(FUNCTIONS)} are known here")
    side, words, values = FUNCTIONS[function], Words(spec), state.get("param_values")
    shape = _generator_shape(words) if side == "generator" else _discriminator_shape(words)
    if not isinstance(values, (list, tuple)):
        raise ValueError("a network without param_values")
    parts = _parts(values, _layers(shape, side), Numbers(size), with_scale=shape.equalized)
    top = state.get("toplevel_params", {})
    lod = level_of_detail(top.get("cur_lod", 0.0) if isinstance(top, dict) else top, shape.resolution)
    return Stored(function, side, shape, parts, scaled=True, lod=lod)


def _generator_shape(words: Words) -> Architecture:
    words.choice("use_batchnorm", False, False)
    shape = _shape(words)
    latent = words.integer("latent_size", shape.fmap(0))
    return replace(shape, latent=latent, tanh=words.choice("tanh_at_end", None, None, 1) == 1, **words.generator())


def _discriminator_shape(words: Words) -> Architecture:
    for name, known in {"use_layernorm": False, "mbdisc_kernels": None, "mbstat_func": "Tstdeps"}.items():
        words.choice(name, known, known)
    group = WHOLE_MINIBATCH if words.choice("mbstat_avg", "all", "all", None) else 0
    return replace(_shape(words), stddev_group=group)


def _shape(words: Words) -> Architecture:
    if words.integer("label_size", 0, low=0):
        # Their first trainer normalises the latents and then joins the labels; ours and their released one join first.
        # No choice of weights makes one of the other.
        raise ValueError("it knows classes (label_size), which the first trainer joins after the latents' pixel norm")
    return Architecture(
        resolution=words.resolution(32),
        channels=words.integer("num_channels", 1),
        fmap_base=words.integer("fmap_base", 4096),
        fmap_decay=words.decay("fmap_decay", 1.0),
        fmap_max=words.integer("fmap_max", 256),
        fused_scale=False,
        stddev_group=WHOLE_MINIBATCH,
        equalized=words.flag("use_wscale", True),
        latent=1,
    )


def _layers(shape: Architecture, side: Side) -> list[tuple[str, Kind]]:
    """Our layers in the order in which theirs hold parameters."""
    found: list[tuple[str, Kind]]
    if side == "generator":
        found = [("dense", "from 1x1"), ("conv", "3x3")]
        for level in shape.levels[1:]:
            found += [(f"blocks.{level}.conv0", "3x3"), (f"blocks.{level}.conv1", "3x3")]
        return found + [(f"to_rgb.{level}", "colour") for level in reversed(shape.levels)]
    found = [(f"from_rgb.{shape.resolution}", "colour")]
    for level in reversed(shape.levels[1:]):
        found += [(f"blocks.{level}.conv0", "3x3"), (f"blocks.{level}.conv1", "3x3")]
        found += [(f"from_rgb.{level // 2}", "colour")]
    return [*found, ("conv", "3x3"), ("dense0", "to 1x1"), ("dense1", "dense")]


def _parts(
    values: list[Any] | tuple[Any, ...], layers: list[tuple[str, Kind]], numbers: Numbers, *, with_scale: bool
) -> dict[str, Part]:
    each = 3 if with_scale else 2
    if len(values) != each * len(layers):
        raise ValueError(f"it has {len(values)} arrays; expected {each * len(layers)}")
    parts = {}
    for i, (name, kind) in enumerate(layers):
        origins = [f"param_values[{each * i + k}]" for k in range(each)]
        arrays = [numbers.read(values[each * i + k], origins[k]) for k in range(each)]
        weight, scale = arrays[0], arrays[1] if with_scale else np.ones((), np.float32)
        if scale.size != 1:
            raise ValueError(f"{origins[1]} has shape {scale.shape}; expected one number, a scale")
        if weight.ndim != AXES[kind]:
            raise ValueError(f"{origins[0]} has shape {weight.shape}; expected {AXES[kind]} axes")
        used = _our_layout(kind, weight).astype(np.float32) * np.float32(scale.reshape(-1)[0])
        parts[f"{name}.weight"] = Part(origins[0], used)
        parts[f"{name}.bias"] = Part(origins[-1], arrays[-1].astype(np.float32, copy=False))
    return parts


def _our_layout(kind: Kind, values: NDArray[Any]) -> NDArray[Any]:
    """Outputs first, for a correlation; their convolutions are (out, in, kh, kw), all else (in, out)."""
    if kind == "from 1x1":  # one pixel convolved with a 4×4 kernel is the kernel as it stands
        return values.transpose(0, 2, 3, 1).reshape(-1, values.shape[1])  # (out, in, 4, 4) -> (16·out, in)
    if kind == "3x3":
        return values[:, :, ::-1, ::-1]
    if kind == "to 1x1":
        return values[:, :, ::-1, ::-1].reshape(len(values), -1)  # (out, in, 4, 4) -> (out, 16·in)
    return values.T[:, :, None, None] if kind == "colour" else values.T
