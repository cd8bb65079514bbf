"""The names in a run folder, which training writes and reports read; docs/formats.md describes each."""

from __future__ import annotations

FORMAT = "pgtools-run"
VERSION = 2
# Version 1 has the same config, logs, grids and snapshots, and one checkpoint of another kind.
READABLE = (1, 2)

CONFIG = "config.json"
LOG = "log.jsonl"
SCORES = "scores.jsonl"
CHECKPOINTS = "checkpoints"
LATEST = "latest.json"
BEST = "best.json"
GRIDS = "grids"
REALS = "reals"
FAKES = "fakes-"
SNAPSHOTS = "snapshots"
SNAPSHOT_SUFFIX = ".safetensors"
TENSORBOARD = "tensorboard"
FIRST_CHECKPOINT = "checkpoint.pt"  # of version 1
