"""The released trainer's form: what was written from our networks is read again, and nothing else passes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgtools.errors import InputError
from pgtools.progan.config import Architecture
from pgtools.progan.discriminator import Discriminator
from pgtools.progan.generator import Generator
from pgtools.progan.karras.reading import read_average, read_karras, read_trained
from tests.progan.karras.writing import TensorFlowNetwork, released

SMALL = Architecture(8, latent=6, fmap_base=64, fmap_max=8)


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("labels", [0, 3])
def test_what_was_written_is_read(tmp_path: Path, protocol: int, fused: bool, labels: int) -> None:
    shape = Architecture(16, latent=6, labels=labels, fmap_base=64, fmap_max=8, fused_scale=fused)
    networks = Generator(shape, 1), Discriminator(shape, 2), Generator(shape, 3)
    file = tmp_path / "snapshot.pkl"
    file.write_bytes(pickle.dumps(tuple(released(network, shape) for network in networks), protocol))
    found = read_karras(file)
    assert (found.lod, found.form, found.names) == (0.5, "TensorFlow", ("G", "D", "G"))
    assert found.scaling == ("fused" if fused else "plain")
    assert found.average.shape == shape
    assert found.generator is not None
    assert found.discriminator is not None
    z, y = torch.ones(4, 6), torch.eye(4, labels)
    images = networks[2](z, 0.5, y).detach()
    np.testing.assert_array_equal(found.average(z, 0.5, y), images)
    np.testing.assert_array_equal(read_average(file).generator(z, 0.5, y), images)
    np.testing.assert_array_equal(found.generator(z, 0.5, y), networks[0](z, 0.5, y).detach())
    for ours, theirs in zip(networks[1](images, 0.5), found.discriminator(images, 0.5), strict=True):
        np.testing.assert_array_equal(theirs, ours.detach())


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ({"use_pixelnorm": False}, {"pixel_norm": False}),
        ({"normalize_latents": False}, {"latent_norm": False}),
        ({"use_leakyrelu": False}, {"leaky_relu": False}),
        ({"use_wscale": False}, {"equalized": False}),
        ({"mbstd_group_size": 2}, {"stddev_group": 2}),
        ({"latent_size": None, "fmap_max": np.int64(6), "fmap_base": 64.0}, {"latent": 6, "fmap_max": 6}),
    ],
    ids=lambda value: ",".join(value),
)
def test_their_options_are_ours(tmp_path: Path, words: dict[str, Any], fields: dict[str, Any]) -> None:
    shape = Architecture(**{**SMALL.__dict__, **fields})
    networks = Generator(shape, 1), Discriminator(shape, 2), Generator(shape, 1)
    file = tmp_path / "snapshot.pkl"
    file.write_bytes(pickle.dumps([released(network, shape, **words) for network in networks], 4))
    found = read_trained(file)
    assert found.generator.shape == found.discriminator.shape == shape
    z = torch.randn(4, shape.latent, generator=torch.Generator().manual_seed(0))
    images = networks[0](z).detach()
    np.testing.assert_array_equal(found.generator(z), images)
    np.testing.assert_array_equal(found.discriminator(images)[0], networks[1](images)[0].detach())


@pytest.mark.parametrize("group", [0, 1])
def test_a_group_of_one_is_none(tmp_path: Path, group: int) -> None:
    shape = Architecture(**{**SMALL.__dict__, "stddev_group": 0})
    networks = Generator(shape, 1), Discriminator(shape, 2), Generator(shape, 1)
    file = tmp_path / "snapshot.pkl"
    file.write_bytes(pickle.dumps([released(network, shape, mbstd_group_size=group) for network in networks], 4))
    assert read_karras(file).average.shape == shape


def test_one_generator_alone_makes_images_and_cannot_train(tmp_path: Path) -> None:
    generator, file = Generator(SMALL, 1), tmp_path / "Gs.pkl"
    file.write_bytes(pickle.dumps(released(generator, SMALL), 4))
    z = torch.ones(2, 6)
    found = read_karras(file)
    assert (found.generator, found.discriminator, found.trained) == (None, None, None)
    np.testing.assert_array_equal(found.average(z), generator(z).detach())
    np.testing.assert_array_equal(read_average(file).generator(z), generator(z).detach())
    with pytest.raises(InputError, match=r"Gs\.pkl holds one generator alone; to train on"):
        read_trained(file)


def test_images_come_from_a_pickle_whose_discriminator_is_not_known(tmp_path: Path) -> None:
    generator, discriminator = Generator(SMALL), Discriminator(SMALL)
    odd = released(discriminator, SMALL)
    odd.state["variables"].append(("4x4/Noise/weight", np.zeros(3, np.float32)))
    file = tmp_path / "snapshot.pkl"
    file.write_bytes(pickle.dumps((released(generator, SMALL), odd, released(generator, SMALL)), 4))
    assert read_average(file).lod == 0.5
    with pytest.raises(InputError, match="4x4/Noise/weight"):
        read_karras(file)


def changed(network: TensorFlowNetwork, name: str, values: Any) -> TensorFlowNetwork:
    """The same network with one variable replaced, added or, by None, left out."""
    kept = [(key, value) for key, value in network.state["variables"] if key != name]
    added = [] if values is None else [(name, values)]
    return TensorFlowNetwork({**network.state, "variables": kept + added})


def test_other_objects_and_other_networks_are_named(tmp_path: Path) -> None:
    generator, discriminator = Generator(SMALL), Discriminator(SMALL)
    good, judge = released(generator, SMALL), released(discriminator, SMALL)
    wider = Architecture(8, latent=6, fmap_base=64, fmap_max=16)
    twice = [*good.state["variables"], good.state["variables"][1]]
    cases: dict[str, Any] = {
        "expected the three networks": (good, judge),
        "discriminator in the place of generator": judge,
        "generator, generator, generator in the place of": (good, good, good),
        "not one of the authors' networks": (good, judge, {"a": 1}),
        "network version 3": (TensorFlowNetwork({**good.state, "version": 3}), judge, good),
        "their widths differ": (good, released(Discriminator(wider), wider), good),
        "pixelnorm_epsilon is 0.1; only 1e-08": (released(generator, SMALL, pixelnorm_epsilon=0.1), judge, good),
        "use_pixelnorm is a dict; only True or False": (released(generator, SMALL, use_pixelnorm={}), judge, good),
        "resolution is 12; expected a power of two": (released(generator, SMALL, resolution=12), judge, good),
        "fmap_base is 0.5; expected a whole number": (released(generator, SMALL, fmap_base=0.5), judge, good),
        "fmap_decay is nan": (released(generator, SMALL, fmap_decay=float("nan")), judge, good),
        "labels is 0 in one and 2 in another": (good, judge, released(generator, SMALL, label_size=2)),
        "becomes dense.weight of shape": (good, judge, released(generator, SMALL, latent_size=7)),
        "'8x8/Noise/weight' that is not known": (changed(good, "8x8/Noise/weight", np.zeros(3, "f4")), judge, good),
        "'ToRGB_lod9/bias' that is not known": (changed(good, "ToRGB_lod9/bias", np.zeros(3, "f4")), judge, good),
        "its generator lacks to_rgb.8.bias": (changed(good, "ToRGB_lod0/bias", None), judge, good),
        "level of detail is 7; expected 0 to 1": (good, judge, changed(good, "lod", np.float32(7))),
        "level of detail is nan": (good, judge, changed(good, "lod", np.float32("nan"))),
        "holds int32": (changed(good, "4x4/Conv/bias", np.zeros(8, np.int32)), judge, good),
        "not finite": (changed(good, "4x4/Conv/bias", np.full(8, np.inf, "f4")), judge, good),
        "'lod' twice|'4x4/.*' twice|' twice": (TensorFlowNetwork({**good.state, "variables": twice}), judge, good),
        "no list of names and arrays": (TensorFlowNetwork({**good.state, "variables": {"ab": 1}}), judge, good),
        "without variables": (
            TensorFlowNetwork({k: v for k, v in good.state.items() if k != "variables"}),
            judge,
            good,
        ),
        "its keyword arguments are 'x'": (TensorFlowNetwork({**good.state, "static_kwargs": "x"}), judge, good),
    }
    file = tmp_path / "snapshot.pkl"
    for message, networks in cases.items():
        file.write_bytes(pickle.dumps(networks, 4))
        with pytest.raises(InputError, match=message) as caught:
            read_karras(file)
        assert "\n" not in caught.value.message
