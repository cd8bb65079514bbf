"""The five points of a face, found by facexlib's RetinaFace. facexlib lives here only."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from facexlib.detection.retinaface import RetinaFace
from numpy.typing import NDArray

from pgtools.celebahq.settings import DETECTORS
from pgtools.errors import InputError
from pgtools.runtime.device import resolve_device

# The detector sees at most this side, so that a photo of 60 million pixels does not need 60 GB.
LONGEST_SIDE = 2048
CONFIDENCE = 0.8


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
        # facexlib's own loader downloads; this is its constructor and a plain load of the user's file.
        model = RetinaFace(network_name=DETECTORS[self.network], device=resolve_device(self.device))
        try:
            state = torch.load(self.weights, map_location="cpu", weights_only=True)
            model.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
        except Exception as error:  # torch.load raises pickle, zip, runtime and key errors alike
            reason = str(error).splitlines()[0][:120]
            raise InputError(f"{self.weights} does not hold the weights of {self.network} ({reason}).") from None
        self._model = model.eval()
        return self._model

    def largest_face(self, photo: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """Return the five points, float64 (5, 2), of the face with the largest box, or None if there is no face.

        Of several people, the portrait is of the nearest.

        Args:
            photo: uint8 RGB (H, W, 3), any size; beyond 2,048 pixels it is reduced for the search.
        """
        model = self.load()
        scale = min(1.0, LONGEST_SIDE / max(photo.shape[:2]))
        bgr = cv2.cvtColor(photo, cv2.COLOR_RGB2BGR)
        if scale < 1:
            bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        with torch.inference_mode():
            rows = model.detect_faces(bgr, conf_threshold=CONFIDENCE)
        if not len(rows):
            return None
        sizes = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
        # Columns: box, confidence, points. The detector learnt from annotations that name pixels, as CelebA's do: no
        # half pixel is taken off.
        points: NDArray[np.float64] = rows[np.argmax(sizes), 5:].astype(np.float64).reshape(5, 2) / scale
        return points

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_model": None}
