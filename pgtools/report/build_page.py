"""The page of a build: plain values in, one self-contained HTML text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pgtools.report.page import Chart, Fact, Row, rendered
from pgtools.report.pictures import Picture


@dataclass(frozen=True)
class Count:
    """One row of the table of outcomes; `level` 1 is a part of the row before it that has level 0."""

    what: str
    count: str
    level: int = 0


@dataclass(frozen=True)
class Step:
    """One row of the table of times; texts are ready to show, `percent` is the step's share of all steps."""

    name: str
    seconds: str
    photos: str
    percent: float


@dataclass(frozen=True)
class NetworkRow:
    """One network: what it did, its name, the SHA-256 of its weights."""

    role: str
    name: str
    sha256: str


@dataclass(frozen=True)
class BuildPage:
    """All that a build's page shows; an empty part is left out.

    Attributes:
        title, lead: heading and the line below it.
        facts: the figures of the head.
        counts: what became of photos and faces.
        scores: the histogram.
        quantiles, best, worst: crops in the store.
        pairs: (photo with its crop's square, crop).
        steps: what each step took.
        steps_caption: what these times are.
        networks: which took part.
        differing, settings: settings that differ from `reference`, and all others.
        reference: what the settings are told apart from.
        commands: how to get there again; each a list of quoted words.
        origins: versions, times and what else decided the outcome.
        notes: what is missing or damaged.
    """

    title: str
    lead: str
    facts: Sequence[Fact] = ()
    counts: Sequence[Count] = ()
    scores: Chart | None = None
    quantiles: Sequence[Picture] = ()
    best: Sequence[Picture] = ()
    worst: Sequence[Picture] = ()
    pairs: Sequence[tuple[Picture, Picture]] = ()
    steps: Sequence[Step] = ()
    steps_caption: str = ""
    networks: Sequence[NetworkRow] = ()
    differing: Sequence[Row] = ()
    settings: Sequence[Row] = ()
    reference: str = ""
    commands: Sequence[Sequence[str]] = ()
    origins: Sequence[Row] = ()
    notes: Sequence[str] = ()


def render_build(page: BuildPage) -> str:
    """Return the page as HTML that refers to nothing outside itself; every text is escaped."""
    return rendered("build.html", page, styles=("page.css", "build.css"))
