"""A build before its first photo: what is to be done, what decides the outcome, whether the disk holds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pgtools.celebahq.input.given import Given, open_input
from pgtools.celebahq.manifest import Keeping
from pgtools.celebahq.networks import find_steps, load_steps, networks_of
from pgtools.celebahq.places import work_folder
from pgtools.celebahq.process import Steps
from pgtools.celebahq.settings import BuildSettings
from pgtools.runtime.build_format import Network
from pgtools.runtime.files import check_free_space, free_space, human_bytes
from pgtools.runtime.workers import Kind, cluster_size, cpu_count, map_unordered
from pgtools.stores.writer import Plan
from pgtools.stores.writing import estimated_bytes, store_outputs

# Photos that a worker does at most between two entries in the journal, and how many times each worker is given some.
CHUNK, TURNS = 8, 4
# Raised when the same photo and settings give another crop or score: an interrupted build does not mix the two.
DEFINITION = 3
# Names that are told before "and N more".
NAMED = 5
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
        workers, kind: how many photos are done at once at most, and in what.
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
    def keeping(self) -> Keeping:
        """Which crops are kept."""
        return Keeping(self.settings.rank != "none", self.settings.min_score, self.settings.keep)

    def decisive(self) -> dict[str, object]:
        """What decides the outcomes, by content: a resumed build must agree in all of it."""
        settings = self.settings
        names = ("resolution", "engine", "rank", "faces", "min_face", "max_turn", "max_outside", "nearest")
        roles = ("restore", "superres")
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


def chunk_size(job: Job, photos: int) -> int:
    """Return how many photos a worker is given at a time.

    Few enough that every worker has its turns, and a single one where a network takes seconds for it; at least what
    the network takes together.
    """
    networks = [network for network in (job.steps.restore, job.steps.superres) if network]
    most = 1 if networks and job.kind == "processes" else CHUNK
    return max(job.settings.batch, min(most, -(-photos // (TURNS * job.workers))), 1)


def check_space(job: Job, told: Callable[[str], None]) -> None:
    """Tell what the build takes, if every photo gives one crop, and raise OutputError if that is not free.

    Crops in the making and stores must fit, on whichever disks they are to stand.
    """
    photos, side = len(job.given.photos.names), job.settings.resolution
    count = min(photos, job.settings.keep or photos)
    there = sum(file.stat().st_size for file in job.crops.glob("*.crop")) if job.crops.is_dir() else 0
    # All crops of the chunks in flight, before the worst of them go.
    most = min(photos, count + 2 * chunk_size(job, photos) * job.workers)
    needs = [(job.work.parent, max(0, int(most * 3 * side**2 * CROP_BYTES_PER_BYTE) - there))]
    plan = Plan(count, side)
    outputs = store_outputs(job.outputs)
    needs += [(one.path.absolute().parent, estimated_bytes(one.format.name, plan)) for one in outputs]
    by_disk: dict[int, tuple[Path, int]] = {}
    for folder, needed in needs:
        folder.mkdir(parents=True, exist_ok=True)
        disk = folder.stat().st_dev
        by_disk[disk] = (folder, by_disk.get(disk, (folder, 0))[1] + needed)
    for folder, needed in by_disk.values():
        check_free_space(folder, needed)
        more = ", more where photos hold several faces" if job.settings.faces == "all" and job.given.unknown else ""
        told(
            f"{_counted(count, 'crop')} of {side}² take about {human_bytes(needed)} while they are made{more}; "
            f"{human_bytes(free_space(folder))} are free."
        )


def plan_of(job: Job) -> str:
    """Return what is going to be done, in a line or two."""
    given, photos = job.given, len(job.given.photos.names)
    if given.deltas is not None:
        lines = [f"The authors' own images of {_counted(photos, 'photo')}, by the deltas in {job.settings.deltas}."]
        for what, names in (("photos", given.absent), ("archives", given.missing)):
            if names:
                lines.append(f"{len(names)} {what} of their list are not there: {listed(names)}.")
        return "\n".join(lines)
    faces = {"with landmarks": given.known, "to be searched for faces": given.unknown}
    faces["without landmarks, to be skipped"] = photos - given.known - given.unknown
    told = ", ".join(f"{count} {what}" for what, count in faces.items() if count)
    at_once = min(job.workers, photos)
    return (
        f"{_counted(photos, 'photo')}, {told}; {at_once} {job.kind if at_once > 1 else 'process'} at once. "
        f"Restoration: {job.settings.restore}. Super-resolution: {job.settings.superres}."
    )


def listed(names: Sequence[str]) -> str:
    """Return the first few names as text."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
