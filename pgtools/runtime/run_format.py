"""The names in a run folder, which training writes and reports read; docs/formats.md describes each."""

from __future__ import annotations

FORMAT = "pgtools-run"
VERSION = 1

CONFIG = "config.json"
LOG = "log.jsonl"
SCORES = "scores.jsonl"
CHECKPOINT = "checkpoint.pt"
GRIDS = "grids"
REALS = "reals"
FAKES = "fakes-"
SNAPSHOTS = "snapshots"
SNAPSHOT_SUFFIX = ".safetensors"
