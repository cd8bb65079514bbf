"""Damaged photos and ZIPs: none ends or hangs a build, or fills the memory; each is scored or refused in a line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def fuzzed(kind: str, folder: Path, count: int) -> list[dict[str, str]]:
    """Return the outcome of every case; a process that crashed, hung or ran out of memory fails here."""
    words = [sys.executable, "-m", "tests.celebahq.fuzzing", kind, str(folder), str(count), "0"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    outcomes = [line for line in lines if "outcome" in line]
    assert len(outcomes) == count
    return outcomes


@pytest.mark.parametrize("count", [200, pytest.param(2_400, marks=pytest.mark.slow)])
def test_damaged_photos_are_scored_or_refused(tmp_path: Path, count: int) -> None:
    outcomes = fuzzed("photos", tmp_path, count)
    assert [line for line in outcomes if line["outcome"] not in ("scored", "refused")] == []
    by_attack = defaultdict(Counter)
    for line in outcomes:
        by_attack[line["what"].split()[0]][line["outcome"]] += 1
    # Damage does reach the decoders: of each kind some are refused, and of single bits some only change the picture.
    assert all(counts["refused"] for counts in by_attack.values()), by_attack
    assert by_attack["a"]["scored"]
    assert by_attack["damage"]["scored"]
    assert [path.suffix for path in (tmp_path / "crops").iterdir() if path.suffix != ".crop"] == []


def test_damaged_zips_are_read_or_refused(tmp_path: Path) -> None:
    outcomes = fuzzed("zips", tmp_path, 200)
    assert [line for line in outcomes if line["outcome"] not in ("read", "refused")] == []
    assert {line["outcome"] for line in outcomes} == {"read", "refused"}
