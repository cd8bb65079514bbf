"""How fast each format is written and read beside a folder of PNGs, and how large it is; interleaved, best of several.

All files have just been written when they are read, so they come from memory: what is measured is decoding and finding,
which a faster disk does not help.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from pgtools.errors import InputError, UsageError
from pgtools.runtime.files import check_free_space, remove
from pgtools.runtime.progress import bar
from pgtools.runtime.seeds import stream
from pgtools.runtime.workers import in_threads
from pgtools.stores.formats.lmdb import LmdbStore
from pgtools.stores.jobs.bench_rates import PillowFolder, loader_rate, one_core, rate
from pgtools.stores.jobs.settings import CODECS, VerifySettings
from pgtools.stores.jobs.verify import verify
from pgtools.stores.layout import Record, hdf5_dataset
from pgtools.stores.opening import open_source
from pgtools.stores.source import ImageSource, LevelStore
from pgtools.stores.writer import Plan
from pgtools.stores.writing import Item, output, write_stores

Images = NDArray[np.uint8]
# What everything is held against: files as Pillow saves them by default, read with nothing but Pillow.
REFERENCE = "PNG folder, Pillow"
SAME_FILES = "PNG folder, pgtools"
# Format → what it is called here and how its path ends. Folders of PNGs are what they are compared with.
FORMS = {
    "lmdb": ("LMDB", ".lmdb"),
    "hdf5": ("HDF5", ".h5"),
    "tfrecord": ("TFRecord", ""),
    "zip": ("ZIP of PNGs", ".zip"),
    "webdataset": ("WebDataset", ""),
}
# Above this side decoding outweighs what worker processes save.
LOADER_UP_TO = 256
# 16 images of 1024²: larger arrays would measure how fast the system hands out memory.
BATCH_BYTES = 48 << 20


@dataclass(frozen=True)
class Protocol:
    """How it is measured.

    Attributes:
        repeats: rounds over all formats; the best counts, and the spread of the ratios is over them.
        seconds: at least this long each reading lasts; full passes only.
        batch: images a batch, for reading on all cores and for the loader; fewer where they are large (16 at 1024²).
        seed: of the random order.
    """

    repeats: int = 3
    seconds: float = 0.5
    batch: int = 64
    seed: int = 0


@dataclass(frozen=True)
class Sample:
    """One round of one format, in images per second; None where there is nothing to measure."""

    write: float | None
    one_core: float
    all_cores: float
    loader: float | None
    levels: float
    verify: float | None
    quick: float | None


@dataclass(frozen=True)
class Row:
    """What is known of one format at one side; rates are images per second, the best of the rounds.

    Attributes:
        side: of the images, in pixels.
        form: format and codec, for people.
        images: how many were written.
        write: every level, all cores, until it is flushed to disk; None where the files are another row's.
        bytes_per_image: of all that was written.
        top_bytes: an image, of the top level alone.
        one_core: one image at a time in random order at the top level, one core, one thread.
        all_cores: batches in random order, as many threads as cores.
        loader: batches through a DataLoader, one worker process a core; None for large images.
        levels: every stored level in batches, as many threads as cores: what checking has to read at least.
        verify, quick: `pgtools store verify`, and its check of checksums alone; None where there are none.
        ratio: `one_core` over that of the plain PNG folder.
        ratio_low, ratio_high: the smallest and largest ratio of a round.
    """

    side: int
    form: str
    images: int
    write: float | None
    bytes_per_image: float
    top_bytes: float
    one_core: float
    all_cores: float
    loader: float | None
    levels: float
    verify: float | None
    quick: float | None
    ratio: float
    ratio_low: float
    ratio_high: float


@dataclass(frozen=True)
class Candidate:
    """A way to keep images.

    Attributes:
        form: what it is called.
        path: where it stands.
        format: of pgtools; None for plain Pillow.
        codec: of an LMDB.
        writes: False if its files are those of the reference.
    """

    form: str
    path: Path
    format: str | None = None
    codec: str = "auto"
    writes: bool = True
    samples: list[Sample] = field(default_factory=list)


def bench_side(images: Iterable[Images], side: int, folder: Path, protocol: Protocol) -> list[Row]:
    """Measure every format that pgtools writes, at one side.

    Args:
        images: uint8 (3, side, side), all kept in memory.
        side: of them, a power of two.
        folder: where the files go, on the disk to be measured; what is written there is removed again.
        protocol: how.

    Raises:
        InputError: there are fewer than two images, or one is of another size.
        OutputError: the disk is too full.
    """
    held = list(images)
    if len(held) < 2 or any(image.shape != (3, side, side) for image in held):
        shapes = sorted({image.shape for image in held})
        raise InputError(f"{len(held)} images of shapes {shapes}; expected two or more of (3, {side}, {side}).")
    candidates = _candidates(folder)
    check_free_space(folder, sum(4 * side**2 * len(held) for one in candidates if one.writes))
    order: list[int] = stream(protocol.seed, "bench").permutation(len(held)).tolist()
    sizes: dict[str, tuple[float, float]] = {}
    try:
        with bar(f"Measuring at {side}²", protocol.repeats * len(candidates)) as advance:
            for _ in range(protocol.repeats):
                for one in candidates:
                    one.samples.append(_sample(one, held, order, protocol))
                    sizes[one.form] = _bytes_of_all(one.path) / len(held), _bytes_of_top(one, side) / len(held)
                    advance(1)
    finally:
        for one in candidates:
            remove(one.path)
    return [_row(one, candidates[0], side, len(held), *sizes[one.form]) for one in candidates]


def _candidates(folder: Path) -> list[Candidate]:
    plain = folder / "plain"
    found = [Candidate(REFERENCE, plain), Candidate(SAME_FILES, plain, "folder", writes=False)]
    for name, (title, suffix) in FORMS.items():
        for codec in CODECS if name == "lmdb" else ("",):
            path = folder / f"{name}{codec}{suffix}"
            found.append(Candidate(f"{title} {codec}".rstrip(), path, name, codec or "auto"))
    return found


def _sample(one: Candidate, images: Sequence[Images], order: list[int], protocol: Protocol) -> Sample:
    """Write, read and check one format once."""
    write = None
    if one.writes:
        remove(one.path)
        begun = time.perf_counter()
        _write(one, images)
        write = len(images) / (time.perf_counter() - begun)
    size = max(1, min(protocol.batch, BATCH_BYTES // images[0].nbytes))
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    source = PillowFolder(one.path) if one.format is None else open_source(one.path, format=one.format)
    with one_core():
        # A folder of Pillow gives one image where a source gives a batch of one.
        single = rate(source.read, [[i] for i in order] if isinstance(source, ImageSource) else order, protocol.seconds)
    batched = rate(source.read if isinstance(source, ImageSource) else source.read_many, batches, protocol.seconds)
    loader = None
    if images[0].shape[-1] <= LOADER_UP_TO:
        dataset: Dataset[Any] = source.dataset() if isinstance(source, ImageSource) else source
        loader = loader_rate(dataset, batches, protocol.seconds)
    levels = batched
    if isinstance(source, LevelStore):
        stored = tuple(source.stored_levels)
        levels = rate(
            lambda batch: [len(source.read_stored(batch, level)) for level in stored], batches, protocol.seconds
        )
    checked = [_verify_rate(one, quick, protocol.seconds) for quick in (False, True)]
    return Sample(write, single, batched, loader, levels, *checked)


def _write(one: Candidate, images: Sequence[Images]) -> None:
    """Write all images in as many threads as there are cores, and flush them to disk."""
    if one.format is not None:
        items = (Item(image, Record(f"{i:05d}.png")) for i, image in enumerate(images))
        plan = Plan(len(images), images[0].shape[-1], codec=one.codec)
        write_stores([output(one.path, one.format)], items, plan)
        return
    one.path.mkdir()

    def save(i: int) -> None:
        Image.fromarray(images[i].transpose(1, 2, 0)).save(one.path / f"{i:05d}.png")

    in_threads(save, range(len(images)))
    if hasattr(os, "sync"):
        os.sync()


def _verify_rate(one: Candidate, quick: bool, seconds: float) -> float | None:
    if one.format is None:
        return None
    settings = VerifySettings(format=one.format, quick=quick)
    try:
        images = verify(one.path, settings).images
    except UsageError:  # a format without checksums
        return None
    return images * rate(lambda path: verify(path, settings), [one.path], seconds)


def _bytes_of_all(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _bytes_of_top(one: Candidate, side: int) -> int:
    """Bytes of the top level alone; where a format stores nothing else, all of them."""
    if one.format == "lmdb":
        store = LmdbStore(one.path)
        return sum(len(store.encoded(i, side)) for i in range(len(store)))
    if one.format == "hdf5":
        with h5py.File(one.path) as file:
            return int(file[hdf5_dataset(side)].id.get_storage_size())
    tops = one.path.glob(f"*-r{side.bit_length() - 1:02d}.tfrecords")
    return sum(file.stat().st_size for file in tops) if one.format == "tfrecord" else _bytes_of_all(one.path)


def _row(one: Candidate, reference: Candidate, side: int, images: int, all_bytes: float, top_bytes: float) -> Row:
    def best(name: str) -> float | None:
        found = [getattr(sample, name) for sample in one.samples]
        return None if None in found else max(found)

    ratios = [a.one_core / b.one_core for a, b in zip(one.samples, reference.samples, strict=True)]
    fastest = max(sample.one_core for sample in one.samples)
    return Row(
        side=side,
        form=one.form,
        images=images,
        write=best("write"),
        bytes_per_image=all_bytes,
        top_bytes=top_bytes,
        one_core=fastest,
        all_cores=max(sample.all_cores for sample in one.samples),
        loader=best("loader"),
        levels=max(sample.levels for sample in one.samples),
        verify=best("verify"),
        quick=best("quick"),
        ratio=fastest / max(sample.one_core for sample in reference.samples),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
    )
