"""What streams by gives the figures of one pass, whatever the batches, their order and the number of processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgtools.errors import InputError, MissingModelError
from pgtools.metrics import held, named, tensors
from pgtools.metrics import measure as measures
from pgtools.metrics.evaluate import Evaluator, Reading
from pgtools.metrics.inception import features
from pgtools.metrics.inception.measure import FidMeasure, KidMeasure, PrecisionRecallMeasure
from pgtools.metrics.inception.network import WIDTHS, NetworkFile
from pgtools.metrics.measure import budget_of, in_pieces
from pgtools.metrics.named import SlicedWasserstein, score_images, swd_figures
from pgtools.metrics.settings import InceptionSettings, KidSettings
from pgtools.metrics.streaming import Streaming
from pgtools.metrics.swd.measure import SwdMeasure
from pgtools.runtime import distributed
from pgtools.runtime.distributed import Processes
from tests.metrics.sets import ArraySource
from tests.metrics.streamed import BREAKS, COUNT, SIDE, SPLITS, SWD, Features, fakes, metrics, reals

ROOT = Path(__file__).parents[2]
NAMES = list(metrics())


def alone(name: str, *, batch: int = 4, seed: int = 2) -> Streaming:
    """A metric fed by this process alone."""
    stream = metrics()[name]()
    if stream.measure.takes_real:
        for part in reals().split(batch):
            stream.update(part, real=True)
    for part in fakes(seed).split(batch):
        stream.update(part)
    return stream


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two gloo processes found."""
    folder = tmp_path_factory.mktemp("together")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.metrics.streamed", str(folder)]
    running = [
        subprocess.Popen(command, cwd=ROOT, env={**os.environ, **place, "RANK": str(rank)}, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    said = []
    for process in running:
        try:
            said.append(process.communicate(timeout=120)[1].decode())
        except subprocess.TimeoutExpired:
            process.kill()
            said.append(process.communicate()[1].decode() + "\nIt did not end.")
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


class TestTwoProcesses:
    @pytest.mark.parametrize("name", NAMES)
    @pytest.mark.parametrize("split", SPLITS)
    def test_they_find_what_one_finds(self, together: list[dict[str, Any]], name: str, split: str) -> None:
        expected = json.loads(json.dumps(asdict(alone(name).compute())))
        assert [found[f"{name}, {split}"] for found in together] == [expected, expected]

    @pytest.mark.parametrize("name", NAMES)
    def test_the_real_images_stay_for_the_next_round(self, together: list[dict[str, Any]], name: str) -> None:
        expected = json.loads(json.dumps(asdict(alone(name, seed=3).compute())))
        assert [found[f"{name}, again"] for found in together] == [expected, expected]

    def test_missing_images_are_one_error_everywhere(self, together: list[dict[str, Any]]) -> None:
        assert together[0]["missing"] == together[1]["missing"]
        assert "6 of 13 generated images are missing" in together[0]["missing"][1]

    def test_an_image_of_two_processes_is_refused_everywhere(self, together: list[dict[str, Any]]) -> None:
        assert together[0]["twice"] == together[1]["twice"]
        assert "Image 3 of the generated images was given by two processes" in together[0]["twice"][1]

    def test_a_fault_of_the_first_process_reaches_the_others(self, together: list[dict[str, Any]]) -> None:
        assert [found["input"] for found in together] == [["InputError", "no figure", "none"]] * 2
        assert together[0]["boom"] == ["ZeroDivisionError", "boom", ""]
        assert together[1]["boom"][:1] == ["ComputeError"] and "boom" in together[1]["boom"][1]

    @pytest.mark.parametrize("where", BREAKS)
    def test_no_process_waits_for_one_that_failed(self, together: list[dict[str, Any]], where: str) -> None:
        name, _, place = BREAKS[where]
        full = ["OutputError", "disk full", "free some"]
        own = ["ZeroDivisionError", "no rows", ""] if name == "parts" else full
        told = ["ComputeError", "Process 1 failed (ZeroDivisionError: no rows).", "Its own error says more."]
        other = told if name == "parts" else full
        said = [found[f"{where}, broken"] for found in together]
        # The second time too: what was lost is not measured as if it were all.
        assert said[place] == [own, own] and said[1 - place] == [other, other]
        expected = json.loads(json.dumps(asdict(alone("features").compute())))
        assert [found[f"{where}, again"] for found in together] == [expected, expected]


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_those_of_a_pass_over_stores(name: str) -> None:
    stream = alone(name)
    evaluator = Evaluator(
        [stream.measure], ArraySource(reals().numpy()), Reading(num_images=COUNT), torch.device("cpu")
    )
    with torch.no_grad():
        (result,) = evaluator.score(ArraySource(fakes().numpy()))
    found = asdict(stream.compute())
    assert found == {field: getattr(result, field) for field in found}


@pytest.mark.parametrize("name", NAMES)
def test_batches_and_order_change_nothing(name: str) -> None:
    shuffled = metrics()[name]()
    order = np.random.default_rng(0).permutation(COUNT).tolist()
    for start in range(0, COUNT, 5):
        numbers = order[start : start + 5]
        if shuffled.measure.takes_real:
            shuffled.update(reals()[numbers], real=True, indices=numbers)
        shuffled.update(fakes()[numbers], indices=torch.tensor(numbers))
    assert shuffled.compute() == alone(name, batch=1).compute() == alone(name, batch=COUNT).compute()


def test_functions_on_tensors_are_the_same() -> None:
    expected = alone("swd").compute()
    assert swd_figures(reals(), fakes(), SWD) == expected
    assert score_images(Features(), fakes(), reals()) == alone("features").compute()
    with pytest.raises(InputError, match="compares with real images"):
        score_images(Features(), fakes())
    with pytest.raises(InputError, match="compares equal numbers"):
        swd_figures(reals(), fakes()[:9], SWD)


def test_reset_forgets_the_generated_images_and_the_real_ones_if_told() -> None:
    stream = alone("features")
    first = stream.compute()
    assert stream.compute() is first
    with pytest.raises(InputError, match="measured already") as caught:
        stream.update(fakes()[:1])
    assert "reset()" in caught.value.hint
    stream.reset()
    stream.update(fakes())
    assert stream.compute() == first
    stream.reset(real=True)
    stream.update(fakes())
    with pytest.raises(InputError, match="13 of 13 real images are missing"):
        stream.compute()
    stream.update(reals(), real=True)
    assert stream.compute() == first


def test_images_may_come_after_a_computation_too_early() -> None:
    stream = metrics()["features"]()
    stream.update(fakes()[:12])
    with pytest.raises(InputError, match="13 of 13 real and 1 of 13 generated images are missing"):
        stream.compute()
    assert stream.missing() == {"real": 13, "fake": 1}
    stream.update(reals(), real=True)
    stream.update(fakes()[12:])
    assert stream.compute() == alone("features").compute()


def test_numbers_past_the_end_are_left_out() -> None:
    stream = alone("features")
    stream.update(fakes()[:4])  # numbers 13 to 16: what a sampler fills up with
    assert stream.compute() == alone("features").compute()


class TestWhatIsTaken:
    def test_floats_are_rounded_as_a_file_would_be(self) -> None:
        floats = fakes().float() / 127.5 - 1
        stream = metrics()["features"]()
        stream.update(reals().double() / 255, real=True, value_range=(0, 1))
        with torch.autocast("cpu", torch.bfloat16):
            stream.update(floats.requires_grad_(), value_range=(-1, 1))
        assert stream.compute() == alone("features").compute()

    def test_rounding_is_half_to_even_and_clipped(self) -> None:
        from pgtools.metrics.tensors import pixels

        values = torch.tensor([-9.0, 0.5, 1.5, 2.5, 254.5, 400.0]).repeat(6)[:16].reshape(1, 1, 4, 4)
        taken = pixels(values, 4, (0, 255))
        assert taken.shape == (1, 3, 4, 4)
        assert taken[0, 2].flatten()[:6].tolist() == [0, 0, 2, 2, 254, 255]

    def test_grey_is_repeated(self) -> None:
        colour, grey = metrics()["features"](), metrics()["features"]()
        one = fakes()[:, :1]
        for stream, images in ((colour, one.repeat(1, 3, 1, 1)), (grey, one)):
            stream.update(reals(), real=True)
            stream.update(images)
        assert colour.compute() == grey.compute()

    @pytest.mark.parametrize(
        ("images", "how", "message"),
        [
            (torch.zeros(2, 3, SIDE, SIDE), {}, "whose range is not known"),
            (torch.zeros(2, 3, SIDE, SIDE), {"value_range": (1, 0)}, "lo under hi"),
            (torch.full((2, 3, SIDE, SIDE), torch.nan), {"value_range": (0, 1)}, "no finite numbers"),
            (fakes()[:2], {"value_range": (0, 1)}, "leave value_range out"),
            (fakes()[:2].int(), {}, "expected uint8"),
            (fakes()[:2, :2], {}, "expected .N, 3, 32, 32."),
            (fakes()[0], {}, "expected .N, 3, 32, 32."),
            (fakes()[:2, :, :16, :16], {}, "expected .N, 3, 32, 32."),
            (fakes()[:2], {"indices": [1]}, "2 images came with 1 indices"),
            (fakes()[:2], {"indices": [1, -1]}, "Index -1"),
            (fakes()[:2], {"indices": [1, 1]}, "Image 1 of the generated images was given twice"),
            (fakes()[:2], {"indices": [0, 7]}, "Image 7 of the generated images was given twice"),
        ],
    )
    def test_what_is_odd_is_refused(self, images: torch.Tensor, how: dict[str, Any], message: str) -> None:
        stream = metrics()["features"]()
        stream.update(fakes()[7:8], indices=[7])
        with pytest.raises(InputError, match=message):
            stream.update(images, **how)
        assert stream.missing()["fake"] == COUNT - 1

    def test_a_metric_of_one_set_takes_no_real_images(self) -> None:
        with pytest.raises(InputError, match="generated images alone"):
            metrics()["msssim"]().update(reals(), real=True)

    def test_what_cannot_be_measured_is_refused_when_it_is_made(self) -> None:
        with pytest.raises(InputError, match="fewer than 2"):
            Streaming(Features(), num_images=1, resolution=SIDE)
        with pytest.raises(InputError, match="8²"):
            SlicedWasserstein(num_images=4, resolution=8)
        with pytest.raises(InputError, match="expect 0 images"):
            Streaming(Features(), num_images=0, resolution=SIDE)
        with pytest.raises(InputError, match="equal numbers"):
            Streaming(metrics()["swd"]().measure, num_images=4, num_real=5, resolution=SIDE)


def test_pieces_bound_what_travels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "PIECE_BYTES", 100)
    numbers = np.arange(3, 10)
    assert [piece.tolist() for piece in in_pieces(numbers, 40)] == [[3, 4], [5, 6], [7, 8], [9]]
    assert [len(piece) for piece in in_pieces(numbers, 1000)] == [1] * 7
    assert list(in_pieces(numbers[:0], 40)) == []


class TestMemory:
    def test_both_sets_share_one_budget(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(held, "available_memory", lambda: 10**6)
        # 4 images, 32 patches of 147 floats at the one level: 75 kB a set and seed.
        stream = SlicedWasserstein(
            num_images=4, resolution=16, settings=replace(SWD, neighbourhoods=32, seeds=4), device="cpu"
        )
        spilled = [drawn.patches.spilled for side in stream._sides.values() for _, _, drawn in side.collector._all()]
        assert spilled == [False] * 6 + [True] * 2
        stream.reset(real=True)
        again = [drawn.patches.spilled for side in stream._sides.values() for _, _, drawn in side.collector._all()]
        assert again == spilled
        stream.close()

    def test_what_the_settings_allow_is_for_both_sets(self) -> None:
        settings = replace(SWD, neighbourhoods=32, memory=1.2e-4)
        stream = SlicedWasserstein(num_images=4, resolution=16, settings=settings, device="cpu")
        patches = [side.collector.drawn[0][16].patches for side in stream._sides.values()]
        assert [rows.spilled for rows in patches] == [False, True]
        stream.close()

    @pytest.mark.parametrize(("told", "here"), [(None, 8), ("2", 2), ("16", 8), ("0", 1), ("two", 8)])
    def test_processes_of_a_machine_share_it(
        self, told: str | None, here: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        if told is not None:
            monkeypatch.setenv("LOCAL_WORLD_SIZE", told)
        for name, value in {"is_initialized": True, "get_rank": 0, "get_world_size": 8}.items():
            monkeypatch.setattr(distributed.dist, name, lambda *_, value=value: value)
        monkeypatch.setattr(held, "available_memory", lambda: 1600)
        together = Processes()
        assert together.here == here
        assert budget_of([SwdMeasure(SWD)], share=together.here).left == 800 // here
        assert Processes.alone().here == 1


def test_settings_are_seen() -> None:
    other = swd_figures(reals(), fakes(), replace(SWD, seed=5))
    assert other.values != swd_figures(reals(), fakes(), SWD).values


class TestOnTheNetwork:
    @pytest.fixture
    def means(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Mean colours in place of the network's features."""

        def run(_: Any, images: torch.Tensor) -> dict[str, torch.Tensor]:
            rows = images.float().mean((2, 3)) / 20  # (N, 3)
            return {layer: rows.repeat(1, width // 3 + 1)[:, :width] for layer, width in WIDTHS.items()}

        monkeypatch.setattr(named, "_network", lambda _: NetworkFile(Path("none.pth"), "00"))
        monkeypatch.setattr(features, "shared_network", lambda *_: None)
        monkeypatch.setattr(features, "run", run)

    @pytest.mark.usefixtures("means")
    def test_each_has_its_own_measure_and_settings(self) -> None:
        where: dict[str, Any] = {"num_images": 6, "resolution": SIDE, "num_real": 9, "device": "cpu"}
        made = {
            named.FrechetInceptionDistance(**where): FidMeasure,
            named.KernelInceptionDistance(settings=KidSettings(subset_size=4), **where): KidMeasure,
            named.PrecisionRecall(**where): PrecisionRecallMeasure,
        }
        assert [type(stream.measure) for stream in made] == list(made.values())
        assert all(stream.missing() == {"real": 9, "fake": 6} for stream in made)
        with pytest.raises(InputError, match="6 images"):
            named.KernelInceptionDistance(**where)

    @pytest.mark.usefixtures("means")
    def test_they_compute(self) -> None:
        score = named.InceptionScore(num_images=COUNT, resolution=SIDE, settings=InceptionSettings(splits=2))
        score.update(fakes())
        covered = named.PrecisionRecall(num_images=6, num_real=COUNT, resolution=SIDE, device="cpu")
        covered.update(reals(), real=True)
        covered.update(reals()[:6])
        assert score.compute().values["value"] > 1
        assert covered.compute().values["precision"] == 1

    def test_without_weights_it_says_where_they_come_from(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path))
        with pytest.raises(MissingModelError, match="inception-2015-12-05"):
            named.FrechetInceptionDistance(num_images=4, resolution=SIDE)
        with pytest.raises(MissingModelError, match=r"none\.pth is not a file"):
            named.InceptionScore(num_images=4, resolution=SIDE, weights="none.pth")


@pytest.mark.parametrize("way", ["legacy", "newer"])
def test_tf32_is_off_inside_and_as_it_was_afterwards(way: str) -> None:
    """The switches are there without a GPU too."""
    matmul: Any = torch.backends.cuda.matmul
    if way == "newer" and not hasattr(matmul, "fp32_precision"):
        pytest.skip("this torch has only the older switches")
    name, on, off = ("allow_tf32", True, False) if way == "legacy" else ("fp32_precision", "tf32", "ieee")
    before = getattr(matmul, name)
    try:
        setattr(matmul, name, on)
        with tensors.undisturbed(torch.device("cuda")):
            assert getattr(matmul, name) == off
        assert getattr(matmul, name) == on
    finally:
        setattr(matmul, name, before)
