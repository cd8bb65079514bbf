"""A cache and a registry of the test's own, and no proxies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.models.serving import Server


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, not made yet."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PGTOOLS_MODELS", str(tmp_path / "models.toml"))
    return tmp_path / "cache"


@pytest.fixture
def own(cache: Path) -> Path:
    """The user's registry, not written yet."""
    return cache.with_name("models.toml")


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().running() as running:
        yield running
