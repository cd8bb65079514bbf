"""Which crops a build keeps, and that only theirs are on the disk."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtools.celebahq.manifest import Keeping
from pgtools.celebahq.ranking import BestCrops, kept_of

# Few different scores, so that there are ties; up to three faces a photo, None for a face without a crop.
photos = st.lists(st.lists(st.sampled_from([None, 0.1, 0.2, 0.3, 0.4]), max_size=3), min_size=1, max_size=12)
choices = st.builds(
    Keeping,
    keep=st.sampled_from([None, 1, 3, 7]),
    min_score=st.sampled_from([None, 0.2, 0.25, 0.9]),
    rank=st.just(True),
)


def outcomes_of(scores: list[list[float | None]]) -> dict[str, dict]:
    def face(number: int, score: float | None) -> dict:
        return {"face": number} | ({"reason": "no"} if score is None else {"quad": [], "score": score})

    return {
        f"{place}.jpg": {"faces": [face(number, score) for number, score in enumerate(faces, start=1)]}
        for place, faces in enumerate(scores)
    }


@given(photos, choices, st.randoms(use_true_random=False))
def test_the_disk_ends_with_the_crops_that_are_kept(scores, choice: Keeping, order: random.Random) -> None:
    """Whatever order the photos come in: what is deleted on the way is what the sorting of all leaves out."""
    outcomes = outcomes_of(scores)
    places = {name: place for place, name in enumerate(outcomes)}
    crops = {
        (name if face["face"] == 1 else f"{name}#{face['face']}"): (face["score"], places[name], face["face"])
        for name, outcome in outcomes.items()
        for face in outcome["faces"]
        if "quad" in face
    }
    good = [name for name in crops if choice.min_score is None or crops[name][0] >= choice.min_score]
    best = sorted(good, key=lambda name: (-crops[name][0], *crops[name][1:]))[: choice.keep]
    assert list(kept_of(outcomes, places, choice)) == sorted(best, key=lambda name: crops[name][1:])
    disk = set(crops)
    deleted = []
    running = BestCrops(choice, places, deleted.append)
    arriving = list(outcomes)
    order.shuffle(arriving)
    for name in arriving:
        running.add(name, outcomes[name])
    assert disk - set(deleted) == set(best)
    assert len(deleted) == len(set(deleted))


@pytest.mark.parametrize("missing", [None, {"reason": "no face"}, {"faces": []}])
def test_a_photo_without_crops_takes_no_place(missing) -> None:
    outcomes = {"a.jpg": missing} if missing else {}
    assert kept_of(outcomes, {"a.jpg": 0}, Keeping(keep=3)) == {}
