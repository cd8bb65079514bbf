from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgtools.progan.config import TrainSettings
from pgtools.progan.presets import settings_from
from pgtools.progan.schedule import Live, crossed, growth, images_at, lod_at, stage_at, total_images

RELEASED = settings_from("v2-1gpu", {})


@pytest.mark.parametrize(
    ("images", "lod", "resolution", "minibatch", "rate", "live"),
    [
        (0, 8, 4, 128, 0.001, (4,)),
        (600_000, 8, 4, 128, 0.001, (4,)),
        (900_000, 7.5, 8, 128, 0.001, (8, 4)),
        (1_200_000, 7, 8, 128, 0.001, (8,)),
        (3_300_000, 5.5, 32, 64, 0.001, (32, 16)),
        (4_800_000, 4, 64, 32, 0.001, (64,)),
        (6_000_000, 3, 128, 16, 0.001, (128,)),
        (7_200_000, 2, 256, 8, 0.001, (256,)),
        (8_400_000, 1, 512, 4, 0.001, (512,)),
        (9_300_000, 0.5, 1024, 4, 0.0015, (1024, 512)),
        (9_600_000, 0, 1024, 4, 0.0015, (1024,)),
        (12_000_000, 0, 1024, 4, 0.0015, (1024,)),
    ],
)
def test_the_released_schedule_at_1024(
    images: int, lod: float, resolution: int, minibatch: int, rate: float, live: tuple[int, ...]
) -> None:
    stage = stage_at(images, 1024, RELEASED)
    assert stage.lod == pytest.approx(lod)
    assert (stage.resolution, stage.minibatch, stage.learning_rate) == (resolution, minibatch, rate)
    assert (stage.live.upper, stage.live.lower) == (live[0], live[-1])
    assert stage.live.weight == pytest.approx(lod % 1)


def test_lod_never_rises() -> None:
    settings = settings_from("compact", {})
    lods = [lod_at(images, 32, settings) for images in range(0, 60_000, 48)]
    assert lods[0] == 3
    assert lods[-1] == 0
    assert lods == sorted(lods, reverse=True)


def test_a_run_at_4_or_without_fading() -> None:
    settings = settings_from("compact", {"stable_kimg": 1.0, "fade_kimg": 0.0})
    assert [lod_at(images, 16, settings) for images in (0, 999, 1000, 1999, 2000, 9000)] == [2, 2, 1, 1, 0, 0]
    assert lod_at(0, 4, settings) == 0
    assert stage_at(0, 4, settings).live == Live(4, 4, 0.0)


def test_total_is_as_asked_or_growth_and_three_phases() -> None:
    assert total_images(1024, RELEASED) == 12_000_000
    free = settings_from("compact", {"stable_kimg": 2.0, "fade_kimg": 1.0})
    assert total_images(32, free) == 3 * 3000 + 3 * 2000


def test_crossed_says_when_something_is_due() -> None:
    assert [crossed(a, a + 64, 0.1) for a in (0, 64, 128, 192)] == [False, True, False, True]
    assert crossed(0, 1000, 1.0)
    assert not crossed(1000, 1999, 1.0)


def test_without_growing_all_of_training_is_at_full_resolution() -> None:
    settings = settings_from("compact", {"growing": False})
    for images in (0, 3000, 50_000):
        stage = stage_at(images, 32, settings)
        assert (stage.lod, stage.live) == (0, Live(32, 32, 0.0))
    assert images_at(0, 32, settings) == 0
    assert total_images(32, settings) == total_images(32, settings_from("compact", {}))


def test_growth_from_a_higher_start_skips_the_phases_below() -> None:
    settings = TrainSettings(stable_kimg=1.0, fade_kimg=2.0, start_resolution=8)
    assert [lod_at(images, 32, settings) for images in (0, 1000, 2000, 3000, 5000, 6000)] == [2, 2, 1.5, 1, 0.5, 0]
    assert stage_at(0, 32, settings).live == Live(8, 8, 0.0)
    assert total_images(32, settings) == 6000 + 3 * 1000
    assert growth(8, settings) == ()


def test_a_resolution_has_its_own_phase_and_fade() -> None:
    settings = TrainSettings(stable_kimg=1.0, fade_kimg=1.0, stable_kimg_from="8:3", fade_kimg_from="16:4,32:0")
    found = [(phase.begin, phase.end, phase.level, phase.fading) for phase in growth(32, settings)]
    assert found == [
        (0, 1000, 4, False),
        (1000, 2000, 8, True),
        (2000, 5000, 8, False),
        (5000, 9000, 16, True),
        (9000, 12_000, 16, False),  # and nothing fades into 32
    ]
    assert [lod_at(images, 32, settings) for images in (999, 1500, 6000, 11_999, 12_000)] == [3, 2.5, 1.75, 1, 0]
    assert total_images(32, settings) == 12_000 + 3 * 3000


@pytest.mark.parametrize(
    ("lod", "images"), [(8, 0), (9, 0), (7.5, 900_000), (7, 1_200_000), (3.25, 5_850_000), (0, 9_600_000)]
)
def test_the_images_of_a_level_of_detail(lod: float, images: int) -> None:
    assert images_at(lod, 1024, RELEASED) == images


LENGTHS = st.floats(0, 0.1, allow_subnormal=False)


@given(
    stable=LENGTHS, fade=st.floats(0.001, 0.1), later=LENGTHS, start=st.sampled_from([4, 8, 16]), share=st.floats(0, 1)
)
def test_images_at_is_the_inverse_of_lod_at(stable: float, fade: float, later: float, start: int, share: float) -> None:
    settings = TrainSettings(
        stable_kimg=stable, fade_kimg=fade, fade_kimg_from=f"16:{later:.6f}", start_resolution=start
    )
    lod = share * lod_at(0, 32, settings)
    images = images_at(lod, 32, settings)
    assert lod_at(images, 32, settings) <= lod
    assert images == 0 or lod_at(images - 1, 32, settings) > lod


@given(stable=LENGTHS, fade=st.floats(0.001, 0.1), options=st.sampled_from([{}, {"start_resolution": 8}]))
def test_lod_falls_without_a_jump_upwards_and_ends_at_zero(stable: float, fade: float, options: dict[str, Any]) -> None:
    settings = TrainSettings(stable_kimg=stable, fade_kimg=fade, **options)
    end = total_images(32, settings) - round(3000 * stable)
    lods = [lod_at(images, 32, settings) for images in range(0, end + 8, 7)]
    assert lods == sorted(lods, reverse=True)
    assert lods[0] == 3 - bool(options)
    assert lod_at(end + 1, 32, settings) == 0
