"""docs/stores.md names every format that pgtools knows, and says rightly which of them it writes."""

from __future__ import annotations

import re
from pathlib import Path

from pgtools.stores.opening import FORMATS

STORES = (Path(__file__).parents[2] / "docs" / "stores.md").read_text(encoding="utf-8")


def test_every_format_has_its_row() -> None:
    rows = re.findall(r"^\| (`[^|]*) \| ✓ \| (✓?) ?\|", STORES, re.MULTILINE)
    told = {name: bool(written) for names, written in rows for name in re.findall("`([^`]*)`", names)}
    assert told.pop("torchvision:CLASS") is False
    assert told == {known.name: known.writer is not None for known in FORMATS}
