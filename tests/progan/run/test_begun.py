"""What may differ when a run goes on, and what must not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pgtools.errors import InputError, UsageError
from pgtools.progan.config import TrainSettings
from pgtools.progan.presets import settings_from
from pgtools.progan.run.begun import describe, resumed_settings
from pgtools.progan.run.folder import RunFolder
from tests.progan.conftest import Pictures

DATA = {"name": "pictures", "resolution": 16, "count": 20, "fingerprint": "ab", "classes": 0}


def begun(path: Path, settings: TrainSettings, *, preset: str | None = None) -> Path:
    """A run as it stands once its config is written, with what was resolved."""
    path.mkdir()
    RunFolder(path).write_config(settings, DATA, {}, preset=preset, device="cpu")
    return path


@pytest.fixture
def of_preset(tmp_path: Path) -> Path:
    chosen = {"total_kimg": 12000.0, "precision": "bfloat16", "fmap_base": 4096}
    return begun(tmp_path / "run", settings_from("v2-1gpu", chosen), preset="v2-1gpu")


def test_the_preset_is_compared_by_its_name(of_preset: Path) -> None:
    settings = resumed_settings(of_preset, {}, preset="v2-1gpu")
    assert (settings.fmap_base, settings.precision) == (4096, "bfloat16")
    with pytest.raises(UsageError, match=r"began with --preset v2-1gpu; it cannot go on with celebahq-1024"):
        resumed_settings(of_preset, {}, preset="celebahq-1024")


def test_options_beside_the_preset_are_compared_too(of_preset: Path) -> None:
    assert resumed_settings(of_preset, {"fmap_base": 4096}, preset="v2-1gpu").fmap_base == 4096
    with pytest.raises(UsageError, match=r"began with --fmap-base 4096; it cannot go on with --fmap-base 8192"):
        resumed_settings(of_preset, {"fmap_base": 8192}, preset="v2-1gpu")
    with pytest.raises(UsageError, match=r"began without --mirror; it cannot go on with --mirror\."):
        resumed_settings(of_preset, {"mirror": True})


def test_auto_is_whatever_the_run_began_with(of_preset: Path) -> None:
    assert resumed_settings(of_preset, {"precision": "auto"}).precision == "bfloat16"
    with pytest.raises(UsageError, match=r"with --precision bfloat16; it cannot go on with --precision float32"):
        resumed_settings(of_preset, {"precision": "float32"})


def test_a_run_of_no_known_preset_is_compared_by_what_the_preset_sets(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", settings_from("cifar10", {"precision": "float32"}))
    assert resumed_settings(run, {}, preset="cifar10").gp_target == 750
    with pytest.raises(UsageError, match="cannot go on"):
        resumed_settings(run, {}, preset="mnist-1k")


@pytest.mark.parametrize("name", ["cuda_graphs", "micro_batch", "device", "workers"])
def test_what_only_rounds_otherwise_may_differ(tmp_path: Path, name: str) -> None:
    value: Any = {"cuda_graphs": True, "micro_batch": 4, "device": "cpu", "workers": 2}[name]
    run = begun(tmp_path / "run", TrainSettings())
    assert getattr(resumed_settings(run, {name: value}), name) == value


def test_parts_of_a_minibatch_are_fixed_where_each_draws_noise(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", TrainSettings(loss="lsgan"))
    with pytest.raises(UsageError, match=r"began without --micro-batch; it cannot go on with --micro-batch 4\."):
        resumed_settings(run, {"micro_batch": 4})
    other = begun(tmp_path / "other", TrainSettings(loss="lsgan", micro_batch=4))
    assert resumed_settings(other, {"micro_batch": 4}).micro_batch == 4
    assert resumed_settings(other, {}).micro_batch == 4


def test_zero_is_said_as_a_number(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", TrainSettings(stddev_group=0))
    with pytest.raises(UsageError, match=r"began with --stddev-group 0; it cannot go on with --stddev-group 4"):
        resumed_settings(run, {"stddev_group": 4})


def test_settings_of_another_version_are_named_with_a_next_step(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", TrainSettings())
    config = run / "config.json"
    config.write_text(config.read_text("utf-8").replace('"mirror"', '"mirrored"'), "utf-8")
    with pytest.raises(InputError, match="other settings than this pgtools knows: mirror, mirrored") as caught:
        resumed_settings(run, {})
    assert "begin a new run" in caught.value.hint


def test_classes_are_those_that_the_source_tells() -> None:
    class Labelled(Pictures):
        classes = 10

        def read_labels(self) -> NDArray[np.int64]:
            return np.zeros(len(self), np.int64)

    images = np.zeros((2, 3, 4, 4), np.uint8)
    assert describe(Labelled(images))["classes"] == 10
    assert describe(Pictures(images))["classes"] == 0
