"""What both forms of the authors' pickles come down to: one network's weights under our names, checked, then built.

Everything here comes from a file of strangers: sizes are held against the file's before anything is reserved, and no
text of it reaches a message before it is cut and made printable.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.runtime.pickles import array_of

Side = Literal["generator", "discriminator"]
Network = TypeVar("Network", Generator, Discriminator)
LONGEST_SHOWN = 60
# The largest that is believed; the paper's are 1024, 512 and 8192.
MOST = {"resolution": 1 << 13, "fmap_max": 1 << 14, "fmap_base": 1 << 20, "latent_size": 1 << 16, "label_size": 1 << 16}


class Part(NamedTuple):
    """A weight or a bias.

    Attributes:
        origin: where the file has it, for messages.
        values: float32, outputs first, as our layers hold it.
    """

    origin: str
    values: NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Stored:
    """One network of a pickle.

    Attributes:
        name: what the file calls it, printable.
        side: generator or discriminator.
        shape: what its own keyword arguments say; a discriminator's knows nothing of latents and their norms, a
            generator's nothing of the minibatch statistics.
        parts: our names → numbers.
        scaled: whether the weights are those that the layers use; else they are divided by the run-time scale already.
        lod: level of detail it had reached.
    """

    name: str
    side: Side
    shape: Architecture
    parts: Mapping[str, Part]
    scaled: bool
    lod: float


class Words:
    """Keyword arguments of a network, of which nothing is believed.

    Args:
        values: name → value, as the file has them.
    """

    def __init__(self, values: Any) -> None:
        if not isinstance(values, dict):
            raise ValueError(f"its keyword arguments are {plain(values)}")
        self._values = values

    def integer(self, name: str, default: int, *, low: int = 1) -> int:
        """Return a whole number, `default` where the file has none or None.

        Raises:
            ValueError: it is no whole number from `low` to the largest believed.
        """
        value, high = self._value(name, default), MOST.get(name, 1 << 10)
        # True is a whole number too, and so is 512.0.
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high or value % 1:
            raise ValueError(f"{name} is {plain(value)}; expected a whole number from {low} to {high}")
        return int(value)

    def decay(self, name: str, default: float) -> float:
        """Return a number from 0 to 8.

        Raises:
            ValueError: it is none.
        """
        value = self._value(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 8:
            raise ValueError(f"{name} is {plain(value)}; expected a number from 0 to 8")
        return float(value)

    def resolution(self, default: int) -> int:
        """Return the side of the images.

        Raises:
            ValueError: it is no power of two from 4 up.
        """
        value = self.integer("resolution", default, low=4)
        if value & (value - 1):
            raise ValueError(f"resolution is {value}; expected a power of two")
        return value

    def choice(self, name: str, default: Any, *known: Any) -> Any:
        """Return a value that must be one of `known`.

        Raises:
            ValueError: it is another.
        """
        value = self._values.get(name, default)
        for one in known:
            if isinstance(value, (bool, int, float, str, type(None))) and value == one:
                return one
        raise ValueError(f"{name} is {plain(value)}; only {' or '.join(map(repr, known))} is known here")

    def flag(self, name: str, default: bool) -> bool:
        """Return a value that must be True or False.

        Raises:
            ValueError: it is neither.
        """
        return bool(self.choice(name, default, True, False))

    def generator(self) -> dict[str, Any]:
        """Return what only a generator has, as fields of Architecture; the names are those of both trainers.

        Raises:
            ValueError: one of them is neither True nor False.
        """
        names = {"pixel_norm": "use_pixelnorm", "latent_norm": "normalize_latents", "leaky_relu": "use_leakyrelu"}
        return {field: self.flag(name, True) for field, name in names.items()}

    def _value(self, name: str, default: Any) -> Any:
        value = self._values.get(name)
        return default if value is None else value


class Numbers:
    """Arrays of a network, as long as they hold no more bytes in all than the file has.

    A file names an array as often as it likes, at two bytes each time.

    Args:
        size: bytes of the file.
    """

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, value: Any, origin: str) -> NDArray[Any]:
        """Return an array of finite floating-point numbers.

        Raises:
            ValueError: it is no such array, or the network's arrays are more than the file.
        """
        values = array_of(value)
        self._left -= values.nbytes
        if self._left < 0:
            raise ValueError("its arrays hold more bytes than the file")
        if values.dtype.kind != "f":
            raise ValueError(f"{origin} holds {values.dtype} in the place of floating-point numbers")
        if not np.isfinite(values).all():
            raise ValueError(f"{origin} holds numbers that are not finite")
        return values


def level_of_detail(value: Any, resolution: int) -> float:
    """Return the level of detail, 0 to log2(resolution / 4).

    Raises:
        ValueError: it is no such number.
    """
    found = array_of(value)
    lod = float(found.reshape(-1)[0]) if found.size == 1 and found.dtype.kind in "fiu" else math.nan
    highest = math.log2(resolution / 4)
    if not 0 <= lod <= highest:
        raise ValueError(f"its level of detail is {lod:g}; expected 0 to {highest:g}")
    return lod


def build(network_type: type[Network], stored: Stored, shape: Architecture) -> Network:
    """Return a network of ours with the stored weights, in evaluation mode, on the CPU.

    Args:
        network_type: Generator or Discriminator.
        stored: the weights.
        shape: of the network to build; it may know more than `stored.shape`.

    Raises:
        ValueError: the file has other layers, or arrays of other shapes, than the shape asks for.
    """
    with torch.device("meta"):  # reserves nothing, whatever widths the file names
        network = network_type(shape)
    wanted = network.state_dict()
    if missing := [name for name in wanted if name not in stored.parts]:
        raise ValueError(f"its {stored.side} lacks {missing[0]}")
    if odd := [part.origin for name, part in stored.parts.items() if name not in wanted]:
        raise ValueError(f"it has a variable {plain(odd[0])} that is not known here")
    tensors = {}
    for name, (origin, values) in stored.parts.items():
        if values.shape != tuple(wanted[name].shape):
            raise ValueError(f"{origin} becomes {name} of shape {values.shape}; expected {tuple(wanted[name].shape)}")
        layer, _, kind = name.rpartition(".")
        weight = torch.tensor(np.ascontiguousarray(values))
        if stored.scaled and kind == "weight":
            weight /= float(getattr(network.get_submodule(layer), "scale"))  # noqa: B009 (a Module has it in no type)
        tensors[name] = weight
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def plain(value: Any) -> str:
    """Return a value of the file for a message: numbers and short texts as they are, all else as its type.

    A list that holds one list many times, and that one another, would be a text without end; a text can hold what
    moves a terminal's cursor.
    """
    if isinstance(value, (bool, type(None), float)) or (isinstance(value, int) and abs(value) < 1 << 64):
        return repr(value)
    if isinstance(value, str):
        return ascii(value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "...")
    return f"a {type(value).__name__}"
