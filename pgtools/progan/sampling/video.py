"""Videos of generators: a loop through the latent space, and the same latents through a whole training.

For `pgtools generate --interpolation FILE` and `--training-progress FILE`: `settings_options(VideoSettings)` (of the
light `video_settings`) makes the options; the command passes its own `--seed` and, where given, `--columns` along as
`VideoSettings(**chosen, seed=seed, columns=columns)`, calls `check_video` before anything is made, and then
`write_interpolation(read_generator(path, which), …)` or `write_training_progress(path, …)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pgtools.imaging.grid import tile
from pgtools.progan.run.folder import RunFolder
from pgtools.progan.run.snapshot import Snapshot, read_snapshot
from pgtools.progan.sampling.conditions import Conditions, Truncation, one_hot
from pgtools.progan.sampling.encoding import check_encoder, check_size, write_video
from pgtools.progan.sampling.source import GeneratorSource, images_at_once, images_of
from pgtools.progan.sampling.video_settings import VideoSettings, check_video_name
from pgtools.progan.schedule import live_levels
from pgtools.runtime.files import check_writable
from pgtools.runtime.seeds import stream

# With fewer, the smoothing reaches around the loop and little of it moves.
FEWEST_KEYS = 4
# Keys further away than this weigh less than 1e-13 of the nearest one.
REACH = 8
# The caption's height as a share of the frame's, and its bounds in pixels.
CAPTION_SHARE, CAPTION_LOW, CAPTION_HIGH = 1 / 12, 16, 64
SMALLEST_TEXT = 6


def check_video(file: Path, settings: VideoSettings, *, overwrite: bool) -> None:
    """Raise an error now if a video could not be written to `file` later.

    Raises:
        UsageError: the name or the settings are of no video.
        InputError: what writes such a file is missing.
        OutputError: the file exists and `overwrite` is off, or cannot be written.
    """
    check_video_name(file, settings)
    check_encoder(file)
    check_writable(file, overwrite=overwrite, what="file")


def check_frames(file: Path, resolution: int, settings: VideoSettings, *, caption: bool = False) -> None:
    """Raise UsageError if the frames of a video would be larger than a video can be.

    Args:
        file: the video.
        resolution: of the generator.
        settings: rows, columns and the least side of an image.
        caption: whether a line of text stands under the images, as in a training progress.

    Raises:
        UsageError: a side would be longer than 16383 pixels.
    """
    check_size(file, *_frame_size(resolution, settings, caption=caption))


def write_interpolation(
    snapshot: Snapshot,
    file: Path,
    settings: VideoSettings,
    device: torch.device | str = "cpu",
    *,
    conditions: Conditions | None = None,
) -> None:
    """Write a closed loop through random latents: its last frame leads to its first as any frame to the next.

    Args:
        snapshot: the generator and how far it had grown; images of a lower level are enlarged (nearest).
        file: .mp4, .gif or .webp; what stands there is replaced when the video is whole.
        settings: length, frames, images in a frame, seed.
        device: where the network runs.
        conditions: classes and truncation; image i keeps the class that `pgtools generate`'s image i has.

    Raises:
        UsageError, InputError, OutputError: see `check_video`, or the network does not know the classes.

    Source: Karras et al. 2018, the supplementary video.
    """
    check_video(file, settings, overwrite=True)
    check_frames(file, snapshot.generator.shape.resolution, settings)
    (conditions or Conditions()).check(snapshot.generator.shape.labels, "The generator")
    frames = interpolation_frames(snapshot, settings, device, conditions=conditions)
    write_video(file, frames, count=settings.loop_frames, fps=settings.fps)


def write_training_progress(
    run: Path,
    file: Path,
    settings: VideoSettings,
    device: torch.device | str = "cpu",
    *,
    conditions: Conditions | None = None,
) -> None:
    """Write the same latents through every snapshot of a run; kimg and resolution stand under the images.

    Args:
        run: a folder that `pgtools train` wrote.
        file: .mp4, .gif or .webp; what stands there is replaced when the video is whole.
        settings: time a snapshot, frames, images in a frame, seed; image i is `pgtools generate`'s image i.
        device: where the network runs.
        conditions: classes and truncation.

    Raises:
        InputError: the folder holds no run or no snapshot, one is damaged, or the network does not know the classes.
        UsageError, InputError, OutputError: see `check_video`.
    """
    check_video(file, settings, overwrite=True)
    folder = RunFolder(run)
    shape = read_snapshot(folder.find_snapshot()).generator.shape
    check_frames(file, shape.resolution, settings, caption=True)
    (conditions or Conditions()).check(shape.labels, str(run))
    files = folder.snapshots()
    frames = training_frames(files, settings, device, conditions=conditions)
    write_video(file, frames, count=len(files) * settings.snapshot_frames, fps=settings.fps)


def interpolation_frames(
    snapshot: Snapshot,
    settings: VideoSettings,
    device: torch.device | str = "cpu",
    *,
    conditions: Conditions | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of an interpolation, uint8 RGB (H, W, 3)."""
    generator, asked = snapshot.generator.to(device), conditions or Conditions()
    shape, count, cells = generator.shape, settings.loop_frames, settings.images
    keys = max(FEWEST_KEYS, round(settings.seconds / settings.key_seconds))
    drawn = [key_latents(settings.seed, image, keys, shape.latent) for image in range(cells)]
    classes = asked.classes_of(range(cells), seed=settings.seed, labels=shape.labels)
    truncated = Truncation(generator, asked.truncation)
    together = max(1, images_at_once(shape.resolution) // cells)
    for start in range(0, count, together):
        weights = [loop_weights(i / count, keys) for i in range(start, min(start + together, count))]
        latents = torch.from_numpy(np.stack([row @ own for row in weights for own in drawn]).astype(np.float32))
        repeated = None if classes is None else np.tile(classes, len(weights))
        images = _images(snapshot, truncated(latents, repeated), repeated, device)
        for at in range(0, len(images), cells):
            yield _sheet(images[at : at + cells], settings)


def training_frames(
    snapshots: list[Path],
    settings: VideoSettings,
    device: torch.device | str = "cpu",
    *,
    conditions: Conditions | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a training progress, uint8 RGB (H, W, 3), from snapshot files in their order."""
    for file in snapshots:
        snapshot = read_snapshot(file)
        source = GeneratorSource(
            snapshot, name=str(file), count=settings.images, seed=settings.seed, device=device, conditions=conditions
        )
        images = source.read(range(settings.images))
        frame = captioned(_sheet(images, settings), caption_of(snapshot))
        for _ in range(settings.snapshot_frames):
            yield frame


def key_latents(seed: int, image: int, keys: int, size: int) -> NDArray[np.float64]:
    """Return the random latents that one image of an interpolation passes by, float64 (keys, size)."""
    return np.stack([stream(seed, "interpolation", image, key).standard_normal(size) for key in range(keys)])


def loop_weights(position: float, keys: int) -> NDArray[np.float64]:
    """Return each key's share of the latent at a position of the loop, float64 (keys,), the root of its squares' sum 1.

    The paper's videos smooth Gaussian noise along time by a Gaussian that goes round the loop, and bring it back to
    unit variance. Noise at every frame would give another path for another frame rate. Here it stands at `keys`
    moments, one standard deviation of the Gaussian apart: the smoothed noise then has the variance and the
    correlation in time of that with noise everywhere, exp(-t²/4) over t keys, to 2·exp(-π²) = 1e-4.

    Args:
        position: in [0, 1), the loop once round; 1 is 0 again.
        keys: random latents along the loop.
    """
    turns = math.ceil(REACH / keys) + 1
    # (2·turns + 1, keys): the distance to each key and to its images on the turns before and after.
    away = position * keys - np.arange(keys) - keys * np.arange(-turns, turns + 1)[:, None]
    weights: NDArray[np.float64] = np.exp(-0.5 * away**2).sum(axis=0)
    return weights / np.linalg.norm(weights)


def caption_of(snapshot: Snapshot) -> str:
    """Return what stands under a snapshot's images: thousands of images shown, to a tenth below 10, and the resolution.

    In letters that the font which Pillow brings has: it knows no ×.
    """
    live = live_levels(snapshot.generator.shape.resolution, snapshot.lod)
    share = f", {1 - live.weight:.0%} faded in" if live.fading else ""
    kimg = snapshot.images / 1000
    return f"{kimg:,.{0 if kimg >= 10 else 1}f} kimg    {live.upper}x{live.upper}{share}"


def captioned(frame: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """Return a frame with a line of text under it, white on black, as large as the width allows."""
    height, width = frame.shape[:2]
    strip = Image.new("RGB", (width, _caption_height(height)))
    draw = ImageDraw.Draw(strip)
    size = round(strip.height * 0.65)
    while size > SMALLEST_TEXT and draw.textlength(text, font=ImageFont.load_default(size)) > width * 0.96:
        size -= 1
    place = (width / 2, strip.height / 2)
    draw.text(place, text, fill="white", font=ImageFont.load_default(size), anchor="mm")
    return np.concatenate([frame, np.asarray(strip)])


def _images(
    snapshot: Snapshot, latents: torch.Tensor, classes: NDArray[np.int64] | None, device: torch.device | str
) -> NDArray[np.uint8]:
    """Images of any number of latents, a bounded number at once: (N, C, R, R)."""
    generator, found = snapshot.generator, []
    size = images_at_once(generator.shape.resolution)
    labels = None if classes is None else one_hot(classes, generator.shape.labels)
    for start in range(0, len(latents), size):
        some = slice(start, start + size)
        batch = None if labels is None else labels[some].to(device)
        found.append(images_of(generator, latents[some].to(device), snapshot.lod, batch))
    return np.concatenate(found)


def _sheet(images: NDArray[np.uint8], settings: VideoSettings) -> NDArray[np.uint8]:
    """(N, C, R, R) -> (H, W, 3), every pixel repeated until the images are large enough to look at."""
    times = _times(images.shape[-1], settings)
    return tile(images, settings.columns).repeat(times, axis=0).repeat(times, axis=1)


def _times(resolution: int, settings: VideoSettings) -> int:
    return math.ceil(settings.least_side / resolution)


def _frame_size(resolution: int, settings: VideoSettings, *, caption: bool = False) -> tuple[int, int]:
    side = resolution * _times(resolution, settings)
    height = settings.rows * side
    return settings.columns * side, height + (_caption_height(height) if caption else 0)


def _caption_height(height: int) -> int:
    """An even number of pixels, since H.264 asks for even sides."""
    return 2 * round(min(max(height * CAPTION_SHARE, CAPTION_LOW), CAPTION_HIGH) / 2)
