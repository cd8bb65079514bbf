from __future__ import annotations

import math

import pytest

from pgtools.errors import UsageError
from pgtools.progan.config import TrainSettings, by_resolution
from pgtools.progan.presets import settings_from


def test_a_table_is_read_in_any_order() -> None:
    assert by_resolution("32:64, 4:128", option="--x", low=0, high=128) == {4: 128, 32: 64}
    assert by_resolution("", option="--x", low=0, high=1) == {}
    with pytest.raises(UsageError, match=r"--x has '4:129'; expected 0\.5 to 128"):
        by_resolution("4:129", option="--x", low=0.5, high=128)


@pytest.mark.parametrize("text", ["4", "4:a", "5:16", "2:16", "4:16,4:8", "4:16:3", ":", "4:nan", "4:16,8:inf"])
def test_a_wrong_table_is_named(text: str) -> None:
    with pytest.raises(UsageError, match="--minibatch"):
        TrainSettings(minibatch=text)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("minibatch", "4:14", "whole multiple of --stddev-group 4"),
        ("minibatch", "4:16.5", "whole multiple"),
        ("minibatch", "4:0", "--minibatch has '4:0'; expected 1 to 65536"),
        ("minibatch", "4:1e300", "--minibatch has '4:1e300'; expected 1 to 65536"),
        ("minibatch", "8:16", "from 4 on"),
        ("learning_rate_from", "64:0", r"--learning-rate-from has '64:0'; expected 1e-09 to 1"),
        ("learning_rate_from", "64:2", r"--learning-rate-from has '64:2'; expected 1e-09 to 1"),
        ("learning_rate", 0.0, r"--learning-rate is 0\.0; expected 1e-09 to 1\."),
        ("stable_kimg_from", "64:-1", r"--stable-kimg-from has '64:-1'; expected 0 to 1e\+09"),
        ("stable_kimg_from", "64:1e306", r"--stable-kimg-from has '64:1e306'; expected 0 to 1e\+09"),
        ("fade_kimg_from", "64:nan", r"--fade-kimg-from has '64:nan'; expected 0 to 1e\+09"),
        ("fade_kimg", 1e306, r"--fade-kimg is 1e\+306; expected 0 to 1e\+09"),
        ("total_kimg", 1e306, r"--total-kimg is 1e\+306; expected 0\.001 to 1e\+09"),
        ("every", 1e306, r"--every is 1e\+306; expected 0\.001 to 1e\+09"),
        ("fade_kimg_from", "64", "--fade-kimg-from has '64'; expected RESOLUTION:NUMBER"),
        ("start_resolution", 12, "--start-resolution is 12; expected a power of two"),
        ("start_resolution", 2, "--start-resolution is 2; expected 4 to 65536"),
        ("loss", "hinge", "--loss is 'hinge'; expected one of wgan-gp, lsgan"),
        ("gp_target", 0.0, "--gp-target"),
        ("ema", 1.0, "--ema"),
        ("gp_weight", math.inf, "--gp-weight is inf; expected 0 or more, finite"),
        ("total_kimg", math.nan, "--total-kimg is nan"),
    ],
)
def test_what_cannot_train_is_refused_at_once(field: str, value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainSettings(**{field: value})


def test_a_minibatch_below_the_group_is_one_group() -> None:
    assert TrainSettings(minibatch="4:16,64:3").minibatch_table == {4: 16, 64: 3}
    assert TrainSettings(minibatch="4:14", stddev_group=14).minibatch_table == {4: 14}
    assert TrainSettings(minibatch="4:7", stddev_group=0).minibatch_table == {4: 7}


def test_phases_of_no_length_are_refused() -> None:
    with pytest.raises(UsageError, match="both 0"):
        TrainSettings(stable_kimg=0, fade_kimg=0, fade_kimg_from="8:0")
    assert TrainSettings(stable_kimg=0, fade_kimg=0, fade_kimg_from="8:1").fade_kimg_table == {4: 0, 8: 1}


def test_growth_cannot_start_above_the_images() -> None:
    settings = TrainSettings(start_resolution=32)
    settings.check_resolution(32)
    with pytest.raises(UsageError, match=r"--start-resolution is 32; the images are 16²") as caught:
        settings.check_resolution(16)
    assert caught.value.hint == "Start at 16 or lower."
    TrainSettings(start_resolution=32, growing=False).check_resolution(16)


def test_networks_too_narrow_for_the_images_are_refused() -> None:
    compact, wide = TrainSettings(), settings_from("v2-1gpu", {})
    compact.check_resolution(64)
    wide.check_resolution(1024)
    for resolution, width, base in ((128, 4, 512), (1024, 1, 4096)):
        with pytest.raises(UsageError, match=rf"{resolution}² .* width of {width};") as caught:
            compact.check_resolution(resolution)
        expected = f"Pass --fmap-base {base} or more, or a preset for such images, as --preset v2-1gpu."
        assert caught.value.hint == expected
        TrainSettings(fmap_base=base).check_resolution(resolution)
        with pytest.raises(UsageError):
            TrainSettings(fmap_base=base - 1).check_resolution(resolution)
    with pytest.raises(UsageError) as caught:
        TrainSettings(fmap_max=4).check_resolution(16)
    assert "--fmap-max 8" in caught.value.hint


def test_help_shows_the_default_preset() -> None:
    assert settings_from("compact", {}) == TrainSettings()


def test_one_value_overrides_a_preset() -> None:
    changed = settings_from("v2-1gpu", {"seed": 7})
    assert (changed.seed, changed.fmap_base, changed.total_kimg) == (7, 8192, 12000)
    shape = changed.architecture(128, labels=10)
    assert (shape.latent, shape.fmap_max, shape.labels, shape.fused_scale) == (512, 512, 10, True)


def test_the_networks_are_those_of_the_settings() -> None:
    shape = settings_from("ablation-a", {"labels": True}).architecture(128, labels=3)
    assert (shape.batch_norm, shape.layer_norm, shape.tanh, shape.equalized) == (True, True, True, False)
    assert (shape.stddev_group, shape.labels, shape.latent_norm, shape.leaky_relu) == (0, 3, False, False)
