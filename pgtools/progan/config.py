"""Every choice of a training run: default, range, unit and help; named sets of them are in presets.toml.

The defaults are the `compact` preset, so that help shows what happens when nothing is said.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgtools.errors import UsageError
from pgtools.runtime.settings import Settings, setting

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PRESETS = Path(__file__).with_name("presets.toml")
DEFAULT_PRESET = "compact"
# With fewer feature maps at the top level than this, nothing but blur comes out after hours.
LEAST_WIDTH = 8


@dataclass(frozen=True)
class Architecture:
    """The shape of both networks; a level is named by its side in pixels.

    Attributes:
        resolution: side of the final images, a power of two from 4 up.
        latent: number of Gaussian numbers an image is made from.
        labels: number of classes, 0 for none.
        channels: colours of an image.
        fmap_base, fmap_decay, fmap_max: feature maps at a stage, see `fmap`.
        fused_scale: scale and convolve in one strided convolution. Equal numbers in the generator; in the
            discriminator it pools before bias and activation, and so is another network.
        stddev_group: images compared by the minibatch standard deviation.
    """

    resolution: int
    latent: int = 512
    labels: int = 0
    channels: int = 3
    fmap_base: int = 8192
    fmap_decay: float = 1.0
    fmap_max: int = 512
    fused_scale: bool = True
    stddev_group: int = 4

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels from 4 up to `resolution`."""
        return tuple(2**i for i in range(2, self.resolution.bit_length()))

    def fmap(self, stage: int) -> int:
        """Return min(fmap_base / 2^(stage·decay), fmap_max): level 2^r works at stages r − 1 and r − 2."""
        return max(1, min(int(self.fmap_base / 2.0 ** (stage * self.fmap_decay)), self.fmap_max))

    def width(self, level: int) -> int:
        """Return the feature maps at a level: fmap(log2(level) − 1)."""
        return self.fmap(level.bit_length() - 2)


