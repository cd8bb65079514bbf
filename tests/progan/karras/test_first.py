"""The first trainer's form against a float64 twin that convolves the stored arrays as Theano does."""

from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.generator import Generator
from pgtools.progan.karras.reading import read_average, read_karras
from pgtools.progan.layers import downsample, enlarge
from tests.progan.karras.theano import Sizes, TheanoDiscriminator, TheanoGenerator, at_every_lod
from tests.progan.karras.writing import TheanoNetwork, first, python2, released

SIZES = Sizes()
# float32 against float64, for images up to 3 and scores up to 2; found: 2e-6.
TOLERANCE = 2e-5
Dump = Callable[[Any], bytes]


def triple(sizes: Sizes, seeds: tuple[int, int, int] = (1, 2, 3), **words: Any) -> tuple[Any, Any, tuple[Any, ...]]:
    """Twins of Gs and D, and what a file holds of (G, D, Gs)."""
    known = {**dataclasses.asdict(sizes), **words}
    generator, average = TheanoGenerator(sizes, seeds[0]), TheanoGenerator(sizes, seeds[2])
    discriminator = TheanoDiscriminator(sizes, seeds[1])
    saved = (
        first("G_paper", generator.stored, lod=1.5, **known),
        first("D_paper", discriminator.stored, lod=1.5, **known),
        first("G_paper", average.stored, lod=1.5, **known),
    )
    return average, discriminator, saved


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape)


def live(images: np.ndarray, lod: float) -> torch.Tensor:
    """Images as our discriminator takes them: at the size of the upper live level."""
    found = torch.from_numpy(images).float()
    for _ in range(int(lod)):
        found = downsample(found)
    return found


@pytest.mark.parametrize("wscale", [True, False])
@pytest.mark.parametrize("dump", [python2, lambda value: pickle.dumps(value, 4)], ids=["python 2", "python 3"])
def test_the_networks_are_those_of_the_first_trainer(tmp_path: Path, dump: Dump, wscale: bool) -> None:
    sizes = Sizes(use_wscale=wscale)
    average, discriminator, saved = triple(sizes)
    file = tmp_path / "network-snapshot-001000.pkl"
    file.write_bytes(dump(saved))
    found = read_karras(file)
    assert (found.form, found.lod, found.scaling) == ("Theano", 1.5, "plain")
    assert found.names == ("G_paper", "D_paper", "G_paper")
    assert found.average.shape == Architecture(
        16, latent=5, fmap_base=24, fmap_max=6, fused_scale=False, stddev_group=16, equalized=wscale
    )
    assert found.discriminator is not None
    z, images = normal(3, 5), normal(3, 3, 16, 16)
    for lod in at_every_lod(sizes):
        ours = enlarge(found.average(torch.from_numpy(z).float(), lod), 16)
        np.testing.assert_allclose(ours, average(z, lod), rtol=0, atol=TOLERANCE, err_msg=f"lod {lod}")
        scores = found.discriminator(live(images, lod), lod)[0]
        np.testing.assert_allclose(scores, discriminator(images, lod), rtol=0, atol=TOLERANCE, err_msg=f"lod {lod}")


def test_the_generator_in_training_and_its_average_are_told_apart(tmp_path: Path) -> None:
    _, _, saved = triple(SIZES)
    file = tmp_path / "snapshot.pkl"
    file.write_bytes(python2(saved))
    found, z = read_karras(file), normal(2, 5)
    assert found.generator is not None
    ours = enlarge(found.generator(torch.from_numpy(z).float()), 16)
    np.testing.assert_allclose(ours, TheanoGenerator(SIZES, 1)(z, 0.0), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("words", "twin"),
    [
        ({"use_pixelnorm": False}, {"norm": False}),
        ({"normalize_latents": False}, {"norm_latents": False}),
        ({"use_leakyrelu": False}, {"leak": False}),
        ({"tanh_at_end": 1.0}, {"tanh": True}),
    ],
    ids=lambda value: next(iter(value)),
)
def test_options_of_a_generator(tmp_path: Path, words: dict[str, Any], twin: dict[str, Any]) -> None:
    sizes = Sizes(resolution=8)
    generator = TheanoGenerator(sizes, 1, **twin)
    file = tmp_path / "Gs.pkl"
    file.write_bytes(python2(first("G_progressive_8", generator.stored, **dataclasses.asdict(sizes), **words)))
    z = normal(3, 5)
    ours = read_average(file).generator(torch.from_numpy(z).float())
    np.testing.assert_allclose(ours, generator(z, 0.0), rtol=0, atol=TOLERANCE)


