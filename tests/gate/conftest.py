"""Results to gate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgtools.runtime.results import MetricResult


def make_result(values: dict[str, float] | None = None, **words: Any) -> MetricResult:
    fields: dict[str, Any] = {
        "metric": "swd",
        "direction": "lower",
        "values": values or {"32": 10.0, "average": 8.0},
        "spread": {"32": 0.1},
        "protocol": {"version": 1, "num_images": 256, "seed": 0},
        "data": {"real": {"name": "a", "fingerprint": "ab"}, "fake": {"name": "b", "fingerprint": "cd"}},
    }
    return MetricResult(**{**fields, **words})


@pytest.fixture(scope="session")
def result() -> Callable[..., MetricResult]:
    """Make a result of two figures, with any of its fields replaced."""
    return make_result
