"""The five points of a face, found by facexlib's RetinaFace. facexlib lives here only."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from pgtools.celebahq.faces import Face, choose
from pgtools.celebahq.settings import DETECTORS
from pgtools.errors import InputError

if TYPE_CHECKING:  # facexlib imports torch: a wrong file is told without waiting for it
    from facexlib.detection.retinaface import RetinaFace

# The detector sees at most this side, so that a photo of 60 million pixels does not need 60 GB.
LONGEST_SIDE = 2048
CONFIDENCE = 0.8
# How PyTorch's files begin: a ZIP, and before PyTorch 1.6 a pickle.
_BEGINNINGS = (b"PK\x03\x04", b"\x80")


class FaceDetector:
    """RetinaFace with weights from a file; loaded when first used, so that it travels to workers as two words.

    Args:
        network: a key of `DETECTORS`.
        weights: the file that facexlib publishes for it.
        device: auto, cpu, cuda, cuda:N.
    """

    def __init__(self, network: str, weights: Path, device: str) -> None:
        self.network, self.weights, self.device = network, weights, device
        self._model: RetinaFace | None = None

    def load(self) -> RetinaFace:
        """Load the network now and return it.

        Raises:
            InputError: the file does not hold this network's weights.
        """
        if self._model is not None:
            return self._model
        self._check_file()
        import torch
        from facexlib.detection.retinaface import RetinaFace

        from pgtools.runtime.device import resolve_device

        # facexlib's own loader downloads; this is its constructor and a plain load of the user's file.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The parameter 'pretrained'", UserWarning)  # ResNet-50: facexlib's word
            warnings.filterwarnings("ignore", "Arguments other than a weight enum", UserWarning)
            model = RetinaFace(network_name=DETECTORS[self.network], device=resolve_device(self.device))
        try:
            state = torch.load(self.weights, map_location="cpu", weights_only=True)
            model.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
        except Exception:  # torch.load raises pickle, zip, runtime and key errors alike, with pages of advice
            raise InputError(f"{self.weights} does not hold the weights of {self.network}.", hint=self._hint) from None
        self._model = model.eval()
        return self._model

    def faces(self, photo: NDArray[np.uint8]) -> list[Face]:
        """Return every face that the detector is sure of, the largest box first (`choose` says how ties are ordered).

        Args:
            photo: uint8 RGB (H, W, 3), any size; beyond 2,048 pixels it is reduced for the search.
        """
        model = self.load()
        import torch

        from pgtools.runtime.device import repeatable

        height, width = photo.shape[:2]
        scale = min(1.0, LONGEST_SIDE / max(height, width))
        seen = max(1, round(width * scale)), max(1, round(height * scale))
        bgr = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
        if seen != (width, height):
            bgr = cv2.resize(bgr, seen, interpolation=cv2.INTER_AREA)
        # Several threads sum in another order, which shows in the points' last digits; a build has a process a core.
        with torch.inference_mode(), repeatable(threads=1):
            rows = model.detect_faces(bgr, conf_threshold=CONFIDENCE)
        # Columns: box, confidence, points. The detector learnt from annotations that name pixels, as CelebA's do: no
        # half pixel is taken off.
        enlarged = np.array([width / seen[0], height / seen[1]])
        found = [
            Face(points=row[5:].reshape(5, 2) * enlarged, box=row[:4] * np.tile(enlarged, 2), confidence=float(row[4]))
            for row in rows.astype(np.float64)
        ]
        return choose(found, "all", (width, height))

    @property
    def _hint(self) -> str:
        return f"`pgtools models fetch {self.network}` gets the right file."

    def _check_file(self) -> None:
        try:
            with self.weights.open("rb") as file:
                beginning = file.read(4)
        except OSError as error:
            raise InputError(f"{self.weights}: cannot be read ({error.strerror}).", hint=self._hint) from None
        if not beginning.startswith(_BEGINNINGS):
            raise InputError(f"{self.weights} is no file of PyTorch weights.", hint=self._hint)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_model": None}
