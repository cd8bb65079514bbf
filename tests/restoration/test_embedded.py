"""The two networks in the package: whole, small, named in the registry, and worth what docs/models.md says."""

import numpy as np
import pytest
from PIL import Image

from pgtools.models.registry import registry
from pgtools.models.weights import find
from pgtools.restoration.compact import read_compact, read_made
from pgtools.restoration.degrade import jpeg, shrink
from pgtools.restoration.measuring.figures import luminance, psnr
from pgtools.restoration.network import ImageNetwork
from pgtools.runtime.files import sha256_of
from tests.pictures import astronaut

NAMES = ("pgtools-dejpeg", "pgtools-sr4")


def network(name: str) -> ImageNetwork:
    return ImageNetwork(find(name), device="cpu")


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_those_of_the_registry_and_say_how_they_were_made(name):
    path, model = find(name), registry()[name]
    assert (path.stat().st_size, sha256_of(path)) == (model.bytes, model.sha256)
    made = read_made(path)
    assert made["settings"]["seed"] == 0 and made["settings"]["steps"] == 7000
    # Held-out photographs were not learnt from.
    assert len(made["photographs"]) == 42
    assert not any("astronaut" in photo or "china" in photo for photo in made["photographs"])


def test_together_they_are_small():
    assert sum(find(name).stat().st_size for name in NAMES) <= 4e6


def test_their_tasks_are_their_scales():
    assert [read_compact(find(name)).shape.scale for name in NAMES] == [1, 4]


# Measured on 2026-11-22 by `pgtools models measure`; a tenth of a decibel is left for other processors.
@pytest.mark.parametrize(("quality", "gain"), [(10, 1.38), (40, 1.43), (75, 1.24), (95, 0.66)])
def test_jpegs_of_a_photo_never_learnt_from_come_nearer_to_it(quality, gain):
    photo = astronaut()
    seen = jpeg(photo, quality)
    assert psnr(network("pgtools-dejpeg")(seen)[0], photo) - psnr(seen, photo) > gain


def test_a_clean_photo_comes_back_bit_for_bit():
    photo = astronaut()
    assert np.array_equal(network("pgtools-dejpeg")(photo)[0], photo)


def test_enlarging_beats_bicubic():
    photo = astronaut()
    small = shrink(photo, 4)
    bicubic = np.asarray(Image.fromarray(small).resize((512, 512), Image.Resampling.BICUBIC))
    inner = np.s_[4:-4, 4:-4]
    truth = luminance(photo)[inner]
    given = network("pgtools-sr4")(small)[0]
    assert psnr(luminance(given)[inner], truth) - psnr(luminance(bicubic)[inner], truth) > 2.3


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_and_tiles_hardly_show(name):
    seen = jpeg(astronaut()[:192, 96:288], 30)
    whole = network(name)(seen)[0].astype(int)
    tiled = ImageNetwork(find(name), device="cpu", tile=64, batch=3)(seen)[0]
    assert np.abs(whole - tiled).max() <= 1
    rounded = np.abs(whole - ImageNetwork(find(name), device="cpu", precision="bfloat16")(seen)[0])
    assert rounded.max() <= 3 and rounded.mean() < 0.1  # measured: 2 and 0.04
