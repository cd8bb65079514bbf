from __future__ import annotations

import pytest

from pgtools.progan.config import settings_from
from pgtools.progan.schedule import crossed, lod_at, stage_at, total_images

PAPER = settings_from("paper", {})


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
def test_the_papers_schedule_at_1024(
    images: int, lod: float, resolution: int, minibatch: int, rate: float, live: tuple[int, ...]
) -> None:
    stage = stage_at(images, 1024, PAPER)
    assert stage.lod == pytest.approx(lod)
    assert (stage.resolution, stage.minibatch, stage.learning_rate, stage.live) == (resolution, minibatch, rate, live)


def test_lod_never_rises() -> None:
    settings = settings_from("compact", {})
    lods = [lod_at(images, 32, settings) for images in range(0, 60_000, 48)]
    assert lods[0] == 3
    assert lods[-1] == 0
    assert lods == sorted(lods, reverse=True)


def test_a_run_without_growth_or_without_fading() -> None:
    settings = settings_from("compact", {"stable_kimg": 1.0, "fade_kimg": 0.0})
    assert [lod_at(images, 16, settings) for images in (0, 999, 1000, 1999, 2000, 9000)] == [2, 2, 1, 1, 0, 0]
    assert lod_at(0, 4, settings) == 0
    assert stage_at(0, 4, settings).live == (4,)


def test_total_is_as_asked_or_growth_and_three_phases() -> None:
    assert total_images(1024, PAPER) == 12_000_000
    free = settings_from("compact", {"stable_kimg": 2.0, "fade_kimg": 1.0})
    assert total_images(32, free) == 3 * 3000 + 3 * 2000


def test_crossed_says_when_something_is_due() -> None:
    assert [crossed(a, a + 64, 0.1) for a in (0, 64, 128, 192)] == [False, True, False, True]
    assert crossed(0, 1000, 1.0)
    assert not crossed(1000, 1999, 1.0)
