"""The job around `process`: workers, journal, best K, stores, manifest and record.

Everything in the making stands in a folder beside the output. A photo's outcome enters the journal once its crops are
safely on disk, so killing the build at any moment costs at most the chunks in flight.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from pgtools.celebahq.job import CHUNK, JOURNAL, Job, check_places, check_space, open_job, papers_of, plan_of
from pgtools.celebahq.manifest import Outcome, write_manifest
from pgtools.celebahq.ranking import BestCrops, crops_of, kept_of
from pgtools.celebahq.settings import BuildSettings
from pgtools.celebahq.storing import reasons_of, record_of, store_crops
from pgtools.celebahq.worker import Task, Worker, crop_path
from pgtools.errors import InputError, OutputError
from pgtools.runtime.build_format import StepTime
from pgtools.runtime.files import folder_lock, remove, remove_stale
from pgtools.runtime.journal import Journal
from pgtools.runtime.progress import bar
from pgtools.runtime.workers import map_unordered

# Names that are told before "and N more".
NAMED = 5


@dataclass(frozen=True)
class BuildResult:
    """What a build did.

    Attributes:
        stores: the finished stores.
        manifest: CSV with a line for every face.
        record: JSON with counts, settings, hashes and times.
        photos: how many photos there were.
        kept: how many crops the stores hold.
        skipped: reason → how many photos or faces gave no crop for it.
        resumed: how many outcomes an earlier, interrupted run had left.
    """

    stores: list[Path]
    manifest: Path
    record: Path
    photos: int
    kept: int
    skipped: dict[str, int]
    resumed: int


def build(
    root: Path,
    outputs: Sequence[Path],
    settings: BuildSettings,
    *,
    overwrite: bool = False,
    told: Callable[[str], None] = lambda text: None,
) -> BuildResult:
    """Build CelebA-HQ stores from photos.

    Args:
        root: CelebA's folder, any folder of photos, or a ZIP of either.
        outputs: NAME.lmdb, NAME.h5, or both.
        settings: see BuildSettings.
        overwrite: replace outputs that exist; they stay until the new ones are whole.
        told: called with a line for the person watching.

    Raises:
        InputError: there are no photos, no photo gives a crop, or an earlier run here had other settings.
        MissingModelError: a network's weights are needed and not there.
        OutputError: an output exists, cannot be written, or will not fit on the disk.
        UsageError: the settings contradict each other or what is there.
    """
    start, started = time.perf_counter(), _now()
    check = partial(check_places, outputs, overwrite=overwrite)
    check()
    job = open_job(root, outputs, settings)
    told(plan_of(job))
    with folder_lock(job.work), Journal(job.work / JOURNAL, job.decisive()) as journal:
        check_space(job, told)
        while True:
            outcomes, resumed = _process_all(job, journal, told)
            kept = kept_of(outcomes, job.given.order, job.choice)
            if not kept:
                why = reasons_of(outcomes) or f"no score is {settings.min_score} or better"
                raise InputError(f"None of the {len(outcomes)} photos gave a crop to keep: {why}.")
            check()  # hours have passed
            begun = time.perf_counter()
            torn = store_crops(job, kept)
            if torn is None:
                break
            told(f"{torn.message} It is made again.")
        for path in papers_of(outputs[0]):
            remove_stale(path)
        manifest, _, written = papers_of(outputs[0])
        names = job.given.photos.names
        write_manifest(
            manifest,
            names,
            outcomes,
            list(kept),
            attributes=job.given.annotations.of,
            models=job.networks,
            choice=job.choice,
        )
        record = record_of(job, outcomes, kept, resumed, started)
        stored = StepTime(time.perf_counter() - begun, len(kept))
        record = replace(record, steps={**record.steps, "store": stored}, finished=_now())
        replace(record, seconds=time.perf_counter() - start).write(written)
    _remove_work(job.work)
    return BuildResult(list(outputs), manifest, written, len(names), len(kept), record.reasons, resumed)


def _process_all(job: Job, journal: Journal, told: Callable[[str], None]) -> tuple[dict[str, Outcome], int]:
    """Process every photo that has no outcome yet; the crops folder never holds many more than the best K.

    A crop that should be there and is not (a file was deleted, more crops are to be kept than before) is made again.
    """
    job.crops.mkdir(exist_ok=True)
    files = job.given.photos.files
    states = {name: file.state() for name, file in files.items()}
    before = {name: outcome for name, outcome in journal.done().items() if name in files}
    outcomes = {name: outcome for name, outcome in before.items() if outcome["state"] == states[name]}
    if changed := sorted(before.keys() - outcomes.keys()):
        told(f"{len(changed)} photos are not what they were, and are done again: {_named(changed)}.")
    resumed = len(outcomes)
    with bar("Cropping", total=len(files), done=resumed) as advance:
        again = True  # what failed in passing gets a second try at the end
        written: set[str] = set()
        while todo := _unfinished(job, outcomes) or (again and _passing(outcomes)):
            again = again and not _passing(outcomes)
            _check_they_stay(job, written.intersection(todo) - set(_passing(outcomes)))
            written.update(todo)
            best = BestCrops(job.choice, job.given.order, partial(_delete_crop, job))
            for name in outcomes.keys() - set(todo):
                best.add(name, outcomes[name])
            for chunk in _mapped(job, todo):
                finished = {name: {**outcome, "state": states[name]} for name, outcome in chunk}
                journal.record((name, outcome) for name, outcome in finished.items() if not outcome.get("passing"))
                outcomes.update(finished)
                for name, outcome in finished.items():
                    best.add(name, outcome)
                advance(len(finished))
    return outcomes, resumed


def _mapped(job: Job, todo: Sequence[str]) -> Iterator[list[tuple[str, Outcome]]]:
    """Yield the outcomes of photos, a chunk at a time, as workers bring them."""
    given, settings = job.given, job.settings
    worker = Worker(job.steps, job.crops, given.deltas, nearest=settings.nearest)
    # A worker elsewhere stands in another folder.
    files = {name: replace(file, path=file.path.absolute()) for name, file in given.photos.files.items()}
    tasks = [Task(name, files[name], given.landmarks.get(name), given.source) for name in todo]
    size = max(CHUNK, settings.batch)
    chunks = [tasks[i : i + size] for i in range(0, len(tasks), size)]
    return map_unordered(worker, chunks, workers=job.workers, kind=job.kind, scheduler=settings.scheduler)


def _check_they_stay(job: Job, lost: set[str]) -> None:
    if lost:
        raise OutputError(
            f"The crops of {_named(sorted(lost))} were written to {job.crops} and are not there.",
            hint="Every worker must write to the same folder: one on a file system that all of them share.",
        )


def _passing(outcomes: Mapping[str, Outcome]) -> list[str]:
    return [name for name, outcome in outcomes.items() if outcome.get("passing")]


def _unfinished(job: Job, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return the photos without an outcome, and those of which a crop to be kept is not there."""
    kept = kept_of(outcomes, job.given.order, job.choice)
    missing = {name for name in kept if not crop_path(job.crops, name).is_file()}
    lost = {
        photo
        for photo, outcome in outcomes.items()
        if missing and any(n in missing for n, _ in crops_of(photo, outcome))
    }
    return [name for name in job.given.photos.names if name not in outcomes or name in lost]


def _delete_crop(job: Job, name: str) -> None:
    crop_path(job.crops, name).unlink(missing_ok=True)


def _remove_work(work: Path) -> None:
    # Named as what a killed process leaves, which the next build of this output removes.
    finished = work.with_name(f".{work.name}.{os.getpid()}.partial")
    remove(finished)
    work.rename(finished)
    remove(finished)


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
