from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgtools.errors import ComputeError, UsageError
from pgtools.progan.config import Architecture, TrainSettings
from pgtools.progan.layers import minibatch_stddev
from pgtools.progan.parallel import check_shares, others_answering, part_count, places
from pgtools.progan.run.folder import RunFolder
from pgtools.runtime.distributed import Processes
from tests.conftest import Outcome
from tests.progan.conftest import Pictures, run_training, tiny_options

Run = Callable[..., Outcome]

FIGURES = ("loss_generator", "loss_discriminator", "wasserstein", "gradient_penalty")
NORMS = ("gradient_norm_generator", "gradient_norm_discriminator")


@given(group=st.integers(0, 6), groups=st.integers(1, 4), parts=st.integers(1, 4))
def test_parts_are_equal_and_hold_every_image_once(group: int, groups: int, parts: int) -> None:
    count = max(group, 1) * groups * parts
    taken = [places(count, group, part=part, parts=parts) for part in range(parts)]
    assert {len(part) for part in taken} == {count // parts}
    assert sorted(np.concatenate(taken)) == list(range(count))


def test_the_parts_groups_are_those_of_the_whole_minibatch() -> None:
    x = torch.randn(24, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    whole = minibatch_stddev(x, 4)[:, -1, 0, 0]  # six groups of four
    for parts in (1, 2, 3, 6):
        for part in range(parts):
            taken = torch.from_numpy(places(24, 4, part=part, parts=parts))
            assert torch.equal(minibatch_stddev(x[taken], 4)[:, -1, 0, 0], whole[taken])


@pytest.mark.parametrize(
    ("count", "group", "micro", "parts"),
    [
        (16, 4, None, 1),
        (16, 4, 16, 1),
        (16, 4, 8, 2),
        (16, 4, 15, 2),
        (16, 4, 4, 4),
        (24, 4, 11, 3),
        (3, 4, 4, 1),
        (6, 0, 2, 3),
    ],
)
def test_a_part_is_as_large_as_allowed(count: int, group: int, micro: int | None, parts: int) -> None:
    assert part_count(count, group, micro) == parts


def test_a_minibatch_that_cannot_be_shared_is_refused() -> None:
    shape, table = Architecture(64), {4: 16.0, 32: 8.0, 1024: 4.0}
    check_shares(shape, table, processes=2, micro_batch=4)  # 1024² is above the images
    with pytest.raises(UsageError, match=r"8 at 32² has 2 groups of 4 .* by 4 processes") as caught:
        check_shares(shape, table, processes=4, micro_batch=None)
    assert "multiple of 16" in caught.value.hint
    with pytest.raises(UsageError, match="micro-batch is 3; a group of 4"):
        check_shares(shape, table, processes=1, micro_batch=3)
    for field in ({"batch_norm": True}, {"discrimination_kernels": 8}):
        whole = dataclasses.replace(shape, **field)
        check_shares(whole, table, processes=1, micro_batch=16)
        with pytest.raises(UsageError, match="needs the whole minibatch"):
            check_shares(whole, table, processes=1, micro_batch=8)
        with pytest.raises(UsageError, match="needs the whole minibatch"):
            check_shares(whole, table, processes=2, micro_batch=None)


def test_a_process_whose_peers_are_gone_says_so() -> None:
    two = Processes.alone()
    two.count = 2
    with (
        pytest.raises(ComputeError, match=r"no longer answer process 0 \(Connection closed by peer\)"),
        others_answering(two),
    ):
        raise RuntimeError("Connection closed by peer\nmore")
    with pytest.raises(torch.OutOfMemoryError), others_answering(two):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="as it is"), others_answering(Processes.alone()):
        raise RuntimeError("as it is")


def figures(run: Path) -> np.ndarray:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    return np.array([[line[name] for name in FIGURES + NORMS] for line in lines])


def test_gradients_of_parts_add_up_to_the_minibatchs(tmp_path: Path, source: Pictures, tiny: TrainSettings) -> None:
    brief = dataclasses.replace(tiny, total_kimg=0.128, discriminator_steps=2)
    for name, micro in (("whole", None), ("parts", 4)):
        run_training(source, tmp_path / name, dataclasses.replace(brief, micro_batch=micro))
    np.testing.assert_allclose(figures(tmp_path / "parts"), figures(tmp_path / "whole"), rtol=2e-4, atol=1e-5)


def test_two_processes_compute_what_one_computes(tmp_path: Path, folder: Path, pgtools: Run) -> None:
    # Minibatches of 8 images, two groups of 4; the run begins at 4² and grows into 8².
    words = tiny_options(minibatch="4:8", total_kimg=0.128, num_images=6)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    both = [*launcher, "-m", "pgtools", "train", str(folder), "--out", str(tmp_path / "two"), *words]
    done = subprocess.run(both, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("128") == 1  # one process speaks
    alone = pgtools("train", folder, "--out", tmp_path / "one", *words)
    assert alone.code == 0, alone.err
    two, one = figures(tmp_path / "two"), figures(tmp_path / "one")
    # The losses agree to 1e-5 while the weights are the same; sums that round otherwise then move them apart, slowly.
    np.testing.assert_allclose(two[0], one[0], atol=1e-5)
    np.testing.assert_allclose(two, one, rtol=1e-3, atol=1e-4)
    assert (tmp_path / "two" / "scores.jsonl").exists()
    weights = [RunFolder(tmp_path / name).read_latest() for name in ("one", "two")]
    assert weights[1] is not None and weights[1].progress["processes"] == 2
    resumed = pgtools("train", folder, "--out", tmp_path / "two", "--resume", "--total-kimg", "0.144")
    assert resumed.code == 0, resumed.err
    assert "trained by 2 processes and goes on with 1" in resumed.err
