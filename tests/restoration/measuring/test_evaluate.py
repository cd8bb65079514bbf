from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from pgtools.errors import InputError, UsageError
from pgtools.restoration.compact import CompactNetwork, Shape, write_compact
from pgtools.restoration.degrade import jpeg, shrink
from pgtools.restoration.measuring.evaluate import Enlarged, Evaluation, Restored, evaluate, mean, plain, read_photos
from pgtools.restoration.measuring.figures import luminance
from pgtools.restoration.measuring.protocol import (
    QUALITIES,
    Enlargement,
    Image8,
    OnClean,
    enlarge_again,
    enlarge_by_lanczos,
    restore_at,
    restore_clean,
)
from pgtools.restoration.measuring.settings import MeasureSettings
from pgtools.restoration.measuring.tables import Table, tables_of
from tests.pictures import astronaut


def photo(side: int = 96) -> Image8:
    """The astronaut's face."""
    return np.ascontiguousarray(astronaut()[60 : 60 + side, 170 : 170 + side])


def nothing(image: Image8) -> tuple[Image8, int]:
    return image, 1


def resized(scale: int, filter: Image.Resampling) -> Callable[[Image8], tuple[Image8, int]]:
    def enlarge(image: Image8) -> tuple[Image8, int]:
        size = (image.shape[1] * scale, image.shape[0] * scale)
        return np.asarray(Image.fromarray(image).resize(size, filter)), scale

    return enlarge


