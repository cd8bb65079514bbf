"""How fast the whole build is: photos in, a store with every level out; and how busy it keeps a network's device."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pgtools.celebahq.bench import PLAIN, Row, Shot, timed
from pgtools.celebahq.build import build
from pgtools.celebahq.cropping.released import released_crop
from pgtools.celebahq.input.annotations import read_landmarks
from pgtools.celebahq.input.photos import find_photos
from pgtools.celebahq.process import Passage, Pixels, Steps, process_together
from pgtools.celebahq.settings import BuildSettings
from pgtools.errors import InputError
from pgtools.imaging.photo import decode
from pgtools.runtime.workers import cpu_count, in_threads
from pgtools.stores.layout import Record
from pgtools.stores.writer import Plan
from pgtools.stores.writing import Item, store_outputs, write_stores

if TYPE_CHECKING:  # networks import torch
    from pgtools.restoration.network import ImageNetwork

# Photos that a network gets together, as in a build.
TOGETHER = 8


def shots_of(root: Path, count: int | None) -> list[Shot]:
    """Return the first `count` photos (all, if None) of a folder in CelebA's layout that its annotation names.

    Raises:
        InputError: the folder holds no photos, or no annotation that names one of them.
    """
    photos = find_photos(root)
    if photos.annotation is None:
        raise InputError(f"{root} has no CelebA landmark file.", hint="`pgtools demo` writes such folders.")
    known = read_landmarks(photos.annotation)
    named = [name for name in photos.names if name in known][:count]
    if not named:
        raise InputError(f"{photos.annotation} names none of the {len(photos.names)} photos in {root}.")
    return [Shot(photos.files[name].read(), known[name]) for name in named]


def bench_whole(root: Path, shots: Sequence[Shot], scratch: Path, *, resolution: int, repeats: int) -> list[Row]:
    """Return the speed of the build with one worker and with one a core, and of the plain route; no networks.

    Args:
        root: the folder that the shots are from; it holds no more than them.
        shots: see `shots_of`.
        scratch: folder for the stores, which are removed.
        resolution: side of the crops.
        repeats: rounds, after one that is not counted.
    """
    settings = BuildSettings(
        resolution=resolution, restore="none", superres="lanczos", landmarks="celeba", limit=len(shots)
    )
    ways: dict[str, Any] = {
        f"{workers} worker{'s' * (workers > 1)}": partial(_build, root, scratch, replace(settings, workers=workers))
        for workers in dict.fromkeys((1, cpu_count()))
    }
    return timed("whole", {**ways, PLAIN: partial(_plain_build, shots, scratch, resolution)}, len(shots), repeats)


def bench_network(shots: Sequence[Shot], network: ImageNetwork, *, resolution: int, repeats: int) -> Row:
    """Return the speed of decoding, super-resolution by a network, crop and score, in threads, one a core.

    One thread uses the network at a time while the others decode and crop, as in a build.

    Returns:
        The best round; on CUDA `busy` is the share of its time in which the card had work of the network's, by CUDA's
        own clock.
    """
    watched = _Watched(network)
    steps = Steps(resolution, superres=cast("ImageNetwork", watched))
    chunks = [shots[i : i + TOGETHER] for i in range(0, len(shots), TOGETHER)]
    turn, best = threading.Lock(), (float("inf"), 0.0)
    for counted in [False, *[True] * repeats]:
        watched.begin()
        begun = time.perf_counter()
        in_threads(partial(_through, steps, turn), chunks)
        seconds = time.perf_counter() - begun
        if counted:
            best = min(best, (seconds, watched.busy_seconds()))
    way = f"{network.weights.stem}, {network.precision}"
    busy = best[1] / best[0] if watched.on_cuda else None
    return Row("network, crop, score", way, len(shots), len(shots) / best[0], busy=busy)


class _Watched:
    """A network whose time on its card is taken."""

    def __init__(self, network: ImageNetwork) -> None:
        from pgtools.runtime.device import resolve_device

        self.network, self.scale = network, network.scale
        self.on_cuda = resolve_device(network.device).type == "cuda"
        self.spans: list[tuple[Any, Any]] = []

    def begin(self) -> None:
        """Forget what was."""
        self.spans = []

    def restore_many(self, images: Sequence[Pixels]) -> list[Pixels]:
        """Return what the network makes of the images."""
        if not self.on_cuda:
            return self.network.restore_many(images)
        import torch

        event = partial(torch.cuda.Event, enable_timing=True)
        start, end = event(), event()
        start.record()
        results = self.network.restore_many(images)
        end.record()
        self.spans.append((start, end))
        return results

    def busy_seconds(self) -> float:
        """Return the sum over the calls since `begin`; 0 where there is no card."""
        if self.spans:
            self.spans[-1][1].synchronize()
        return sum(float(start.elapsed_time(end)) for start, end in self.spans) / 1000


def _through(steps: Steps, turn: threading.Lock, shots: Sequence[Shot]) -> None:
    passages = [Passage(decode(shot.data, where="a photo", upright=False), shot.landmarks) for shot in shots]
    process_together(passages, steps, turn=turn)
    for passage in passages:
        if passage.error is not None:
            raise passage.error


def _build(root: Path, scratch: Path, settings: BuildSettings) -> None:
    build(root, [scratch / "build.lmdb"], settings, overwrite=True)


def _plain_build(shots: Sequence[Shot], scratch: Path, resolution: int) -> None:
    """The plain route and the same store: one photo after another, no scores."""
    plan = Plan(len(shots), resolution)
    write_stores(store_outputs([scratch / "plain.lmdb"]), _plain_items(shots, resolution), plan)


def _plain_items(shots: Sequence[Shot], resolution: int) -> Iterator[Item]:
    for place, shot in enumerate(shots):
        photo = decode(shot.data, where="a photo", upright=False)
        image = released_crop(photo, shot.landmarks, resolution=resolution)
        yield Item(np.ascontiguousarray(image.transpose(2, 0, 1)), Record(f"{place:06d}"))
