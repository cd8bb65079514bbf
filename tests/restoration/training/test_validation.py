"""What a network in training is measured against: the JPEG itself, Pillow's bicubic, and what it is told."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from pgtools.restoration.compact import CompactNetwork, Shape
from pgtools.restoration.degrade import jpeg, shrink
from pgtools.restoration.measuring.figures import luminance
from pgtools.restoration.training.validation import validate
from tests.pictures import astronaut

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def face():
    return np.ascontiguousarray(astronaut()[40:296, 120:376])


def untrained(task):
    shape = Shape(1, 4, 1, 2, guided=True) if task == "dejpeg" else Shape(4, 4, 1)
    return CompactNetwork(shape).eval().requires_grad_(False)


def test_an_enlarger_is_measured_against_pillows_bicubic(face):
    small = Image.fromarray(shrink(face, 4))
    by = {
        name: peak_signal_noise_ratio(
            luminance(face), luminance(np.asarray(small.resize((256, 256), filter))), data_range=255
        )
        for name, filter in (("bicubic", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR))
    }
    figures = validate(untrained("sr4"), [[face]], task="sr4", device=CPU)["bicubic"]
    assert figures["psnr_before"] == pytest.approx(by["bicubic"])
    assert figures["psnr"] == pytest.approx(by["bilinear"], abs=0.05)  # which is what it begins as
    assert by["bicubic"] > by["bilinear"] + 0.2


def test_a_restorer_is_measured_against_the_jpeg(face):
    found = validate(untrained("dejpeg"), [[face]], task="dejpeg", device=CPU)
    for name, figures in found.items():
        seen = jpeg(face, int(name[1:]))
        expected = peak_signal_noise_ratio(face, seen, data_range=255)
        assert figures["psnr_before"] == figures["psnr"] == pytest.approx(expected), name


def test_a_restorer_is_told_what_the_picture_shows_and_not_the_truth(face, monkeypatch):
    told = []
    network = untrained("dejpeg")
    forward = network.forward
    monkeypatch.setattr(
        network, "forward", lambda image, strength: told.append(float(strength)) or forward(image, strength)
    )
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    validate(network, [[face]], task="dejpeg", device=CPU)
    assert told == sorted(told, reverse=True) and told[0] > 5
    told.clear()
    monkeypatch.setattr("pgtools.restoration.training.validation.jpeg", lambda image, quality: noise)
    validate(network, [[noise]], task="dejpeg", device=CPU)
    assert told == [0.0] * 4  # no JPEG's trace: nothing to take off, whatever was said to be done


def test_a_flat_photograph_has_no_decibels_and_hides_no_others(face):
    flat = np.full((256, 256, 3), 128, np.uint8)
    alone = validate(untrained("dejpeg"), [[flat]], task="dejpeg", device=CPU)
    assert all(figures["psnr"] is figures["psnr_before"] is None for figures in alone.values())
    assert alone["q10"]["ssim"] == pytest.approx(1)
    both = validate(untrained("dejpeg"), [[flat], [face]], task="dejpeg", device=CPU)
    one = validate(untrained("dejpeg"), [[face]], task="dejpeg", device=CPU)
    assert both["q30"]["psnr"] == one["q30"]["psnr"]
    assert both["q30"]["ssim"] == pytest.approx((one["q30"]["ssim"] + 1) / 2)
