"""What a run tells while it trains: JSON lines and grids always, TensorBoard beside them if asked for."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pgtools.errors import UsageError
from pgtools.progan.run.folder import RunFolder
from pgtools.runtime.run_format import FAKES

# Column of the log -> where TensorBoard shows it. Steps there are real images shown.
TAGS = {
    "loss_generator": "loss/generator",
    "loss_discriminator": "loss/discriminator",
    "wasserstein": "loss/wasserstein",
    "gradient_penalty": "loss/gradient_penalty",
    "gradient_norm_generator": "gradient_norm/generator",
    "gradient_norm_discriminator": "gradient_norm/discriminator",
    "images_per_second": "speed/images_per_second",
    "data_wait": "speed/data_wait",
    "seconds": "speed/seconds",
    "memory_gb": "speed/memory_gb",
    "lod": "schedule/lod",
    "resolution": "schedule/resolution",
    "minibatch": "schedule/minibatch",
    "learning_rate": "schedule/learning_rate",
    "rollbacks": "schedule/rollbacks",
}


class Record:
    """Writes log.jsonl, scores.jsonl, grids and, if asked for, RUN/tensorboard; `with` closes it.

    A resumed run goes on where its latest checkpoint stands: points of later moments, which a killed run wrote, are no
    longer shown.

    Args:
        folder: of the run, rewound if it is resumed.
        tensorboard: write for TensorBoard too.

    Raises:
        UsageError: the package tensorboard is not installed.
    """

    def __init__(self, folder: RunFolder, *, tensorboard: bool = False) -> None:
        self._folder, self._board = folder, _Board(folder) if tensorboard else None

    def tick(self, line: dict[str, Any]) -> None:
        """Add a line to log.jsonl, on disk when this returns.

        Raises:
            OutputError: a figure is NaN or infinite.
        """
        self._folder.append(self._folder.log, line)
        if self._board is not None:
            self._board.scalars({tag: line[name] for name, tag in TAGS.items() if name in line}, line["images"])

    def score(self, line: dict[str, Any]) -> None:
        """Add a metric's result to scores.jsonl, on disk when this returns, unless it has that metric of that moment.

        A run killed between two metrics of a moment measures both again.

        Raises:
            OutputError: a figure is NaN or infinite.
        """
        result = line["result"]
        if self._folder.is_scored(line["images"], [result["metric"]]):
            return
        self._folder.append(self._folder.scores, line)
        if self._board is not None:
            parts = {f"score/{result['metric']}/{part}": value for part, value in result["values"].items()}
            self._board.scalars(parts, line["images"])

    def grid(self, name: str, image: NDArray[np.uint8]) -> None:
        """Write grids/NAME.png, uint8 (H, W, 3); `fakes-000128000` is shown as fakes after 128,000 images."""
        self._folder.write_grid(name, image)
        if self._board is not None:
            self._board.picture(name, image)

    def rewound(self) -> None:
        """Show no more what TensorBoard has of later moments, once the folder was rewound to its latest checkpoint.

        A rollback within a sitting calls it after `RunFolder.rewind`, which does the same for the other files.
        """
        if self._board is not None:
            self._board.rewound()

    def close(self) -> None:
        """End TensorBoard's file; the others need no end."""
        if self._board is not None:
            self._board.close()

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_tensorboard() -> None:
    """Raise UsageError unless TensorBoard's files can be written.

    Raises:
        UsageError: the package is not installed.
    """
    _summary_writer()


class _Board:
    """TensorBoard's event file. What the disk does not take is told once, and costs no training."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder, self._kind = folder, _summary_writer()
        self._writer: Any = None
        self._open()

    def rewound(self) -> None:
        """Go on in a new file, whose beginning says which points of those before it count no longer."""
        if self._writer is not None:
            self._write(lambda writer: writer.close())
        if self._writer is not None:
            self._open()

    def scalars(self, values: dict[str, float | None], images: int) -> None:
        """Add one point to each curve; None is none."""

        def write(writer: Any) -> None:
            for tag, value in values.items():
                if value is not None:
                    writer.add_scalar(tag, value, images)

        self._write(write)

    def picture(self, name: str, image: NDArray[np.uint8]) -> None:
        """Add a grid; its moment is the number at the end of its name, 0 if there is none."""
        kind, dash, digits = name.rpartition("-")
        fakes = digits.isdigit() and kind + dash == FAKES
        tag, images = (f"grids/{kind}", int(digits)) if fakes else (f"grids/{name}", 0)
        self._write(lambda writer: writer.add_image(tag, image, images, dataformats="HWC"))

    def close(self) -> None:
        """Write what is left and close the file."""
        self._write(lambda writer: writer.close())

    def _open(self) -> None:
        latest = self._folder.latest()
        # Points from this step on are no longer shown: all, where not even the first checkpoint was written.
        purged = 0 if latest is None else int(latest.stem) + 1
        with self._told_once(), _quiet():
            self._writer = self._kind(str(self._folder.tensorboard), purge_step=purged)
            self._writer.flush()

    def _write(self, action: Callable[[Any], object]) -> None:
        if self._writer is None:
            return
        with self._told_once(), _quiet():
            action(self._writer)
            self._writer.flush()

    @contextlib.contextmanager
    def _told_once(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            print(f"TensorBoard's files cannot be written ({error}); the run goes on without.", file=sys.stderr)
            self._writer = None


def _summary_writer() -> Any:
    try:
        with _quiet():
            from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError(
            "--tensorboard needs the package tensorboard, which is not installed.",
            hint="pip install 'pgtools[tensorboard]'",
        ) from None
    return SummaryWriter


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the package's own warnings, which no user of pgtools can act on, to itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
