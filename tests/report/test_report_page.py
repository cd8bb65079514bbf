"""The page: complete in itself, safe with any name, of bounded size, the same for the same run."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pgtools.report.content import Knowledge, compose
from pgtools.report.page import Page, render
from pgtools.report.pictures import LARGE, SMALL, picture
from pgtools.report.run import read_run
from pgtools.runtime.results import MetricResult

MakeRun = Callable[..., Path]
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Collects elements and text, and fails on a tag that closes another than the open one."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += f" {data}"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for found, attrs in self.elements if found == tag]


def page_of(folder: Path, *results: tuple[str, MetricResult], **words: Any) -> str:
    return render(compose(read_run(folder), results, Knowledge(**words)))


@pytest.fixture(scope="module")
def result() -> MetricResult:
    """A figure that is not in the run."""
    return MetricResult(
        metric="msssim",
        direction="lower",
        values={"value": 0.28376},
        spread={"value": 0.0012},
        protocol={"num_images": 20000, "seed": 7},
    )


def test_the_page_refers_to_nothing_outside_itself(make_run: MakeRun, result: MetricResult) -> None:
    text = page_of(make_run(), ("m.json", result))
    reader = Reader(text)
    links = [attrs.get(name) for _, attrs in reader.elements for name in ("src", "href", "srcset", "poster")]
    assert all(link.startswith(("data:image/webp;base64,", "#")) for link in links if link is not None)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in reader.elements}
    assert re.findall(r"url\((?!#)|@import|https?:", text) == []


def test_the_page_is_well_formed_and_accessible(make_run: MakeRun, result: MetricResult) -> None:
    text = page_of(make_run(grids=12), ("m.json", result), usual={"mirror": False}, reference="compact")
    reader = Reader(text)
    images = reader.all("img")
    assert len(images) == 2 + 8
    assert all(attrs["alt"] and attrs["width"] and attrs["height"] for attrs in images)
    charts = [attrs for attrs in reader.all("div") if attrs.get("role") == "img"]
    assert len(charts) == len(reader.all("svg")) == 6
    assert all(attrs["aria-label"] for attrs in charts)
    assert all(attrs.get("scope") for attrs in reader.all("th"))
    assert len(reader.all("h1")) == 1
    counts = Counter(attrs["id"] for _, attrs in reader.elements if "id" in attrs)
    assert set(counts.values()) == {1}
    assert reader.all("html")[0]["lang"] == "en"


def test_figures_and_tables_are_numbered_through(make_run: MakeRun) -> None:
    text = Reader(page_of(make_run(), usual={"mirror": False}, reference="compact")).text
    assert [int(n) for n in re.findall(r"Figure (\d+)\.", text)] == list(range(1, 9))
    assert [int(n) for n in re.findall(r"Table (\d+)\.", text)] == [1, 2]


def test_known_words_of_a_known_run(make_run: MakeRun, result: MetricResult) -> None:
    text = " ".join(
        Reader(page_of(make_run("faces"), ("m.json", result), titles={"msssim": ("MS-SSIM", "")})).text.split()
    )
    for words in (
        "A Progressive GAN for images of 16² pixels, trained on celeba-hq-16.lmdb.",
        "120 kimg",
        "1 h 09 min",
        "29 images/s",
        "30,000 images",
        "23.1 + 23.1 M",
        "0.8 % of the time",
        "2.1 GB",
        "MS-SSIM ↓ lower is better; 20,000 images, seed 7; m.json value 0.2838 0.0012",
        "lower is better; 2,048 images, seed 0; in the run at 120 kimg",
    ):
        assert words in text


def test_a_given_result_replaces_the_runs_own(make_run: MakeRun) -> None:
    given = MetricResult(metric="swd", direction="lower", values={"16": 1.25})
    page = compose(read_run(make_run()), [("swd.json", given)], Knowledge())
    assert [(group.source, group.parts[0].value) for group in page.scores] == [("swd.json", "1.25")]


def test_the_floor_has_a_column_where_there_is_one(make_run: MakeRun) -> None:
    folder = make_run()
    assert "Floor" in {text.strip() for text in re.findall(r">([^<]*)</th>", page_of(folder))}
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    for score in scores:
        score["result"]["floor"] = {}
    (folder / "scores.jsonl").write_text("".join(json.dumps(score) + "\n" for score in scores))
    assert "Floor" not in page_of(folder)


def test_every_metric_of_the_run_has_its_own_chart(make_run: MakeRun) -> None:
    folder = make_run()
    other = MetricResult(metric="msssim", direction="lower", values={"value": 0.3})
    with (folder / "scores.jsonl").open("a") as file:
        file.write(json.dumps({"images": 120_000, "kimg": 120, "result": other.as_dict()}) + "\n")
    charts = compose(read_run(folder), [], Knowledge()).score_curves
    assert [chart.title for chart in charts] == ["swd over training", "msssim over training"]
    assert charts[1].alt == "msssim over training: value from 0.3 to 0.3."


def test_the_best_snapshot_is_marked(make_run: MakeRun) -> None:
    folder = make_run(grids=4)
    plain = compose(read_run(folder), [], Knowledge())
    mark_best(folder, 60_000)
    page = compose(read_run(folder), [], Knowledge())
    assert page.score_curves[0].caption.endswith("Ringed: the best snapshot, average at 60 kimg.")
    assert page.score_curves[0].svg != plain.score_curves[0].svg
    marked = [picture.caption for picture in page.strip if picture.caption.endswith(", best")]
    assert len(marked) == 1 and marked[0].startswith("60 kimg, ")
    assert {row.name: row.value for row in page.origins}["best snapshot"] == "after 60,000 images: swd, average 3.5"


def test_a_damaged_mark_is_a_note(make_run: MakeRun) -> None:
    folder = make_run()
    mark_best(folder, 60_000).write_text('{"images": 1}')
    page = compose(read_run(folder), [], Knowledge())
    assert any("best.json is damaged" in note for note in page.notes)


def mark_best(folder: Path, images: int) -> Path:
    file = folder / "checkpoints" / "best.json"
    file.parent.mkdir()
    named = {"file": None, "snapshot": f"{images:09d}.safetensors"}
    file.write_text(json.dumps({**named, "images": images, "metric": "swd", "part": "average", "value": 3.5}))
    return file


def test_a_log_of_the_first_version_has_no_new_columns(make_run: MakeRun) -> None:
    folder = make_run()
    new = ("gradient_norm_generator", "gradient_norm_discriminator", "data_wait", "memory_gb", "rollbacks")
    ticks = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    kept = [{name: value for name, value in tick.items() if name not in new} for tick in ticks]
    (folder / "log.jsonl").write_text("".join(json.dumps(tick) + "\n" for tick in kept))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "version": 1}))
    page = compose(read_run(folder), [], Knowledge())
    assert "Gradient norms" not in [chart.title for chart in page.curves]
    assert [fact.label for fact in page.facts] == [
        *("Real images shown", "Training time", "Mean throughput", "Data set", "Parameters, G + D"),
    ]


def test_only_what_spans_decades_by_nature_is_drawn_over_decades(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run()
    ticks = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    wide = [{**tick, "wasserstein": tick["kimg"], "images_per_second": tick["kimg"]} for tick in ticks]
    (folder / "log.jsonl").write_text("".join(json.dumps(tick) + "\n" for tick in wide))
    found: dict[str, bool] = {}
    monkeypatch.setattr("pgtools.report.content.curves", lambda *_, ylabel, schedule, log: found.update({ylabel: log}))
    compose(read_run(folder), [], Knowledge())
    assert found["images/s"]
    assert not found["E[D(real)] − E[D(fake)]"]


def test_a_run_of_least_squares_speaks_of_least_squares(make_run: MakeRun) -> None:
    folder = make_run()
    usual = {chart.title: chart for chart in compose(read_run(folder), [], Knowledge()).curves}
    assert "Wasserstein" in usual["Losses"].caption and "Gradient penalty" in usual
    config = json.loads((folder / "config.json").read_text())
    config["settings"]["loss"] = "lsgan"
    (folder / "config.json").write_text(json.dumps(config))
    ticks = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    (folder / "log.jsonl").write_text("".join(json.dumps({**tick, "gradient_penalty": 0.0}) + "\n" for tick in ticks))
    page = compose(read_run(folder), [], Knowledge())
    assert [chart.title for chart in page.curves] == ["Gap between scores", "Losses", "Gradient norms", "Throughput"]
    assert "E[D(fake)] − E[D(real)]" in page.curves[0].svg
    assert page.curves[0].alt.startswith("Gap between scores over training: gap between scores from ")
    assert not any("Wasserstein" in chart.caption + chart.svg + chart.alt for chart in page.curves)


def test_the_newest_grid_is_large(make_run: MakeRun) -> None:
    page = compose(read_run(make_run()), [], Knowledge())
    assert page.newest is not None
    assert page.reals is not None
    assert (page.newest.width, page.reals.width, page.strip[-1].width) == (960, 960, 480)


def test_settings_that_differ_are_told_apart(make_run: MakeRun) -> None:
    page = compose(read_run(make_run()), [], Knowledge(reference="compact", usual={"mirror": False, "seed": 0}))
    assert [(row.name, row.value, row.usual) for row in page.differing] == [("mirror", "on", "off")]
    assert "seed" in {row.name for row in page.settings}
    assert page.commands[0][:6] == [
        "pgtools",
        "train",
        "celeba-hq-16.lmdb",
        page.commands[0][3],
        "--preset compact",
        "--mirror",
    ]


def test_the_same_run_gives_the_same_bytes(make_run: MakeRun) -> None:
    folder = make_run()
    assert page_of(folder) == page_of(folder)


def test_names_from_files_are_words_and_never_markup(make_run: MakeRun) -> None:
    folder = make_run()
    evil = "\"><script>alert(1)</script>'&"
    config = json.loads((folder / "config.json").read_text())
    config["settings"][evil] = evil
    config["data"]["name"] = config["pgtools"] = evil
    (folder / "config.json").write_text(json.dumps(config))
    bad = MetricResult(
        metric=evil, direction="lower", values={evil: 1.0}, protocol={evil: evil, "num_images": evil, "seed": evil}
    )
    score = {"images": 1000, "kimg": 1.0, "result": bad.as_dict()}
    with (folder / "scores.jsonl").open("a") as file:
        file.write(json.dumps(score) + "\n")
    run = read_run(folder)
    reader = Reader(render(compose(run, [(evil, bad)], Knowledge({evil: (evil, evil)}, evil, {evil: ""}), title=evil)))
    assert reader.all("script") == []
    assert reader.text.count(evil) > 8


def test_a_run_of_a_config_alone_is_a_page_with_notes(make_run: MakeRun) -> None:
    folder = make_run()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.name != "config.json":
            path.rmdir() if path.is_dir() else path.unlink()
    reader = Reader(page_of(folder))
    assert reader.all("img") == reader.all("svg") == []
    for words in ("log.jsonl is missing", "scores.jsonl is missing", "reals.png is missing", "No scores"):
        assert words in reader.text


def test_config_values_of_other_kinds_are_no_error(make_run: MakeRun) -> None:
    folder = make_run()
    config = json.loads((folder / "config.json").read_text())
    config.update(settings={"a": [1, {"b": None}], "c": None}, data={"count": "many"}, parameters=3)
    (folder / "config.json").write_text(json.dumps(config))
    assert "[1, {&#39;b&#39;: None}]" in page_of(folder)


def test_a_damaged_grid_is_left_out(make_run: MakeRun) -> None:
    folder = make_run()
    newest = sorted((folder / "grids").glob("fakes-*"))[-1]
    newest.write_bytes(newest.read_bytes()[:200])
    page = compose(read_run(folder), [], Knowledge())
    assert page.newest is None
    assert len(page.strip) == 3
    assert any("is damaged" in note for note in page.notes)


def test_an_empty_page_renders() -> None:
    assert Reader(render(Page("t", "l"))).all("h1")


@pytest.mark.parametrize("budget", [LARGE, SMALL])
def test_a_picture_keeps_its_budget(budget: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1100, 3)).astype(np.uint8)
    found = picture(noise, budget=budget, alt="noise")
    data = base64.b64decode(found.uri.split(",")[1])
    assert len(data) <= budget  # two large and eight small ones are 2.8 MB in base64
    assert max(found.width, found.height) == {LARGE: 1024, SMALL: 512}[budget]


def test_a_small_picture_is_enlarged_by_whole_pixels_without_loss() -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3)).astype(np.uint8)
    found = picture(image, budget=SMALL, alt="noise")
    assert (found.width, found.height) == (480, 288)
    decoded = np.asarray(Image.open(io.BytesIO(base64.b64decode(found.uri.split(",")[1]))).convert("RGB"))
    np.testing.assert_array_equal(decoded[6::12, 6::12], image)
