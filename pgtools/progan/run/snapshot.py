"""Networks to look at: snapshots of the averaged generator, and files of all three networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.run.tensors import CHECKPOINT, KINDS, NETWORKS, SNAPSHOT, Header, TensorFile, joined, opened, save
from pgtools.runtime.files import written_aside

Network = TypeVar("Network", Generator, Discriminator)


@dataclass(frozen=True)
class Snapshot:
    """A generator as it was at one moment of training.

    Attributes:
        generator: the averaged generator, in evaluation mode, on the CPU.
        lod: level of detail it had grown to.
        images: real images shown until then.
    """

    generator: Generator
    lod: float
    images: int


@dataclass(frozen=True)
class TrainedNetworks:
    """The three networks of one moment of training, in evaluation mode, on the CPU.

    Attributes:
        generator: as it was trained.
        discriminator: its opponent, of the same architecture.
        average: the generator's running average, which is shown and scored.
        lod: level of detail they had grown to.
        images: real images shown until then; 0 where that is not known.
    """

    generator: Generator
    discriminator: Discriminator
    average: Generator
    lod: float
    images: int


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write a generator with all that is needed to build it again.

    Raises:
        OutputError: the disk does not take it.
    """
    header = Header(SNAPSHOT, snapshot.generator.shape, snapshot.lod, snapshot.images)
    with written_aside(path) as aside:
        save(aside, snapshot.generator.state_dict(), header)


def read_snapshot(path: Path) -> Snapshot:
    """Return the averaged generator in a snapshot, a file of networks or a checkpoint.

    Raises:
        InputError: the file is damaged, foreign, or of another version.
    """
    with opened(path, SNAPSHOT, NETWORKS, CHECKPOINT) as file:
        prefix = "" if file.header.format == SNAPSHOT else "average/"
        file.check(prefix, file.expected("average"))  # before a network of that size is built
        average = _filled(Generator(file.header.architecture), file, prefix)
        return Snapshot(average, file.header.lod, file.header.images)


def write_networks(path: Path, networks: TrainedNetworks) -> None:
    """Write the three networks, laid out as in a checkpoint; there is no optimizer to go on with.

    Raises:
        OutputError: the disk does not take them.
    """
    header = Header(NETWORKS, networks.generator.shape, networks.lod, networks.images)
    with written_aside(path) as aside:
        save(aside, joined({kind: getattr(networks, kind).state_dict() for kind in KINDS}), header)


def read_networks(path: Path) -> TrainedNetworks:
    """Return the three networks in a file of networks or a checkpoint.

    Raises:
        InputError: the file is damaged, foreign, of another version, or a snapshot, which has one network only.
    """
    with opened(path, NETWORKS, CHECKPOINT) as file:
        for kind in KINDS:
            file.check(f"{kind}/", file.expected(kind))  # before networks of that size are built
        shape = file.header.architecture
        return TrainedNetworks(
            _filled(Generator(shape), file, "generator/"),
            _filled(Discriminator(shape), file, "discriminator/"),
            _filled(Generator(shape), file, "average/"),
            file.header.lod,
            file.header.images,
        )


def _filled(network: Network, file: TensorFile, prefix: str) -> Network:
    """Return a network with the weights under a prefix, to be used and no longer trained."""
    network.load_state_dict(file.read(prefix))
    return network.eval().requires_grad_(False)
