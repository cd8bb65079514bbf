"""One training step: the discriminator learns from reals and fakes, then the generator from its judgement."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pgtools.errors import UsageError
from pgtools.progan.config import TrainSettings
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.feed import Fetched
from pgtools.progan.generator import Generator
from pgtools.progan.layers import downsample, equalized_layers, kernels_once, mix, upsample
from pgtools.progan.losses import (
    Loss,
    Lsgan,
    Minibatch,
    WganGp,
    class_loss,
    fooled_average,
    noise_strength,
)
from pgtools.progan.normalisation import Noise
from pgtools.progan.parallel import averaging, part_count, places, shared_gradients
from pgtools.progan.precision import autocast
from pgtools.progan.recorded import Recorded
from pgtools.progan.schedule import Live, Stage
from pgtools.runtime.distributed import Processes
from pgtools.runtime.seeds import integer_seed

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
# The generator's turn, after those of the discriminator: noises[LAST] is its noise.
LAST = -1


@dataclass(frozen=True)
class Networks:
    """The two that play, and the generator's running average that is shown, scored and kept."""

    generator: Generator
    discriminator: Discriminator
    average: Generator


@dataclass(frozen=True)
class Draws:
    """The random numbers of one step, named by the seed, the real images shown before it and the rollbacks.

    They are drawn on the CPU for the whole minibatch, of which a process takes its places: so every device and every
    number of processes gets the same, and a resumed run needs no generator's state.

    Attributes:
        places: of this process in the minibatch, int64 (n,).
    """

    seed: int
    images: int
    count: int
    places: Tensor
    device: torch.device
    rollbacks: int = 0

    def latents(self, purpose: str, size: int) -> Tensor:
        """Return standard normal latents (n, size)."""
        return self._taken(torch.randn(self.count, size, generator=self._stream(purpose)))

    def classes(self, purpose: str, known: Tensor) -> Tensor:
        """Return class numbers for fakes, int64 (n,), as often as among the known ones of the reals."""
        stream = self._stream(f"{purpose} classes")
        return self._taken(known[torch.randint(len(known), (self.count,), generator=stream)])

    def shares(self) -> Tensor:
        """Return each mixed image's share of the fake, (n,) uniform in [0, 1)."""
        return self._taken(torch.rand(self.count, generator=self._stream("mix")))

    def mirrored(self) -> Tensor:
        """Return which images to mirror, bool (n,), half of them on average."""
        return self._taken(torch.rand(self.count, generator=self._stream("mirror")) < 0.5)

    def noise(self, purpose: str, process: int) -> torch.Generator:
        """Return the generator of the discriminator's noise, which is drawn where the network is."""
        seed = integer_seed(self.seed, "step", f"{purpose} noise", self.images, self.rollbacks, process)
        return torch.Generator(self.device).manual_seed(seed)

    def _taken(self, drawn: Tensor) -> Tensor:
        return on_device(drawn if len(self.places) == self.count else drawn[self.places], self.device)

    def _stream(self, purpose: str) -> torch.Generator:
        names = (purpose, self.images) if not self.rollbacks else (purpose, self.images, self.rollbacks)
        return torch.Generator().manual_seed(integer_seed(self.seed, "step", *names))