class TestRestorers:
    def test_doing_nothing_gains_nothing(self) -> None:
        row = restore_at(photo(), nothing, 30)
        assert (row.gain, row.psnr_after, row.ssim_after) == (0, row.psnr_before, row.ssim_before)
        assert row.blockiness_after == row.blockiness_before > 1
        clean = restore_clean(photo(), nothing, enlarge_by_lanczos)
        assert (clean.psnr, clean.changed, clean.largest, clean.later) == (None, 0, 0, 0)

    def test_what_goes_in_is_the_jpeg(self) -> None:
        image, seen = photo(), []
        row = restore_at(image, lambda given: (seen.append(given) or image, 1), 40, subsampling="4:4:4")
        np.testing.assert_array_equal(seen[0], jpeg(image, 40, subsampling="4:4:4"))
        assert row.psnr_before == pytest.approx(peak_signal_noise_ratio(image, seen[0], data_range=255))
        # The photo itself came out: no finite gain, perfect likeness, and its own blocks.
        assert row.gain == row.psnr_after == math.inf
        assert row.ssim_after == pytest.approx(1)

    def test_a_flat_photo_comes_through_jpeg_unharmed(self) -> None:
        row = restore_at(np.full((64, 64, 3), 128, np.uint8), nothing, 10)
        assert (row.psnr_before, row.psnr_after, row.gain) == (math.inf, math.inf, 0)

    def test_a_level_more_everywhere_is_told(self) -> None:
        image = np.clip(photo(), 0, 254)
        clean = restore_clean(image, lambda given: (np.where(given < 255, given + 1, given), 1), enlarge_by_lanczos)
        assert clean.psnr == pytest.approx(20 * math.log10(255))
        assert (clean.changed, clean.largest) == (1, 1)

    def test_blur_on_a_clean_photo_costs_the_enlargement_after_it(self) -> None:
        def blur(image: Image8) -> tuple[Image8, int]:
            return ((image.astype(np.uint16) + np.roll(image, 1, axis=0)) // 2).astype(np.uint8), 1

        assert restore_clean(photo(), blur, enlarge_by_lanczos).later < -0.5

    def test_later_is_measured_on_the_restored_small_photo(self) -> None:
        image = photo()
        small = shrink(image, 4)
        seen: list[Image8] = []
        restore_clean(image, nothing, lambda given: (seen.append(given) or enlarge_by_lanczos(given)[0], 4))
        assert len(seen) == 2
        np.testing.assert_array_equal(seen, [small, small])


class TestEnlargers:
    def test_bicubic_gains_nothing_over_bicubic(self) -> None:
        row = enlarge_again(photo(), resized(4, Image.Resampling.BICUBIC), 4)
        assert (row.gain, row.psnr, row.ssim) == (0, row.psnr_bicubic, row.ssim_bicubic)
        assert row.psnr_lanczos > row.psnr_bicubic

    @pytest.mark.parametrize("scale", [2, 3, 4])
    def test_figures_are_the_fields(self, scale: int) -> None:
        image = photo(97)
        row = enlarge_again(image, resized(scale, Image.Resampling.BILINEAR), scale)
        side = 97 // scale * scale
        whole = np.ascontiguousarray(image[:side, :side])
        enlarged, _ = resized(scale, Image.Resampling.BILINEAR)(shrink(whole, scale))
        planes = [luminance(x)[scale:-scale, scale:-scale] for x in (whole, enlarged)]
        assert row.psnr == pytest.approx(peak_signal_noise_ratio(*planes, data_range=255), rel=1e-12)
        assert row.gain == row.psnr - row.psnr_bicubic < 0

    def test_the_border_does_not_count(self) -> None:
        def damaged(image: Image8) -> tuple[Image8, int]:
            enlarged = resized(4, Image.Resampling.BICUBIC)(image)[0].copy()
            enlarged[:4] = enlarged[-4:] = enlarged[:, :4] = enlarged[:, -4:] = 0
            return enlarged, 4

        row = enlarge_again(photo(), damaged, 4)
        assert row.gain == 0 and row.ssim == row.ssim_bicubic


class TestPhotos:
    @pytest.mark.parametrize(
        ("name", "longest", "halve", "size"),
        [
            ("a.png", 640, True, "100×68"),
            ("a.jpg", 640, True, "48×32"),
            ("a.webp", 640, True, "48×32"),
            ("a.jpg", 640, False, "100×68"),
            ("a.png", 64, True, "64×44"),
            ("a.jpg", 64, False, "64×44"),
        ],
    )
    def test_they_are_reduced(self, tmp_path: Path, name: str, longest: int, halve: bool, size: str) -> None:
        Image.fromarray(astronaut()[:70, :100]).save(tmp_path / name)
        [found] = read_photos([tmp_path / name], longest=longest, halve_lossy=halve)
        assert (found.name, found.size) == (name, size)

    def test_all_faults_are_told_at_once(self, tmp_path: Path) -> None:
        Image.fromarray(astronaut()[:20, :200]).save(tmp_path / "flat.png")
        (tmp_path / "text.png").write_text("hello")
        with pytest.raises(InputError, match=r"flat\.png: is 200×20 .*text\.png: is not an image"):
            read_photos([tmp_path / "flat.png", tmp_path / "text.png"], longest=640)


def test_a_mean_leaves_out_what_has_no_figure() -> None:
    rows = [OnClean(None, 0, 0, 0, 0, 0), OnClean(50, 0.5, 3, -0.2, 2, 1), OnClean(60, 1, 0, -0.4, 4, 2)]
    assert mean(rows) == OnClean(55, 0.5, 1, pytest.approx(-0.2), 2, 1)
    assert mean(rows[:1]).psnr is None
    assert mean([OnClean(math.inf, 0, 0, 0, 0, 0), *rows]).psnr == 55


def test_harm_to_a_photo_that_was_equal_is_not_hidden() -> None:
    def harm(image: Image8) -> tuple[Image8, int]:
        return np.clip(image, 0, 254) + 1, 1

    flat = restore_at(np.full((64, 64, 3), 128, np.uint8), harm, 10)
    assert flat.gain == -math.inf
    rows = [flat, restore_at(photo(), nothing, 10)]
    assert mean(rows).gain == -math.inf and math.isfinite(mean(rows).psnr_before)
    clean = OnClean(None, 0, 0, 0, 0, 0)
    restored = tuple(Restored(name, "64×64", (row,) * 9, clean) for name, row in zip("ab", rows, strict=True))
    found = Evaluation("n", "", 1, MeasureSettings(), restored=restored)
    means, gains, _ = tables_of(found)
    assert means.rows[0][3] == "−∞"
    assert [row[2] for row in gains.rows] == ["−∞", "+0.00"]
    json.dumps(plain(found), allow_nan=False)


def test_a_gain_without_end_is_not_a_loss() -> None:
    row = restore_at(photo(), lambda _: (photo(), 1), 40)
    found = Evaluation(
        "n", "", 1, MeasureSettings(), restored=(Restored("a", "", (row,) * 9, OnClean(None, *[0] * 5)),)
    )
    assert tables_of(found)[1].rows[0][2] == "∞"


@pytest.fixture
def untrained(tmp_path: Path) -> Callable[[int], Path]:
    """Untrained networks: scale 1 gives its input, scale 4 enlarges bilinearly."""

    def write(scale: int) -> Path:
        path = tmp_path / f"untrained-{scale}.safetensors"
        write_compact(path, CompactNetwork(Shape(scale, channels=4, blocks=1)), {})
        return path

    return write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, top in (("a.png", 40), ("b.png", 200)):
        Image.fromarray(astronaut()[top : top + 64, 150:246]).save(folder / name)
    return folder


def test_a_restorer_is_measured(pgtools, untrained, photos: Path) -> None:
    outcome = pgtools("models", "measure", untrained(1), photos, photos / "a.png", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert (found["scale"], [one["photo"] for one in found["photos"]]) == (1, ["a.png", "b.png", "a.png"])
    assert [row["quality"] for row in found["means"]["jpeg"]] == list(QUALITIES)
    before = [row["psnr_before"] for row in found["means"]["jpeg"]]
    assert before == sorted(before)
    assert all(row["gain"] == 0 for one in found["photos"] for row in one["jpeg"])
    assert found["means"]["clean"]["psnr"] is None
    blocks = [np.mean([one["jpeg"][0]["blockiness_before"] for one in found["photos"]])]
    assert blocks == [pytest.approx(found["means"]["jpeg"][0]["blockiness_before"])]


def test_an_enlarger_is_measured(untrained, photos: Path) -> None:
    found = evaluate(str(untrained(4)), [photos], MeasureSettings(device="cpu"))
    figures = plain(found)
    assert figures["means"]["gain"] < 0 and figures["means"]["psnr_lanczos"] > figures["means"]["psnr_bicubic"]
    [table] = tables_of(found)
    assert [row[0] for row in table.rows] == ["a.png", "b.png", "mean"]
    assert table.rows[0][1] == "96×64"
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_tables_are_shown(pgtools, untrained, photos: Path) -> None:
    outcome = pgtools("models", "measure", untrained(1), photos, "--superres", untrained(4))
    assert "means of 2 photos" in outcome.out
    assert "+0.00" in outcome.out and "equal" in outcome.out and "−0.00" not in outcome.out


def test_a_network_that_follows_is_taken(untrained, photos: Path) -> None:
    torch.manual_seed(0)
    blurring = CompactNetwork(Shape(1, channels=4, blocks=1))
    torch.nn.init.normal_(blurring.tail.weight, std=0.05)
    path = photos.parent / "blurring.safetensors"
    write_compact(path, blurring, {})
    later = {
        plain(evaluate(str(path), [photos], MeasureSettings(device="cpu", superres=superres)))["means"]["clean"][
            "later"
        ]
        for superres in ("lanczos", str(untrained(4)))
    }
    assert len(later) == 2


def test_wrong_words_are_told_before_any_photo_is_read(pgtools, untrained, photos: Path) -> None:
    nowhere = photos / "none.png"
    with pytest.raises(UsageError, match="enlarges 1 times; expected 4"):
        evaluate(str(untrained(1)), [nowhere], MeasureSettings(device="cpu", superres=str(untrained(1))))
    outcome = pgtools("models", "measure", "nonsense", nowhere)
    assert outcome.code == 2 and "'nonsense' is no network" in outcome.err
    outcome = pgtools("models", "measure", untrained(1), nowhere)
    assert outcome.code == 1 and "none.png: cannot be read" in outcome.err


def test_infinity_is_null_in_json_and_a_word_in_tables(untrained, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (128, 128, 128)).save(tmp_path / "flat.png")
    found = evaluate(str(untrained(1)), [tmp_path / "flat.png"], MeasureSettings(device="cpu"))
    assert plain(found)["photos"][0]["jpeg"][0]["psnr_before"] is None
    means, gains, clean = tables_of(found)
    assert means.rows[0][:4] == ("10", "equal", "equal", "+0.00")
    assert gains.rows == (("flat.png", "64×64", *["+0.00"] * 9),)
    assert clean.rows[0] == ("flat.png", "equal", "0.0 %", "0", "+0.000", "0.0", "0.0")


def test_a_loss_too_small_to_show_has_no_sign() -> None:
    figures = Enlargement(30, 30.001, 31, -0.001, 0.9, 0.91, 0.92)
    found = Evaluation("n", "", 4, MeasureSettings(), enlarged=(Enlarged("a.png", "64×64", figures),))
    assert tables_of(found)[0].rows[0] == (
        "a.png",
        "64×64",
        "30.00",
        "31.00",
        "30.00",
        "+0.00",
        "0.9100",
        "0.9200",
        "0.9000",
    )


def test_markdown() -> None:
    table = Table("t", ("photo", "gain"), (("a.png", "+1.00"), ("mean", "+1.00")))
    assert table.markdown() == "| photo | gain |\n| :-- | --: |\n| a.png | +1.00 |\n| mean | +1.00 |"