def test_no_minibatch_statistics(tmp_path: Path) -> None:
    sizes = Sizes(resolution=8)
    generator, discriminator = TheanoGenerator(sizes, 1), TheanoDiscriminator(sizes, 2, statistics=False)
    words = {**dataclasses.asdict(sizes), "mbstat_avg": None, "use_gdrop": False}
    made = first("G_paper", generator.stored, **words)
    file = tmp_path / "snapshot.pkl"
    file.write_bytes(python2((made, first("D_progressive_8", discriminator.stored, **words), made)))
    found, images = read_karras(file), normal(3, 3, 8, 8)
    assert found.discriminator is not None
    scores = found.discriminator(torch.from_numpy(images).float())[0]
    np.testing.assert_allclose(scores, discriminator(images, 0.0), rtol=0, atol=TOLERANCE)


def test_what_the_keyword_arguments_leave_out_is_the_first_trainers(tmp_path: Path) -> None:
    # The released trainer's defaults are 8192 and 512; with these arrays of width 256 they would not fit.
    sizes = Sizes(resolution=4, fmap_base=4096, fmap_max=256, latent_size=256, num_channels=1)
    file = tmp_path / "Gs.pkl"
    file.write_bytes(python2(first("G_paper", TheanoGenerator(sizes, 1).stored, resolution=4)))
    assert read_average(file).generator.shape.latent == 256


def test_no_level_of_detail_is_full_resolution(tmp_path: Path) -> None:
    network = first("G_paper", TheanoGenerator(SIZES, 1).stored, **dataclasses.asdict(SIZES))
    del network.state["toplevel_params"]
    file = tmp_path / "Gs.pkl"
    file.write_bytes(python2(network))
    assert read_average(file).lod == 0


def test_what_is_not_known_is_named(tmp_path: Path) -> None:
    _, _, (good, judge, average) = triple(SIZES)
    words, arrays = dataclasses.asdict(SIZES), list(good.state["param_values"])

    def other(**more: Any) -> TheanoNetwork:
        return first("G_paper", arrays, **{**words, **more})

    def judged(**more: Any) -> TheanoNetwork:
        return first("D_paper", judge.state["param_values"], **{**words, **more})

    def replaced(place: int, value: Any) -> TheanoNetwork:
        return first("G_paper", [*arrays[:place], value, *arrays[place + 1 :]], **words)

    shape = Architecture(16, latent=5, fmap_base=24, fmap_max=6)
    cases: dict[str, Any] = {
        "a 'G_mnist_mode_recovery'; only G_paper": (first("G_mnist_mode_recovery", arrays, **words), judge, average),
        "a None; only G_paper": (TheanoNetwork({"build_func_spec": [1]}), judge, average),
        "knows classes": (other(label_size=3), judge, average),
        "use_batchnorm is True": (other(use_batchnorm=True), judge, average),
        "tanh_at_end is 0.5": (other(tanh_at_end=0.5), judge, average),
        "use_layernorm is True": (good, judged(use_layernorm=True), average),
        "mbdisc_kernels is 100": (good, judged(mbdisc_kernels=100), average),
        "mbstat_func is 'Tstd'": (good, judged(mbstat_func="Tstd"), average),
        "mbstat_avg is 'group4'": (good, judged(mbstat_avg="group4"), average),
        "has 27 arrays; expected 18": (good, judge, other(resolution=8)),
        "without param_values": (TheanoNetwork({"build_func_spec": {"func": "G_paper"}}), judge, average),
        r"param_values\[1\] has shape \(2,\); expected one number": (replaced(1, np.ones(2, "f4")), judge, average),
        r"param_values\[0\] has shape \(3,\); expected 4 axes": (replaced(0, np.ones(3, "f4")), judge, average),
        r"param_values\[3\] becomes conv.weight of shape": (replaced(3, np.ones((6, 6, 4, 4), "f4")), judge, average),
        r"param_values\[2\] holds numbers that are not finite": (replaced(2, np.full(6, np.nan, "f4")), judge, average),
        "level of detail is 9": (good, judge, first("G_paper", arrays, lod=9, **words)),
        "two different trainers": (good, judge, released(Generator(shape), shape)),
    }
    file = tmp_path / "snapshot.pkl"
    for message, networks in cases.items():
        file.write_bytes(pickle.dumps(networks, 4))
        with pytest.raises(InputError, match=message) as caught:
            read_karras(file)
        assert "\n" not in caught.value.message
