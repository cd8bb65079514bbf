"""Modules of the names that the authors' pickles ask for, so that they can be written here."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.progan.karras.writing import CLASSES


@pytest.fixture(autouse=True)
def authors_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, network in CLASSES.items():
        module = types.ModuleType(name)
        module.Network = network  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def unharmed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Go to an empty folder and return a check that nothing was written there but pickles."""
    monkeypatch.chdir(tmp_path)

    def check() -> None:
        assert [path.name for path in tmp_path.iterdir() if path.suffix != ".pkl"] == []

    return check
