from __future__ import annotations

from collections.abc import Mapping

import torch

from pgtools.progan.recorded import Recorded


def test_inputs_are_copied_to_the_same_places_at_every_call() -> None:
    seen: list[tuple[int, float]] = []

    def function(inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        seen.append((inputs["x"].data_ptr(), inputs["x"].sum().item()))
        return inputs["x"] * inputs["weight"]

    recorded = Recorded(function, torch.device("cpu"))
    given = [torch.full((3,), float(value)) for value in (1, 2, 3)]
    found = [recorded({"x": x, "weight": torch.tensor(2.0)}) for x in given]
    assert [one.tolist() for one in found] == [[2.0] * 3, [4.0] * 3, [6.0] * 3]
    assert len({place for place, _ in seen}) == 1
    assert seen[0][0] != given[0].data_ptr()
    assert [total for _, total in seen] == [3, 6, 9]