def on_device(drawn: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on the device, without waiting for what a GPU still has to do."""
    # From pageable memory the host would wait.
    return drawn.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else drawn


class DiscriminatorTurn(nn.Module):
    """The discriminator's loss as one module, whose one forward and backward DDP can share."""

    def __init__(self, discriminator: Discriminator, loss: Loss) -> None:
        super().__init__()
        self.discriminator, self.loss = discriminator, loss
        self._layers = equalized_layers(discriminator)

    def forward(self, batch: Minibatch, live: Live, noise: Noise | None) -> Tensor:
        """Return (loss, distance, gradient penalty, mean score of fakes), shape (4,); the first has a gradient."""
        critic = functools.partial(self.discriminator, lod=live, noise=noise)
        with kernels_once(self._layers):
            figures = self.loss.discriminator(critic, batch)
        return torch.stack([figures.loss, figures.distance, figures.gradient_penalty, figures.fake_score])


class GeneratorTurn(nn.Module):
    """The generator's loss as one module; the judging discriminator is not part of it."""

    def __init__(self, generator: Generator, discriminator: Discriminator, loss: Loss, label_weight: float) -> None:
        super().__init__()
        self.generator, self.loss, self.label_weight = generator, loss, label_weight
        self._judge = (discriminator,)  # in a tuple, so that its weights are not this module's
        self._layers = equalized_layers(generator) + equalized_layers(discriminator)

    def forward(self, latents: Tensor, classes: Tensor | None, live: Live, noise: Noise | None) -> Tensor:
        """Return the loss, shape ()."""
        with kernels_once(self._layers):
            scores, logits = self._judge[0](fakes_of(self.generator, latents, classes, live), live, noise=noise)
        return self.loss.generator(scores) + self.label_weight * class_loss(logits, classes)


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
        networks = self.networks
        parts = (networks.generator, networks.discriminator, networks.average)
        held = [value.detach() for part in parts for value in part.state_dict().values() if value.is_floating_point()]
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
        inputs: dict[str, Tensor] = {}
        noises: list[torch.Generator] = []
        for turn in range(self.settings.discriminator_steps):
            shown = images + turn * stage.minibatch
            draws = Draws(self.settings.seed, shown, stage.minibatch, taken, self.device, rollbacks)
            inputs.update(self._drawn(draws, "discriminator", turn, supply.next()))
            noises += self._noises(draws, "discriminator")
        inputs.update(self._drawn(draws, "generator", LAST))
        noises += self._noises(draws, "generator")
        if not self.settings.cuda_graphs:
            return self._both(inputs, stage.live, noises)
        if self._recorded is None:
            upper, lower, _ = stage.live
            self._recorded = Recorded(
                lambda fixed: self._both(fixed, Live(upper, lower, fixed["weight"]), ()), self.device
            )
        inputs["weight"] = on_device(torch.tensor(float(stage.live.weight)), self.device)
        return self._recorded(inputs)

    def _drawn(self, draws: Draws, purpose: str, turn: int, fetched: Fetched | None = None) -> dict[str, Tensor]:
        """All that a turn takes from outside, named "TURN what"; what there is none of has no name."""
        latent = self.networks.generator.shape.latent
        found: dict[str, Tensor | None] = {"latents": draws.latents(purpose, latent)}
        if self.classes is not None:
            found["classes"] = draws.classes(purpose, self.classes)
        if fetched is not None:
            found |= {"images": fetched.images, "labels": fetched.labels, "shares": draws.shares()}
            found["mirrored"] = draws.mirrored() if self.settings.mirror else None
        return {f"{turn} {name}": value for name, value in found.items() if value is not None}

    def _both(self, inputs: Mapping[str, Tensor], live: Live, noises: Sequence[torch.Generator]) -> Tensor:
        """The step itself, which takes nothing but its inputs and changes weights, moments and average in place."""
        given: dict[int, dict[str, Tensor]] = {}
        for name, value in inputs.items():
            of_turn, _, what = name.partition(" ")
            if what:
                given.setdefault(int(of_turn), {})[what] = value
        for turn in range(self.settings.discriminator_steps):
            noise = self._noise(noises, turn)
            judged, discriminator_norm = self._discriminator_step(given[turn], live, noise)
        fooled, generator_norm = self._generator_step(given[LAST], live, self._noise(noises, LAST))
        update_average(self.networks, self.settings.ema)
        return torch.stack([fooled, *judged[:3], generator_norm, discriminator_norm])

    def _discriminator_step(
        self, given: Mapping[str, Tensor], live: Live, noise: Noise | None
    ) -> tuple[Tensor, Tensor]:
        generator, latents, shares = self.networks.generator, given["latents"], given["shares"]
        reals = prepare_reals(given["images"], live, given.get("mirrored"))
        labels, classes = given.get("labels"), given.get("classes")
        self.discriminator_adam.zero_grad()
        figures = []
        for part, last in self._parts(len(reals)):
            with torch.no_grad(), autocast(self.device, self.dtype), kernels_once(self._layers):
                fakes = fakes_of(generator, latents[part], _of(classes, part), live)
            batch = Minibatch(reals[part], fakes, shares[part], _of(labels, part), _of(classes, part))
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

    def _generator_step(self, given: Mapping[str, Tensor], live: Live, noise: Noise | None) -> tuple[Tensor, Tensor]:
        latents, classes = given["latents"], given.get("classes")
        self.networks.discriminator.requires_grad_(False)  # its gradients are not wanted here: a third of the time
        self.generator_adam.zero_grad()
        losses = []
        for part, last in self._parts(len(latents)):
            with averaging(self._fool, now=last):
                with autocast(self.device, self.dtype):
                    loss = self._fool(latents[part], _of(classes, part), live, noise)
                torch.autograd.backward(loss * (len(latents[part]) / len(latents)))
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


def fakes_of(generator: Generator, latents: Tensor, classes: Tensor | None, live: Live) -> Tensor:
    """Return generated images, float32 (N, C, L, L), of latents (N, latent) and class numbers (N,)."""
    labels = None if classes is None else F.one_hot(classes, generator.shape.labels).to(latents.dtype)
    images: Tensor = generator(latents, live, labels)
    return images.float()


def prepare_reals(images: Tensor, live: Live, mirrored: Tensor | None) -> Tensor:
    """Return uint8 images as float32 in [-1, 1], the marked ones mirrored, faded as the level is; same shape.

    While a level fades in, a real image is mixed with its own 2×2 means, repeated (paper, figure 2).
    """
    scaled = images.float() / 127.5 - 1
    if mirrored is not None:
        scaled = torch.where(mirrored[:, None, None, None], scaled.flip(3), scaled)
    return mix(scaled, upsample(downsample(scaled)), live.weight) if live.fading else scaled


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
