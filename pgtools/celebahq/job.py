"""A build before its first photo: where everything stands, what decides the outcome, whether it can be done."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgtools.celebahq.input.given import Given, open_input
from pgtools.celebahq.manifest import Choice, manifest_path, parquet_path
from pgtools.celebahq.networks import find_steps, load_steps, networks_of
from pgtools.celebahq.process import Steps
from pgtools.celebahq.settings import BuildSettings
from pgtools.errors import OutputError, UsageError
from pgtools.runtime.build_format import Network, record_path
from pgtools.runtime.files import check_free_space, check_writable, free_space, human_bytes, remove_stale
from pgtools.runtime.workers import Kind, cluster_size, cpu_count, map_unordered
from pgtools.stores.writer import Plan
from pgtools.stores.writing import check_outputs, estimated_bytes, store_outputs

# Photos a worker does between two entries in the journal.
CHUNK = 8
JOURNAL = "journal.sqlite"
STORING = "storing"
# Raised when the same photo and settings give another crop or score: an interrupted build does not mix the two.
DEFINITION = 3
# Measured on photographs of faces at 1024².
CROP_BYTES_PER_BYTE = 0.4


@dataclass(frozen=True)
class Job:
    """A build that has been checked and can begin.

    Attributes:
        root: what was named as the photos.
        outputs: the stores to be written.
        settings: what it was told.
        given: the photos and what is known of them.
        steps: what is done to each, networks loaded.
        networks: "detector", "restore", "superres" → name and hash.
        precisions: "restore", "superres" → what they compute in, None without one.
        workers, kind: how many photos are done at once, and in what.
    """

    root: Path
    outputs: Sequence[Path]
    settings: BuildSettings
    given: Given
    steps: Steps
    networks: Mapping[str, Network]
    precisions: Mapping[str, str | None]
    workers: int
    kind: Kind

    @property
    def work(self) -> Path:
        """The folder for everything in the making."""
        return work_folder(self.outputs[0])

    @property
    def crops(self) -> Path:
        """The folder for the crops in the making."""
        return self.work / "crops"

    @property
    def choice(self) -> Choice:
        """Which crops are kept."""
        return Choice(self.settings.rank != "none", self.settings.min_score, self.settings.keep)

    def decisive(self) -> dict[str, object]:
        """What decides the outcomes, by content: a resumed build must agree in all of it."""
        settings = self.settings
        names = ("resolution", "engine", "rank", "faces", "min_face", "max_turn", "max_outside", "nearest")
        roles = ("detector", "restore", "superres")
        return {
            **{name: getattr(settings, name) for name in names},
            **self.given.decisive(),
            **{role: self.networks[role].sha256 if role in self.networks else None for role in roles},
            **{f"{role} precision": precision for role, precision in self.precisions.items()},
            "tile": settings.tile if any(self.precisions.values()) else None,
            "definition": DEFINITION,
        }


def open_job(root: Path, outputs: Sequence[Path], settings: BuildSettings) -> Job:
    """Return a build, its input read and its networks loaded.

    Raises:
        InputError, MissingModelError, UsageError: see `build`.
    """
    given = open_input(root, settings)
    _check_apart(outputs, given)
    steps = find_steps(settings, given)
    networks = networks_of(steps, settings)
    if settings.scheduler is None:
        workers, kind = workers_for(steps, settings)
        return Job(root, outputs, settings, given, steps, networks, load_steps(steps), workers, kind)
    weights = [one.weights for one in (steps.detector, steps.restore, steps.superres) if one]
    folder = next(folder for folder in work_folder(outputs[0]).parents if folder.exists())
    workers = cluster_size(settings.scheduler, paths=[given.photos.root, folder, *weights])
    # A worker of the cluster may have another device than this machine.
    (precisions,) = map_unordered(load_steps, [steps], workers=1, scheduler=settings.scheduler)
    return Job(root, outputs, settings, given, steps, networks, precisions, workers, "processes")


def workers_for(steps: Steps, settings: BuildSettings) -> tuple[int, Kind]:
    """Return how many photos are done at once, and in what.

    A process a core, unless networks compete for memory; threads where they share a GPU: while one has it, the others
    decode, crop and encode.
    """
    networks = [network for network in (steps.restore, steps.superres) if network]
    if not (networks or steps.detector):
        return settings.workers or cpu_count(), "processes"
    from pgtools.runtime.device import resolve_device

    if resolve_device(settings.device).type != "cpu":
        return settings.workers or cpu_count(), "threads"
    light = all(network.is_light for network in networks)
    return settings.workers or (cpu_count() if light else 1), "processes"


def work_folder(store: Path) -> Path:
    """Return where a build of this first store keeps what is in the making."""
    return store.absolute().with_name(f"{store.name}.build")


def papers_of(store: Path) -> list[Path]:
    """Return what a build writes beside its stores: the manifest, as CSV and Parquet, and the record."""
    manifest = manifest_path(store)
    return [manifest, parquet_path(manifest), record_path(store)]


def check_places(outputs: Sequence[Path], *, overwrite: bool) -> None:
    """Raise OutputError if the build could not write what it is to write.

    Outputs that stand there because a build was killed while storing are its own; no others are replaced.
    """
    work = work_folder(outputs[0])
    remove_stale(work)
    # What is removed in the end must be a build's and nothing else.
    if work.exists() and not (work / JOURNAL).is_file() and _holds_more_than_a_lock(work):
        raise OutputError(
            f"{work} is where the build would work, and is no interrupted build.", hint="Name another output."
        )
    storing = work / STORING
    begun = set(json.loads(storing.read_text("utf-8"))) if storing.is_file() else set()
    for path in outputs:
        check_outputs(store_outputs([path]), overwrite=overwrite or str(path.resolve()) in begun)
    store_outputs(outputs)
    for path in papers_of(outputs[0]):
        check_writable(path, overwrite=overwrite or str(path.resolve()) in begun, what="file")


def _holds_more_than_a_lock(folder: Path) -> bool:
    return not folder.is_dir() or bool({file.name for file in folder.iterdir()} - {".lock"})


def _check_apart(outputs: Sequence[Path], given: Given) -> None:
    """Nothing of ours may be taken for a photo when the build is run again."""
    root = given.photos.root.resolve()
    for path in outputs:
        if root in path.resolve().parents or path.resolve() == root:
            raise UsageError(f"{path} lies in the folder of the photos, {given.photos.root}.", hint="Write beside it.")


def check_space(job: Job, told: Callable[[str], None]) -> None:
    """Tell what the build takes, and raise OutputError if that is not free.

    Crops in the making and stores must fit, on whichever disks they are to stand.
    """
    count = min(len(job.given.photos.names), job.settings.keep or len(job.given.photos.names))
    there = sum(file.stat().st_size for file in job.crops.glob("*.crop")) if job.crops.is_dir() else 0
    # All crops of the chunks in flight, before the worst of them go.
    most = count + 2 * CHUNK * job.workers
    needs = [(job.work, max(0, int(most * 3 * job.settings.resolution**2 * CROP_BYTES_PER_BYTE) - there))]
    plan = Plan(count, job.settings.resolution)
    outputs = store_outputs(job.outputs)
    needs += [(one.path.absolute().parent, estimated_bytes(one.format.name, plan)) for one in outputs]
    by_disk: dict[int, tuple[Path, int]] = {}
    for folder, needed in needs:
        folder.mkdir(parents=True, exist_ok=True)
        disk = folder.stat().st_dev
        by_disk[disk] = (folder, by_disk.get(disk, (folder, 0))[1] + needed)
    for folder, needed in by_disk.values():
        check_free_space(folder, needed)
        told(
            f"{count} crops of {job.settings.resolution}² take about {human_bytes(needed)} while they are made; "
            f"{human_bytes(free_space(folder))} are free."
        )


def plan_of(job: Job) -> str:
    """Return what is going to be done, in a line."""
    if job.given.deltas is not None:
        return (
            f"The authors' own images of {len(job.given.photos.names)} photos, by the deltas in {job.settings.deltas}."
        )
    known = len(job.given.photos.names) - job.given.unknown
    faces = [
        f"{known} with landmarks",
        *([f"{job.given.unknown} to be searched for faces"] if job.given.unknown else []),
    ]
    networks = f"Restoration: {job.settings.restore}. Super-resolution: {job.settings.superres}."
    at_once = f"{job.workers} {job.kind if job.workers > 1 else 'process'} at once"
    return f"{len(job.given.photos.names)} photos, {', '.join(faces)}; {at_once}. {networks}"
