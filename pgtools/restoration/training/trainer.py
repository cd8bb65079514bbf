"""Training a compact restorer: photographs in, a run folder out, in as many sittings as it takes.

Every patch is named by the seed and its number, and everything else that decides a step is in the checkpoint, so a
run stopped anywhere goes on as if it had not been (bit for bit on one CPU with the same number of threads).
"""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pgtools import __version__
from pgtools.errors import InputError, PgtoolsError
from pgtools.imaging.photo import photos_in
from pgtools.restoration.compact import CompactNetwork, Shape, parameter_count, write_compact
from pgtools.restoration.training.losses import enlarging_loss, jpeg_loss, learning_rate
from pgtools.restoration.training.patches import Image8, Pair, check_pool, draw_pair, load_pool
from pgtools.restoration.training.run import RestorerRun, described
from pgtools.restoration.training.settings import SCALE, UNSHUFFLE, RestorerSettings
from pgtools.restoration.training.validation import choose, validate
from pgtools.runtime.device import resolve_device
from pgtools.runtime.files import folder_lock
from pgtools.runtime.interrupt import interruptible
from pgtools.runtime.progress import bar
from pgtools.runtime.seeds import integer_seed, stream
from pgtools.runtime.workers import map_ahead

# Steps between two lines of the log, and between two looks at whether someone wants to stop.
LOG_EVERY = 50
# As the settings and config.json call them.
PRECISION_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16"}
# Gradients are cut to this length, which nearly all of them exceed: a loud batch moves no further than a quiet one.
LONGEST_GRADIENT = 1.0


@dataclass
class State:
    """Where a run stands.

    Attributes:
        steps: optimizer steps done.
        seconds: spent on them.
        loss: sum of the losses since the last log line, and
        losses: how many these are.
    """

    steps: int = 0
    seconds: float = 0.0
    loss: float = 0.0
    losses: int = 0


def train_restorer(photos: Path, folder: Path, settings: RestorerSettings, *, resume: bool = False) -> RestorerRun:
    """Train a restorer on a folder of photographs until `settings.steps`, or until interrupted.

    Args:
        photos: a folder of photographs, any sizes; every twelfth is kept for validation.
        folder: of the run; new, or with `resume` one that was stopped.
        settings: see RestorerSettings.
        resume: go on with the run in `folder`.

    Returns:
        The run: its `weights` are the averaged network once all steps are done.

    Raises:
        InputError: there are no photographs, they cannot be learnt from, or they are not those that the run began
            with; or the checkpoint is not this run's.
        OutputError: the folder holds something else, or cannot be written.
        UsageError: on the device, the run would go on in another precision.
        PgtoolsError: the loss is no longer finite; the last checkpoint stays.
    """
    run = RestorerRun(folder)
    precision = PRECISION_NAMES[_precision(settings, resolve_device(settings.device))]
    if resume:
        run.check_precision(precision)
    else:
        run.check_new()
    files = photos_in(photos)
    check_pool(files, task=settings.task)
    photographs = described(photos, files)
    if resume:
        run.check_photos(photographs)
    with folder_lock(folder):
        if not resume:
            run.check_new()  # once more: another process may have begun here meanwhile
        # Every step that can refuse the photographs comes before the run exists.
        pool = load_pool(files, task=settings.task)
        learnt, kept = ([pool[file] for file in part] for part in choose(files, pool))
        if not resume:
            run.write_config(settings, photographs, precision)
        training = Training(run, settings, learnt, kept)
        if run.checkpoint.is_file():
            training.restore(run.read_checkpoint())
        run.rewind(training.state.steps)
        training.run_steps()
    return run


