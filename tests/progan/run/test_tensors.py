"""A header is anybody's: whatever it says, a file is read or refused in one line, and costs no more than its size."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgtools.errors import InputError
from pgtools.progan.generator import Generator
from pgtools.progan.run.checkpoint import read_checkpoint
from pgtools.progan.run.snapshot import read_networks, read_snapshot
from pgtools.progan.run.tensors import CHECKPOINT, NETWORKS, SNAPSHOT, joined
from pgtools.runtime.memory import highest_resident, resident_from_here
from tests.progan.run.conftest import SHAPE, networks_of

FIELDS = dataclasses.asdict(SHAPE)
READERS: dict[str, Callable[[Path], object]] = {
    SNAPSHOT: read_snapshot,
    NETWORKS: read_networks,
    CHECKPOINT: read_checkpoint,
}


@functools.cache
def tensors_of(format: str) -> dict[str, torch.Tensor]:
    if format == SNAPSHOT:
        return dict(Generator(SHAPE).state_dict())
    networks = networks_of()
    parts = {kind: getattr(networks, kind).state_dict() for kind in ("generator", "discriminator", "average")}
    return {name: tensor.clone() for name, tensor in joined(parts).items()}


def forged(path: Path, format: str = SNAPSHOT, shape: Any = None, **fields: Any) -> Path:
    """A whole file but for what its header says."""
    version = {SNAPSHOT: 1, NETWORKS: 1, CHECKPOINT: 2}[format]
    header = {"format": format, "version": version, "architecture": FIELDS, "lod": 0.5, "images": 9, **fields}
    if shape is not None:
        header["architecture"] = {**FIELDS, **shape} if isinstance(shape, dict) else shape
    safetensors.torch.save_file(tensors_of(format), path, {"pgtools": json.dumps(header)})
    return path


def refusal(path: Path, format: str = SNAPSHOT) -> str:
    with pytest.raises(InputError) as caught:
        READERS[format](path)
    return caught.value.message


@pytest.mark.parametrize(
    ("field", "found"),
    [
        *((name, 0) for name in ("latent", "channels", "fmap_base", "fmap_max")),
        *((name, -1) for name in ("labels", "stddev_group", "discrimination_kernels")),
        *((name, 1 << 31) for name in FIELDS if name not in ("resolution", "fmap_decay") and FIELDS[name] < 1 << 31),
        ("labels", 10**19),
        ("fmap_base", 10**400),
        *(("fmap_decay", value) for value in (-2000.0, -1e-9, 8.1, 9, float("nan"), float("inf"))),
        *(("resolution", value) for value in (0, 2, 12, 1 << 17, -16)),
        *(("latent", value) for value in (True, 8.0, "8", None, [8])),
        *(("tanh", value) for value in (0, 1.0, "yes", None)),
    ],
)
def test_a_shape_out_of_range_is_named(tmp_path: Path, field: str, found: object) -> None:
    message = refusal(forged(tmp_path / "s", shape={field: found}))
    assert f"(its {field} is " in message
    assert "expected" in message


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("lod", [-0.1, 2.01, float("nan"), float("inf"), 10**400, "0.5", True, None, []]),
        ("images", [-1, 10**400, 1.0, True, "9", None]),
        ("progress", [[], None, "x"]),
    ],
)
def test_a_moment_out_of_range_is_named(tmp_path: Path, field: str, values: list[object]) -> None:
    for value in values:
        assert f"(its {field} " in refusal(forged(tmp_path / "s", CHECKPOINT, **{field: value}), CHECKPOINT)


@pytest.mark.parametrize("shape", [3, [], "latent", {"a\nb\ud800": 1}, {"x" * 10_000: 1}])
def test_an_architecture_of_other_fields_is_told_in_a_short_line(tmp_path: Path, shape: object) -> None:
    message = refusal(forged(tmp_path / "s", shape=shape)).replace(str(tmp_path), "")
    assert "its architecture" in message
    assert message.isprintable()
    assert len(message) < 200


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "x" * 10_000])
def test_a_strange_name_of_a_tensor_is_told_in_a_short_line(tmp_path: Path, name: str) -> None:
    file = forged(tmp_path / "s")
    with safetensors.safe_open(file, framework="pt") as opened:
        metadata = opened.metadata()
    safetensors.torch.save_file({**tensors_of(SNAPSHOT), name: torch.zeros(1)}, file, metadata)
    message = refusal(file).replace(str(tmp_path), "")
    assert "unknown tensor" in message
    assert message.isprintable()
    assert len(message) < 200


numbers = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([2**20, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63, 2**64, 10**19, 10**400]),
    st.integers(),
    st.floats(),
)
anything = st.one_of(
    numbers, st.booleans(), st.none(), st.text(max_size=5), st.lists(numbers, max_size=2), st.just({"a": 1})
)
# Mostly numbers, so that many headers pass the first checks and reach the networks that are built by them.
shapes = st.dictionaries(
    st.one_of(st.sampled_from(sorted(FIELDS)), st.text(max_size=3)), st.one_of(numbers, anything), max_size=3
)
headers = st.dictionaries(
    st.sampled_from(["format", "version", "architecture", "lod", "images", "progress", "other"]), anything, max_size=2
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(format=st.sampled_from(sorted(READERS)), shape=shapes, fields=headers)
def test_a_forged_header_is_read_or_refused_in_one_line(
    tmp_path: Path, format: str, shape: dict[str, Any], fields: dict[str, Any]
) -> None:
    given = {"format": format, **fields, **({} if "architecture" in fields else {"architecture": {**FIELDS, **shape}})}
    file = tmp_path / "s"
    head = {"version": 2 if format == CHECKPOINT else 1, "lod": 0.5, "images": 9, **given}
    safetensors.torch.save_file(tensors_of(format), file, {"pgtools": json.dumps(head)})
    try:
        READERS[format](file)
    except InputError as error:
        message = error.message.replace(str(tmp_path), "")
        assert message.isprintable()
        assert len(message) < 300


@pytest.mark.parametrize("format", sorted(READERS))
def test_a_header_of_huge_networks_costs_no_memory(tmp_path: Path, format: str) -> None:
    file = forged(tmp_path / "s", format, {"latent": 1 << 18, "fmap_base": 64, "fmap_max": 64})  # 1 GiB each
    if (before := resident_from_here()) is None:
        pytest.skip("this system does not tell its memory")
    assert "expected F32" in refusal(file, format)
    after = highest_resident()
    assert after is not None
    assert after - before < 1 << 27
