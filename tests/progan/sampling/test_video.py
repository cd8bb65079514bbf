"""Videos: the path through the latents, what each frame shows, and what decoders make of the files."""

from __future__ import annotations

import dataclasses
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter1d

from pgtools.errors import InputError, OutputError, UsageError
from pgtools.progan.config import Architecture
from pgtools.progan.generator import Generator
from pgtools.progan.run.snapshot import Snapshot, write_snapshot
from pgtools.progan.sampling import encoding
from pgtools.progan.sampling.conditions import Conditions
from pgtools.progan.sampling.source import images_of, latents_of
from pgtools.progan.sampling.video import (
    caption_of,
    captioned,
    check_video,
    interpolation_frames,
    key_latents,
    loop_weights,
    training_frames,
    write_interpolation,
    write_training_progress,
)
from pgtools.progan.sampling.video_settings import VideoSettings

SHAPE = Architecture(16, latent=8, fmap_base=64, fmap_max=8)
SNAPSHOT = Snapshot(Generator(SHAPE, seed=1).eval().requires_grad_(False), 0.0, 27_000)
SMALL = VideoSettings(seconds=1.0, fps=24, columns=2, rows=1, least_side=48, key_seconds=0.25)


def smooth_frames(count: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    """Colours that change slowly over place and time, so that a codec's error on them is its own and small."""
    y, x = np.mgrid[:height, :width] / max(height, width)
    return [
        np.stack([255 * x, 255 * y, np.full_like(x, 40 + 150 * i / count)], axis=2).astype(np.uint8)
        for i in range(count)
    ]


def from_bt709(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of Y'CbCr (3, H, W) by the definition; PyAV's older versions take any video for BT.601."""
    y, blue, red = planes.astype(float) - np.array([16, 128, 128])[:, None, None]
    y, blue, red = y * 255 / 219, blue * 255 / 224 * 1.8556, red * 255 / 224 * 1.5748
    green = -(0.0722 * blue + 0.2126 * red) / 0.7152
    return np.clip(np.rint(np.stack([y + red, y + green, y + blue], axis=2)), 0, 255).astype(np.uint8)


def decode(file: Path) -> tuple[list[NDArray[np.uint8]], list[float]]:
    """The frames of a video and how many seconds each stays, by another reader than what wrote it."""
    if file.suffix == ".mp4":
        import av

        with av.open(str(file)) as container:
            found = list(container.decode(video=0))
            seconds = [float(1 / container.streams.video[0].average_rate)] * len(found)
            return [from_bt709(frame.reformat(format="yuv444p").to_ndarray()) for frame in found], seconds
    frames, times = [], []
    with Image.open(file) as image:
        for i in range(image.n_frames):
            image.seek(i)
            image.load()
            times.append(image.info["duration"] / 1000)
            frames.append(np.asarray(image.convert("RGB")))
    return frames, times


def test_the_loop_is_smoothed_noise_of_unit_variance() -> None:
    """The twin smooths white noise at every frame, as the paper's videos do, and is compared in its correlation."""
    keys, frames = 12, 240
    weights = np.stack([loop_weights(i / frames, keys) for i in range(frames)])
    np.testing.assert_allclose((weights**2).sum(axis=1), 1)
    impulse = gaussian_filter1d(np.eye(frames), frames / keys, axis=0, mode="wrap", truncate=8)
    twin = impulse @ impulse.T
    np.testing.assert_allclose(weights @ weights.T, twin / twin[0, 0], atol=3e-4)
    np.testing.assert_allclose((weights @ weights.T)[0, 20], np.exp(-0.25), atol=1e-3)  # one key further


def test_a_latent_depends_on_seed_image_and_position_alone() -> None:
    np.testing.assert_array_equal(loop_weights(0.0, 5), loop_weights(1.0, 5))
    np.testing.assert_array_equal(key_latents(3, 1, 4, 8), key_latents(3, 1, 9, 8)[:4])
    assert not np.array_equal(key_latents(3, 1, 4, 8), key_latents(4, 1, 4, 8))
    assert not np.array_equal(key_latents(3, 1, 4, 8), key_latents(3, 2, 4, 8))
    slow = list(interpolation_frames(SNAPSHOT, dataclasses.replace(SMALL, fps=12)))
    fast = list(interpolation_frames(SNAPSHOT, SMALL))
    wide = list(interpolation_frames(SNAPSHOT, dataclasses.replace(SMALL, columns=3)))
    for there, here, larger in zip(slow, fast[::2], wide[::2], strict=True):
        assert np.abs(there.astype(int) - here).max() <= 1  # other batches sum in another order
        assert np.abs(larger[:, : here.shape[1]].astype(int) - here).max() <= 1


def test_the_loop_moves_evenly_and_closes() -> None:
    frames = [frame.astype(int) for frame in interpolation_frames(SNAPSHOT, SMALL)]
    assert len(frames) == 24
    assert frames[0].shape == (48, 96, 3)
    steps = [np.abs(frames[i] - frames[i - 1]).mean() for i in range(24)]  # the first from the last
    assert steps[0] < 1.5 * max(steps[1:])
    assert min(steps) > 0
    assert np.abs(frames[0] - frames[12]).mean() > 2 * max(steps)


def test_growing_images_are_repeated_pixels() -> None:
    (frame,) = interpolation_frames(
        dataclasses.replace(SNAPSHOT, lod=1.0), dataclasses.replace(SMALL, seconds=0.1, fps=10)
    )
    blocks = frame.reshape(8, 6, 16, 6, 3)  # 8² images of 6 × 6 times their pixels
    assert np.array_equal(blocks, np.broadcast_to(blocks[:, :1, :, :1], blocks.shape))


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_decoders_find_the_frames_again(tmp_path: Path, suffix: str) -> None:
    file, wanted = tmp_path / f"a{suffix}", smooth_frames(12, 64, 96)
    encoding.write_video(file, iter(wanted), count=12, fps=30)
    found, seconds = decode(file)
    assert len(found) == 12
    assert sum(seconds) == pytest.approx(0.4, abs=1e-9)
    for frame, truth in zip(found, wanted, strict=True):
        assert frame.shape == truth.shape
        assert np.abs(frame.astype(int) - truth).mean() < 3
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_colours_are_those_of_the_frames(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Almost without loss: at the quality that is shipped, x264 rounds colours that hardly change by up to 3 levels,
    # and not always the same way.
    monkeypatch.setattr(encoding, "CRF", 1)
    file, wanted = tmp_path / f"a{suffix}", smooth_frames(12, 64, 96)
    encoding.write_video(file, iter(wanted), count=12, fps=30)
    for frame, truth in zip(decode(file)[0], wanted, strict=True):
        np.testing.assert_allclose(frame.mean(axis=(0, 1)), truth.mean(axis=(0, 1)), atol=2)


def test_an_mp4_is_what_browsers_play(tmp_path: Path) -> None:
    import av

    file = tmp_path / "a.mp4"
    encoding.write_video(file, iter(smooth_frames(5, 33, 47)), count=5, fps=25)  # odd sides
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.name, context.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 25)
        assert (context.width, context.height, context.colorspace) == (48, 34, 1)  # 1 is BT.709
    data = file.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_a_picture_that_stays_is_written_once(tmp_path: Path, suffix: str) -> None:
    file, (first, second) = tmp_path / f"a{suffix}", smooth_frames(2, 32, 32)
    encoding.write_video(file, iter([first] * 10 + [second] * 5), count=15, fps=10)
    found, seconds = decode(file)
    assert (len(found), seconds) == (2, [1.0, 0.5])
    with Image.open(file) as image:
        assert image.info["loop"] == 0  # for ever


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_few_frames_are_in_memory_at_once(tmp_path: Path, suffix: str) -> None:
    """Pillow's own animations would keep all of them until the last one is there."""
    given: list[weakref.ref[NDArray[np.uint8]]] = []
    most = 0

    def watched() -> Iterator[NDArray[np.uint8]]:
        nonlocal most
        for i in range(12):
            most = max(most, sum(frame() is not None for frame in given))
            frame = np.full((32, 32, 3), 10 * i, np.uint8)
            given.append(weakref.ref(frame))
            yield frame

    encoding.write_video(tmp_path / f"a{suffix}", watched(), count=12, fps=10)
    assert len(given) == 12
    assert most <= 3


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp"])
def test_an_interrupt_leaves_what_was_there(tmp_path: Path, suffix: str) -> None:
    def stopped() -> Iterator[NDArray[np.uint8]]:
        yield from smooth_frames(3, 32, 32)
        raise KeyboardInterrupt

    file = tmp_path / f"a{suffix}"
    file.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt):
        encoding.write_video(file, stopped(), count=9, fps=10)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_bytes() == b"before"


def test_an_interpolation_as_a_file(tmp_path: Path) -> None:
    file = tmp_path / "a.webp"
    write_interpolation(SNAPSHOT, file, SMALL)
    found, _ = decode(file)
    wanted = list(interpolation_frames(SNAPSHOT, SMALL))
    assert len(found) == 24
    distances = [np.abs(found[7].astype(int) - frame).mean() for frame in wanted]
    assert np.argmin(distances) == 7


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Snapshots of a run at 4², between 8² and 16², and at 16², and nothing else."""
    monkeypatch.setattr("pgtools.progan.run.folder.RunFolder.read_config", lambda folder: {})
    folder = tmp_path / "run"
    (folder / "snapshots").mkdir(parents=True)
    for images, lod in ((1000, 2.0), (2000, 0.25), (3_000_000, 0.0)):
        snapshot = dataclasses.replace(SNAPSHOT, lod=lod, images=images)
        write_snapshot(folder / "snapshots" / f"{images:09d}.safetensors", snapshot)
    return folder


def test_training_progress_shows_the_same_latents_growing(run: Path, tmp_path: Path) -> None:
    settings = VideoSettings(fps=10, snapshot_seconds=0.3, columns=2, rows=2, least_side=64, seed=5)
    file = tmp_path / "a.mp4"
    write_training_progress(run, file, settings)
    found, _ = decode(file)
    assert len(found) == 9
    latents = latents_of(5, range(4), 8)
    for start, lod in ((0, 2.0), (3, 0.25), (6, 0.0)):
        made = images_of(SNAPSHOT.generator, latents, lod)
        last = made[3].transpose(1, 2, 0).repeat(4, axis=0).repeat(4, axis=1)
        np.testing.assert_allclose(found[start + 1][64:128, 64:].mean(axis=(0, 1)), last.mean(axis=(0, 1)), atol=6)
    frames = list(training_frames(sorted((run / "snapshots").iterdir()), settings))
    assert found[0].shape == frames[0].shape == (128 + 16, 128, 3)
    np.testing.assert_array_equal(frames[0], frames[2])
    assert not np.array_equal(frames[3][128:], frames[6][128:])  # the captions


def test_captions_tell_kimg_and_resolution() -> None:
    texts = [
        caption_of(dataclasses.replace(SNAPSHOT, lod=lod, images=images))
        for lod, images in ((2.0, 900), (0.25, 2449), (0.0, 10_000), (0.0, 3_000_000))
    ]
    assert texts == [
        *("0.9 kimg    4x4", "2.4 kimg    16x16, 75% faded in", "10 kimg    16x16", "3,000 kimg    16x16"),
    ]


@pytest.mark.parametrize("width", [144, 256, 600])
def test_a_caption_fits_under_its_frame(width: int) -> None:
    frame = np.full((width, width, 3), 7, np.uint8)
    found = captioned(frame, "12,000 kimg    1024x1024, 50% faded in")
    np.testing.assert_array_equal(found[:width], frame)
    strip = found[width:]
    assert strip.shape[0] % 2 == 0
    assert strip.max() > 200
    assert strip[:, 0].max() == strip[:, -1].max() == 0  # it does not run over the sides
    assert strip[0].max() == strip[-1].max() == 0


def test_faults_are_told_before_a_frame_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no name of a video"):
        check_video(tmp_path / "a.avi", SMALL, overwrite=False)
    with pytest.raises(UsageError, match="a GIF shows 50 at most"):
        check_video(tmp_path / "a.gif", VideoSettings(fps=60), overwrite=False)
    with pytest.raises(UsageError, match="131072×4096 pixels; expected 16383"):
        write_interpolation(SNAPSHOT, tmp_path / "a.gif", VideoSettings(columns=64, least_side=2048))
    (tmp_path / "b.gif").touch()
    with pytest.raises(OutputError, match="already exists"):
        check_video(tmp_path / "b.gif", SMALL, overwrite=False)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="needs the package av") as caught:
        write_interpolation(SNAPSHOT, tmp_path / "a.mp4", SMALL)
    assert 'pip install "pgtools[video]"' in caught.value.hint
    monkeypatch.setattr(encoding.features, "check", lambda name: False)
    with pytest.raises(InputError, match="built without"):
        check_video(tmp_path / "a.webp", SMALL, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["b.gif"]


def test_a_folder_without_a_run_has_no_progress(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        write_training_progress(tmp_path, tmp_path / "a.gif", SMALL)


def test_classes_stay_with_their_images(tmp_path: Path) -> None:
    shape = dataclasses.replace(SHAPE, labels=3)
    known = Snapshot(Generator(shape, seed=1).eval().requires_grad_(False), 0.0, 0)
    drawn = next(interpolation_frames(known, SMALL))
    assert not np.array_equal(drawn, next(interpolation_frames(known, SMALL, conditions=Conditions(classes=(0, 1)))))
    numbers = Conditions().classes_of(range(2), seed=0, labels=3)
    assert numbers is not None
    again = next(interpolation_frames(known, SMALL, conditions=Conditions(classes=tuple(numbers.tolist()))))
    np.testing.assert_array_equal(drawn, again)
    with pytest.raises(InputError, match="knows no classes"):
        write_interpolation(SNAPSHOT, tmp_path / "a.gif", SMALL, conditions=Conditions(classes=(0,)))


def test_truncation_lets_a_loop_vary_less() -> None:
    whole, less = (
        np.stack(list(interpolation_frames(SNAPSHOT, SMALL, conditions=Conditions(truncation=share))))
        .std(axis=0)
        .mean()
        for share in (1.0, 0.3)
    )
    assert less < 0.9 * whole


def test_grey_images_become_grey_frames() -> None:
    shape = dataclasses.replace(SHAPE, channels=1)
    grey = Snapshot(Generator(shape, seed=1).eval().requires_grad_(False), 0.0, 0)
    frame = next(interpolation_frames(grey, SMALL))
    assert frame.shape == (48, 96, 3)
    assert np.array_equal(frame[..., 0], frame[..., 2])


@pytest.mark.gpu
def test_a_gpu_makes_the_same_video() -> None:
    here = list(interpolation_frames(SNAPSHOT, SMALL))
    copied = dataclasses.replace(SNAPSHOT, generator=Generator(SHAPE, seed=1).eval().requires_grad_(False))
    there = list(interpolation_frames(copied, SMALL, torch.device("cuda")))
    for first, second in zip(here, there, strict=True):
        assert np.abs(first.astype(int) - second).max() <= 1
