"""`pgtools evaluate`: one pass, every snapshot, results as they come, and no figure measured twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pgtools.cli._measures import NAMES, metric_names
from pgtools.errors import InputError, UsageError
from pgtools.imaging.photo import encode_png, read_photo
from pgtools.metrics.evaluate import Evaluator
from pgtools.progan.config import Architecture, TrainSettings
from pgtools.progan.generator import Generator
from pgtools.progan.run.folder import RunFolder
from pgtools.progan.run.snapshot import Snapshot, write_snapshot
from pgtools.report.trajectory import panels_of, trajectory
from pgtools.runtime.result_log import ResultLog
from pgtools.runtime.results import MetricResult, result_from_dict
from tests.conftest import Outcome
from tests.metrics.sets import photographs
from tests.progan.conftest import TINY
from tests.stores.sets import written

Run = Callable[..., Outcome]
COUNT = 8
CPU = ("--device", "cpu")


def save(images: np.ndarray, folder: Path) -> Path:
    folder.mkdir()
    for i, image in enumerate(images):
        (folder / f"{i:03d}.png").write_bytes(encode_png(np.ascontiguousarray(image.transpose(1, 2, 0))))
    return folder


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return save(photographs(COUNT, 16, 1), tmp_path / "real")


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    return save(photographs(COUNT, 16, 2), tmp_path / "fake")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with three snapshots, as training leaves it."""
    folder = RunFolder(tmp_path / "run")
    data = {"name": "real", "resolution": 16, "count": COUNT, "fingerprint": "00"}
    (tmp_path / "run").mkdir()
    folder.write_config(TrainSettings(**TINY), data, {})
    for seed, images in enumerate((64, 128, 2500)):
        generator = Generator(Architecture(16, latent=8, fmap_base=64, fmap_max=8), seed=seed).eval()
        path = folder.snapshot(images)
        path.parent.mkdir(exist_ok=True)
        write_snapshot(path, Snapshot(generator, 0.0, images))
    return tmp_path / "run"


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of the sets that were measured, in order."""
    names: list[str] = []
    score = Evaluator.score

    def noted(self: Evaluator, source: Any) -> Any:
        names.append(Path(source.name).stem)
        return score(self, source)

    monkeypatch.setattr(Evaluator, "score", noted)
    yield names


def results_of(text: str) -> list[MetricResult]:
    return [result_from_dict(value, where="here") for value in json.loads(text)]


class TestOneSet:
    def test_figures_are_those_of_each_metrics_own_command(self, pgtools: Run, real: Path, fake: Path) -> None:
        together = pgtools("evaluate", real, fake, "-m", "msssim,swd", *CPU, "--json")
        assert together.code == 0, together.err
        found = json.loads(together.out)
        alone = [pgtools("msssim", fake, *CPU, "--json"), pgtools("swd", real, fake, *CPU, "--json")]
        assert found == [json.loads(outcome.out) for outcome in alone]

    def test_the_table_has_every_part(self, pgtools: Run, real: Path, fake: Path) -> None:
        outcome = pgtools("evaluate", real, fake, *CPU)
        assert outcome.code == 0, outcome.err
        lines = outcome.out.splitlines()
        alone = [pgtools("swd", real, fake, *CPU), pgtools("msssim", fake, *CPU)]
        assert outcome.out == "\n".join(one.out for one in alone)
        assert lines[3].split() == [
            "part",
            "value",
            "±",
            "standard",
            "error",
            "95",
            "%",
            "interval",
            "floor",
            "verdict",
        ]
        assert any(line.startswith("± over pairs: ") for line in lines)

    def test_a_generator_in_place_of_the_real_images_is_refused(self, pgtools: Run, fake: Path, run: Path) -> None:
        for words in (
            ("evaluate", run, fake, "-m", "swd"),
            ("swd", run, fake),
            ("swd", RunFolder(run).snapshot(64), fake),
        ):
            refused = pgtools(*words, "--num-images", 4, *CPU)
            assert (refused.code, refused.out) == (1, "")
            assert "is a generator, not a set of real images" in refused.err
            assert "Did you swap REAL and FAKE?" in refused.err

    def test_real_images_may_be_left_out_where_none_are_compared(self, pgtools: Run, real: Path, fake: Path) -> None:
        alone = pgtools("evaluate", fake, "-m", "ms-ssim", *CPU, "--json")
        both = pgtools("evaluate", real, fake, "-m", "msssim", *CPU, "--json")
        assert alone.code == 0, alone.err
        assert both.out == alone.out
        assert "real is not read" in both.err and "not read" not in alone.err
        refused = pgtools("evaluate", fake, "-m", "msssim,swd")
        assert (refused.code, refused.out) == (1, "")
        assert "swd compares with real images; only one set is named" in refused.err
        assert f"`pgtools evaluate REAL {fake}`" in refused.err

    def test_json_holds_a_list_with_the_whole_fingerprint(
        self, pgtools: Run, real: Path, fake: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "new" / "scores.json"
        outcome = pgtools("evaluate", real, fake, "--num-images", 6, "--seed", 3, *CPU, "--out", out, "--json")
        assert outcome.code == 0, outcome.err
        assert out.read_text() == outcome.out
        swd, msssim = results_of(outcome.out)
        assert (swd.metric, msssim.metric) == ("swd", "msssim")
        for result in (swd, msssim):
            assert result.protocol["num_images"] == 6
            assert result.protocol["seed"] == 3
            assert len(result.data["fake"]["fingerprint"]) == 64
            assert {"pgtools", "torch", "device"} <= result.environment.keys()
        assert len(swd.data["real"]["fingerprint"]) == 64
        refused = pgtools("evaluate", real, fake, *CPU, "--out", out)
        assert refused.code == 1 and "already exists" in refused.err
        assert pgtools("evaluate", real, fake, *CPU, "--out", out, "--overwrite").code == 0
        assert results_of(out.read_text())[0].protocol["num_images"] == COUNT

    def test_json_lines_are_taken_over(
        self, pgtools: Run, real: Path, fake: Path, tmp_path: Path, scored: list[str]
    ) -> None:
        words = ("evaluate", real, fake, *CPU, "--out", tmp_path / "scores.jsonl", "--json")
        first = pgtools(*words)
        again = pgtools(*words)
        assert (again.code, again.out, scored) == (0, first.out, ["fake"])
        assert len(ResultLog(tmp_path / "scores.jsonl").read()) == 2
        (fake / "000.png").write_bytes((fake / "001.png").read_bytes())
        refused = pgtools(*words)
        assert refused.code == 1 and "holds other results" in refused.err

    def test_batch_and_kind_of_store_change_nothing(self, pgtools: Run, real: Path, fake: Path, tmp_path: Path) -> None:
        expected = json.loads(pgtools("evaluate", real, fake, *CPU, "--json").out)
        for path in written(tmp_path, photographs(COUNT, 16, 2), "fake.lmdb", "fake.h5"):
            found = json.loads(pgtools("evaluate", real, path, *CPU, "--batch", 3, "--json").out)
            assert [result["values"] for result in found] == [result["values"] for result in expected]

    def test_one_pass_feeds_all(self, pgtools: Run, real: Path, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from pgtools.cli import _measures
        from tests.metrics.streamed import Features

        seen: list[str] = []
        feed = Evaluator._feed

        def noted(self: Evaluator, source: Any, role: str, collectors: Any, *rest: Any) -> None:
            seen.append(f"{role} {len(collectors)}")
            feed(self, source, role, collectors, *rest)

        monkeypatch.setattr(Evaluator, "_feed", noted)
        monkeypatch.setattr(_measures, "_network", lambda *_: None)
        monkeypatch.setattr(_measures, "_on_network", lambda *_: Features())
        import torch

        with torch.no_grad():
            outcome = pgtools("evaluate", real, fake, "-m", "swd,msssim", "-m", "fid", *CPU, "--json")
        assert outcome.code == 0, outcome.err
        assert [result["metric"] for result in json.loads(outcome.out)] == ["swd", "msssim", "fid"]
        assert seen == ["real 2", "fake 3"]


class TestSnapshots:
    def test_every_snapshot_is_a_row_a_line_and_a_point(
        self, pgtools: Run, real: Path, run: Path, tmp_path: Path
    ) -> None:
        out, plot = tmp_path / "scores.jsonl", tmp_path / "scores.png"
        outcome = pgtools("evaluate", real, run, *CPU, "--out", out, "--plot", plot)
        assert outcome.code == 0, outcome.err
        lines = outcome.out.splitlines()
        assert lines[3].split() == ["kimg", "swd", "16", "swd", "average", "msssim"]
        assert [line.split()[0] for line in lines[4:8]] == ["0.064", "0.128", "2.5", "floor"]
        assert all(line.count("±") == 3 for line in lines[4:7])
        newest = ResultLog(out).read()[-2]
        assert lines[7].split()[1:] == [f"{floor:.2f}" for floor in newest.floor.values()] + ["-"]
        assert lines[8:10] == ["", "At 2.5 kimg:"]
        assert lines[10:] == [f"swd {part}: {verdict}" for part, verdict in newest.verdict.items()]
        assert [line.split(": ")[0] for line in outcome.err.splitlines()[:3]] == [
            "0.064 kimg", "0.128 kimg", "2.5 kimg",
        ]  # fmt: skip
        results = ResultLog(out).read()
        assert [(result.data["fake"]["kimg"], result.metric) for result in results] == [
            (kimg, metric) for kimg in ("0.064", "0.128", "2.5") for metric in ("swd", "msssim")
        ]
        assert all(result.data["fake"]["name"].startswith(str(run / "snapshots")) for result in results)
        assert read_photo(plot).shape[1] == 1000

    @pytest.mark.parametrize(
        ("words", "expected"), [("last", ["2.5"]), ("128", ["0.128"]), ("2500, 64", ["0.064", "2.5"]), ("all", 3)]
    )
    def test_some_can_be_chosen(self, pgtools: Run, run: Path, words: str, expected: Any) -> None:
        outcome = pgtools("evaluate", run, "-m", "msssim", "--num-images", 4, "--snapshots", words, "--json", *CPU)
        assert outcome.code == 0, outcome.err
        found = [result.data["fake"]["kimg"] for result in results_of(outcome.out)]
        assert found == expected or len(found) == expected

    def test_a_snapshots_file_is_one_set(self, pgtools: Run, real: Path, run: Path) -> None:
        file = run / "snapshots" / "000000128.safetensors"
        alone = results_of(pgtools("evaluate", real, file, "--json", *CPU).out)
        among = results_of(pgtools("evaluate", real, run, "--snapshots", 128, "--json", *CPU).out)
        assert [result.values for result in alone] == [result.values for result in among]
        assert "kimg" not in alone[0].data["fake"]

    def test_an_interrupted_evaluation_goes_on(
        self, pgtools: Run, real: Path, run: Path, tmp_path: Path, scored: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "scores.jsonl"
        whole = pgtools("evaluate", real, run, *CPU, "--json")
        noted = Evaluator.score
        scored.clear()

        def interrupted(self: Evaluator, source: Any) -> Any:
            if len(scored) == 1:
                raise KeyboardInterrupt
            return noted(self, source)

        monkeypatch.setattr(Evaluator, "score", interrupted)
        stopped = pgtools("evaluate", real, run, *CPU, "--out", out)
        assert (stopped.code, stopped.out) == (1, "")
        assert len(ResultLog(out).read()) == 2
        # A kill in the middle of a line: the second snapshot has one metric, and half of another.
        third = json.loads(whole.out)[2]
        with out.open("a") as file:
            file.write(json.dumps(third) + "\n" + json.dumps(third)[:80])
        monkeypatch.setattr(Evaluator, "score", noted)
        scored.clear()
        again = pgtools("evaluate", real, run, *CPU, "--out", out, "--json")
        assert again.code == 0, again.err
        assert scored == ["000000128", "000002500"]
        assert "1 of 3 measured before, taken over" in again.err
        assert again.out == whole.out
        assert [line.as_dict() for line in ResultLog(out).read()] == json.loads(whole.out)
        scored.clear()
        nothing = pgtools("evaluate", real, run, *CPU, "--out", out, "--json", "--plot", tmp_path / "a.svg")
        assert (nothing.out, scored) == (whole.out, [])
        assert "3 of 3 measured before" in nothing.err

    def test_a_run_that_went_on_adds_its_new_snapshots(
        self, pgtools: Run, real: Path, run: Path, tmp_path: Path, scored: list[str]
    ) -> None:
        out = tmp_path / "scores.jsonl"
        assert pgtools("evaluate", real, run, *CPU, "--snapshots", "64,128", "--out", out).code == 0
        scored.clear()
        assert pgtools("evaluate", real, run, *CPU, "--snapshots", "last", "--out", out).code == 0
        assert scored == ["000002500"]
        assert [line.data["fake"]["kimg"] for line in ResultLog(out).read()] == ["0.064"] * 2 + ["0.128"] * 2 + [
            "2.5"
        ] * 2

    @pytest.mark.parametrize("change", ["seed", "metric", "real", "snapshot", "foreign"])
    def test_other_results_are_not_mixed_with_these(
        self, pgtools: Run, real: Path, run: Path, tmp_path: Path, scored: list[str], change: str
    ) -> None:
        out = tmp_path / "scores.jsonl"
        words = ["evaluate", real, run, *CPU, "--snapshots", "64,128", "--out", out]
        assert pgtools(*words).code == 0
        before, expected = out.read_bytes(), "holds other results than these"
        if change == "seed":
            words += ["--seed", 5]
        elif change == "metric":
            words += ["-m", "msssim"]
        elif change == "real":
            Image.new("RGB", (16, 16)).save(real / "000.png")
        elif change == "snapshot":
            shutil.copy(run / "snapshots/000002500.safetensors", run / "snapshots/000000064.safetensors")
        else:
            before += b"{}\n"
            out.write_bytes(before)
            expected = "line 5, is not a metric result"
        scored.clear()
        refused = pgtools(*words)
        assert (refused.code, refused.out, scored) == (1, "", [])
        assert expected in refused.err
        assert out.read_bytes() == before
        assert pgtools(*words, "--overwrite").code == 0
        assert len(scored) == 2

    def test_one_more_metric_measures_them_again(
        self, pgtools: Run, real: Path, run: Path, tmp_path: Path, scored: list[str]
    ) -> None:
        out = tmp_path / "scores.jsonl"
        assert pgtools("evaluate", real, run, "-m", "swd", *CPU, "--out", out).code == 0
        scored.clear()
        assert pgtools("evaluate", real, run, "-m", "swd,msssim", *CPU, "--out", out).code == 0
        assert len(scored) == 3
        assert [line.metric for line in ResultLog(out).read()] == ["swd", "msssim"] * 3


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (["-m", "swd,nonsense"], 2, "There is no metric 'nonsense'; there are swd, msssim"),
            (["-m", " , "], 2, "No metric is named"),
            (["--out", "scores.txt"], 2, "ends in .json or .jsonl"),
            (["--plot", "scores.png"], 2, "FAKE is no run folder"),
            (["--plot", "scores.pdf"], 2, "ends in .png or .svg"),
            (["--snapshots", "all"], 2, "--snapshots is for the folder of a run"),
            (["--num-images", "0"], 2, "--num-images is 0"),
            (["-m", "recovered-modes"], 2, "--classifier"),
            (["--num-images", "9"], 1, "8 images; 9 were asked for"),
            (["-m", "fid,swd,is"], 1, "asked for: fid, inception-score"),
            (["-m", "kid", "--weights", "none.pth"], 1, "the metric was asked for: kid"),
        ],
    )
    def test_before_an_image_is_read(
        self,
        pgtools: Run,
        real: Path,
        fake: Path,
        words: list[str],
        code: int,
        message: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("PGTOOLS_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(Evaluator, "score", None)
        outcome = pgtools("evaluate", real, fake, *words, *CPU)
        assert (outcome.code, outcome.out) == (code, "")
        assert message in outcome.err
        assert not list(tmp_path.glob("scores*"))

    def test_sizes_and_counts(self, pgtools: Run, real: Path, fake: Path, tmp_path: Path) -> None:
        tiny = save(photographs(COUNT, 8), tmp_path / "tiny")
        assert "real has 16² images" in pgtools("evaluate", real, tiny, *CPU).err.replace(f"{tmp_path}/", "")
        assert "8²" in pgtools("evaluate", tiny, tiny, *CPU).err
        (fake / "000.png").unlink()
        assert "Pass --num-images 7" in pgtools("evaluate", real, fake, *CPU).err
        assert pgtools("evaluate", real, fake, tiny).code == 2
        assert pgtools("evaluate").code == 2

    def test_what_one_metric_refuses_is_told_before_another_reads(
        self, pgtools: Run, tmp_path: Path, scored: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from pgtools.cli import _measures
        from tests.metrics.streamed import Features

        monkeypatch.setattr(_measures, "_network", lambda *_: None)
        monkeypatch.setattr(_measures, "_on_network", lambda *_: Features())
        tiny = save(photographs(COUNT, 8), tmp_path / "tiny")
        refused = pgtools("evaluate", tiny, tiny, "-m", "fid,msssim", *CPU)
        assert (refused.code, refused.out, scored) == (1, "", [])
        assert "8²" in refused.err

    def test_snapshots_that_are_not_there(self, pgtools: Run, real: Path, run: Path) -> None:
        assert "it has 64, 128, 2500" in pgtools("evaluate", real, run, "--snapshots", "65", *CPU).err
        wrong = pgtools("evaluate", real, run, "--snapshots", "first", *CPU)
        assert wrong.code == 2 and "expected all, last, or numbers" in wrong.err
        shutil.rmtree(run / "snapshots")
        assert "holds no snapshot yet" in pgtools("evaluate", real, run, *CPU).err

    def test_a_generator_without_a_number_of_images(self, pgtools: Run, run: Path) -> None:
        outcome = pgtools("evaluate", run, "-m", "msssim", *CPU)
        assert outcome.code == 1 and "Pass --num-images" in outcome.err


class TestAMetricThatFails:
    """The figures of the others are printed and written, then the command ends with an error."""

    @staticmethod
    def fail(monkeypatch: pytest.MonkeyPatch, *calls: int) -> None:
        """Let MS-SSIM fail at these of its sets, counted from 0."""
        from pgtools.metrics.msssim.measure import MsssimMeasure

        compute, seen = MsssimMeasure.compute, list[int]()

        def failing(*words: Any, **how: Any) -> Any:
            seen.append(len(seen))
            if seen[-1] in calls:
                raise InputError("no number came out", hint="Look at the images.")
            return compute(*words, **how)

        monkeypatch.setattr(MsssimMeasure, "compute", failing)

    def test_of_one_set(
        self, pgtools: Run, real: Path, fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = json.loads(pgtools("evaluate", real, fake, "-m", "msssim,swd", *CPU, "--json").out)
        self.fail(monkeypatch, 0, 1, 2)
        out = tmp_path / "scores.json"
        outcome = pgtools("evaluate", real, fake, "-m", "msssim,swd", *CPU, "--json", "--out", out)
        assert outcome.code == 1
        assert outcome.err.endswith("Error: msssim failed: no number came out.\n  Look at the images.\n")
        assert json.loads(outcome.out) == json.loads(out.read_text()) == whole[1:]
        table = pgtools("evaluate", real, fake, *CPU)
        assert table.code == 1 and "average" in table.out and "ssim" not in table.out.lower()
        alone = pgtools("evaluate", real, fake, "-m", "msssim", *CPU, "--out", tmp_path / "alone.json")
        assert (alone.code, alone.out) == (1, "") and "no number came out" in alone.err
        assert not (tmp_path / "alone.json").exists()

    def test_of_a_run(
        self,
        pgtools: Run,
        real: Path,
        run: Path,
        tmp_path: Path,
        scored: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.fail(monkeypatch, 1, 2)
        out, plot = tmp_path / "scores.jsonl", tmp_path / "scores.svg"
        words = ("evaluate", real, run, "-m", "msssim,swd", *CPU, "--out", out)
        outcome = pgtools(*words, "--plot", plot)
        assert outcome.code == 1 and plot.exists()
        assert "0.128 kimg: " in outcome.err and ", msssim failed: no number came out." in outcome.err
        assert "Error: At 0.128 kimg: msssim failed: no number came out. 1 more of the snapshots lack" in outcome.err
        rows = [line.split() for line in outcome.out.splitlines()[4:7]]
        assert [row[0] for row in rows] == ["0.064", "0.128", "2.5"]
        assert [row[1] == "-" for row in rows] == [False, True, True]
        assert [result.metric for result in ResultLog(out).read()] == ["msssim", "swd", "swd", "swd"]
        scored.clear()
        again = pgtools(*words)
        assert again.code == 0, again.err
        assert scored == ["000000128", "000002500"]
        assert len(ResultLog(out).read()) == 6

    def test_memory_is_for_all_metrics(self, pgtools: Run, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from pgtools.metrics.msssim import collect

        given: list[float] = []
        init = collect.PairScores.__init__

        def noted(self: Any, *words: Any) -> None:
            given.append(words[-1].left)
            init(self, *words)

        monkeypatch.setattr(collect.PairScores, "__init__", noted)
        assert pgtools("evaluate", fake, "-m", "msssim", "--memory", 0.25, *CPU).code == 0
        assert set(given) == {250_000_000}


def test_names_of_metrics() -> None:
    assert metric_names(["SWD, is,pr", "ms-ssim", "swd"]) == ["swd", "inception-score", "precision-recall", "msssim"]
    assert metric_names(NAMES) == list(NAMES)
    with pytest.raises(UsageError):
        metric_names([])


class TestResultLog:
    RESULT = MetricResult({"value": 0.1}, metric="msssim", direction="lower")

    def test_what_was_added_is_read(self, tmp_path: Path) -> None:
        log = ResultLog(tmp_path / "a" / "log.jsonl")
        assert log.read() == []
        log.add([self.RESULT])
        log.add([self.RESULT, self.RESULT])
        assert log.read() == [self.RESULT] * 3
        log.rewrite([self.RESULT])
        assert log.read() == [self.RESULT]

    @pytest.mark.parametrize("cut", [1, 20, 1000])
    def test_a_last_line_without_its_end_is_left_out(self, tmp_path: Path, cut: int) -> None:
        log = ResultLog(tmp_path / "log.jsonl")
        log.add([self.RESULT])
        line = log.path.read_bytes()
        log.path.write_bytes(line + line[: min(cut, len(line) - 1)])
        assert log.read() == [self.RESULT]

    def test_damage_elsewhere_is_told(self, tmp_path: Path) -> None:
        log = ResultLog(tmp_path / "log.jsonl")
        log.path.write_bytes(b"\xff\n" + json.dumps(self.RESULT.as_dict()).encode() + b"\n")
        with pytest.raises(InputError, match="line 1, is not JSON"):
            log.read()


class TestPlot:
    @staticmethod
    def scores(*, steps: int = 3) -> list[tuple[float, MetricResult]]:
        found = []
        for i in range(steps):
            values = {"32": 5.0 - i, "16": 9.0 - i, "average": 7.0 - i}
            floor = dict.fromkeys(values, 1.0)
            found.append((i + 1.0, MetricResult(values, {"32": 0.3}, floor=floor, metric="swd", direction="lower")))
            modes = MetricResult(
                {"modes": 10.0, "kl": 1.0}, metric="modes", direction="higher", directions={"kl": "lower"}
            )
            found.append((i + 1.0, modes))
        return found

    def test_panels_part_by_metric_and_direction(self) -> None:
        panels = panels_of(self.scores()[::-1], {"swd": ("Distance", "1e-3")})
        assert {panel.title: panel.better for panel in panels} == {
            "modes: kl": "lower", "modes: modes": "higher", "Distance, 1e-3": "lower",
        }  # fmt: skip
        (swd,) = [panel for panel in panels if panel.title == "Distance, 1e-3"]
        assert [(trace.label, trace.colour) for trace in swd.traces] == [
            ("32²", "level-3"), ("16²", "level-2"), ("average", "ink"),
        ]  # fmt: skip
        np.testing.assert_array_equal(swd.traces[0].x, [1, 2, 3])
        np.testing.assert_array_equal(swd.traces[0].y, [5, 4, 3])
        np.testing.assert_array_equal(swd.traces[1].error, [np.nan] * 3)

    def test_a_metric_that_some_snapshots_lack_has_fewer_points(self) -> None:
        scores = [*self.scores()[:4], (9.0, MetricResult({"16": 1.0}, metric="swd", direction="lower"))]
        swd = panels_of(scores, {})[0]
        assert [len(trace.x) for trace in swd.traces] == [2, 3, 2]

    @pytest.mark.parametrize("kind", ["png", "svg"])
    @pytest.mark.parametrize("steps", [1, 3])
    def test_the_same_results_give_the_same_bytes(self, kind: Any, steps: int) -> None:
        panels = panels_of(self.scores(steps=steps), {})
        first = trajectory(panels, kind=kind)
        assert trajectory(panels, kind=kind) == first
        assert trajectory(panels[:1], kind=kind) != first

    def test_direction_bands_and_floors_are_drawn(self) -> None:
        svg = trajectory(panels_of(self.scores(), {}), kind="svg").decode()
        for words in ("lower is better", "higher is better", "a perfect generator", "32²", "real images shown (kimg)"):
            assert f">{words}</text>" in svg
        assert svg.count("stroke-dasharray") == 3
        assert svg.count("opacity: 0.22") == 1
        bare = [(kimg, MetricResult({"value": 1.0}, metric="m", direction="lower")) for kimg in (1.0, 2.0)]
        plain = trajectory(panels_of(bare, {}), kind="svg").decode()
        assert "a perfect generator" not in plain and "stroke-dasharray" not in plain and "opacity: 0.22" not in plain
