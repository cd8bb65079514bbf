"""`pgtools bench build`: how fast photos become a CelebA-HQ store, step by step and as a whole."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pgtools.cli._options import OUTPUT, SOURCE, device_option, json_option
from pgtools.cli._output import print_json, print_table, say
from pgtools.errors import UsageError

if TYPE_CHECKING:
    from pgtools.celebahq.bench import Row

NOTE = (
    "photos/s: the best round; steps on one core. × plain: median over the rounds of the speed against the plain "
    "route's (Pillow and SciPy, step by step) in the same round, in brackets lowest and highest. levels: every level, "
    "encoded as stored. whole: photos in, LMDB with every level out, no networks. busy: share of the time in which "
    "the card had work of the network's."
)


@click.command(name="build", short_help="Build CelebA-HQ: every step, and the whole.")
@click.option("--photos", "source", type=SOURCE, help="Folder in CelebA's layout; drawn faces if not given.")
@click.option("--count", type=click.IntRange(1), default=16, show_default=True, help="Photos a round.")
@click.option("--resolution", type=int, default=1024, show_default=True, help="Side of the crops; a power of two.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Rounds over all ways.")
@click.option("--whole", is_flag=True, help="Also build a store with all levels, against the plain route.")
@click.option("--networks", is_flag=True, help="Also crop with a network for super-resolution.")
@click.option("--network", "name", default="pgtools-sr4", show_default=True, help="Which one: its name or file.")
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True, help="Tiles that it gets at once.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "float16", "bfloat16"]),
    default="auto",
    show_default=True,
    help="What it computes in, e.g. float16 on CUDA.",
)
@device_option
@click.option("--folder", type=OUTPUT, help="Folder on the disk to measure.  [default: that of temporary files]")
@json_option
def command(
    source: Path | None,
    count: int,
    resolution: int,
    repeats: int,
    whole: bool,
    folder: Path | None,
    as_json: bool,
    **network: Any,
) -> None:
    """Decode, crop, score and encode photos, and build a store of them, beside the plain route.

    Ways take turns, so that whatever else the machine does hits all of them. What is written is removed in the end.

    \b
    Examples:
      pgtools bench build --whole
      pgtools bench build --photos celeba --networks --device cuda --precision float16 --batch 16
    """
    if resolution & (resolution - 1) or not 4 <= resolution <= 1024:
        raise UsageError(f"--resolution is {resolution}; expected a power of two from 4 to 1024.")
    _check_networks(network["networks"])
    from pgtools.celebahq.bench import bench_steps
    from pgtools.celebahq.bench_whole import bench_network, bench_whole, shots_of

    found = _network(network) if network["networks"] else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pgtools-bench-", dir=folder) as scratch:
        root = source or _drawn(Path(scratch) / "drawn", count)
        shots = shots_of(root, count)
        if len(shots) < count:
            say(f"{root} has {len(shots)} photos with landmarks, so a round has {len(shots)}, not {count}.")
        rows = bench_steps(shots, resolution=resolution, repeats=repeats)
        if whole:
            rows += bench_whole(root, shots, Path(scratch), resolution=resolution, repeats=repeats)
        if found is not None:
            rows.append(bench_network(shots, found, resolution=resolution, repeats=repeats))
    images = "drawn faces" if source is None else str(source)
    facts = {"images": images, "count": len(shots), "resolution": resolution, "repeats": repeats, **_versions()}
    if as_json:
        print_json({"protocol": facts, "rows": [dataclasses.asdict(row) for row in rows]})
        return
    title = f"{len(shots)} photos to {resolution}²"
    print_table(("step", "way", "photos", "photos/s", "× plain", "busy"), [_cells(row) for row in rows], title=title)
    click.echo(f"\n{NOTE}")


def _check_networks(asked: bool) -> None:
    """Refuse options that say how a network computes where none does."""
    options = {"name": "--network", "batch": "--batch", "precision": "--precision", "device": "--device"}
    source_of = click.get_current_context().get_parameter_source
    given = [option for name, option in options.items() if source_of(name) is not ParameterSource.DEFAULT]
    if given and not asked:
        raise UsageError(f"{given[0]} is about a network, and none takes part.", hint="Add --networks.")


def _drawn(folder: Path, count: int) -> Path:
    from pgtools.demo.faces import write_faces
    from pgtools.runtime.workers import cpu_count

    write_faces(folder, count=count, seed=0, workers=cpu_count())
    return folder


def _network(how: dict[str, Any]) -> Any:
    """Find and load the network now, so that a wrong name is told before the first round."""
    from pgtools.restoration.network import ImageNetwork, find_network

    found = ImageNetwork(
        find_network(how["name"], enlarging=True),
        device=how["device"],
        batch=how["batch"],
        precision=how["precision"],
    )
    if found.scale == 1:
        raise UsageError(f"--network {how['name']} does not enlarge; expected one for super-resolution.")
    return found


def _versions() -> dict[str, Any]:
    from importlib.metadata import version

    from pgtools.runtime.workers import cpu_count

    libraries = {name: version(name) for name in ("pillow", "opencv-python", "scipy", "numpy", "torch")}
    return {**libraries, "cores": cpu_count()}


def _cells(row: Row) -> Sequence[str]:
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f} ({row.ratio_low:.2f}–{row.ratio_high:.2f})"
    busy = "-" if row.busy is None else f"{row.busy:.0%}"
    return row.step, row.way, str(row.photos), f"{row.photos_per_second:.2f}", ratio, busy
