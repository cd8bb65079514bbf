"""Drawn faces to measure on, where the user has given no images."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def drawn_face(width: int, height: int, index: int) -> NDArray[np.uint8]:
    """Return a drawn face, uint8 (height, width, 3), with a photograph's blur and grain."""
    from pgtools.demo.faces import compose
    from pgtools.demo.people import sample_person, sample_pose, sample_shot
    from pgtools.runtime.seeds import stream

    rng = stream(0, "bench-faces", index)
    person, pose = sample_person(rng), sample_pose(rng, width, height, aligned=False)
    return compose(person, pose, sample_shot(rng, pose.unit), width, height, rng).image
