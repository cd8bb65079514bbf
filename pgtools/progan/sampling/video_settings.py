"""What can be chosen of a video; light, since `pgtools generate --help` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pgtools.errors import UsageError
from pgtools.runtime.settings import Settings, setting

# Each way to write a video, and the most frames a second that its players show as asked.
MOST_FPS = {".mp4": 120, ".gif": 50, ".webp": 120}


@dataclass(frozen=True)
class VideoSettings(Settings):
    """How `pgtools generate` makes videos; what other options of the command say too is no option of its own here."""

    seconds: float = setting(20.0, help="Length of an --interpolation.", low=0.1, high=3600, unit="seconds")
    key_seconds: float = setting(
        1.0, help="Time from one random latent of an --interpolation to the next.", low=0.05, high=600, unit="seconds"
    )
    snapshot_seconds: float = setting(
        0.5, help="How long a --training-progress shows each snapshot.", low=0.01, high=60, unit="seconds"
    )
    fps: int = setting(30, help="Frames a second of a video; 50 at most in a GIF.", low=1, high=120)
    rows: int = setting(2, help="Rows of images in a video.", low=1, high=64)
    least_side: int = setting(
        128, help="Enlarge images in a video (nearest) to this side at least.", low=1, high=4096, unit="pixels"
    )
    columns: int = setting(3, help="Images in a row of a video.", low=1, high=64, hidden=True)
    seed: int = setting(0, help="Names the latents.", low=0, hidden=True)

    @property
    def images(self) -> int:
        """Images in a frame."""
        return self.columns * self.rows

    @property
    def loop_frames(self) -> int:
        """Frames of an interpolation."""
        return max(1, round(self.seconds * self.fps))

    @property
    def snapshot_frames(self) -> int:
        """Frames that a training progress shows each snapshot for."""
        return max(1, round(self.snapshot_seconds * self.fps))


def check_video_name(file: Path, settings: VideoSettings) -> None:
    """Raise UsageError unless the file's suffix names a way to write videos that can show so many frames a second.

    Raises:
        UsageError: it is none of .mp4, .gif and .webp, or a GIF of more than 50 frames a second, which browsers
            would show at 10.
    """
    suffix = file.suffix.lower()
    if suffix not in MOST_FPS:
        raise UsageError(f"{file} is no name of a video.", hint=f"Name a file that ends in {', '.join(MOST_FPS)}.")
    if settings.fps > MOST_FPS[suffix]:
        raise UsageError(f"--fps is {settings.fps}; a {suffix[1:].upper()} shows {MOST_FPS[suffix]} at most.")
