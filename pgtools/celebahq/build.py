"""The job around `process`: workers, journal, best K, stores and manifest.

Everything in the making stands in a folder beside the output. A photo's outcome enters the journal once its crop is
safely on disk, so killing the build at any moment costs at most the chunks in flight.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.annotations import PhotoSet, find_photos, read_landmarks
from pgtools.celebahq.manifest import manifest_path, write_manifest
from pgtools.celebahq.process import Steps, process
from pgtools.celebahq.settings import BuildSettings
from pgtools.errors import InputError, UsageError
from pgtools.imaging.photo import encode_png, read_photo
from pgtools.models.weights import find
from pgtools.runtime.files import (
    check_free_space,
    check_writable,
    folder_lock,
    remove,
    sha256_of,
    written_aside,
)
from pgtools.runtime.journal import Journal
from pgtools.runtime.progress import bar, track
from pgtools.runtime.workers import cpu_count, map_unordered
from pgtools.stores.writing import check_suffixes, estimated_bytes, write_stores

# Photos a worker does between two entries in the journal.
CHUNK = 8
Outcome = dict[str, Any]


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


@dataclass(frozen=True)
class Task:
    """One photo for a worker: its name, its file, where its crop goes, its points if they are known."""

    name: str
    file: Path
    crop: Path
    landmarks: NDArray[np.float64] | None


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
    check_suffixes(outputs)
    manifest = manifest_path(outputs[0])
    for path in (*outputs, manifest):
        check_writable(path, overwrite=overwrite, what="output")
    photos = find_photos(root)
    known = _known_landmarks(photos, settings)
    steps = _load_steps(settings, all_known=known is not None and all(name in known for name in photos.names))
    _check_space(outputs, photos, settings)
    work = outputs[0].with_name(f"{outputs[0].name}.build")
    with folder_lock(work), Journal(work / "journal.sqlite", _decisive(photos, settings, steps)) as journal:
        outcomes, resumed = _process_all(photos, known or {}, steps, settings, work / "crops", journal)
        kept = best_of(outcomes, photos.names, settings.keep)
        if not kept:
            raise InputError(f"None of the {len(photos.names)} photos gave a crop: {_reasons(outcomes)}.")
        place = {name: place for place, name in enumerate(photos.names)}
        crops = ((name, _read_crop(crop_path(work / "crops", place[name]))) for name in kept)
        images = track(crops, "Storing", total=len(kept))
        write_stores(outputs, images, count=len(kept), resolution=settings.resolution)
        write_manifest(manifest, photos.names, outcomes, kept)
    remove(work)
    return BuildResult(list(outputs), manifest, len(photos.names), len(kept), _reasons(outcomes), resumed)


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


def _load_steps(settings: BuildSettings, *, all_known: bool) -> Steps:
    """Find and load every network now, so that a wrong file is told before the first photo."""
    detector = restore = superres = None
    if not all_known and settings.landmarks != "celeba":
        from pgtools.celebahq.landmarks import FaceDetector

        weights = find(settings.detector, settings.detector_weights)
        detector = FaceDetector(settings.detector, weights, settings.device)
        detector.load()
    if settings.restore != "none":
        restore = _network(settings.restore, settings)
        if restore.scale != 1:
            raise UsageError(f"--restore {settings.restore} enlarges {restore.scale} times; pass it as --superres.")
    if settings.superres != "lanczos":
        superres = _network(settings.superres, settings)
        if superres.scale == 1:
            raise UsageError(f"--superres {settings.superres} does not enlarge; pass it as --restore.")
    return Steps(settings.resolution, detector, restore, superres)


def _network(name: str, settings: BuildSettings) -> Any:
    from pgtools.celebahq.restore import ImageNetwork

    network = ImageNetwork(Path(name), device=settings.device, tile=settings.tile)
    network.load()
    return network


def _decisive(photos: PhotoSet, settings: BuildSettings, steps: Steps) -> dict[str, Any]:
    """What decides the outcomes, by content: a resumed build must agree in all of it."""
    networks = {"detector": steps.detector, "restore": steps.restore, "superres": steps.superres}
    hashes = {name: sha256_of(network.weights) if network else None for name, network in networks.items()}
    annotation = sha256_of(photos.annotation) if photos.annotation and settings.landmarks != "facexlib" else None
    plain = {"resolution": settings.resolution, "keep": settings.keep, "landmarks": settings.landmarks}
    tile = settings.tile if steps.restore or steps.superres else None
    return {
        **plain,
        **hashes,
        "tile": tile,
        "annotation": annotation,
        "folder": str(photos.folder.absolute()),
    }


def _check_space(outputs: Sequence[Path], photos: PhotoSet, settings: BuildSettings) -> None:
    count = min(len(photos.names), settings.keep or len(photos.names))
    crops = int(count * 3 * settings.resolution**2 * 0.6)  # PNGs in the making
    stores = sum(estimated_bytes(path, count, settings.resolution) for path in outputs)
    check_free_space(outputs[0].absolute().parent, crops + stores)


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
    states = {name: _file_state(photos.folder / name) for name in photos.names}
    files = {name: crop_path(crops, index) for index, name in enumerate(photos.names)}
    outcomes = {key: value for key, value in journal.done().items() if states.get(key) == value["state"]}
    resumed = len(outcomes)
    with bar("Cropping", total=len(photos.names), done=resumed) as advance:
        while todo := _unfinished(outcomes, files, settings.keep):
            best = _Best(settings.keep, outcomes, files)
            tasks = [Task(name, photos.folder / name, files[name], known.get(name)) for name in todo]
            chunks = [tasks[i : i + CHUNK] for i in range(0, len(tasks), CHUNK)]
            for chunk in map_unordered(_Worker(steps), chunks, workers=_workers(steps, settings)):
                finished = {name: {**outcome, "state": states[name]} for name, outcome in chunk}
                journal.record(finished.items())
                outcomes.update(finished)
                for name in finished:
                    best.add(name)
                advance(len(finished))
    return outcomes, resumed


def _unfinished(outcomes: dict[str, Outcome], files: dict[str, Path], keep: int | None) -> list[str]:
    missing = {name for name in best_of(outcomes, list(files), keep) if not files[name].is_file()}
    return [name for name in files if name not in outcomes or name in missing]


class _Worker:
    """Processes a chunk of photos: what travels to another process and comes back."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps

    def __call__(self, tasks: Sequence[Task]) -> list[tuple[str, Outcome]]:
        return [(task.name, self._one(task)) for task in tasks]

    def _one(self, task: Task) -> Outcome:
        try:
            result = process(read_photo(task.file), task.landmarks, self.steps)
        except InputError as error:
            # The message begins with the file, which the manifest has in a column of its own.
            return {"reason": error.message.removeprefix(f"{task.file}: ").rstrip(".")}
        with written_aside(task.crop) as aside:
            aside.write_bytes(encode_png(result.image))
        source = "facexlib" if task.landmarks is None else "celeba"
        points, quad = result.landmarks.ravel().tolist(), result.quad.ravel().tolist()
        return {"score": result.score, "landmarks": points, "quad": quad, "source": source}


