"""Every choice of a training run: default, range, unit and help; presets.py has named sets of them.

The defaults are the preset `compact`, so that help shows what happens when nothing is said.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from pgtools.errors import UsageError
from pgtools.runtime.settings import Settings, setting

# With fewer feature maps at the top level than this, nothing but blur comes out after hours.
LEAST_WIDTH = 8
# A thousand times as many as any run will show; a larger number is a slip, and would overflow further on.
MOST_KIMG = 1e9
MOST_IMAGES = 65536  # of a minibatch


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
        stddev_group: images compared by the minibatch standard deviation, 0 for none.
        batch_norm: of the minibatch after every convolution of the generator.
        layer_norm: of each image after every convolution of the discriminator but those from colours.
        pixel_norm: after every convolution of the generator.
        latent_norm: pixel norm of the latents, labels joined.
        leaky_relu: in the generator; else the plain one. The discriminator's is always leaky.
        tanh: at the generator's end, in place of linear colours.
        equalized: weights scaled at run time; else drawn at their scale and used as they are.
        discrimination_kernels: outputs of minibatch discrimination, 0 for none.

    The fields after `stddev_group` tell the ablations of the paper's Table 1 apart; each defaults to the final
    networks.
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
    batch_norm: bool = False
    layer_norm: bool = False
    pixel_norm: bool = True
    latent_norm: bool = True
    leaky_relu: bool = True
    tanh: bool = False
    equalized: bool = True
    discrimination_kernels: int = 0

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
    stddev_group: int = setting(
        4, help="Images compared by the minibatch standard deviation, 0 for none.", low=0, high=1024
    )
    batch_norm: bool = setting(False, help="Batch norm in the generator (ablations a to c).", hidden=True)
    layer_norm: bool = setting(False, help="Layer norm in the discriminator (ablations a to c).", hidden=True)
    pixel_norm: bool = setting(True, help="Pixel norm in the generator.", hidden=True)
    latent_norm: bool = setting(True, help="Pixel norm of the latents.", hidden=True)
    leaky_relu: bool = setting(True, help="Leaky ReLU in the generator, else the plain one.", hidden=True)
    tanh: bool = setting(False, help="End the generator with tanh.", hidden=True)
    equalized: bool = setting(True, help="Scale weights at run time (equalized learning rate).", hidden=True)
    discrimination_kernels: int = setting(
        0, help="Kernels of minibatch discrimination, 0 for none.", low=0, high=1024, hidden=True
    )
    labels: bool = setting(False, help="Teach both networks the classes of the images, if these have any.")

    growing: bool = setting(True, help="Grow from a low resolution; else train at full resolution from the start.")
    start_resolution: int = setting(4, help="Side of the images that growth starts at.", low=4, high=1 << 16)
    stable_kimg: float = setting(
        3.0, help="Length of the phase at each resolution.", low=0, high=MOST_KIMG, unit="kimg"
    )
    stable_kimg_from: str = setting("", help='Other phase lengths from a resolution on, e.g. "64:800".')
    fade_kimg: float = setting(
        3.0, help="Length of each fade-in of a higher resolution.", low=0, high=MOST_KIMG, unit="kimg"
    )
    fade_kimg_from: str = setting("", help="Other lengths of the fade-in to a resolution, from one on.")
    total_kimg: float | None = setting(
        None,
        help="Real images shown in all, in thousands; by default growth and three more phases.",
        low=0.001,
        high=MOST_KIMG,
    )
    minibatch: str = setting("4:8", help="Images a step, from each resolution on.")
    minibatch_repeats: int = setting(4, help="Minibatches between two looks at the schedule.", low=1, high=1024)

    learning_rate: float = setting(0.005, help="Adam's step.", low=1e-9, high=1)
    learning_rate_from: str = setting("", help='Other steps from a resolution on, e.g. "1024:0.0015".')
    beta1: float = setting(0.0, help="Adam's β1.", low=0, high=0.9999)
    beta2: float = setting(0.99, help="Adam's β2.", low=0, high=0.9999)
    discriminator_steps: int = setting(1, help="Discriminator steps for one of the generator.", low=1, high=100)
    loss: str = setting("wgan-gp", help="What the networks minimise.", choices=("wgan-gp", "lsgan"))
    gp_weight: float = setting(10.0, help="Weight λ of the gradient penalty.", low=0)
    gp_target: float = setting(1.0, help="Gradient norm the penalty asks for.", low=1e-6)
    drift_weight: float = setting(0.001, help="Weight of E[D(real)²], which holds scores near zero.", low=0)
    label_weight: float = setting(1.0, help="Weight of the classes' cross-entropy, with --labels.", low=0)
    ema: float = setting(0.99, help="Generator average: the old weight's share at each step.", low=0, high=0.99999)

    mirror: bool = setting(False, help="Mirror half of the real images.")
    seed: int = setting(0, help="Names weights, data order and latents.", low=0)
    device: str = setting("auto", help="auto, cpu, cuda or cuda:N.")
    log_kimg: float = setting(1.0, help="Between log lines.", low=0.001, high=MOST_KIMG, unit="kimg")
    grid_kimg: float = setting(3.0, help="Between image grids.", low=0.001, high=MOST_KIMG, unit="kimg")
    snapshot_kimg: float = setting(
        3.0, help="Between snapshots, each with a checkpoint.", low=0.001, high=MOST_KIMG, unit="kimg"
    )
    checkpoint_minutes: float = setting(
        15.0, help="Write a checkpoint at least this often too; 0 for with snapshots only.", low=0, unit="minutes"
    )
    keep_checkpoints: int = setting(2, help="Newest checkpoints to keep beside the best; 0 for all.", low=0)

    metrics: str = setting("", help='Metrics of each snapshot, e.g. "swd" or "swd,msssim"; none if not given.')
    every: float | None = setting(
        None, help="Between scored snapshots; by default every snapshot.", low=0.001, high=MOST_KIMG, unit="kimg"
    )
    num_images: int = setting(1000, help="Images a side for --metrics.", low=2)
    best: str = setting("", help="Metric that names the best checkpoint; by default the first of --metrics.")
    on_nan: str = setting(
        "stop",
        help="When a loss is no number: stop, or roll back to the last checkpoint and go on with other latents.",
        choices=("stop", "rollback"),
    )
    tensorboard: bool = setting(False, help="Write TensorBoard's files too.")

    precision: str = setting(
        "auto",
        help="Of products and convolutions; auto takes bfloat16 where the device computes it natively.",
        choices=("auto", "float32", "bfloat16"),
    )
    deterministic: bool = setting(False, help="The same bytes every time on a GPU too, at some cost in speed.")
    micro_batch: int | None = setting(
        None, help="Most images at once in a process; gradients of the parts add up to the minibatch's.", low=1
    )
    cuda_graphs: bool = setting(False, help="Record each stage's step once and replay it (CUDA).")
    memory: float | None = setting(
        None, help="For images kept in memory; by default a share of what is free.", low=0, unit="GB"
    )
    workers: int | None = setting(None, help="Threads that read images; by default by the machine.", low=0, high=256)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("learning_rate", "stable_kimg", "fade_kimg"):
            self._table(name)  # for its errors
        if max((*self.stable_kimg_table.values(), *self.fade_kimg_table.values())) <= 0:
            raise UsageError(
                "--stable-kimg and --fade-kimg are both 0; a phase must have some length.",
                hint="Give one of them a length.",
            )
        if self.start_resolution & (self.start_resolution - 1):
            below = 1 << (self.start_resolution.bit_length() - 1)
            raise UsageError(
                f"--start-resolution is {self.start_resolution}; expected a power of two.",
                hint=f"Try {below} or {2 * below}.",
            )
        for value in self.minibatch_table.values():
            group = max(min(self.stddev_group, int(value)), 1)
            if value != int(value) or value % group:
                raise UsageError(
                    f"--minibatch has {value:g}; expected a whole multiple of --stddev-group {group}.",
                    hint=f"Try {max(int(value) // group, 1) * group}, or another --stddev-group.",
                )
        if self.best and self.best not in self.metric_names:
            raise UsageError(
                f"--best is {self.best!r}, which is not among --metrics {self.metrics!r}.",
                hint="Add it to --metrics, or leave out --best.",
            )

    @property
    def minibatch_table(self) -> dict[int, float]:
        """Resolution → images a step, from that resolution on; holds 4."""
        table = by_resolution(self.minibatch, option="--minibatch", low=1, high=MOST_IMAGES)
        if 4 not in table:
            raise UsageError(f"--minibatch is {self.minibatch!r}; expected a value from 4 on.", hint='Try "4:16".')
        return table

    @property
    def stable_kimg_table(self) -> dict[int, float]:
        """Resolution → length of the phase at it in kimg, from that resolution on; holds 4."""
        return self._table("stable_kimg")

    @property
    def fade_kimg_table(self) -> dict[int, float]:
        """Resolution → length of the fade-in to it in kimg, from that resolution on; holds 4."""
        return self._table("fade_kimg")

    @property
    def learning_rate_table(self) -> dict[int, float]:
        """Resolution → Adam's step, from that resolution on; holds 4."""
        return self._table("learning_rate")

    def _table(self, name: str) -> dict[int, float]:
        """A setting from 4 on, and from other resolutions what NAME_from says, in the range of the setting."""
        field = next(field for field in dataclasses.fields(self) if field.name == name)
        option = f"--{name.replace('_', '-')}-from"
        low, high = field.metadata["low"], field.metadata["high"]
        return {
            4: getattr(self, name),
            **by_resolution(getattr(self, f"{name}_from"), option=option, low=low, high=high),
        }

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics of `metrics`, in their order."""
        return tuple(filter(None, (name.strip() for name in self.metrics.split(","))))

    def architecture(self, resolution: int, *, labels: int = 0) -> Architecture:
        """Return the shape of the networks for images of this side."""
        shared = {field.name for field in dataclasses.fields(Architecture)} & set(self.as_dict()) - {"labels"}
        return Architecture(resolution, labels=labels, **{name: getattr(self, name) for name in shared})

    def check_resolution(self, resolution: int) -> None:
        """Raise UsageError if a run for images of this side cannot grow to it, or its networks are too narrow.

        Raises:
            UsageError: growth starts above it, or the top level has fewer than LEAST_WIDTH feature maps.
        """
        if self.growing and self.start_resolution > resolution:
            raise UsageError(
                f"--start-resolution is {self.start_resolution}; the images are {resolution}².",
                hint=f"Start at {resolution} or lower.",
            )
        width = self.architecture(resolution).width(resolution)
        if width < LEAST_WIDTH:
            base = math.ceil(LEAST_WIDTH * 2.0 ** ((resolution.bit_length() - 2) * self.fmap_decay))
            wider = f"--fmap-base {base}" + (f" --fmap-max {LEAST_WIDTH}" if self.fmap_max < LEAST_WIDTH else "")
            raise UsageError(
                f"At {resolution}² the networks would have a width of {width}; expected {LEAST_WIDTH} or more "
                "feature maps.",
                hint=f"Pass {wider} or more, or a preset for such images, as --preset v2-1gpu.",
            )


def shape_settings(shape: Architecture) -> dict[str, Any]:
    """Return the settings that give networks of this shape; the resolution comes from the images."""
    names = {field.name for field in dataclasses.fields(TrainSettings)} & set(vars(shape))
    return {name: getattr(shape, name) for name in sorted(names)} | {"labels": shape.labels > 0}


def by_resolution(text: str, *, option: str, low: float, high: float) -> dict[int, float]:
    """Return {4: 128, 32: 64} for "4:128,32:64", sorted by resolution.

    Raises:
        UsageError: a part is not RESOLUTION:NUMBER, a resolution is no power of two from 4 up or repeats, or a number
            is not between `low` and `high`.
    """
    table: dict[int, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            level, value = part.split(":")
            resolution, number = int(level), float(value)
        except ValueError:
            raise UsageError(f"{option} has {part!r}; expected RESOLUTION:NUMBER, e.g. 4:128,32:64.") from None
        if resolution < 4 or resolution & (resolution - 1) or resolution in table:
            raise UsageError(f"{option} has {part!r}; expected each power of two from 4 up once at most.")
        if not low <= number <= high:  # no number is neither
            raise UsageError(f"{option} has {part!r}; expected {low:g} to {high:g}.")
        table[resolution] = number
    return dict(sorted(table.items()))
