"""What a build leaves behind: the stores of the crops that are kept, and the record of how they came about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pgtools.celebahq.job import Job
from pgtools.celebahq.manifest import Outcome
from pgtools.celebahq.places import STORING, papers_of
from pgtools.celebahq.ranking import crops_of
from pgtools.celebahq.worker import crop_path, read_crop
from pgtools.errors import InputError
from pgtools.runtime.build_format import BuildRecord, step_times
from pgtools.runtime.files import write_json
from pgtools.runtime.progress import track
from pgtools.stores.layout import Record
from pgtools.stores.writer import Plan
from pgtools.stores.writing import Item, store_outputs, write_stores

# Of what decides the outcomes, what neither the settings nor the networks tell.
FACTS = ("annotation", "restore precision", "superres precision", "definition")


def store_crops(job: Job, kept: Mapping[str, Outcome], also: Sequence[Path]) -> InputError | None:
    """Write the stores; a crop that is not what was written is deleted, and its fault returned.

    Args:
        job: the build.
        kept: name → face of the crops, in the order of the store.
        also: what the build writes besides, for another run to know.
    """
    torn: list[InputError] = []

    def items() -> Iterator[Item]:
        for name, face in kept.items():
            path = crop_path(job.crops, name)
            try:
                image, packed = read_crop(path, job.settings.resolution, face["sha256"])
            except InputError as error:
                path.unlink(missing_ok=True)
                torn.append(error)
                raise
            yield Item(image, Record(name, _attributes(job, name, face)), packed=packed)

    ours = [*job.outputs, *papers_of(job.outputs[0]), *also]
    write_json(job.work / STORING, [str(path.resolve()) for path in ours])
    plan = Plan(len(kept), job.settings.resolution, origin=_origin(job))
    try:
        write_stores(store_outputs(job.outputs), track(items(), "Storing", total=len(kept)), plan)
    except InputError:
        if not torn:
            raise
        return torn[0]
    return None


def _origin(job: Job) -> dict[str, object]:
    """Return what the stores' header tells of how they were made."""
    choice = {name: getattr(job.settings, name) for name in ("keep", "min_score", "limit")}
    detector = job.networks["detector"].sha256 if "detector" in job.networks else None
    folder = job.given.photos.root.resolve().name
    return {**job.decisive(), "detector": detector, **choice, "made": "build-celebahq", "folder": folder}


def _attributes(job: Job, name: str, face: Outcome) -> dict[str, bool | int | float | str]:
    photo = name.rpartition("#")[0] if name not in job.given.order else name
    known: dict[str, bool | int | float | str] = dict(job.given.annotations.of(photo))
    if "score" in face:
        known["score"] = face["score"]
    if job.given.deltas is not None:
        known["celebahq"] = job.given.deltas.entries[photo].idx
    return known


def record_of(job: Job, outcomes: Mapping[str, Outcome], kept: Mapping[str, Outcome], resumed: int) -> BuildRecord:
    """Return what the build tells of itself, but for how long it took."""
    steps = step_times(outcome.get("seconds", {}) for outcome in outcomes.values())
    return BuildRecord(
        source=str(job.root.absolute()),
        stores=[str(path) for path in job.outputs],
        settings=job.settings.taking_part(),
        networks=dict(job.networks),
        facts={name: value for name, value in job.decisive().items() if name in FACTS and value is not None},
        photos=len(outcomes),
        crops=sum(1 for photo, outcome in outcomes.items() for _ in crops_of(photo, outcome)),
        kept=len(kept),
        resumed=resumed,
        reasons=reasons_of(outcomes),
        steps=steps,
        workers=job.workers,
        inexact=inexact_of(outcomes),
    )


def inexact_of(outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    """Return reason → count of the images that are not the authors' own but the nearest."""
    faces = [face for outcome in outcomes.values() for face in outcome.get("faces", [])]
    notes = [face["note"].split(" (")[0] for face in faces if "note" in face]
    return {note: notes.count(note) for note in sorted(set(notes))}


def reasons_of(outcomes: Mapping[str, Outcome]) -> dict[str, int]:
    """Return reason → count of the photos and faces without a crop; what differs from one to another is left out."""
    counts: dict[str, int] = {}
    for outcome in outcomes.values():
        for one in outcome.get("faces", [outcome]):
            if told := one.get("reason"):
                reason = told.split(" (")[0]
                if hint := one.get("hint"):
                    reason += f". {hint.rstrip('.')}"
                counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items()))
