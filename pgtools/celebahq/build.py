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

from pgtools.celebahq.job import Job, check_space, chunk_size, listed, open_job, plan_of
from pgtools.celebahq.manifest import Outcome, write_manifest
from pgtools.celebahq.places import JOURNAL, check_apart, check_places, papers_of
from pgtools.celebahq.ranking import BestCrops, crops_of, kept_of
from pgtools.celebahq.settings import BuildSettings
from pgtools.celebahq.storing import inexact_of, reasons_of, record_of, store_crops
from pgtools.celebahq.worker import Task, Worker, crop_path
from pgtools.errors import InputError, OutputError
from pgtools.runtime.build_format import StepTime
from pgtools.runtime.files import folder_lock, remove, remove_stale
from pgtools.runtime.journal import Journal
from pgtools.runtime.progress import bar
from pgtools.runtime.workers import map_unordered


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
        inexact: reason → how many images are the nearest to the authors' own, without the delta.
    """

    stores: list[Path]
    manifest: Path
    record: Path
    photos: int
    kept: int
    skipped: dict[str, int]
    resumed: int
    inexact: dict[str, int]


def build(
    root: Path,
    outputs: Sequence[Path],
    settings: BuildSettings,
    *,
    overwrite: bool = False,
    told: Callable[[str], None] = lambda text: None,
    also: Mapping[Path, Callable[[BuildResult], object]] | None = None,
) -> BuildResult:
    """Build CelebA-HQ stores from photos.

    Args:
        root: CelebA's folder, any folder of photos, or a ZIP of either.
        outputs: NAME.lmdb, NAME.h5, or both.
        settings: see BuildSettings.
        overwrite: replace outputs that exist; they stay until the new ones are whole.
        told: called with a line for the person watching.
        also: file → what writes it once all else is there, before the build counts as done.

    Raises:
        InputError: there are no photos, no photo gives a crop, or an earlier run here had other settings.
        MissingModelError: a network's weights are needed and not there.
        OutputError: an output exists, cannot be written, or will not fit on the disk.
        UsageError: the settings contradict each other or what is there.
    """
    clock = _Clock()
    also = also or {}
    check = partial(check_places, outputs, list(also), overwrite=overwrite)
    check()
    job = open_job(root, outputs, settings)
    check_apart([*outputs, *also], job.given.photos.root)
    told(plan_of(job))
    check_space(job, told)
    with folder_lock(job.work):
        with Journal(job.work / JOURNAL, job.decisive()) as journal:
            outcomes, resumed = _process_all(job, journal, told)
            kept = _kept(job, outcomes)
            check()  # hours have passed
            clock.storing()
            while torn := store_crops(job, kept, list(also)):
                told(f"{torn.message} It is made again.")
                outcomes, _ = _process_all(job, journal, told)
                kept = _kept(job, outcomes)
        result = _finish(job, outcomes, kept, resumed, clock)
        if result.inexact:
            told(_inexact(result.inexact))
        for write in also.values():
            write(result)
        _remove_work(job.work)
    return result


def _kept(job: Job, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Return the crops to keep.

    Raises:
        InputError: there are none; a work folder without a crop in it is of no use and goes.
    """
    kept = kept_of(outcomes, job.given.order, job.keeping)
    if kept:
        return kept
    if not any(job.crops.glob("*.crop")):
        _remove_work(job.work)
    if reasons := reasons_of(outcomes):
        why = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
        faces = any(reason.startswith("face is") for reason in reasons)
        hint = "Loosen --min-face, --max-turn or --max-outside." if faces else ""
    else:
        scores = [face["score"] for photo, outcome in outcomes.items() for _, face in crops_of(photo, outcome)]
        why, hint = f"the best score is {max(scores):.3f}", f"--min-score is {job.settings.min_score}; lower it."
    raise InputError(f"None of the {len(outcomes)} photos gave a crop to keep: {why}.", hint=hint)


