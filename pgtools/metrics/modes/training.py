"""Labelled digits in, a classifier out, which knows how well it names digits that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pgtools import __version__
from pgtools.errors import InputError, OutputError, UsageError
from pgtools.metrics.measure import shown_bar
from pgtools.metrics.modes.classifier import (
    DIGITS,
    SIDE,
    Classifier,
    DigitNetwork,
    from_bytes,
    read_classifier,
    to_bytes,
    write_classifier,
)
from pgtools.metrics.modes.settings import DigitTraining
from pgtools.metrics.tensors import undisturbed
from pgtools.runtime.device import repeatable
from pgtools.runtime.files import check_writable
from pgtools.runtime.seeds import stream
from pgtools.stores.format import Reading
from pgtools.stores.formats import mnist
from pgtools.stores.opening import open_source
from pgtools.stores.source import ImageSource
from pgtools.stores.views import Subset

# Where a source has no split of its own.
HELD_OUT_PART = 6
READ_AT_ONCE = 1024
# Shares of the steps in which the learning rate rises.
WARM_UP = 0.25
Advance = Callable[[int], None]


@dataclass(frozen=True)
class Digits:
    """Digits in memory.

    Attributes:
        images: uint8 (N, 32, 32).
        labels: int64 (N,), 0 to 9.
        name: of the source.
        fingerprint: of its images.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    name: str
    fingerprint: str

    def told(self) -> dict[str, Any]:
        """Return what a classifier's file says of them."""
        return {"name": Path(self.name).name, "fingerprint": self.fingerprint, "count": len(self.images)}


