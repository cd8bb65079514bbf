"""What `bench train` and `bench growing` share: presets, levels, and what they were measured on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pgtools.errors import UsageError
from pgtools.progan.presets import DEFAULT_PRESET, preset_names

if TYPE_CHECKING:
    import torch

preset_option = click.option(
    "--preset", type=click.Choice(preset_names()), default=DEFAULT_PRESET, show_default=True, help="Named settings."
)


def sides_of(text: str) -> list[int]:
    """Return the levels that "4,8,16" names.

    Raises:
        UsageError: one is no power of two from 4 up.
    """
    found = [int(word) for word in text.split(",") if word.isdecimal() and len(word) < 6]
    if len(found) != len(text.split(",")) or any(side < 4 or side & (side - 1) for side in found):
        raise UsageError(f"--resolution is {text!r}; expected powers of two from 4 up, e.g. 16,32.")
    return list(dict.fromkeys(found))


def facts_of(preset: str, device: torch.device) -> dict[str, Any]:
    """Return what was measured on what."""
    import platform

    import torch

    from pgtools import __version__
    from pgtools.runtime.workers import cpu_count

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "pgtools": __version__,
        "torch": torch.__version__,
        "system": platform.platform(),
        "device": f"{device} ({name})",
        "cores": cpu_count(),
        "threads": torch.get_num_threads(),
        "preset": preset,
    }
