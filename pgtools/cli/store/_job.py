"""What `convert`, `subset`, `merge` and `extract` share: the question, the job, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgtools.cli._output import confirm_replacing, print_json, say

if TYPE_CHECKING:
    from pgtools.stores.jobs.settings import ConvertSettings


def run(
    sources: Sequence[Path],
    outputs: Sequence[Path],
    settings: ConvertSettings,
    *,
    overwrite: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Convert and print what was written: path, format, images, size, seconds, images a second."""
    from pgtools.runtime.files import human_bytes
    from pgtools.stores.jobs.convert import bytes_of, convert

    confirm_replacing(outputs, overwrite=overwrite, yes=yes)
    done = convert(sources, outputs, settings, overwrite=overwrite)
    for fault in done.skipped:
        say(f"left out: {fault}")
    rate = done.images / max(done.seconds, 1e-9)
    written = [{"path": str(one.path), "format": one.format.name, "bytes": bytes_of(one.path)} for one in done.outputs]
    if as_json:
        facts = {"images": done.images, "resolution": done.resolution, "seconds": done.seconds}
        print_json({"outputs": written, **facts, "images_per_second": rate, "skipped": list(done.skipped)})
        return
    for one in done.outputs:
        size = human_bytes(bytes_of(one.path))
        click.echo(f"{one.path}: {done.images:,} images of {done.resolution}², {size}, {one.format.name}")
    click.echo(f"{done.seconds:.1f} s, {rate:,.0f} images/s")
