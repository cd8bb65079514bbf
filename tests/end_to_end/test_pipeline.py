"""From a photograph to a verdict, tiny: every command after the other, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

TINY = ["--stable-kimg", 0.1, "--fade-kimg", 0.1, "--total-kimg", 0.7]
TINY += ["--fmap-base", 64, "--fmap-max", 8, "--latent", 8]
OFTEN = [
    "--snapshot-kimg",
    0.2,
    "--grid-kimg",
    0.3,
    "--log-kimg",
    0.1,
    "--metrics",
    "swd",
    "--num-images",
    20,
    "--device",
    "cpu",
]


# Crops of 16² show nothing of what networks do to photos.
PLAIN = ["--resolution", 16, "--workers", 1, "--restore", "none", "--superres", "lanczos"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("pipeline")


def test_the_whole_way(folder, pgtools) -> None:
    store, run, fakes = folder / "faces.lmdb", folder / "run", folder / "fakes"

    def do(*words: object, code: int = 0) -> str:
        outcome = pgtools(*words)
        assert outcome.code == code, outcome.err
        return outcome.out

    def save(name: str, *words: object) -> Path:
        (folder / name).write_text(do(*words, "--json"))
        return folder / name

    do("demo", "faces", folder / "photos", "--count", 40, "--seed", 1, "--layout", "aligned", "--workers", 1)
    do("build-celebahq", folder / "photos", store, *PLAIN)
    do("store", "view", store, folder / "sheet.png")
    do("train", store, "--out", run, *TINY, *OFTEN)
    do("generate", run, fakes, "--count", 40, "--grid", folder / "fakes.png", "--device", "cpu")

    swd = save("swd.json", "swd", store, run, "--num-images", 20, "--device", "cpu")
    msssim = save("msssim.json", "msssim", fakes, "--device", "cpu")
    of_files = save("swd-files.json", "swd", store, fakes, "--device", "cpu")
    assert set(json.loads(of_files.read_text())["values"]) == {"16", "average"}

    baseline = folder / "baseline.json"
    do("gate", "accept", swd, msssim, "--baseline", baseline)
    assert "average" in do("gate", "check", swd, msssim, "--baseline", baseline)
    worse = json.loads(swd.read_text())
    worse["values"] = {part: 3 * value + 100 for part, value in worse["values"].items()}
    swd.write_text(json.dumps(worse))
    do("gate", "check", swd, msssim, "--baseline", baseline, code=3)

    do("report", run, "--metrics", msssim, "--out", folder / "report.html")
    page = (folder / "report.html").read_text("utf-8")
    assert page.count("data:image/") >= 2
    assert "MS-SSIM" in page


def test_a_store_and_its_twin_in_hdf5_score_the_same(folder, pgtools) -> None:
    """One image source, many formats: the figure does not see which."""
    photos = folder / "photos-two"
    pgtools("demo", "faces", photos, "--count", 12, "--layout", "aligned", "--workers", 1)
    pgtools("build-celebahq", photos, folder / "two.lmdb", folder / "two.h5", *PLAIN)
    fakes = folder / "two-fakes"
    pgtools(
        "demo", "faces", photos.with_name("other"), "--count", 12, "--seed", 5, "--layout", "aligned", "--workers", 1
    )
    pgtools("build-celebahq", photos.with_name("other"), fakes.with_suffix(".h5"), *PLAIN)
    one, two = (
        json.loads(pgtools("swd", folder / f"two.{kind}", fakes.with_suffix(".h5"), "--device", "cpu", "--json").out)
        for kind in ("lmdb", "h5")
    )
    assert one["values"] == two["values"]
    assert one["data"]["real"]["fingerprint"] == two["data"]["real"]["fingerprint"]
