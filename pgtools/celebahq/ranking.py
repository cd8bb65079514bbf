"""The best K of a build: which photos they are, and only their crops on disk."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from pathlib import Path

from pgtools.celebahq.manifest import Outcome


class BestCrops:
    """Keeps the crops of the best K on disk and deletes the others: a heap whose top is the next to go.

    Args:
        keep: K; None keeps all.
        places: name → file of its crop, in the order of the photos; ties go to the earlier.
    """

    def __init__(self, keep: int | None, places: dict[str, Path]) -> None:
        self._keep, self._places = keep, places
        self._order = {name: place for place, name in enumerate(places)}
        self._heap: list[tuple[float, int, str]] = []

    def add(self, name: str, outcome: Outcome) -> None:
        """Add a photo, once; the crop that is no longer among the best goes."""
        if "score" not in outcome or self._keep is None:
            return
        entry = (outcome["score"], -self._order[name], name)
        if len(self._heap) < self._keep:
            heapq.heappush(self._heap, entry)
        else:
            self._places[heapq.heappushpop(self._heap, entry)[2]].unlink(missing_ok=True)


def best_of(outcomes: dict[str, Outcome], names: Sequence[str], keep: int | None) -> list[str]:
    """Return the names of the `keep` best scores (all, if None) in the order of `names`; ties go to the earlier."""
    places = [place for place, name in enumerate(names) if "score" in outcomes.get(name, {})]
    best = sorted(places, key=lambda place: (-outcomes[names[place]]["score"], place))[:keep]
    return [names[place] for place in sorted(best)]
