"""OpenCV's own threads, switched off where pgtools runs one thread a core itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import cv2

_lock = threading.Lock()
_inside = 0
_before = 0


@contextlib.contextmanager
def opencv_alone() -> Iterator[None]:
    """Let each call of OpenCV run in its caller's thread while inside; nested and concurrent uses are one."""
    global _inside, _before
    with _lock:
        if _inside == 0:
            _before = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                cv2.setNumThreads(_before)
