from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Outcome
from tests.metrics.sets import photographs, save
from tests.stores.sets import written

Run = Callable[..., Outcome]
SMALL = ("--neighbourhoods", 8, "--directions", 16, "--device", "cpu")


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return save(photographs(12, 32, 1), tmp_path / "real")


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    return save(photographs(12, 32, 2), tmp_path / "fake")


def test_swd_prints_levels_their_uncertainty_and_what_made_them(pgtools: Run, real: Path, fake: Path):
    outcome = pgtools("swd", real, fake, *SMALL, "--num-images", 6)
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0] == "Sliced Wasserstein distance in 1e-3, lower is better"
    assert lines[1].startswith("num_images 6, resolution 32, seed 0, seeds 1, neighbourhoods 8, size 7")
    assert re.split(r" {2,}", lines[3].strip()) == [
        "part", "value", "± standard error", "95 % interval", "floor", "verdict",
    ]  # fmt: skip
    assert [line.split()[0] for line in lines[4:7]] == ["32", "16", "average"]
    assert all("too few images to tell: 16 are needed" in line for line in lines[4:7])
    assert lines[7].startswith("± over repeats: 32 ")


def test_swd_without_resampling_prints_distances_alone(pgtools: Run, real: Path, fake: Path):
    outcome = pgtools("swd", real, fake, *SMALL, "--replicates", 0, "--seeds", 2)
    assert outcome.out.splitlines()[3].split() == ["part", "value"]
    assert "± over seeds: 32 " in outcome.out


def test_swd_on_the_disk_is_the_same(pgtools: Run, real: Path, fake: Path):
    found = [pgtools("swd", real, fake, *SMALL, "--json", *memory).out for memory in ((), ("--memory", 0))]
    assert found[0] == found[1]


def test_every_kind_of_store_gives_the_same_figure(pgtools: Run, real: Path, fake: Path, tmp_path: Path):
    stores = written(tmp_path, photographs(12, 32, 2), "fake.lmdb", "fake.h5")
    found = [json.loads(pgtools("swd", real, path, *SMALL, "--json").out) for path in (fake, *stores)]
    for other in found[1:]:
        assert other["values"] == found[0]["values"]
        assert other["data"]["fake"]["fingerprint"] == found[0]["data"]["fake"]["fingerprint"]


def test_swd_of_unequal_sets_names_the_option(pgtools: Run, real: Path, fake: Path):
    (fake / "000.png").unlink()
    outcome = pgtools("swd", real, fake, *SMALL)
    assert outcome.code == 1
    assert outcome.out == ""
    assert "--num-images 11" in outcome.err


def test_msssim_prints_value_and_standard_error(pgtools: Run, fake: Path):
    outcome = pgtools("msssim", fake, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[1] == "num_images 12, resolution 32, pairs 6, seed 0"
    value = next(line for line in lines if line.startswith("value"))
    result = json.loads(pgtools("msssim", fake, "--device", "cpu", "--json").out)
    assert f"{result['values']['value']:.4f}" == value.split()[1]


def test_inception_score_says_where_its_weights_come_from(
    pgtools: Run, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path / "cache"))
    outcome = pgtools("inception-score", fake)
    assert outcome.code == 1
    assert "inception-2015-12-05" in outcome.err and "https://" in outcome.err
    bad = tmp_path / "bad.pth"
    bad.write_text("no weights")
    outcome = pgtools("inception-score", fake, "--weights", bad, "--device", "cpu")
    assert outcome.code == 1
    assert "bad.pth is not the Inception-v3" in outcome.err


@pytest.mark.parametrize("name", ["swd", "msssim", "inception-score"])
def test_help_shows_an_example_on_a_line_of_its_own(pgtools: Run, name: str):
    outcome = pgtools(name, "--help")
    assert outcome.code == 0
    assert f"\n    pgtools {name} " in outcome.out


def test_wrong_options_are_wrong_usage(pgtools: Run, real: Path, fake: Path):
    assert pgtools("swd", real, fake, "--size", 6).code == 2
    assert pgtools("swd", real, fake, "--repeats", 0).code == 2
    assert pgtools("msssim", fake, "--device", "abacus").code == 2
    assert pgtools("msssim", fake.with_name("absent")).code == 1


def test_too_few_images_for_an_error_are_told(pgtools: Run, real: Path, fake: Path):
    alone = pgtools("swd", real, fake, *SMALL, "--num-images", 1)
    assert alone.out.splitlines()[-1] == "1 image is too few for a standard error."
    pair = pgtools("msssim", fake, "--num-images", 2, "--device", "cpu")
    assert pair.out.splitlines()[-1] == "1 pair is too few for a standard error."
    assert "too few for a standard error" not in pgtools("swd", real, fake, *SMALL, "--replicates", 0).out


def test_a_set_of_one_image_is_no_number_to_pass(pgtools: Run, real: Path, tmp_path: Path):
    one = save(photographs(1, 32, 3), tmp_path / "one")
    refused = pgtools("swd", real, one, *SMALL)
    assert refused.code == 1
    assert "--num-images" not in refused.err and "name a set of more" in refused.err


def test_a_set_of_two_sizes_is_told_before_that_it_differs(pgtools: Run, real: Path, tmp_path: Path):
    mixed = save(photographs(3, 16, 3), tmp_path / "mixed")
    (mixed / "zzz.png").write_bytes((real / "000.png").read_bytes())
    for words in ((real, mixed), (mixed, real)):
        refused = pgtools("swd", *words, *SMALL)
        assert refused.code == 1
        assert "zzz.png is 32² pixels; the first is 16²" in refused.err


@pytest.mark.parametrize(("named", "said"), [(0, "No set of images is"), (1, "1 set of images is")])
def test_fid_counts_its_sets_in_words(pgtools: Run, real: Path, named: int, said: str):
    refused = pgtools("fid", *[real] * named)
    assert refused.code == 2
    assert f"{said} named; expected REAL and FAKE" in refused.err
    assert ("--real-stats" in refused.err) == (named == 1)


@pytest.mark.parametrize("name", ["fid", "kid", "swd", "evaluate", "train"])
def test_help_shows_defaults_in_one_form(pgtools: Run, name: str):
    text = " ".join(pgtools(name, "--help").out.split())
    assert "[default: (" not in text and "[default: ]" not in text
    if name in ("swd", "evaluate"):
        assert "--memory GB" in text


@pytest.mark.parametrize("size", ["-1", "nan"])
def test_a_cache_has_a_size(pgtools: Run, real: Path, size: str):
    refused = pgtools("kid", real, real, "--cache-size", size)
    assert refused.code == 2
    assert "expected 0 or more" in refused.err


def test_an_address_has_a_line_of_its_own(pgtools: Run, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path / "cache"))
    lines = pgtools("inception-score", fake).err.splitlines()
    assert "(IS, FID, KID, PR)" in lines[0]
    assert lines[-1].startswith("  https://")
