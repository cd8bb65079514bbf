"""The page of a build: complete in itself, safe with any name, of bounded size, honest about what is missing."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pgtools.errors import InputError
from pgtools.report.build_content import compose_build
from pgtools.report.build_page import BuildPage, Count, render_build
from pgtools.report.pictures import CROP, picture
from pgtools.runtime.build_format import BuildRecord, Network, StepTime
from tests.report.build_drawn import DEFAULTS, crop_of, drawn_record, drawn_rows, photo_of, row
from tests.report.test_report_page import Reader


def composed(rows: list[dict[str, Any]] | None = None, record: BuildRecord | None = None, **words: Any) -> BuildPage:
    crops, photos = words.pop("crop_of", crop_of), words.pop("photo_of", photo_of)
    lines = drawn_rows() if rows is None else rows
    return compose_build(record or drawn_record(), lines, crops, photos, DEFAULTS, **words)


def test_the_page_refers_to_nothing_outside_itself() -> None:
    text = render_build(composed())
    reader = Reader(text)
    links = [attrs.get(name) for _, attrs in reader.elements for name in ("src", "href", "srcset", "poster")]
    assert all(link.startswith(("data:image/webp;base64,", "#")) for link in links if link is not None)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in reader.elements}
    assert re.findall(r"url\((?!#)|@import|https?:", text) == []


def test_the_page_is_well_formed_and_accessible() -> None:
    reader = Reader(render_build(composed()))
    images = reader.all("img")
    assert len(images) == 7 + 8 + 8 + 2 * 12
    assert all(attrs["alt"] and attrs["width"] and attrs["height"] for attrs in images)
    charts = [attrs for attrs in reader.all("div") if attrs.get("role") == "img"]
    assert len(charts) == len(reader.all("svg")) == 1
    assert charts[0]["aria-label"]
    assert all(attrs.get("scope") for attrs in reader.all("th"))
    counts = Counter(attrs["id"] for _, attrs in reader.elements if "id" in attrs)
    assert set(counts.values()) == {1}


def test_figures_and_tables_are_numbered_through() -> None:
    text = Reader(render_build(composed())).text
    assert [int(n) for n in re.findall(r"Figure (\d+)\.", text)] == [1, 2, 3, 4, 5]
    assert [int(n) for n in re.findall(r"Table (\d+)\.", text)] == [1, 2, 3, 4]


def test_known_words_of_a_known_build() -> None:
    text = " ".join(Reader(render_build(composed())).text.split())
    for words in (
        "celeba-hq Crops of faces of 16² pixels, built from celeba photos.",
        "Photos 41 Crops in the store 30 Photos without a crop 1 Wall time 20 s Speed 2 photos/s",
        "Crops not kept 10 below the best K 10 Photos and faces without a crop 1 no face was found 1",
        "least score kept, 0.610",
        "1 %: 0.610 10 %: 0.640",
        "All steps of all photos took 40 s of computing; with 2 workers the build, storing included, took 20 s.",
        "restore 750 ms 40 75.0 %",
        "crop 250 ms 38 23.8 %",
        f"JPEG artifacts pgtools-dejpeg {'9f' * 32}",
        "superres lanczos pgtools-sr4",
        "started 2026-11-22 08:14:10 UTC",
        "definition 3",
        "Written by pgtools build-celebahq",
    ):
        assert words in text
    assert "What is missing" not in text


def test_the_command_leads_there_again() -> None:
    assert composed().commands == [
        [
            *("pgtools", "build-celebahq", "'celeba photos/'", "sets/celeba-hq.lmdb", "hq.h5"),
            *("--resolution 16", "--keep 30", "--superres lanczos", "--detector-weights w/retina.pth"),
        ]
    ]


def test_the_crops_shown_are_those_of_the_captions() -> None:
    page = composed()
    assert [picture.caption for picture in page.best[:2]] == ["0.900", "0.890"]
    assert [picture.caption for picture in page.worst[:2]] == ["0.610", "0.620"]
    assert [picture.alt for picture in page.best[:2]] == ["Crop of 000.jpg.", "Crop of 001.jpg."]
    assert page.pairs[0][1].uri == page.best[0].uri == page.quantiles[-1].uri
    assert page.pairs[-1][1].uri == page.worst[0].uri == page.quantiles[0].uri
    assert page.best[0].uri != page.best[1].uri


def test_a_second_face_is_called_so() -> None:
    page = composed([row("a.jpg", 0.5, index=0, face=2)])
    assert page.pairs[0][1].caption == "a.jpg, face 2, 0.500"


def test_the_same_build_gives_the_same_bytes() -> None:
    assert render_build(composed()) == render_build(composed())


def test_names_from_files_are_words_and_never_markup() -> None:
    evil = "\"><script>alert(1)</script>'&"
    record = drawn_record(
        **dict.fromkeys(("source", "started", "finished", "pgtools"), evil),
        stores=[evil],
        settings={evil: evil, "resolution": evil},
        networks={evil: Network(evil, evil)},
        facts={evil: evil},
        reasons={evil: 1},
        steps={evil: StepTime(1.0, 1)},
    )
    rows = [row(evil, 0.5, index=0), row(f"b{evil}", 0.25, reason=evil)]
    reader = Reader(render_build(composed(rows, record, title=evil, notes=[evil])))
    assert reader.all("script") == []
    assert reader.text.count(evil) > 12


def test_a_page_of_noise_stays_below_three_megabytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3)).astype(np.uint8)
    largest = len(picture(noise, budget=CROP, alt="noise").uri)
    page = render_build(composed())
    images = re.findall(r'"data:image/webp;base64,[^"]*"', page)
    assert len(images) == 47
    assert len(page) - sum(map(len, images)) + len(images) * largest <= 3_000_000


def test_what_cannot_be_read_is_left_out_and_told() -> None:
    def gone(file: str) -> None:
        raise InputError(f"{file}: is missing.")

    page = composed(photo_of=gone, crop_of=lambda index: None if index == 0 else crop_of(index))
    assert page.pairs == []
    assert len(page.best) == 7
    assert page.notes == [
        "3 of the crops to show could not be read.",
        "12 of the photos to show could not be read (000.jpg: is missing).",
    ]
    assert "What is missing" in render_build(page)


def test_crops_without_scores_have_a_page() -> None:
    rows = [{**line, "score": None} for line in drawn_rows()]
    page = composed(rows)
    assert page.scores is None
    assert "evenly spread over the store." in " ".join(Reader(render_build(page)).text.split())
    assert page.best == page.worst == page.quantiles == []
    assert [after.caption for _, after in page.pairs][:2] == ["000.jpg", "003.jpg"]
    assert page.notes == ["The crops in the manifest have no scores: there is no histogram."]
    assert "svg" not in {tag for tag, _ in Reader(render_build(page)).elements}


@pytest.mark.parametrize("settings", [{"rank": "none"}, {"deltas": "deltas", "nearest": True}])
def test_no_scores_are_no_fault_where_none_were_asked_for(settings: dict[str, Any]) -> None:
    page = composed([{**line, "score": None} for line in drawn_rows()], drawn_record(settings=settings))
    assert page.notes == []
    assert page.counts[-1] == Count("Quality scores", "none")
    assert "What is missing" not in render_build(page)


def test_a_score_that_the_user_named_is_called_so() -> None:
    page = composed(record=drawn_record(settings={"min_score": 0.05}))
    assert page.scores is not None
    assert [key.label for key in page.scores.keys] == ["in the store", "not kept", "--min-score, 0.050"]


def test_settings_that_took_no_part_are_not_told_and_not_repeated() -> None:
    usual = {"resolution": 1024, "restore": "pgtools-dejpeg", "rank": "spectrum", "deltas": None, "nearest": False}
    record = drawn_record(settings={"resolution": 1024, "deltas": "d", "nearest": False})
    page = compose_build(record, drawn_rows(), crop_of, photo_of, usual)
    assert [(row.name, row.value, row.usual) for row in page.differing] == [("deltas", "d", "—")]
    assert [(row.name, row.value) for row in page.settings] == [("resolution", "1024"), ("nearest", "off")]
    assert page.commands[0][5:] == ["--deltas d"]


def test_images_that_are_not_the_authors_own_are_counted() -> None:
    page = composed(record=drawn_record(inexact={"the delta does not fit": 2, "no delta": 3}))
    assert page.counts[1:4] == [
        Count("Nearest images, not the authors' own", "5"),
        Count("no delta", "3", level=1),
        Count("the delta does not fit", "2", level=1),
    ]


def test_a_resumed_build_says_so_and_counts_its_own_photos() -> None:
    record = drawn_record(resumed=21, seconds=10.0)
    page = composed(record=record)
    assert [(fact.value, fact.unit) for fact in page.facts if fact.label == "Speed"] == [("2", "photos/s")]
    assert ("Photos done by an earlier, interrupted run", "21") in [(row.what, row.count) for row in page.counts]
    assert page.steps_caption == "All steps of all photos took 40 s of computing."


def test_an_empty_record_and_an_empty_manifest_have_a_page() -> None:
    page = composed([], BuildRecord())
    reader = Reader(render_build(page))
    assert reader.all("img") == reader.all("svg") == []
    assert page.commands == []
    assert Reader(render_build(BuildPage("t", "l"))).all("h1")


def test_a_step_that_no_photo_took_part_in_is_no_error() -> None:
    page = composed(record=replace(drawn_record(), steps={"detect": StepTime(0.0, 0)}))
    assert [(step.seconds, step.percent) for step in page.steps] == [("—", 0.0)]
