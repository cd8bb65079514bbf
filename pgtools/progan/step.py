"""One training step: the discriminator learns from reals and fakes, then the generator from its judgement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pgtools.errors import UsageError
from pgtools.progan.config import TrainSettings
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.draws import Draws, on_device
from pgtools.progan.feed import Fetched
from pgtools.progan.generator import Generator
from pgtools.progan.kernels import kernels_once
from pgtools.progan.layers import equalized_layers
from pgtools.progan.losses import (
    Loss,
    Lsgan,
    Minibatch,
    WganGp,
    fooled_average,
    noise_strength,
)
from pgtools.progan.normalisation import Noise
from pgtools.progan.parallel import averaging, part_count, places, shared_gradients
from pgtools.progan.precision import autocast
from pgtools.progan.recorded import Recorded
from pgtools.progan.schedule import Live, Stage
from pgtools.progan.turns import DiscriminatorTurn, GeneratorTurn, Inputs, fakes_of, flat, prepare_reals, refilled
from pgtools.runtime.distributed import Processes

# What a step measures, in this order.
FIGURES = (
    "loss_generator",
    "loss_discriminator",
    "wasserstein",
    "gradient_penalty",
    "gradient_norm_generator",
    "gradient_norm_discriminator",
)


class Supply(Protocol):
    """Where minibatches of real images come from: a `Feed`, or images that were drawn."""

    def next(self) -> Fetched:
        """Return the next minibatch, or this process's part of it."""


# Which images of a minibatch: their places, or all.
Part = Tensor | slice


@dataclass(frozen=True)
class Networks:
    """The two that play, and the generator's running average that is shown, scored and kept."""

    generator: Generator
    discriminator: Discriminator
    average: Generator


