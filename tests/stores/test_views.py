"""Sources made of other sources."""

from __future__ import annotations

import numpy as np

from pgtools.stores.views import Joined
from tests.pictures import noise_images
from tests.stores.sets import Held


class Classed(Held):
    """Images whose classes are more than their labels show."""

    def __init__(self, labels: list[int] | None, classes: int | None) -> None:
        numbers = None if labels is None else np.array(labels, np.int64)
        super().__init__(noise_images(2, 4), name=f"of {classes}", labels=numbers)
        self._classes = classes

    @property
    def classes(self) -> int | None:
        return self._classes


def test_joined_sources_have_the_largest_number_of_classes() -> None:
    few, many = Classed([0, 1], 3), Classed([1, 1], 7)
    for sources in ([few, many], [many, few], [few, many, few]):
        assert Joined(sources).classes == 7
    assert Joined([few, many], labelled=False).classes is None
    assert Joined([Classed(None, None), Classed(None, None)]).classes is None
    assert Joined([few, many]).labels.tolist() == [0, 1, 1, 1]
