"""From a pickle of the authors to a file of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pgtools.errors import UsageError
from pgtools.progan.karras.reading import KarrasNetworks, read_karras
from pgtools.progan.layers import parameter_count
from pgtools.progan.run.snapshot import Snapshot, write_networks, write_snapshot
from pgtools.runtime.files import check_writable
from pgtools.runtime.run_format import SNAPSHOT_SUFFIX


def import_karras(file: Path, out: Path, *, overwrite: bool) -> dict[str, Any]:
    """Write the networks of a pickle as a file of networks, or as a snapshot where there is one generator alone.

    Returns:
        what `described_networks` says of them.

    Raises:
        UsageError: `out` has another suffix than commands know networks by, or is `file` itself.
        OutputError: `out` exists and `overwrite` is off, or cannot be written.
        InputError: `file` is no such pickle; nothing is written.
    """
    if out.suffix != SNAPSHOT_SUFFIX:
        raise UsageError(f"{out} does not end in {SNAPSHOT_SUFFIX}.", hint=f"Try {out.with_suffix(SNAPSHOT_SUFFIX)}.")
    if out.resolve() == file.resolve():
        raise UsageError(f"{out} is the pickle itself; it will not be replaced.", hint="Name another file.")
    check_writable(out, overwrite=overwrite, what="file")
    networks = read_karras(file)
    if networks.trained is None:
        write_snapshot(out, Snapshot(networks.average, networks.lod, images=0))
    else:
        write_networks(out, networks.trained)
    return {"file": str(out), **described_networks(networks)}


def described_networks(networks: KarrasNetworks) -> dict[str, Any]:
    """Return what there is to know of imported networks, as plain values.

    Returns:
        names (as in the pickle), form (the trainer's library), resolution, labels, latent, widths (level → feature
        maps), parameters (network → count), lod, scaling ("fused" or "plain"), resumable (whether training can go on
        from it).
    """
    shape = networks.average.shape
    kinds = {"generator": networks.generator, "discriminator": networks.discriminator, "average": networks.average}
    return {
        "names": list(networks.names),
        "form": networks.form,
        "resolution": shape.resolution,
        "labels": shape.labels,
        "latent": shape.latent,
        "widths": {str(level): shape.width(level) for level in shape.levels},
        "parameters": {kind: parameter_count(network) for kind, network in kinds.items() if network is not None},
        "lod": networks.lod,
        "scaling": networks.scaling,
        "resumable": networks.trained is not None,
    }
