"""Images from a generator: image i of a seed is made from latent i of that seed alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pgtools.errors import InputError, OutputError
from pgtools.imaging.conventions import quantise
from pgtools.imaging.grid import tile
from pgtools.imaging.photo import encode_png
from pgtools.progan.checkpoint import Snapshot, read_snapshot
from pgtools.progan.folder import RunFolder, is_run
from pgtools.progan.generator import Generator
from pgtools.progan.layers import enlarge
from pgtools.progan.legacy import read_legacy
from pgtools.runtime.files import check_writable, written_aside
from pgtools.runtime.progress import bar
from pgtools.runtime.run_format import SNAPSHOT_SUFFIX
from pgtools.runtime.seeds import stream
from pgtools.stores.source import ImageSource

LEGACY_SUFFIX = ".pkl"
# Pixels a network makes at once: 64 images of 64², one of 512².
PIXELS_AT_ONCE = 1 << 18
WRITTEN_AT_ONCE = 64


class GeneratorSource(ImageSource):
    """The images of a generator as a source like any other: any metric takes it.

    Convention: while a run still grows, images are nearest-enlarged to the full resolution. Convolution
    libraries sum in another order for other batch sizes, so a channel may differ by 1 of 255 between batch
    sizes and devices.

    Args:
        snapshot: the generator and how far it had grown.
        name: what the source is called in results.
        count: number of images.
        seed: image i comes from stream(seed, "latents", i).
        device: where the network runs.
    """

    def __init__(
        self, snapshot: Snapshot, *, name: str, count: int, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self.name, self.resolution = name, snapshot.generator.shape.resolution
        self._generator, self._lod = snapshot.generator.to(device), snapshot.lod
        self._count, self._seed, self._device = count, seed, torch.device(device)

    def __len__(self) -> int:
        return self._count

    def read_top(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return the images, uint8 (N, 3, R, R), in the order of `indices`."""
        if any(not 0 <= i < self._count for i in indices):
            raise InputError(f"{self.name} was opened for images 0 to {self._count - 1}.")
        at_once = max(1, min(64, PIXELS_AT_ONCE // self.resolution**2))
        batches = [indices[start : start + at_once] for start in range(0, len(indices), at_once)]
        empty = np.zeros((0, 3, self.resolution, self.resolution), np.uint8)
        return np.concatenate([empty, *(self._make(batch) for batch in batches)])

    def fingerprint(self) -> str:
        """Return the SHA-256 of what determines the images: weights, level of detail, seed and count."""
        digest = hashlib.sha256(f"{self._lod} {self._seed} {self._count}".encode())
        for name, tensor in sorted(self._generator.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().numpy().tobytes())
        return digest.hexdigest()

    def known_fingerprint(self) -> str:
        """Return the fingerprint, for which no image must be made."""
        return self.fingerprint()

    def _make(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        latents = latents_of(self._seed, indices, self._generator.shape.latent).to(self._device)
        return images_of(self._generator, latents, self._lod)


def latents_of(seed: int, indices: Sequence[int], size: int) -> Tensor:
    """Return the latents of numbered images, float32 (N, size), on the CPU."""
    rows = [stream(seed, "latents", int(i)).standard_normal(size, dtype=np.float32) for i in indices]
    return torch.from_numpy(np.stack(rows))


@torch.no_grad()
def images_of(generator: Generator, latents: Tensor, lod: float) -> NDArray[np.uint8]:
    """Return uint8 images (N, 3, R, R) at full resolution; [-1, 1] becomes 0..255, rounded half-to-even."""
    images = enlarge(generator(latents, lod), generator.shape.resolution)
    pixels: NDArray[np.float32] = ((images + 1) * 127.5).float().cpu().numpy()
    return quantise(pixels)


def grid_count(resolution: int) -> int:
    """Return how many images a grid of a run shows: 64 up to 128², fewer above, 4 at least."""
    return max(2, min(8, 1024 // resolution)) ** 2


def holds_generator(path: Path) -> bool:
    """Return whether `path` is a run folder, a snapshot file or the authors' pickle."""
    return path.suffix in (SNAPSHOT_SUFFIX, LEGACY_SUFFIX) or is_run(path)


def open_generator(
    path: Path,
    *,
    count: int | None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    snapshot: int | None = None,
) -> GeneratorSource:
    """Return `count` images of a snapshot file, or of a run folder's latest (or named) snapshot.

    Raises:
        InputError: there is no snapshot, it is damaged, or no count is given.
    """
    if count is None:
        raise InputError(f"{path} holds a generator, which makes any number of images.", hint="Pass --num-images N.")
    return GeneratorSource(_read(path, snapshot), name=str(path), count=count, seed=seed, device=device)


def _read(path: Path, images: int | None) -> Snapshot:
    if path.suffix == LEGACY_SUFFIX:
        networks = read_legacy(path)
        return Snapshot(networks.average, networks.lod, images=0)
    if path.suffix == SNAPSHOT_SUFFIX:
        return read_snapshot(path)
    if path.is_file():
        known = f"a run folder, a snapshot (*{SNAPSHOT_SUFFIX}) or the authors' pickle (*{LEGACY_SUFFIX})"
        name = f"the run folder {path.parent}" if is_run(path.parent) else "one of these"
        raise InputError(f"{path} is no generator; expected {known}.", hint=f"Name {name}.")
    return read_snapshot(RunFolder(path).find_snapshot(images))


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise OutputError unless images can be written as `folder`: new, empty, or of such images.

    Raises:
        OutputError: it holds something and `overwrite` is off, or holds other files, or cannot be written.
    """
    if folder.is_dir():
        held = sorted(path.name for path in folder.iterdir())
        # Generated images count from 000000 without a gap; CelebA's own PNGs begin at 000001.
        if foreign := sorted(set(held) - {f"{i:06d}.png" for i in range(len(held))}):
            raise OutputError(
                f"{folder} holds {foreign[0]}, which is no generated image; it will not be replaced.",
                hint="Name another folder.",
            )
        overwrite = overwrite or not held
    elif folder.exists():
        raise OutputError(f"{folder} is a file; the images go into a folder.", hint="Name another folder.")
    check_writable(folder, overwrite=overwrite, what="folder")


def write_images(source: ImageSource, folder: Path) -> None:
    """Write every image as folder/000000.png, …; the folder appears whole, in place of what stood there."""
    with written_aside(folder) as aside, bar(f"Writing {folder}", len(source)) as advance:
        aside.mkdir()
        for start in range(0, len(source), WRITTEN_AT_ONCE):
            chunk = range(start, min(start + WRITTEN_AT_ONCE, len(source)))
            for i, image in zip(chunk, source.read(chunk), strict=True):
                (aside / f"{i:06d}.png").write_bytes(encode_png(np.ascontiguousarray(image.transpose(1, 2, 0))))
            advance(len(chunk))


def write_grid(source: ImageSource, file: Path) -> None:
    """Write all images into one PNG, as square as their number allows."""
    with written_aside(file) as aside:
        aside.write_bytes(encode_png(tile(source.read(range(len(source))))))
