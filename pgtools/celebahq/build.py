"""The job around `process`: workers, journal, best K, stores and manifest.

Everything in the making stands in a folder beside the output. A photo's outcome enters the journal once its crop is
safely on disk, so killing the build at any moment costs at most the chunks in flight.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.annotations import PhotoSet, find_photos, read_landmarks
from pgtools.celebahq.manifest import Outcome, manifest_path, write_manifest
from pgtools.celebahq.process import Steps
from pgtools.celebahq.ranking import BestCrops, best_of
from pgtools.celebahq.settings import BuildSettings
from pgtools.celebahq.worker import Task, Worker, crop_path
from pgtools.errors import InputError, MissingModelError, OutputError, UsageError
from pgtools.imaging.photo import read_photo
from pgtools.models.weights import find
from pgtools.runtime.files import (
    check_free_space,
    check_writable,
    folder_lock,
    remove,
    sha256_of,
    write_json,
)
from pgtools.runtime.journal import Journal
from pgtools.runtime.progress import bar, track
from pgtools.runtime.workers import cpu_count, map_unordered
from pgtools.stores.layout import Record
from pgtools.stores.writer import Plan
from pgtools.stores.writing import Item, check_outputs, estimated_bytes, store_outputs, write_stores

if TYPE_CHECKING:  # networks import torch, which a build without them does without
    from pgtools.restoration.network import ImageNetwork

# Photos a worker does between two entries in the journal.
CHUNK = 8
JOURNAL = "journal.sqlite"
# Raised when the same photo and settings give another crop or score: an interrupted build does not mix the two.
DEFINITION = 2
# Measured on photographs of faces at 1024².
PNG_BYTES_PER_BYTE = 0.6


@dataclass(frozen=True)
class BuildResult:
    """What a build did.

    Attributes:
        stores: the finished stores.
        manifest: CSV with a line for every photo.
        photos: how many there were.
        kept: how many crops the stores hold.
        skipped: reason → how many photos gave no crop for it.
        resumed: how many outcomes an earlier, interrupted run had left.
    """

    stores: list[Path]
    manifest: Path
    photos: int
    kept: int
    skipped: dict[str, int]
    resumed: int


def build(root: Path, outputs: Sequence[Path], settings: BuildSettings, *, overwrite: bool = False) -> BuildResult:
    """Build CelebA-HQ stores from a folder of photos.

    Args:
        root: CelebA's folder, or any folder of photos.
        outputs: NAME.lmdb, NAME.h5, or both.
        settings: see BuildSettings.
        overwrite: replace outputs that exist; they stay until the new ones are whole.

    Raises:
        InputError: there are no photos, no photo gives a crop, or an earlier run here had other settings.
        MissingModelError: landmarks must be found and the detector's weights are not there.
        OutputError: an output exists, cannot be written, or will not fit on the disk.
    """
    store_outputs(outputs)
    manifest = manifest_path(outputs[0])
    work = outputs[0].with_name(f"{outputs[0].name}.build")
    _check_work_folder(work)
    check = partial(_check_outputs, outputs, manifest, work / "storing", overwrite=overwrite)
    check()
    photos = find_photos(root)
    _check_apart(outputs, photos)
    known = _known_landmarks(photos, settings)
    steps = _load_steps(settings, photos, known)
    with folder_lock(work), Journal(work / JOURNAL, _decisive(photos, settings, steps)) as journal:
        _check_space(outputs, work / "crops", photos, settings)
        outcomes, resumed = _process_all(photos, known or {}, steps, settings, work / "crops", journal)
        kept = best_of(outcomes, photos.names, settings.keep)
        if not kept:
            raise InputError(f"None of the {len(photos.names)} photos gave a crop: {_reasons(outcomes)}.")
        check()  # hours have passed
        write_json(work / "storing", [str(path.resolve()) for path in (*outputs, manifest)])
        crops = (_item(name, crop_path(work / "crops", name), outcomes[name]) for name in kept)
        origin = {**_decisive(photos, settings, steps), "made": "build-celebahq", "folder": root.resolve().name}
        plan = Plan(len(kept), settings.resolution, origin=origin)
        write_stores(store_outputs(outputs), track(crops, "Storing", total=len(kept)), plan)
        write_manifest(manifest, photos.names, outcomes, kept)
    finished = work.with_name(f".{work.name}.{os.getpid()}.old")
    remove(finished)
    work.rename(finished)
    remove(finished)
    return BuildResult(list(outputs), manifest, len(photos.names), len(kept), _reasons(outcomes), resumed)


def _check_work_folder(work: Path) -> None:
    """What is removed in the end must be a build's and nothing else."""
    if not work.exists() or (work / JOURNAL).is_file():
        return
    if not work.is_dir() or {file.name for file in work.iterdir()} - {".lock"}:
        raise OutputError(
            f"{work} is where the build would work, and is no interrupted build.", hint="Name another output."
        )


