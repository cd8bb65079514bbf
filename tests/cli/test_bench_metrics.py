"""`pgtools bench metrics`: its rows, its tables, its refusals."""

from __future__ import annotations

import json

import pytest
import torch

from pgtools.metrics.benchmark import compare, rounds
from pgtools.metrics.benchmark.compare import bench_metrics, default_pairs
from pgtools.metrics.benchmark.rounds import Case, Run, run_once

QUICK = ("--device", "cpu", "--num-images", 6, "--rounds", 2)
SWD_PHASES = ["pyramid", "patches", "normalise", "project", "sort", "compare"]


def test_both_routes_are_rows_and_agree(pgtools) -> None:
    done = pgtools("bench", "metrics", *QUICK, "--sides", "16", "--pairs", 3, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    rows = [(row["metric"], row["side"], row["count"], row["route"]) for row in found["rows"]]
    expected = [("swd", 16, 6), ("msssim", 16, 3)]
    assert rows == [(*each, route) for each in expected for route in ("pgtools", "plain")]
    assert found["protocol"]["rounds"] == 2
    for ours, plain in zip(found["rows"][::2], found["rows"][1::2], strict=True):
        assert ours["agreement"] < 1e-5
        assert ours["figure"] == pytest.approx(plain["figure"], rel=1e-5)
        assert 0 < ours["ratio_low"] <= ours["ratio"] <= ours["ratio_high"]
        assert plain["ratio"] is None
        assert list(plain["phases"]) == (SWD_PHASES if plain["metric"] == "swd" else ["blur", "terms", "halve"])
        for row in (ours, plain):
            assert row["seconds_low"] <= row["seconds"] <= row["seconds_high"]
        # The plain route has one thread, so its phases are all that it does.
        assert sum(plain["phases"].values()) == pytest.approx(plain["seconds"], rel=0.5)
    assert {"pyramid", "patches", "project", "sort"} <= found["rows"][0]["phases"].keys()
    assert found["rows"][0]["errors"] > 0


def test_the_plain_route_can_be_left_out(pgtools, tmp_path) -> None:
    out = tmp_path / "bench.md"
    done = pgtools("bench", "metrics", *QUICK, "--sides", 16, "--metrics", "swd", "--no-plain", "--out", out)
    assert done.code == 0, done.err
    assert "SWD, 16², 6 images a set" in done.out
    assert "\nplain" not in done.out
    text = out.read_text("utf-8")
    assert text.startswith("# pgtools bench metrics\n")
    assert "| pgtools | cpu |" in text


def test_a_round_measures_both_routes_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int]] = []
    real = compare.run_once

    def watched(case: Case, route: str) -> Run:
        told.append((route, case.count))
        return real(case, route)

    monkeypatch.setattr(compare, "run_once", watched)
    bench_metrics([Case("msssim", 16, 20, torch.device("cpu"), plain=True)], rounds=2)
    turn = [("pgtools", 20), ("plain", 20)]
    assert told == [("pgtools", 8), ("plain", 8), *turn, *turn]


def test_the_images_are_made_outside_of_what_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    from time import sleep

    real = rounds.DrawnImages.read

    def slow(self: rounds.DrawnImages, indices: list[int]) -> torch.Tensor:
        sleep(0.5)
        return real(self, indices)

    monkeypatch.setattr(rounds.DrawnImages, "read", slow)
    found = run_once(Case("msssim", 16, 2, torch.device("cpu"), plain=True), "plain")
    assert found.drawing > 0.5
    assert found.seconds < 0.4


def test_peak_memory_grows_with_what_is_measured() -> None:
    small, large = (run_once(Case("msssim", side, 1, torch.device("cpu"), True), "plain") for side in (16, 256))
    if small.peak_bytes is None or large.peak_bytes is None:
        pytest.skip("this system does not tell a process's highest memory")
    # Five blurred moments of 3 × 256² in float64 are 8 MB; what fftconvolve takes for them comes on top.
    assert large.peak_bytes > small.peak_bytes + 5_000_000


def test_pairs_are_four_million_pixels() -> None:
    assert [default_pairs(side, 2048) for side in (128, 1024)] == [256, 4]
    assert default_pairs(16, 10) == 5


def test_what_would_not_fit_is_told_before_the_wait(pgtools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "available_memory", lambda: 1 << 30)
    done = pgtools("bench", "metrics", "--device", "cpu", "--sides", 1024, "--num-images", 16384, "--metrics", "swd")
    assert done.code == 1
    assert "The plain route keeps all patches: 22" in done.err
    assert "--no-plain" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--sides", "8"), "--sides is '8'; expected powers of two from 16 up"),
        (("--sides", "48"), "--sides is '48'"),
        (("--sides", "big,16"), "--sides is 'big,16'"),
        (("--metrics", "fid"), "--metrics is 'fid'; expected some of swd, msssim"),
        (("--device", "tpu"), "--device is 'tpu'"),
    ],
)
def test_bad_words_are_one_line(pgtools, words, message: str) -> None:
    done = pgtools("bench", "metrics", *words)
    assert done.code == 2
    assert message in done.err.splitlines()[0]
    assert done.out == ""
