"""What the training of a restorer can be told."""

from __future__ import annotations

from dataclasses import dataclass

from pgtools.runtime.settings import Settings, setting

# Side of a training patch in pixels of the network's input, and of the squares of pixels that become channels.
PATCH = {"dejpeg": 96, "sr4": 48}
UNSHUFFLE = {"dejpeg": 2, "sr4": 1}
SCALE = {"dejpeg": 1, "sr4": 4}


@dataclass(frozen=True)
class RestorerSettings(Settings):
    """Settings of `pgtools models train-restorer`; all but `device` and the intervals decide what is learnt."""

    task: str = setting("dejpeg", choices=tuple(PATCH), help="What the network learns: JPEG removal, or ×4 enlarging.")
    steps: int = setting(7000, low=1, help="Optimizer steps.")
    batch: int = setting(8, low=1, help="Patches a step.")
    channels: int = setting(64, low=4, high=512, help="Feature maps of every layer.")
    blocks: int = setting(8, low=1, high=64, help="Residual blocks.")
    learning_rate: float = setting(0.001, low=1e-7, high=1.0, help="Adam's, at its height; a cosine ends it at zero.")
    warmup: int = setting(200, low=0, help="Steps until the learning rate has its height.")
    average: float = setting(0.999, low=0.0, high=0.99999, help="Decay a step of the weights' moving average.")
    seed: int = setting(0, low=0, help="Names every random choice.")
    precision: str = setting(
        "auto",
        choices=("auto", "float32", "bfloat16"),
        help="Of the convolutions: auto is bfloat16 on CUDA, float32 on a CPU; one with AVX-512 BF16 is twice as "
        "fast in bfloat16.",
    )
    device: str = setting("auto", help="Where to train: auto, cpu, cuda or cuda:N.")
    validate_every: int = setting(500, low=1, unit="steps", help="How often PSNR and SSIM are measured.")
    checkpoint_minutes: float = setting(3.0, low=0.0, unit="minutes", help="Longest time between two checkpoints.")
