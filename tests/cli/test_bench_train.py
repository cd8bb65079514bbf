"""`pgtools bench train` and `bench growing`: rows, tables, refusals; and the plain version beside."""

from __future__ import annotations

import json

import pytest
import torch

from pgtools.progan.benchmark import growing
from pgtools.progan.benchmark.plain import PlainStep, generate, is_plain, judge
from pgtools.progan.benchmark.probe import StageTime
from pgtools.progan.config import Architecture, TrainSettings
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.losses import Minibatch, WganGp
from pgtools.progan.schedule import Live, live_levels
from tests.pictures import smooth_images
from tests.stores.sets import written

QUICK = ("--device", "cpu", "--rounds", 2)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("lod", [0.0, 0.3, 1.0])
def test_the_plain_networks_are_the_networks(lod: float, fused: bool) -> None:
    shape = Architecture(16, latent=8, fmap_base=64, fmap_max=16, fused_scale=fused)
    generator, discriminator = Generator(shape).double(), Discriminator(shape).double()
    live = live_levels(16, lod)
    latents = torch.randn(8, 8, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        images = generate(dict(generator.named_parameters()), shape, latents, live)
        torch.testing.assert_close(images, generator(latents, lod), rtol=1e-10, atol=1e-10)
        scores = judge(dict(discriminator.named_parameters()), shape, images, live)
        torch.testing.assert_close(scores, discriminator(images, lod)[0], rtol=1e-10, atol=1e-10)


def test_the_plain_step_has_the_loss() -> None:
    shape = Architecture(8, latent=8, fmap_base=32, fmap_max=8)
    generator, discriminator = Generator(shape), Discriminator(shape)
    settings, live = TrainSettings(learning_rate=1e-9), Live(8, 4, 0.5)
    reals, shares = torch.linspace(-1, 1, 4 * 192).reshape(4, 3, 8, 8), torch.tensor([0.1, 0.4, 0.6, 0.9])
    latents = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    plain = PlainStep(generator, discriminator, settings)
    found = plain(reals, (latents, latents), shares, live)
    batch = Minibatch(reals, generator(latents, live).detach(), shares)
    loss = WganGp().discriminator(lambda x, minibatches=1: discriminator(x, live, minibatches=minibatches), batch)
    fooled = -discriminator(generator(latents, live), live)[0].mean()
    torch.testing.assert_close(found, torch.stack([fooled, loss.loss]).detach(), rtol=1e-4, atol=1e-5)
    # The generator's turn spends no time on the discriminator's gradients, as no fair rival would.
    slopes = torch.autograd.grad(loss.loss, list(discriminator.parameters()))
    for parameter, slope in zip(plain.discriminator.parameters(), slopes, strict=True):
        torch.testing.assert_close(parameter.grad, slope, rtol=1e-3, atol=1e-5)


def test_ablations_have_no_plain_version() -> None:
    settings = TrainSettings()
    assert is_plain(settings.architecture(16), settings)
    for other in (
        {"pixel_norm": False},
        {"loss": "lsgan"},
        {"stddev_group": 0},
        {"equalized": False},
        {"latent_norm": False},
    ):
        chosen = TrainSettings(**other)  # type: ignore[arg-type]
        assert not is_plain(chosen.architecture(16), chosen)


def test_a_row_a_stage_with_ratio_and_memory(pgtools, tmp_path) -> None:
    out = tmp_path / "bench.md"
    done = pgtools("bench", "train", *QUICK, "--resolution", "4,8", "--minibatch", 4, "--json", "--out", out)
    assert done.code == 0, done.err
    found = json.loads(done.out)
    rows = found["rows"]
    assert [(row["level"], row["fading"], row["minibatch"]) for row in rows] == [
        (4, False, 4),
        (8, False, 4),
        (8, True, 4),
    ]
    for row in rows:
        assert 0 < row["images_per_second_low"] <= row["images_per_second"] <= row["images_per_second_high"]
        assert 0 < row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
        assert row["precision"] in ("float32", "bfloat16")
        assert row["waiting"] is None
    assert found["protocol"]["rounds"] == 2
    assert "| 8² | fading | 4 |" in out.read_text("utf-8")


def test_with_images_it_tells_the_waiting(pgtools, tmp_path) -> None:
    store = written(tmp_path, smooth_images(12, 8), "a.lmdb")[0]
    words = ("--resolution", 8, "--phases", "stable", "--images", store, "--no-plain", "--precision", "float32")
    done = pgtools("bench", "train", *QUICK, *words, "--json")
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)["rows"]
    assert 0 <= row["waiting"] < 1
    assert (row["ratio"], row["precision"]) == (None, "float32")
    done = pgtools("bench", "train", *QUICK, "--resolution", 64, "--images", store)
    assert done.code == 1
    assert "has no level 64" in done.err


def test_growing_adds_up_the_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    def times(resolution, settings, device, stages, *, seconds):  # type: ignore[no-untyped-def]
        basis = {8: "", 16: "4²–8²"}
        return {
            (level, fading): StageTime(level, fading, 8, float(level), basis.get(level, "")) for level, fading in stages
        }

    monkeypatch.setattr(growing, "stage_times", times)
    settings = TrainSettings(stable_kimg=0.8, fade_kimg=0.8, minibatch="4:8")
    small, large = growing.bench_growing(16, settings, torch.device("cpu"), seconds=1)
    # 800 images are 100 steps: one phase at 4², one fading to 8², three at 8².
    assert (small.images, small.growing_seconds, small.full_seconds) == (4000, 400 + 800 + 2400, 500 * 8)
    assert small.ratio == pytest.approx(4000 / 3600)
    assert (large.images, large.growing_seconds, large.full_seconds) == (5600, 400 + 1600 + 1600 + 4800, 700 * 16)
    assert (small.basis, large.basis) == ("", "4²–8²")


@pytest.mark.parametrize(("name", "begins"), [("a.png", b"\x89PNG"), ("b.svg", b"<?xml")])
def test_growing_is_a_table_and_a_picture(pgtools, tmp_path, name: str, begins: bytes) -> None:
    plot = tmp_path / name
    done = pgtools("bench", "growing", "--device", "cpu", "--resolution", 8, "--seconds", 0.5, "--plot", plot)
    assert done.code == 0, done.err
    assert "times sooner" in done.out
    assert plot.read_bytes().startswith(begins)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "--resolution", "48"), "--resolution is '48'; expected powers of two from 4 up"),
        (("train", "--phases", "half"), "--phases is 'half'; expected some of stable, fading"),
        (("train", "--minibatch", "6"), "expected a whole multiple of --stddev-group 4"),
        (("train", "--precision", "half"), "half"),
        (("growing", "--resolution", "8,16"), "expected one power of two from 8 up"),
        (("growing", "--plot", "a.gif"), "ends in .png or .svg"),
    ],
)
def test_bad_words_are_one_line(pgtools, words, message: str) -> None:
    done = pgtools("bench", *words)
    assert done.code == 2
    assert message in done.err.splitlines()[0]
    assert done.out == ""