def open_digits(path: Path) -> tuple[ImageSource, ImageSource]:
    """Return the digits to train on and those held out.

    MNIST's files have a test split; of any other source a sixth is held out, always the same one.

    Raises:
        InputError: there are no images, no labels of ten classes, or too small or coloured ones.
    """
    if mnist.recognises(path):
        train, held = (open_source(path, format="mnist", reading=Reading(split=name)) for name in mnist.SPLITS)
    else:
        whole = open_source(path)
        # At random: a source may have its digits in turn, or sorted.
        order = stream(0, "digit classifier", "held out").permutation(len(whole))
        parts = np.split(order, [len(whole) - len(whole) // HELD_OUT_PART])
        train, held = (Subset(whole, np.sort(part).tolist()) for part in parts)
    _check_labels(train)
    _check_labels(held)
    return train, held


def obtain_classifier(
    file: Path | None, train_on: Path | None, settings: DigitTraining, device: torch.device, *, progress: bool = False
) -> Classifier:
    """Return the classifier in `file`, or train one on the digits of `train_on` and write it to `file`, if any.

    Raises:
        InputError: the file is no classifier, or the digits are none.
        MissingModelError: there is no such file, and nothing to train on.
        OutputError: there is such a file, and one to train.
        UsageError: neither is given.
    """
    if train_on is None:
        if file is None:
            raise UsageError(
                "A classifier of digits is needed.",
                hint="--train-on MNIST --classifier FILE.safetensors trains one; later --classifier alone takes it.",
            )
        return read_classifier(file)
    if file is not None:
        if file.exists():
            raise OutputError(f"{file} already exists.", hint="Leave --train-on out to use it, or name another file.")
        check_writable(file, overwrite=False, what="file")
    train, held = (read_digits(part) for part in open_digits(train_on))
    with shown_bar("training the classifier", settings.epochs * len(train.images), progress) as advance:
        data = train_classifier(train, held, settings, device, advance=advance)
    if file is not None:
        write_classifier(file, data)
    return from_bytes(data, where=str(file or "the classifier"))


def read_digits(source: ImageSource) -> Digits:
    """Return a source's images as grey ones of 32²; larger ones are lowered by 2×2 means.

    Raises:
        InputError: an image is coloured or damaged.
    """
    images = np.empty((len(source), SIDE, SIDE), np.uint8)
    for start in range(0, len(source), READ_AT_ONCE):
        chunk = range(start, min(start + READ_AT_ONCE, len(source)))
        found = source.read(chunk, SIDE)
        coloured = np.flatnonzero((found != found[:, :1]).any(axis=(1, 2, 3)))
        if len(coloured):
            (record,) = source.records([chunk[int(coloured[0])]])
            raise InputError(
                f"{source.name}: {record.name} is coloured; expected grey digits.",
                hint="The classifier learns from single digits, not from stacked ones.",
            )
        images[chunk.start : chunk.stop] = found[:, 0]
    labels = source.labels
    if labels is None:
        raise InputError(f"{source.name} has no labels.")
    return Digits(images, labels, source.name, source.fingerprint())


def train_classifier(
    train: Digits, held: Digits, settings: DigitTraining, device: torch.device, *, advance: Advance = lambda count: None
) -> bytes:
    """Return the file of a classifier trained on `train`, its accuracy measured on `held`.

    The same digits, settings and device give the same bytes, on a CPU for one number of threads.

    Args:
        train: the digits to learn from.
        held: others.
        settings: see DigitTraining.
        device: where to train.
        advance: told after each step of how many digits it was; in all `settings.epochs · len(train.images)`.
    """
    network = initial_network(settings.seed).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    steps = settings.epochs * math.ceil(len(train.images) / settings.batch)
    with repeatable():
        network.train()
        for step, chosen in enumerate(_batches(len(train.images), settings)):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _rate(step / steps)
            pixels = _shifted(train.images[chosen], settings, step)
            loss = F.cross_entropy(network(_planes(pixels, device)), torch.from_numpy(train.labels[chosen]).to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            advance(len(chosen))
        network.eval()
        accuracy = accuracy_on(network, held, device)
    made = {"pgtools": __version__, "settings": asdict(settings), "digits": train.told(), "held_out": held.told()}
    return to_bytes(network, accuracy, made)


def accuracy_on(network: DigitNetwork, digits: Digits, device: torch.device) -> float:
    """Return the share of the digits that a network in evaluation mode names right."""
    right = 0
    for start in range(0, len(digits.images), READ_AT_ONCE):
        part = slice(start, start + READ_AT_ONCE)
        with undisturbed(device):
            named = network(_planes(digits.images[part], device)).argmax(1).cpu().numpy()
        right += int(np.sum(named == digits.labels[part]))
    return right / len(digits.images)


def initial_network(seed: int) -> DigitNetwork:
    """Return a network before training: He's normal weights, zero biases; nothing global is drawn from."""
    with torch.device("meta"):
        network = DigitNetwork()
    network.to_empty(device="cpu")
    for norm in network.norms:
        norm.reset_parameters()  # type: ignore[operator]  # ones and zeros
    for name, weights in network.named_parameters():
        if weights.ndim > 1:
            drawn = stream(seed, "digit classifier", name).standard_normal(tuple(weights.shape), dtype=np.float32)
            weights.data = torch.from_numpy(drawn) * math.sqrt(2 / weights[0].numel())
        elif name.endswith("bias"):
            torch.nn.init.zeros_(weights)
    return network


def _check_labels(source: ImageSource) -> None:
    labels = source.labels
    if labels is None:
        raise InputError(
            f"{source.name} has no labels; a classifier learns from labelled digits.",
            hint="Name the folder of MNIST's IDX files, or a store of ten classes.",
        )
    if source.classes != DIGITS:
        raise InputError(f"{source.name} has {source.classes} classes; expected the {DIGITS} digits.")
    missing = sorted(set(range(DIGITS)) - set(labels.tolist()))
    if missing:
        raise InputError(f"{source.name} has {len(source)} digits, and no {missing[0]} among them.")
    if source.resolution < SIDE:
        raise InputError(f"{source.name} has {source.resolution}² images; expected {SIDE}² or more.")


def _batches(count: int, settings: DigitTraining) -> Iterator[NDArray[np.int64]]:
    for epoch in range(settings.epochs):
        order = stream(settings.seed, "digit classifier", "order", epoch).permutation(count)
        for start in range(0, count, settings.batch):
            yield order[start : start + settings.batch]


def _shifted(images: NDArray[np.uint8], settings: DigitTraining, step: int) -> NDArray[np.uint8]:
    """Return the images, each moved by up to `shift` pixels; black moves in."""
    if not settings.shift:
        return images
    moves = stream(settings.seed, "digit classifier", "shift", step).integers(
        0, 2 * settings.shift + 1, (2, len(images))
    )
    padded = np.pad(images, ((0, 0), (settings.shift,) * 2, (settings.shift,) * 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (SIDE, SIDE), axis=(1, 2))
    moved: NDArray[np.uint8] = windows[np.arange(len(images)), moves[0], moves[1]]
    return moved


def _planes(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.from_numpy(images).to(device)[:, None].float() / 255


def _rate(progress: float) -> float:
    """Return the learning rate's share of its peak: up in a line, down along a cosine."""
    if progress < WARM_UP:
        return progress / WARM_UP + 1e-3
    return 0.5 * (1 + math.cos(math.pi * (progress - WARM_UP) / (1 - WARM_UP)))
