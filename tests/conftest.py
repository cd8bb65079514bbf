"""What every test may ask for: the shared real data, a run of the command line in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # one worker a core: read where torch is loaded, here and in child processes
    os.environ["OMP_NUM_THREADS"] = "1"

SHARED = Path(os.environ.get("PGTOOLS_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.hookimpl(optionalhook=True)  # pytest without pytest-xdist knows no such hook
def pytest_xdist_auto_num_workers() -> int:
    """As many workers as this process may use cores; pytest-xdist itself counts two threads of a core as one.

    No more than 8: each takes over a gigabyte.
    """
    from pgtools.runtime.workers import cpu_count

    return min(cpu_count(), 8)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the shared data or a GPU where there is none; the reason shows in the summary."""
    for item in items:
        if item.get_closest_marker("shared") and not (SHARED / "golden").is_dir():
            item.add_marker(pytest.mark.skip(reason=f"no shared data at {SHARED} (set PGTOOLS_SHARED)"))
        if item.get_closest_marker("gpu") and not _has_cuda():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture
def shared() -> Path:
    """The folder of real photos, weights and golden values; use with `@pytest.mark.shared`."""
    return SHARED


@dataclass(frozen=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def pgtools(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run `pgtools WORDS…` in this process and return its exit code, stdout and stderr."""
    from pgtools.cli import run

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call
