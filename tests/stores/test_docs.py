"""The pages name every format that pgtools knows, say rightly which of them it writes, and lead where they say."""

from __future__ import annotations

import re
from pathlib import Path

from pgtools.stores.opening import FORMATS

ROOT = Path(__file__).parents[2]
STORES = (ROOT / "docs" / "stores.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_every_format_has_its_row() -> None:
    rows = re.findall(r"^\| (`[^|]*) \| ✓ \| (✓?) ?\|", STORES, re.MULTILINE)
    told = {name: bool(written) for names, written in rows for name in re.findall("`([^`]*)`", names)}
    assert told.pop("torchvision:CLASS") is False
    assert told == {known.name: known.writer is not None for known in FORMATS}


def test_every_link_leads_to_a_page() -> None:
    links = [
        (page, link) for page in PAGES for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    ]
    assert len(links) > 20
    assert [f"{page.name} → {link}" for page, link in links if not (page.parent / link).exists()] == []
