"""Which numbers a training step computes in: whole float32, or bfloat16 where the device has it in hardware.

bfloat16 keeps float32's range, so no loss has to be scaled, and 8 bits of precision. Weights, Adam's moments and the
running average stay float32, and so does what 8 bits would spoil: norms and deviations, colours, scores, losses and
the lengths of gradients. Source: Micikevicius et al. 2018 for the copy of weights in float32.
"""

from __future__ import annotations

import torch

from pgtools.errors import UsageError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
# Ampere is the first generation of GPUs that multiplies bfloat16.
_FIRST_CAPABILITY = (8, 0)


def resolve_precision(setting: str, device: torch.device) -> torch.dtype:
    """Return what products and convolutions are computed in.

    Args:
        setting: "float32", "bfloat16", or "auto" for bfloat16 where the device multiplies it natively.
        device: that computes.

    Raises:
        UsageError: there is no such setting, or a GPU is asked for bfloat16 and has none.
    """
    if setting == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    if setting not in DTYPES:
        raise UsageError(f"--precision is {setting!r}; expected auto, {' or '.join(DTYPES)}.")
    if setting == "bfloat16" and device.type == "cuda" and not has_bfloat16(device):
        raise UsageError("--precision is bfloat16, which this GPU lacks.", hint="Use --precision float32.")
    return DTYPES[setting]


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 natively: a GPU from Ampere on, a CPU with AMX or AVX512_BF16.

    Other CPUs only widen and round around float32 products, which is slower than float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _FIRST_CAPABILITY
    # Private names, told by every torch since 2.6; one that drops them trains in float32, which is never wrong.
    asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in asked)


def autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    """Return a context inside which products and convolutions are computed in `dtype`; float32 changes nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