class Stepper:
    """Takes training steps: networks, their optimizers, and how the minibatch is shared.

    Args:
        networks: on the device.
        settings: of the run.
        device: where they are.
        dtype: of products and convolutions, float32 or bfloat16; weights stay float32.
        processes: that share every minibatch.
        classes: class numbers of the real images, int64, from which those of fakes are drawn; None without.

    Attributes:
        fooled: d̂ of the least-squares loss, shape (); see `losses.fooled_average`.
        live: the levels that took part in the last step.
    """

    def __init__(
        self,
        networks: Networks,
        settings: TrainSettings,
        device: torch.device,
        *,
        dtype: torch.dtype = torch.float32,
        processes: Processes | None = None,
        classes: NDArray[np.int64] | None = None,
    ) -> None:
        self.networks, self.settings, self.device, self.dtype = networks, settings, device, dtype
        self.processes = processes or Processes.alone()
        self.classes = None if classes is None else torch.from_numpy(classes)
        self.live: tuple[int, ...] = ()
        self.fooled = torch.zeros((), device=device)
        self._group = networks.discriminator.shape.stddev_group
        self._layers = equalized_layers(networks.generator)
        self._places: dict[int, list[Part]] = {}
        self._recorded: Recorded | None = None
        if settings.cuda_graphs:
            check_recordable(settings, self.processes)
        loss = _loss_of(settings)
        self._learn = shared_gradients(DiscriminatorTurn(networks.discriminator, loss), self.processes)
        turn = GeneratorTurn(networks.generator, networks.discriminator, loss, settings.label_weight)
        self._fool = shared_gradients(turn, self.processes)
        self.generator_adam, self.discriminator_adam = (
            self._new_adam(networks.generator),
            self._new_adam(networks.discriminator),
        )

    @property
    def kinds(self) -> dict[str, nn.Module]:
        """The networks by what they are, as a checkpoint names them."""
        networks = self.networks
        return {
            "generator": networks.generator,
            "discriminator": networks.discriminator,
            "average": networks.average,
        }

    @property
    def adams(self) -> dict[str, torch.optim.Adam]:
        """The optimizers by the network they train."""
        return {"generator": self.generator_adam, "discriminator": self.discriminator_adam}

    def places(self, count: int) -> NDArray[np.int64]:
        """Return which images of a minibatch this process takes."""
        return places(count, self._group, part=self.processes.rank, parts=self.processes.count)

    def begin(self, stage: Stage) -> None:
        """Set the learning rate; Adam begins anew when the set of live layers changes (paper, appendix A)."""
        live = (stage.live.upper, stage.live.lower)
        if self.live and live != self.live:
            self.generator_adam = self._new_adam(self.networks.generator)
            self.discriminator_adam = self._new_adam(self.networks.discriminator)
            self._recorded = None
        self.live = live
        for adam in (self.generator_adam, self.discriminator_adam):
            rate = adam.param_groups[0]["lr"]
            if isinstance(rate, Tensor):
                rate.fill_(stage.learning_rate)
            else:
                adam.param_groups[0]["lr"] = stage.learning_rate

    def weights_norm(self) -> Tensor:
        """Return the Euclidean norm of all weights, averages and buffers, shape (); finite only if all of them are."""
        held = [value for part in self.kinds.values() for value in part.state_dict().values()]
        held = [value for value in held if value.is_floating_point()]
        total: Tensor = torch.linalg.vector_norm(torch.stack(list(torch._foreach_norm(held))))
        return total

    def resume(self, live: tuple[int, ...], fooled: float) -> None:
        """Go on where a checkpoint stood, whose weights and moments are in place already."""
        self.live, self._recorded = live, None
        self.fooled = torch.full_like(self.fooled, fooled)

    def step(self, supply: Supply, stage: Stage, images: int, *, rollbacks: int = 0) -> Tensor:
        """Take one generator step after the discriminator's; return the figures of this process, as in FIGURES.

        Args:
            supply: gives the next minibatches of reals, one for each of the discriminator's steps.
            stage: where training stands.
            images: real images shown before.
            rollbacks: how often training went back to a checkpoint.
        """
        taken = torch.from_numpy(self.places(stage.minibatch))
        turns: list[Inputs] = []
        noises: list[torch.Generator] = []
        for turn in range(self.settings.discriminator_steps):
            shown = images + turn * stage.minibatch
            draws = Draws(self.settings.seed, shown, stage.minibatch, taken, self.device, rollbacks)
            turns.append(self._drawn(draws, "discriminator", supply.next()))
            noises += self._noises(draws, "discriminator")
        turns.append(self._drawn(draws, "generator"))
        noises += self._noises(draws, "generator")
        if not self.settings.cuda_graphs:
            return self._take(turns, stage.live, noises)
        if self._recorded is None:
            upper, lower, _ = stage.live
            self._recorded = Recorded(
                lambda fixed: self._take(refilled(turns, fixed), Live(upper, lower, fixed["weight"]), ()), self.device
            )
        weight = on_device(torch.tensor(float(stage.live.weight)), self.device)
        return self._recorded({**flat(turns), "weight": weight})

    def _drawn(self, draws: Draws, purpose: str, fetched: Fetched | None = None) -> Inputs:
        """What a turn takes from outside; only the discriminator's looks at reals."""
        latents = draws.latents(purpose, self.networks.generator.shape.latent)
        classes = None if self.classes is None else draws.classes(purpose, self.classes)
        if fetched is None:
            return Inputs(latents, classes)
        mirrored = draws.mirrored() if self.settings.mirror else None
        return Inputs(latents, classes, fetched.images, fetched.labels, draws.shares(), mirrored)

    def _take(self, turns: Sequence[Inputs], live: Live, noises: Sequence[torch.Generator]) -> Tensor:
        """The step itself, which takes nothing but its inputs and changes weights, moments and average in place."""
        *learning, fooling = turns
        for turn, inputs in enumerate(learning):
            judged, discriminator_norm = self._discriminator_step(inputs, live, self._noise(noises, turn))
        fooled, generator_norm = self._generator_step(fooling, live, self._noise(noises, -1))
        update_average(self.networks, self.settings.ema)
        return torch.stack([fooled, *judged[:3], generator_norm, discriminator_norm])

    def _discriminator_step(self, inputs: Inputs, live: Live, noise: Noise | None) -> tuple[Tensor, Tensor]:
        if inputs.images is None or inputs.shares is None:
            raise ValueError("The discriminator's turn needs real images.")
        reals = prepare_reals(inputs.images, live, inputs.mirrored)
        self.discriminator_adam.zero_grad()
        figures = []
        for part, last in self._parts(len(reals)):
            with torch.no_grad(), autocast(self.device, self.dtype), kernels_once(self._layers):
                fakes = fakes_of(self.networks.generator, inputs.latents[part], _of(inputs.classes, part), live)
            labels = _of(inputs.labels, part), _of(inputs.classes, part)
            batch = Minibatch(reals[part], fakes, inputs.shares[part], *labels)
            with averaging(self._learn, now=last):
                with autocast(self.device, self.dtype):
                    found = self._learn(batch, live, noise)
                torch.autograd.backward(found[0] * (len(fakes) / len(reals)))
            figures.append(found.detach())
        norm = gradient_norm(self.networks.discriminator.parameters())
        self.discriminator_adam.step()
        judged = torch.stack(figures).mean(dim=0)
        if self.settings.loss == "lsgan":
            self.fooled = fooled_average(self.fooled, self.processes.mean(judged[3]))
        return judged, norm

    def _generator_step(self, inputs: Inputs, live: Live, noise: Noise | None) -> tuple[Tensor, Tensor]:
        count = len(inputs.latents)
        self.networks.discriminator.requires_grad_(False)  # its gradients are not wanted here: a third of the time
        self.generator_adam.zero_grad()
        losses = []
        for part, last in self._parts(count):
            with averaging(self._fool, now=last):
                with autocast(self.device, self.dtype):
                    loss = self._fool(inputs.latents[part], _of(inputs.classes, part), live, noise)
                torch.autograd.backward(loss * (len(inputs.latents[part]) / count))
            losses.append(loss.detach())
        norm = gradient_norm(self.networks.generator.parameters())
        self.generator_adam.step()
        self.networks.discriminator.requires_grad_(True)
        return torch.stack(losses).mean(), norm

    def _parts(self, count: int) -> Iterator[tuple[Part, bool]]:
        """The places of each part of this process's images, and whether it is the last."""
        if count not in self._places:
            parts = part_count(count, self._group, self.settings.micro_batch)
            found = [places(count, self._group, part=part, parts=parts) for part in range(parts)]
            on_device: list[Part] = [torch.from_numpy(one).to(self.device) for one in found]
            self._places[count] = [slice(None)] if parts == 1 else on_device
        rows = self._places[count]
        for place, part in enumerate(rows):
            yield part, place == len(rows) - 1

    def _noises(self, draws: Draws, purpose: str) -> list[torch.Generator]:
        return [draws.noise(purpose, self.processes.rank)] if self.settings.loss == "lsgan" else []

    def _noise(self, noises: Sequence[torch.Generator], turn: int) -> Noise | None:
        return Noise(noise_strength(self.fooled), noises[turn]) if noises else None

    def _new_adam(self, network: nn.Module) -> torch.optim.Adam:
        settings = self.settings
        betas, rate = (float(settings.beta1), float(settings.beta2)), float(settings.learning_rate)
        recorded = settings.cuda_graphs and self.device.type == "cuda"
        return torch.optim.Adam(
            network.parameters(),
            torch.tensor(rate, device=self.device) if recorded else rate,
            betas,
            eps=1e-8,
            fused=True,
            capturable=recorded,
        )