def _check_outputs(outputs: Sequence[Path], manifest: Path, storing: Path, *, overwrite: bool) -> None:
    """Outputs that stand there because a build was killed while storing are its own; no others are replaced."""
    begun = set(json.loads(storing.read_text("utf-8"))) if storing.is_file() else set()
    for path in outputs:
        check_outputs(store_outputs([path]), overwrite=overwrite or str(path.resolve()) in begun)
    check_writable(manifest, overwrite=overwrite or str(manifest.resolve()) in begun, what="file")


def _check_apart(outputs: Sequence[Path], photos: PhotoSet) -> None:
    """Nothing of ours may be taken for a photo when the build is run again."""
    for path in outputs:
        if photos.folder.resolve() in path.resolve().parents or path.resolve() == photos.folder.resolve():
            raise UsageError(f"{path} lies in the folder of the photos, {photos.folder}.", hint="Write beside it.")


def _known_landmarks(photos: PhotoSet, settings: BuildSettings) -> dict[str, NDArray[np.float64]] | None:
    if settings.landmarks == "facexlib":
        return None
    if photos.annotation is not None:
        return read_landmarks(photos.annotation)
    if settings.landmarks == "celeba":
        raise InputError(
            f"{photos.folder} has no CelebA landmark file (Anno/list_landmarks_celeba.txt or of that kind) beside it.",
            hint="Add it, or pass --landmarks facexlib.",
        )
    return None


def _load_steps(settings: BuildSettings, photos: PhotoSet, known: dict[str, NDArray[np.float64]] | None) -> Steps:
    """Find and load every network now, so that a wrong file is told before the first photo."""
    detector = restore = superres = None
    unknown = sum(name not in (known or {}) for name in photos.names)
    if unknown and settings.landmarks != "celeba":
        from pgtools.celebahq.landmarks import FaceDetector

        detector = FaceDetector(settings.detector, _detector_weights(settings, photos, unknown), settings.device)
        detector.load()
    if settings.restore != "none":
        restore = _network(settings.restore, settings, enlarging=False)
        if restore.scale != 1:
            raise UsageError(f"--restore {settings.restore} enlarges {restore.scale} times; pass it as --superres.")
    if settings.superres != "lanczos":
        superres = _network(settings.superres, settings, enlarging=True)
        if superres.scale == 1:
            raise UsageError(f"--superres {settings.superres} does not enlarge; pass it as --restore.")
    return Steps(settings.resolution, detector, restore, superres)


def _detector_weights(settings: BuildSettings, photos: PhotoSet, unknown: int) -> Path:
    try:
        return find(settings.detector, settings.detector_weights)
    except MissingModelError as error:
        if photos.annotation is None or settings.landmarks == "facexlib":
            raise
        raise MissingModelError(
            f"{unknown} of {len(photos.names)} photos are not in {photos.annotation}, so their faces must be found. "
            + error.message,
            hint=f"{error.hint} Or pass --landmarks celeba: it skips those photos.",
        ) from None


def _network(name: str, settings: BuildSettings, *, enlarging: bool) -> ImageNetwork:
    from pgtools.restoration.network import ImageNetwork, find_network

    network = ImageNetwork(
        find_network(name, others=["lanczos" if enlarging else "none"], enlarging=enlarging),
        device=settings.device,
        tile=settings.tile,
        batch=settings.batch,
        precision=settings.precision,
    )
    if side := network.load().side:
        raise UsageError(f"{name} takes only faces of {side}×{side} pixels; photos are of any size.")
    if network.is_light:
        # As fast as all cores on one photo, since there is a process a core; and sums are rounded the same way
        # whatever the number of processes.
        network.threads = 1
    return network


def _decisive(photos: PhotoSet, settings: BuildSettings, steps: Steps) -> dict[str, Any]:
    """What decides the outcomes, by content: a resumed build must agree in all of it."""
    networks = {"detector": steps.detector, "restore": steps.restore, "superres": steps.superres}
    hashes = {name: sha256_of(network.weights) if network else None for name, network in networks.items()}
    annotation = sha256_of(photos.annotation) if photos.annotation and settings.landmarks != "facexlib" else None
    plain = {"resolution": settings.resolution, "keep": settings.keep, "landmarks": settings.landmarks}
    tile = settings.tile if steps.restore or steps.superres else None
    precisions = {
        f"{role} precision": network.precision if network else None
        for role, network in (("restore", steps.restore), ("superres", steps.superres))
    }
    folder = str(photos.folder.absolute())
    paths = {"tile": tile, "annotation": annotation, "folder": folder}
    return {**plain, **hashes, **precisions, **paths, "definition": DEFINITION}


