"""The authors' saved networks, read without running anything from the file.

A snapshot of theirs is a pickle of (G, D, Gs), or what somebody kept of it: one generator. `runtime.pickles` reads it
with a closed list of names, in which both trainers' class stands for one that only keeps its state.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.karras.first import stored_by_first
from pgtools.progan.karras.released import stored_by_released
from pgtools.progan.karras.stored import Stored, build, plain
from pgtools.progan.run.snapshot import Snapshot, TrainedNetworks
from pgtools.runtime.pickles import read_pickle

Form = Literal["TensorFlow", "Theano"]
SIDES = ("generator", "discriminator", "generator")
# What both networks of a run share; the rest of a shape is one network's own.
COMMON = ("resolution", "labels", "channels", "equalized")


class SavedNetwork:
    """Stands in for the Network classes of both trainers and keeps the state."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


KNOWN: dict[str, type] = {"tfutil.Network": SavedNetwork, "network.Network": SavedNetwork}


@dataclass(frozen=True)
class KarrasNetworks:
    """The networks of a pickle, in evaluation mode, on the CPU.

    Attributes:
        generator, discriminator: None where the file holds one generator alone.
        average: the averaged generator, or the one that is there.
        lod: level of detail it had grown to.
        form: of the trainer that wrote the file, the released one's or the first one's.
        names: what the file calls its networks, printable.
    """

    generator: Generator | None
    discriminator: Discriminator | None
    average: Generator
    lod: float
    form: Form
    names: tuple[str, ...]

    @property
    def scaling(self) -> Literal["fused", "plain"]:
        """How the discriminator scales: fused pools before bias and activation, plain after them."""
        return "fused" if self.average.shape.fused_scale else "plain"

    @property
    def trained(self) -> TrainedNetworks | None:
        """The three networks, to train on from; None where there is one generator alone.

        How many images they were shown is not in the file.
        """
        if self.generator is None or self.discriminator is None:
            return None
        return TrainedNetworks(self.generator, self.discriminator, self.average, self.lod, images=0)


def read_karras(path: Path) -> KarrasNetworks:
    """Return all networks of a pickle that one of the authors' trainers saved.

    Raises:
        InputError: the file cannot be read, is no such pickle, asks for anything but numbers and containers, or
            holds networks that differ in more than the two sides of a run do.
    """
    with _faults_named(path):
        found, form = _stored(path)
        names = tuple(one.name for one in found)
        shape = _joint_shape(found)
        average = build(Generator, found[-1], shape)
        if len(found) == 1:
            return KarrasNetworks(None, None, average, found[0].lod, form, names)
        generator, discriminator = build(Generator, found[0], shape), build(Discriminator, found[1], shape)
    return KarrasNetworks(generator, discriminator, average, found[-1].lod, form, names)


def read_trained(path: Path) -> TrainedNetworks:
    """Return the three networks of a pickle, to train on from.

    Raises:
        InputError: as `read_karras`, or the file holds one generator alone.
    """
    if (networks := read_karras(path).trained) is None:
        raise InputError(
            f"{path} holds one generator alone; to train on, its discriminator and its average are needed too.",
            hint="Name a pickle of (G, D, Gs).",
        )
    return networks


def read_average(path: Path) -> Snapshot:
    """Return the averaged generator alone, whatever its discriminator is; the number of images is not in the file.

    Raises:
        InputError: as `read_karras`.
    """
    with _faults_named(path):
        one = _stored(path, average_only=True)[0][0]
        return Snapshot(build(Generator, one, one.shape), one.lod, images=0)


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    try:
        yield
    # A file of strangers has a wrong thing in any place.
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} holds networks of another kind ({reason}).") from None


def _stored(path: Path, *, average_only: bool = False) -> tuple[list[Stored], Form]:
    found = read_pickle(path, what="snapshot of the authors'", known=KNOWN)
    states = [_state(network, path) for network in _networks(found, path)]
    forms: set[Form] = {"TensorFlow" if "version" in state else "Theano" for state in states}
    if len(forms) > 1:
        raise ValueError("they come from two different trainers")
    form, size = forms.pop(), path.stat().st_size
    chosen = states[-1:] if average_only else states
    of_form = stored_by_released if form == "TensorFlow" else stored_by_first
    networks = [of_form(state, size) for state in chosen]
    expected = ("generator",) if len(networks) == 1 else SIDES
    if (sides := tuple(network.side for network in networks)) != expected:
        raise ValueError(f"{', '.join(sides)} in the place of {', '.join(expected)}")
    return networks, form


def _networks(found: Any, path: Path) -> list[Any] | tuple[Any, ...]:
    if isinstance(found, SavedNetwork):
        return [found]
    if not isinstance(found, (tuple, list)) or len(found) != 3:
        raise InputError(
            f"{path} holds {plain(found)}; expected the three networks (G, D, Gs), or one generator alone."
        )
    return found


def _state(network: Any, path: Path) -> dict[str, Any]:
    state = network.state if isinstance(network, SavedNetwork) else None
    if not isinstance(state, dict) or not {"version", "build_func_spec"} & set(state):
        raise InputError(f"{path} holds an object that is not one of the authors' networks.")
    return state


def _joint_shape(found: list[Stored]) -> Architecture:
    """One shape for all networks: the discriminator knows nothing of latents, the generators nothing of its scaling."""
    shape = found[-1].shape
    for one in found[:-1]:
        for field in COMMON:
            if getattr(one.shape, field) != getattr(shape, field):
                raise ValueError(
                    f"{field} is {getattr(one.shape, field)} in one and {getattr(shape, field)} in another"
                )
        if any(one.shape.fmap(stage) != shape.fmap(stage) for stage in range(shape.resolution.bit_length() - 1)):
            raise ValueError("their widths differ, so that they are not of one run")
    if len(found) == 1:
        return shape
    judge = found[1].shape
    return replace(shape, fused_scale=judge.fused_scale, stddev_group=judge.stddev_group)
