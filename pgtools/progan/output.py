"""What a run writes on its way, when it is due: log lines, grids, snapshots, checkpoints, scores."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from types import TracebackType

import torch

from pgtools.imaging.grid import tile
from pgtools.progan.config import TrainSettings
from pgtools.progan.run.checkpoint import Checkpoint, gathered
from pgtools.progan.run.folder import RunFolder
from pgtools.progan.run.progress import Progress
from pgtools.progan.run.record import Record
from pgtools.progan.run.snapshot import Snapshot, read_snapshot, write_snapshot
from pgtools.progan.sampling.source import GeneratorSource, grid_count
from pgtools.progan.schedule import Stage, crossed
from pgtools.progan.step import Stepper
from pgtools.runtime.memory import highest_resident, resident_from_here
from pgtools.runtime.results import MetricResult
from pgtools.runtime.seeds import stream
from pgtools.stores.source import ImageSource

Score = Callable[[ImageSource], list[MetricResult]]


class Output:
    """Writes a run's folder; made in the first process only.

    Args:
        folder: of the run.
        settings: of the run.
        source: the real images, for their grid.
        stepper: holds the networks and optimizers.
        score: measures a generator's images.
    """

    def __init__(
        self, folder: RunFolder, settings: TrainSettings, source: ImageSource, stepper: Stepper, score: Score | None
    ) -> None:
        self.folder, self.settings, self.source, self.stepper, self.score = folder, settings, source, stepper, score
        self.metrics = settings.metric_names
        self._record = Record(folder, tensorboard=settings.tensorboard)
        self._saved = time.monotonic()
        resident_from_here()

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._record.close()

    def begin(self, progress: Progress, stage: Stage) -> None:
        """Write the grid of reals and the first checkpoint of a new run; score what an earlier one left."""
        if self.folder.latest() is None:
            count = min(grid_count(self.source.resolution), len(self.source))
            chosen = stream(self.settings.seed, "grid").permutation(len(self.source))[:count]
            self._record.grid("reals", tile(self.source.read(chosen.tolist())))
            self.save(progress, stage)
        self._score_newest()

    def rewound(self) -> None:
        """Tell what is open that the folder went back to its latest checkpoint."""
        self._record.rewound()

    def write_due(self, before: int, progress: Progress, stage: Stage, *, last: bool) -> None:
        """Write what became due since `before` images."""
        now, settings = progress.images, self.settings
        if last or crossed(before, now, settings.log_kimg):
            self._log(progress, stage)
        if last or crossed(before, now, settings.grid_kimg):
            count = grid_count(self.source.resolution)
            images = self._images(self._snapshot(progress, stage), count).read(range(count))
            self._record.grid(f"fakes-{now:09d}", tile(images))
        snapshot = last or crossed(before, now, settings.snapshot_kimg)
        scored = last or (snapshot if settings.every is None else crossed(before, now, settings.every))
        scored = scored and self.score is not None
        if snapshot or scored:
            self.save(progress, stage, snapshot=True)
            if scored:
                self._score_newest()
        elif settings.checkpoint_minutes and time.monotonic() - self._saved >= 60 * settings.checkpoint_minutes:
            self.save(progress, stage)

    def save(self, progress: Progress, stage: Stage, *, snapshot: bool = False) -> None:
        """Write a checkpoint, after a snapshot if asked for. The trainer has seen to it that all weights are finite."""
        if snapshot:
            write_snapshot(self.folder.snapshot(progress.images), self._snapshot(progress, stage))
        tensors = gathered(self.stepper.kinds, self.stepper.adams)
        kept = dataclasses.asdict(progress)
        shape = self.stepper.networks.generator.shape
        self.folder.write_checkpoint(Checkpoint(shape, tensors, kept, lod=stage.lod, images=progress.images))
        self._saved = time.monotonic()

    def _log(self, progress: Progress, stage: Stage) -> None:
        figures = progress.line()
        self._record.tick(
            {
                "images": progress.images,
                "kimg": progress.images / 1000,
                "lod": stage.lod,
                "resolution": stage.resolution,
                "minibatch": stage.minibatch,
                "learning_rate": stage.learning_rate,
                **figures,
                "memory_gb": self._memory() / 1e9,
                "rollbacks": progress.rollbacks,
            }
        )
        progress.begin_line()

    def _memory(self) -> int:
        """The most bytes taken so far: of the GPU, or of this process where the system tells."""
        if self.stepper.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.stepper.device)
        return highest_resident() or 0

    def _score_newest(self) -> None:
        """Score the newest snapshot, unless it is: the last sitting may have ended before it was.

        It is read from its file, as the checkpoint may be of a later moment. A score that fails costs no training.
        """
        snapshots = self.folder.snapshots()
        if self.score is None or not snapshots or self.folder.is_scored(int(snapshots[-1].stem), self.metrics):
            return
        try:
            snapshot = read_snapshot(snapshots[-1])
            results = self.score(self._images(snapshot, self.settings.num_images))
            for result in results:
                line = {"images": snapshot.images, "kimg": snapshot.images / 1000, "result": result.as_dict()}
                self._record.score(line)
        except Exception as error:  # of any kind: memory, a disk, a library
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            print(f"{snapshots[-1].name} has no score: {reason}", file=sys.stderr)
            return
        wanted = self.settings.best or self.metrics[0]
        for result in results:
            if result.metric == wanted:
                self.folder.mark_best(wanted, "average" if "average" in result.values else next(iter(result.values)))

    def _images(self, snapshot: Snapshot, count: int) -> GeneratorSource:
        """A generator's images, those of `pgtools generate` with the same seed."""
        name, seed = str(self.folder.path), self.settings.seed
        return GeneratorSource(snapshot, name=name, count=count, seed=seed, device=self.stepper.device)

    def _snapshot(self, progress: Progress, stage: Stage) -> Snapshot:
        return Snapshot(self.stepper.networks.average, stage.lod, progress.images)
