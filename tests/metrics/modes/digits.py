"""Digits for tests: drawn with OpenCV's fonts, moved, turned and blurred at random, also as MNIST's IDX files."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.metrics.modes.classifier import Classifier, from_bytes
from pgtools.metrics.modes.settings import DigitTraining
from pgtools.metrics.modes.training import Digits, train_classifier

FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)


def draw_digit(digit: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a white digit on black, uint8 (28, 28)."""
    canvas = np.zeros((56, 56), np.uint8)
    font = FONTS[rng.integers(len(FONTS))]
    cv2.putText(canvas, str(digit), (14, 44), font, 1.5, 255, int(rng.integers(2, 5)), cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((28, 28), float(rng.uniform(-12, 12)), float(rng.uniform(0.85, 1.05)))
    turn[:, 2] += rng.uniform(-2, 2, 2)
    turned = cv2.warpAffine(canvas, turn, (56, 56))
    return cv2.resize(turned, (28, 28), interpolation=cv2.INTER_AREA)


def draw_digits(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return digits in turn, uint8 (count, 28, 28), and what they are, uint8 (count,)."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 10).astype(np.uint8)
    return np.stack([draw_digit(int(label), rng) for label in labels]), labels


def padded(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(images, ((0, 0), (2, 2), (2, 2)))


def stacked(classes: NDArray[np.int64], seed: int) -> NDArray[np.uint8]:
    """Return images of these classes, uint8 (N, 3, 32, 32)."""
    images, labels = draw_digits(200, seed)
    by_digit = [np.flatnonzero(labels == digit) for digit in range(10)]
    rng = np.random.default_rng(seed)
    digits = np.stack([classes // 100, classes // 10 % 10, classes % 10], axis=1)
    picks = [[rng.choice(by_digit[digit]) for digit in row] for row in digits.tolist()]
    return padded(images)[np.array(picks)]


def write_mnist(folder: Path, *, train: int, test: int, seed: int = 0) -> Path:
    """Write drawn digits as MNIST's four files."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, count, which in (("train", train, seed), ("t10k", test, seed + 1)):
        arrays = zip(("images-idx3-ubyte", "labels-idx1-ubyte"), draw_digits(count, which), strict=True)
        for name, array in arrays:
            header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
            (folder / f"{stem}-{name}").write_bytes(header + array.tobytes())
    return folder


def digit_set(count: int, seed: int) -> Digits:
    images, labels = draw_digits(count, seed)
    return Digits(padded(images), labels.astype(np.int64), f"drawn {seed}", f"{seed:064x}")


def drawn_classifier() -> tuple[bytes, Classifier]:
    """Return a classifier of drawn digits, its file first."""
    import torch

    data = train_classifier(
        digit_set(900, 10), digit_set(300, 11), DigitTraining(epochs=4, batch=64), torch.device("cpu")
    )
    return data, from_bytes(data, where="drawn")