@dataclass(frozen=True)
class TrainSettings(Settings):
    """How `pgtools train` trains. Tables "4:32,64:16" give a value from each resolution on."""

    latent: int = setting(64, help="Gaussian numbers an image is made from.", low=1, high=65536)
    fmap_base: int = setting(
        256, help="Feature maps at a stage: base / 2^stage, at most --fmap-max.", low=2, high=1 << 20
    )
    fmap_decay: float = setting(1.0, help="Exponent on 2^stage.", low=0, high=4, hidden=True)
    fmap_max: int = setting(64, help="Most feature maps at any stage.", low=1, high=8192)
    fused_scale: bool = setting(True, help="Scale and convolve at once, as the authors' released trainer does.")
    stddev_group: int = setting(4, help="Images compared by the minibatch standard deviation.", low=1, high=1024)

    stable_kimg: float = setting(3.0, help="Length of the phase at each resolution.", low=0, unit="kimg")
    fade_kimg: float = setting(3.0, help="Length of each fade-in of a higher resolution.", low=0, unit="kimg")
    total_kimg: float | None = setting(
        None,
        help="Real images shown in all, in thousands; by default growth and three more phases.",
        low=0.001,
    )
    minibatch: str = setting("4:8", help="Images a step, from each resolution on.")
    minibatch_repeats: int = setting(4, help="Minibatches between two looks at the schedule.", low=1, high=1024)

    learning_rate: float = setting(0.005, help="Adam's step.", low=0, high=1)
    learning_rate_from: str = setting("", help='Other steps from a resolution on, e.g. "1024:0.0015".')
    beta1: float = setting(0.0, help="Adam's β1.", low=0, high=0.9999)
    beta2: float = setting(0.99, help="Adam's β2.", low=0, high=0.9999)
    discriminator_steps: int = setting(1, help="Discriminator steps for one of the generator.", low=1, high=100)
    gp_weight: float = setting(10.0, help="Weight λ of the gradient penalty.", low=0)
    gp_target: float = setting(1.0, help="Gradient norm the penalty asks for.", low=1e-6)
    drift_weight: float = setting(0.001, help="Weight of E[D(real)²], which holds scores near zero.", low=0)
    ema: float = setting(0.99, help="Generator average: the old weight's share at each step.", low=0, high=0.99999)

    mirror: bool = setting(False, help="Mirror half of the real images.")
    seed: int = setting(0, help="Names weights, data order and latents.", low=0)
    device: str = setting("auto", help="auto, cpu, cuda or cuda:N.")
    log_kimg: float = setting(1.0, help="Between log lines.", low=0.001, unit="kimg")
    grid_kimg: float = setting(3.0, help="Between image grids.", low=0.001, unit="kimg")
    snapshot_kimg: float = setting(3.0, help="Between snapshots, each with a checkpoint.", low=0.001, unit="kimg")
    checkpoint_minutes: float = setting(
        15.0, help="Write a checkpoint at least this often too; 0 for with snapshots only.", low=0, unit="minutes"
    )
    score_images: int = setting(0, help="Score each snapshot by SWD against this many real images; 0 for never.", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stable_kimg + self.fade_kimg <= 0:
            raise UsageError("--stable-kimg and --fade-kimg are both 0; a phase must have some length.")
        for value in self.minibatch_table.values():
            group = min(self.stddev_group, int(value))
            if value != int(value) or value < 1 or value % group:
                raise UsageError(f"--minibatch has {value:g}; expected a whole multiple of --stddev-group {group}.")
        if any(value <= 0 for value in self.learning_rate_table.values()):
            raise UsageError(f"--learning-rate-from is {self.learning_rate_from!r}; every step must be above 0.")

    @property
    def minibatch_table(self) -> dict[int, float]:
        """Resolution → images a step, from that resolution on; holds 4."""
        table = by_resolution(self.minibatch, option="--minibatch")
        if 4 not in table:
            raise UsageError(f"--minibatch is {self.minibatch!r}; expected a value from 4 on.", hint='Try "4:16".')
        return table

    @property
    def learning_rate_table(self) -> dict[int, float]:
        """Resolution → Adam's step, from that resolution on; holds 4."""
        return {
            4: self.learning_rate,
            **by_resolution(self.learning_rate_from, option="--learning-rate-from"),
        }

    def architecture(self, resolution: int, *, labels: int = 0) -> Architecture:
        """Return the shape of the networks for images of this side."""
        shared = {field.name for field in dataclasses.fields(Architecture)} & set(self.as_dict())
        return Architecture(resolution, labels=labels, **{name: getattr(self, name) for name in shared})

    def check_resolution(self, resolution: int) -> None:
        """Raise UsageError if the networks are too narrow to begin a run at this resolution.

        Raises:
            UsageError: the top level has fewer than LEAST_WIDTH feature maps.
        """
        width = self.architecture(resolution).width(resolution)
        if width < LEAST_WIDTH:
            base = math.ceil(LEAST_WIDTH * 2.0 ** ((resolution.bit_length() - 2) * self.fmap_decay))
            wider = f"--fmap-base {base}" + (f" --fmap-max {LEAST_WIDTH}" if self.fmap_max < LEAST_WIDTH else "")
            raise UsageError(
                f"At {resolution}² the networks would have a width of {width}; expected {LEAST_WIDTH} or more "
                "feature maps.",
                hint=f"Pass --preset paper, or {wider} or more.",
            )


def by_resolution(text: str, *, option: str) -> dict[int, float]:
    """Return {4: 128, 32: 64} for "4:128,32:64", sorted by resolution.

    Raises:
        UsageError: a part is not RESOLUTION:NUMBER, or a resolution is no power of two from 4 up or repeats.
    """
    table: dict[int, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            level, value = part.split(":")
            resolution, number = int(level), float(value)
            if not math.isfinite(number):
                raise ValueError
        except ValueError:
            raise UsageError(f"{option} has {part!r}; expected RESOLUTION:NUMBER, e.g. 4:128,32:64.") from None
        if resolution < 4 or resolution & (resolution - 1) or resolution in table:
            raise UsageError(f"{option} has {part!r}; expected each power of two from 4 up once at most.")
        table[resolution] = number
    return dict(sorted(table.items()))


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets."""
    return tuple(_presets())


def preset_description(name: str) -> str:
    """Return what a preset is for, what it costs and what to expect of it."""
    text: str = _presets()[name]["description"]
    return text


def settings_from(preset: str, chosen: dict[str, Any]) -> TrainSettings:
    """Return a preset's settings with single values replaced.

    Raises:
        UsageError: there is no such preset, or a value is out of range.
    """
    presets = _presets()
    if preset not in presets:
        raise UsageError(f"There is no preset {preset!r}; expected one of {', '.join(presets)}.")
    differing = {name: value for name, value in presets[preset].items() if name != "description"}
    return TrainSettings(**{**differing, **chosen})


def _presets() -> dict[str, dict[str, Any]]:
    return tomllib.loads(PRESETS.read_text("utf-8"))