class _Best:
    """Keeps the crops of the best K on disk and deletes the others: a heap whose top is the next to go."""

    def __init__(self, keep: int | None, outcomes: dict[str, Outcome], files: dict[str, Path]) -> None:
        self._keep, self._outcomes, self._files = keep, outcomes, files
        self._place = {name: place for place, name in enumerate(files)}
        self._heap: list[tuple[float, int, str]] = []
        for name in outcomes:
            self.add(name)

    def add(self, name: str) -> None:
        """Add a photo's outcome; the crop that is no longer among the best goes."""
        if "score" not in self._outcomes[name] or self._keep is None:
            return
        entry = (self._outcomes[name]["score"], -self._place[name], name)
        if len(self._heap) < self._keep:
            heapq.heappush(self._heap, entry)
        else:
            self._files[heapq.heappushpop(self._heap, entry)[2]].unlink(missing_ok=True)


def best_of(outcomes: dict[str, Outcome], names: Sequence[str], keep: int | None) -> list[str]:
    """Return the names of the `keep` best scores (all, if None) in the order of `names`; ties go to the earlier."""
    places = [place for place, name in enumerate(names) if "score" in outcomes.get(name, {})]
    best = sorted(places, key=lambda place: (-outcomes[names[place]]["score"], place))[:keep]
    return [names[place] for place in sorted(best)]


def crop_path(crops: Path, index: int) -> Path:
    """Return where the crop of a photo stands while the build runs."""
    return crops / f"{index:08d}.png"


def _read_crop(path: Path) -> NDArray[np.uint8]:
    return np.ascontiguousarray(read_photo(path).transpose(2, 0, 1))


def _file_state(path: Path) -> list[int]:
    """Size and time of a file: a photo that changed since the journal saw it is done again."""
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _workers(steps: Steps, settings: BuildSettings) -> int:
    networks = steps.detector or steps.restore or steps.superres
    return settings.workers or (1 if networks else cpu_count())


def _reasons(outcomes: dict[str, Outcome]) -> dict[str, int]:
    """Return reason → count of the photos without a crop; what differs from file to file is left out."""
    counts: dict[str, int] = {}
    for outcome in outcomes.values():
        if "reason" in outcome:
            reason = outcome["reason"].split(" (")[0]
            counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items()))
