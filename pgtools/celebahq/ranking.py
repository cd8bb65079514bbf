"""The crops that a build keeps: which they are, and only theirs on disk."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping

from pgtools.celebahq.manifest import Keeping, Outcome, crop_name


def crops_of(photo: str, outcome: Outcome | None) -> Iterator[tuple[str, Outcome]]:
    """Yield (name, face) of each crop that a photo gave."""
    for face in (outcome or {}).get("faces", []):
        if "quad" in face:
            yield crop_name(photo, face["face"]), face


def kept_of(outcomes: Mapping[str, Outcome], order: Mapping[str, int], choice: Keeping) -> dict[str, Outcome]:
    """Return name → face of the crops to keep, in the order of the photos; of equal scores the earlier stays.

    Args:
        outcomes: of photos.
        order: photo → its place.
        choice: what is kept.
    """
    photos = sorted(outcomes.keys() & order.keys(), key=order.__getitem__)
    crops = [crop for photo in photos for crop in crops_of(photo, outcomes[photo])]
    good = [place for place, (_, face) in enumerate(crops) if is_good(face, choice)]
    best = sorted(good, key=lambda place: (-crops[place][1].get("score", 0.0), place))[: choice.keep]
    return dict(crops[place] for place in sorted(best))


def is_good(face: Outcome, choice: Keeping) -> bool:
    """Return whether the score of a crop suffices."""
    return choice.min_score is None or face.get("score", 0.0) >= choice.min_score


class BestCrops:
    """Deletes each crop as soon as it is not among those to keep: a heap whose top is the next to go.

    Args:
        choice: what is kept.
        order: photo → its place; ties go to the earlier.
        delete: deletes the crop of a name from the disk.
    """

    def __init__(self, choice: Keeping, order: Mapping[str, int], delete: Callable[[str], None]) -> None:
        self._choice, self._order, self._delete = choice, order, delete
        self._heap: list[tuple[float, int, int, str]] = []

    def add(self, photo: str, outcome: Outcome) -> None:
        """Add the crops of a photo, once; those that are not among the best go."""
        for name, face in crops_of(photo, outcome):
            if not is_good(face, self._choice):
                self._delete(name)
            elif self._choice.keep is not None:
                entry = (face.get("score", 0.0), -self._order[photo], -face["face"], name)
                if len(self._heap) < self._choice.keep:
                    heapq.heappush(self._heap, entry)
                else:
                    self._delete(heapq.heappushpop(self._heap, entry)[-1])