def _check_space(outputs: Sequence[Path], crops: Path, photos: PhotoSet, settings: BuildSettings) -> None:
    """Crops in the making and stores must fit, on whichever disks they are to stand."""
    count = min(len(photos.names), settings.keep or len(photos.names))
    there = sum(file.stat().st_size for file in crops.glob("*.png")) if crops.is_dir() else 0
    needs = [(crops.parent, int(count * 3 * settings.resolution**2 * PNG_BYTES_PER_BYTE) - there)]
    plan = Plan(count, settings.resolution)
    needs += [(one.path.absolute().parent, estimated_bytes(one.format.name, plan)) for one in store_outputs(outputs)]
    by_disk: dict[int, tuple[Path, int]] = {}
    for folder, needed in needs:
        folder.mkdir(parents=True, exist_ok=True)
        disk = folder.stat().st_dev
        by_disk[disk] = (folder, by_disk.get(disk, (folder, 0))[1] + needed)
    for folder, needed in by_disk.values():
        check_free_space(folder, needed)


def _process_all(
    photos: PhotoSet,
    known: dict[str, NDArray[np.float64]],
    steps: Steps,
    settings: BuildSettings,
    crops: Path,
    journal: Journal,
) -> tuple[dict[str, Outcome], int]:
    """Process every photo that has no outcome yet; the crops folder never holds many more than the best K.

    A crop that should be there and is not (a photo changed between two runs, a file was deleted) is made again.
    """
    crops.mkdir(exist_ok=True)
    states = {name: _file_state(file) for name, file in photos.files.items()}
    places = {name: crop_path(crops, name) for name in photos.names}
    outcomes = {key: value for key, value in journal.done().items() if states.get(key) == value["state"]}
    resumed = len(outcomes)
    with bar("Cropping", total=len(photos.names), done=resumed) as advance:
        again = True  # what failed in passing gets a second try at the end
        while todo := _unfinished(outcomes, places, settings.keep) or (again and _passing(outcomes)):
            again = again and not _passing(outcomes)
            best = BestCrops(settings.keep, places)
            for name in outcomes.keys() - set(todo):
                best.add(name, outcomes[name])
            tasks = [Task(name, photos.files[name], places[name], known.get(name)) for name in todo]
            chunks = [tasks[i : i + CHUNK] for i in range(0, len(tasks), CHUNK)]
            for chunk in map_unordered(Worker(steps), chunks, workers=_workers(steps, settings)):
                finished = {name: {**outcome, "state": states[name]} for name, outcome in chunk}
                journal.record((name, outcome) for name, outcome in finished.items() if not outcome.get("passing"))
                outcomes.update(finished)
                for name, outcome in finished.items():
                    best.add(name, outcome)
                advance(len(finished))
    return outcomes, resumed


def _passing(outcomes: dict[str, Outcome]) -> list[str]:
    return [name for name, outcome in outcomes.items() if outcome.get("passing")]


def _unfinished(outcomes: dict[str, Outcome], places: dict[str, Path], keep: int | None) -> list[str]:
    missing = {name for name in best_of(outcomes, list(places), keep) if not places[name].is_file()}
    return [name for name in places if name not in outcomes or name in missing]


def _item(name: str, crop: Path, outcome: Outcome) -> Item:
    image = np.ascontiguousarray(read_photo(crop).transpose(2, 0, 1))
    return Item(image, Record(name, {"score": outcome["score"]}))


def _file_state(path: Path) -> list[int]:
    """Size and time of a file: a photo that changed since the journal saw it is done again."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _workers(steps: Steps, settings: BuildSettings) -> int:
    """One process a core, unless networks would compete for one GPU, or for memory with one another."""
    networks = [network for network in (steps.restore, steps.superres) if network]
    if settings.workers or not (networks or steps.detector):
        return settings.workers or cpu_count()
    from pgtools.runtime.device import resolve_device

    on_cpu = resolve_device(settings.device).type == "cpu"
    return cpu_count() if on_cpu and all(network.is_light for network in networks) else 1


def _reasons(outcomes: dict[str, Outcome]) -> dict[str, int]:
    """Return reason → count of the photos without a crop; what differs from file to file is left out."""
    counts: dict[str, int] = {}
    for outcome in outcomes.values():
        if "reason" in outcome:
            reason = outcome["reason"].split(" (")[0]
            if hint := outcome.get("hint"):
                reason += f". {hint.rstrip('.')}"
            counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items()))
