"""Images of any size become squares, with the crop and the filter that were named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pgtools.errors import InputError, UsageError
from pgtools.imaging.fit import Fit
from tests.pictures import noise_images


def photo(height: int, width: int) -> np.ndarray:
    return np.ascontiguousarray(noise_images(1, 256)[0, :, :height, :width].transpose(1, 2, 0))


def test_the_centre_is_the_largest_square_in_the_middle() -> None:
    image = photo(218, 178)
    np.testing.assert_array_equal(Fit("centre")(image, where="x"), image[20:198, :])
    np.testing.assert_array_equal(Fit("centre")(image[:101], where="x"), image[:101, 38:139])


def test_the_authors_crop_of_celeba_is_128_around_89_121() -> None:
    image = photo(218, 178)
    np.testing.assert_array_equal(Fit("celeba")(image, where="x"), image[57:185, 25:153])
    with pytest.raises(InputError, match="x is 178×184 pixels; CelebA's aligned images are 178×218"):
        Fit("celeba")(image[:184], where="x")


@pytest.mark.parametrize(("name", "filter_"), [("lanczos", Image.Resampling.LANCZOS), ("box", Image.Resampling.BOX)])
def test_the_filter_is_the_one_that_was_named(name: str, filter_: Image.Resampling) -> None:
    image = photo(96, 96)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), filter_))
    np.testing.assert_array_equal(Fit("none", 32, name)(image, where="x"), expected)


def test_what_has_the_size_is_not_touched() -> None:
    image = photo(64, 64)
    assert Fit("none", 64)(image, where="x") is image


def test_proportions_are_never_changed_silently() -> None:
    with pytest.raises(InputError, match="x is 178×218 pixels; a square is to become 64×64"):
        Fit("none", 64)(photo(218, 178), where="x")


@pytest.mark.parametrize("words", [("middle",), ("none", 48), ("none", 2), ("none", 1 << 14), ("none", 64, "sinc")])
def test_choices_that_are_not_there_are_refused(words: tuple) -> None:
    with pytest.raises(UsageError):
        Fit(*words)
