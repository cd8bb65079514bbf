from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome
from tests.metrics.sets import photographs, save

Run = Callable[..., Outcome]
CPU = ("--device", "cpu")


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    return save(photographs(12, 32, 2), tmp_path / "fakes")


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    return save(photographs(12, 32, 3), tmp_path / "originals")


def test_value_and_standard_error_are_printed(pgtools: Run, fakes: Path):
    outcome = pgtools("msssim", fakes, *CPU)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == "MS-SSIM between generated images, lower is better"
    assert lines[1] == "num_images 12, resolution 32, pairs 6, seed 0"
    assert "± standard error" in lines[3]
    result = json.loads(pgtools("msssim", fakes, *CPU, "--json").out)
    assert f"{result['values']['value']:.4f}" == lines[4].split()[1]
    assert f"{result['spread']['value']:.4f}" == lines[4].split()[2]


def test_many_pairs_of_few_images(pgtools: Run, fakes: Path):
    outcome = pgtools("msssim", fakes, "--pairs", 1000, "--json", *CPU)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["protocol"]["pairs"] == 1000


def test_two_sets(pgtools: Run, fakes: Path, originals: Path):
    outcome = pgtools("msssim", fakes, "--against", originals, *CPU)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[:2] == ["MS-SSIM between the images of two sets, higher is better", "num_images 12, resolution 32"]
    same = json.loads(pgtools("msssim", fakes, "--against", fakes, "--num-images", 5, "--json", *CPU).out)
    assert same["values"] == {"value": 1.0} and same["protocol"]["num_images"] == 5


def test_two_sets_of_other_counts_are_refused(pgtools: Run, fakes: Path, originals: Path):
    (originals / "000.png").unlink()
    outcome = pgtools("msssim", fakes, "--against", originals, *CPU)
    assert (outcome.code, outcome.out) == (1, "")
    assert "has 12 images" in outcome.err and "11" in outcome.err


def test_wrong_options_are_wrong_usage(pgtools: Run, fakes: Path, originals: Path):
    assert pgtools("msssim", fakes, "--pairs", 0).code == 2
    assert pgtools("msssim", fakes, "--device", "abacus").code == 2
    outcome = pgtools("msssim", fakes, "--against", originals, "--pairs", 4)
    assert outcome.code == 2 and "--pairs" in outcome.err
    assert pgtools("msssim", fakes, "--against", originals.with_name("absent")).code == 1