class Training:
    """A run in memory.

    Args:
        run: where it writes; its config.json is there.
        settings: see RestorerSettings.
        pool: photographs to learn from, as `load_pool` gives them.
        held: photographs to validate on.
    """

    def __init__(
        self,
        run: RestorerRun,
        settings: RestorerSettings,
        pool: Sequence[Sequence[Image8]],
        held: Sequence[Sequence[Image8]],
    ) -> None:
        self.run, self.settings, self.pool, self.held = run, settings, pool, held
        self.device = resolve_device(settings.device)
        self.precision = _precision(settings, self.device)
        torch.manual_seed(integer_seed(settings.seed, "restorer", "weights"))
        guided = settings.task == "dejpeg"
        shape = Shape(SCALE[settings.task], settings.channels, settings.blocks, UNSHUFFLE[settings.task], guided)
        self.network = CompactNetwork(shape).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=settings.learning_rate)
        self.state = State()
        self._origin = run.origin()
        self._saved = time.monotonic()

    def restore(self, saved: dict[str, Any]) -> None:
        """Take up a checkpoint.

        Raises:
            InputError: its parts do not fit this run.
        """
        try:
            self.network.load_state_dict(saved["network"])
            self.average.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.state = State(**saved["state"])
        except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"{self.run.checkpoint} does not fit this run ({reason}).") from None

    def run_steps(self) -> None:
        """Train to the end, or to an interruption, which leaves a checkpoint behind."""
        total = self.settings.steps
        with interruptible() as stopped, bar("Training", total=total, done=self.state.steps) as advance:
            batches = map_ahead(self._batch, range(self.state.steps, total))
            self._steps(batches, advance, stopped)
        self._save()
        if self.state.steps < total:
            raise KeyboardInterrupt
        self._write_weights()

    def _steps(
        self, batches: Iterable[list[Pair]], advance: Callable[[int], None], stopped: Callable[[], bool]
    ) -> None:
        for pairs in batches:
            began = time.monotonic()
            self._step(pairs)
            self.state.seconds += time.monotonic() - began
            advance(1)
            if self.state.steps % LOG_EVERY == 0 or self.state.steps == self.settings.steps:
                self._log()
            if self.state.steps % self.settings.validate_every == 0 or self.state.steps == self.settings.steps:
                self._validate()
            if time.monotonic() - self._saved > 60 * self.settings.checkpoint_minutes:
                self._save()
            if stopped():
                return

    def _batch(self, step: int) -> list[Pair]:
        first, settings = step * self.settings.batch, self.settings
        return [draw_pair(self.pool, settings.task, settings.seed, first + i) for i in range(settings.batch)]

    def _step(self, pairs: Sequence[Pair]) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.state.steps, self.settings)
        seen, wanted = self._tensor([pair.seen for pair in pairs]), self._tensor([pair.wanted for pair in pairs])
        strength = self._strength(pairs) if self.network.shape.guided else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision is torch.bfloat16):
            given = self.network(seen, strength)
        loss = self._loss(given, wanted, pairs)
        if not math.isfinite(loss.item()):
            raise self._diverged("loss")
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        # A gradient can overflow where the loss did not; cut to length, it would make every weight no number.
        if not math.isfinite(torch.nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST_GRADIENT).item()):
            raise self._diverged("gradient")
        self.optimizer.step()
        self._update_average()
        self.state.steps += 1
        self.state.loss += loss.item()
        self.state.losses += 1

    def _loss(self, given: Tensor, wanted: Tensor, pairs: Sequence[Pair]) -> Tensor:
        if self.settings.task == "sr4":
            return enlarging_loss(given, wanted)
        return jpeg_loss(given, wanted, self._errors(pairs))

    def _errors(self, pairs: Sequence[Pair]) -> Tensor:
        return torch.tensor([pair.error for pair in pairs], dtype=torch.float32, device=self.device)

    def _strength(self, pairs: Sequence[Pair]) -> Tensor:
        """The usual errors, as far off as an estimate may be, so that the network does not take them on trust."""
        numbers = stream(self.settings.seed, "restorer", "strength", self.state.steps)
        errors = np.array([pair.error for pair in pairs])
        off = errors * np.exp(numbers.normal(0, 0.12, len(errors))) + numbers.uniform(0, 0.6, len(errors))
        return torch.tensor(off, dtype=torch.float32, device=self.device)

    def _tensor(self, images: Sequence[Image8]) -> Tensor:
        batch = torch.from_numpy(np.stack(images)).to(self.device).permute(0, 3, 1, 2)
        return batch.float().div_(255).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on the average follows faster, or it would remember the random beginning.
        decay = min(self.settings.average, (1 + self.state.steps) / (10 + self.state.steps))
        for mean, weights in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(weights, 1 - decay)

    def _log(self) -> None:
        state = self.state
        mean = state.loss / max(state.losses, 1)
        rate = learning_rate(state.steps, self.settings)
        self.run.append(
            self.run.log, {"step": state.steps, "loss": mean, "learning_rate": rate, "seconds": state.seconds}
        )
        state.loss, state.losses = 0.0, 0

    def _validate(self) -> None:
        figures = validate(self.average, self.held, task=self.settings.task, device=self.device)
        self.run.append(self.run.validation, {"step": self.state.steps, "figures": figures})

    def _save(self) -> None:
        self.run.write_checkpoint(
            {
                "origin": self._origin,
                "network": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "state": dataclasses.asdict(self.state),
            }
        )
        self._saved = time.monotonic()

    def _diverged(self, what: str) -> PgtoolsError:
        return PgtoolsError(
            f"The {what} is not finite at step {self.state.steps}.",
            hint="Begin a new run with a lower --learning-rate.",
        )

    def _write_weights(self) -> None:
        made = {
            "pgtools": __version__,
            "torch": torch.__version__,
            "settings": self.settings.as_dict(),
            "photographs": self.run.read_config()["photographs"],
            "seconds": round(self.state.seconds),
            "parameters": parameter_count(self.average),
        }
        write_compact(self.run.weights, self.average, made)


def _precision(settings: RestorerSettings, device: torch.device) -> torch.dtype:
    if settings.precision == "auto":
        multiplies = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if multiplies else torch.float32
    return next(kind for kind, name in PRECISION_NAMES.items() if name == settings.precision)