def _finish(
    job: Job, outcomes: dict[str, Outcome], kept: Mapping[str, Outcome], resumed: int, clock: _Clock
) -> BuildResult:
    """Write manifest and record, and return what the build did."""
    manifest, parquet, written = papers_of(job.outputs[0])
    for path in (manifest, parquet, written):
        remove_stale(path)
    outcomes = outcomes | {name: {"reason": "the photo is not there"} for name in job.given.absent}
    write_manifest(
        manifest,
        [*job.given.photos.names, *job.given.absent],
        outcomes,
        list(kept),
        attributes=job.given.annotations.of,
        models=job.networks,
        choice=job.keeping,
    )
    record = record_of(job, outcomes, kept, resumed)
    steps = {**record.steps, "store": StepTime(clock.stored(), len(kept))}
    record = replace(record, steps=steps, started=clock.started, finished=_now(), seconds=clock.passed())
    record.write(written)
    inexact = inexact_of(outcomes)
    return BuildResult(list(job.outputs), manifest, written, len(outcomes), len(kept), record.reasons, resumed, inexact)


class _Clock:
    """When the build began, and when it began to store."""

    def __init__(self) -> None:
        self.started, self._start, self._storing = _now(), time.perf_counter(), 0.0

    def storing(self) -> None:
        """From now on crops are stored."""
        self._storing = time.perf_counter()

    def passed(self) -> float:
        """Return the seconds since the beginning."""
        return time.perf_counter() - self._start

    def stored(self) -> float:
        """Return the seconds since storing began."""
        return time.perf_counter() - self._storing


def _process_all(job: Job, journal: Journal, told: Callable[[str], None]) -> tuple[dict[str, Outcome], int]:
    """Process every photo that has no outcome yet; the crops folder never holds many more than the best K.

    A crop that should be there and is not (a file was deleted, more crops are to be kept than before) is made again.
    """
    job.crops.mkdir(exist_ok=True)
    detector = job.networks["detector"].sha256 if "detector" in job.networks else None
    states = job.given.states(detector)
    before = {name: outcome for name, outcome in journal.done().items() if name in states}
    outcomes = {name: outcome for name, outcome in before.items() if outcome["state"] == states[name]}
    if changed := sorted(before.keys() - outcomes.keys()):
        told(f"{len(changed)} photos are not what they were, or what they need is not; done again: {listed(changed)}.")
    resumed = len(outcomes)
    with bar("Cropping", total=len(states), done=resumed) as advance:
        again = True  # what failed in passing gets a second try at the end
        written: set[str] = set()
        while todo := _unfinished(job, outcomes) or (again and _passing(outcomes)):
            again = again and not _passing(outcomes)
            _check_they_stay(job, written.intersection(todo) - set(_passing(outcomes)))
            written.update(todo)
            best = BestCrops(job.keeping, job.given.order, partial(_delete_crop, job))
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
    known = given.landmarks
    tasks = [Task(name, files[name], known.get(name), given.source, name in known.upright) for name in todo]
    size = chunk_size(job, len(tasks))
    chunks = [tasks[i : i + size] for i in range(0, len(tasks), size)]
    return map_unordered(worker, chunks, workers=job.workers, kind=job.kind, scheduler=settings.scheduler)


def _check_they_stay(job: Job, lost: set[str]) -> None:
    if lost:
        raise OutputError(
            f"The crops of {listed(sorted(lost))} were written to {job.crops} and are not there.",
            hint="Every worker must write to the same folder: one on a file system that all of them share.",
        )


def _passing(outcomes: Mapping[str, Outcome]) -> list[str]:
    return [name for name, outcome in outcomes.items() if outcome.get("passing")]


def _unfinished(job: Job, outcomes: Mapping[str, Outcome]) -> list[str]:
    """Return the photos without an outcome, and those of which a crop to be kept is not there."""
    kept = kept_of(outcomes, job.given.order, job.keeping)
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


def _inexact(reasons: Mapping[str, int]) -> str:
    told = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
    return f"{sum(reasons.values())} images are the nearest, not the authors' own: {told}."


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
