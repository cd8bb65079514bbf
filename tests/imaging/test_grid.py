import numpy as np

from pgtools.imaging.grid import tile
from tests.pictures import noise_images


def test_images_stand_row_by_row() -> None:
    images = noise_images(5, 4)
    sheet = tile(images, columns=3)
    assert sheet.shape == (8, 12, 3)
    for i, image in enumerate(images):
        row, column = divmod(i, 3)
        np.testing.assert_array_equal(
            sheet[4 * row : 4 * row + 4, 4 * column : 4 * column + 4], image.transpose(1, 2, 0)
        )
    assert not sheet[4:, 8:].any()


def test_without_columns_the_sheet_is_square() -> None:
    assert tile(noise_images(9, 4)).shape == (12, 12, 3)