def check_recordable(settings: TrainSettings, processes: Processes) -> None:
    """Raise UsageError unless the step can be recorded.

    Raises:
        UsageError: it draws noise anew each time, or other processes take part in it.
    """
    if settings.loss == "lsgan":
        raise UsageError("--cuda-graphs cannot record the least-squares loss, whose noise is drawn in the step.")
    if processes.count > 1:
        raise UsageError(f"--cuda-graphs records the step of one process; there are {processes.count}.")


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return the Euclidean norm of all gradients there are, shape ()."""
    norms = torch._foreach_norm([weights.grad for weights in parameters if weights.grad is not None])
    total: Tensor = torch.linalg.vector_norm(torch.stack(list(norms)))
    return total


@torch.no_grad()
def update_average(networks: Networks, keep: float) -> None:
    """Move the average towards the generator: keep·average + (1 − keep)·generator; buffers are copied."""
    average, generator = networks.average, networks.generator
    torch._foreach_lerp_(list(average.parameters()), list(generator.parameters()), 1 - keep)
    for kept, current in zip(average.buffers(), generator.buffers(), strict=True):
        kept.copy_(current)


def _of(rows: Tensor | None, part: Part) -> Tensor | None:
    return None if rows is None else rows[part]


def _loss_of(settings: TrainSettings) -> Loss:
    if settings.loss == "lsgan":
        return Lsgan(label_weight=settings.label_weight)
    return WganGp(settings.gp_weight, settings.gp_target, settings.drift_weight, settings.label_weight)
