"""The page: plain values in, one self-contained HTML text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pgtools.report.pictures import Picture


@dataclass(frozen=True)
class Fact:
    """One figure of the head: what it is, its number, its unit."""

    label: str
    value: str
    unit: str = ""


@dataclass(frozen=True)
class Key:
    """One entry of a chart's legend; `colour` is the name of a CSS variable, `dashed` a line of dashes."""

    label: str
    colour: str
    dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """A figure with its caption; `svg` is markup of our own making and is not escaped."""

    svg: str
    title: str
    caption: str
    alt: str
    keys: Sequence[Key] = ()


@dataclass(frozen=True)
class ScorePart:
    """One row of the score table; texts are ready to show, empty where there is nothing to say."""

    part: str
    value: str
    spread: str = ""
    floor: str = ""


@dataclass(frozen=True)
class ScoreGroup:
    """One metric of the score table."""

    title: str
    unit: str
    direction: str
    images: str
    seed: str
    source: str
    parts: Sequence[ScorePart]


@dataclass(frozen=True)
class Row:
    """A name and a value; `usual` is the value it would have had, where it differs."""

    name: str
    value: str
    usual: str = ""


@dataclass(frozen=True)
class Page:
    """Everything the page shows, in its order. Empty parts are left out, and a note says why.

    Attributes:
        title, lead: heading and the sentence below it.
        facts: figures of the head.
        newest, reals: grids to compare, or None.
        strip: grids over training.
        curves, score_curves: charts.
        scores: groups of the score table.
        protocols: metric → what its figures depend on.
        differing, settings: settings that differ from `reference`, and all others.
        reference: what the settings are told apart from, e.g. "the preset compact"; "" if from nothing.
        commands: how to get there again; each a list of quoted words, an option and its value together.
        origins: versions, data, devices.
        notes: what is missing or damaged.
    """

    title: str
    lead: str
    facts: Sequence[Fact] = ()
    newest: Picture | None = None
    reals: Picture | None = None
    strip: Sequence[Picture] = ()
    curves: Sequence[Chart] = ()
    score_curves: Sequence[Chart] = ()
    scores: Sequence[ScoreGroup] = ()
    protocols: dict[str, Sequence[Row]] = field(default_factory=dict)
    differing: Sequence[Row] = ()
    settings: Sequence[Row] = ()
    reference: str = ""
    commands: Sequence[Sequence[str]] = ()
    origins: Sequence[Row] = ()
    notes: Sequence[str] = ()

    @property
    def has_floor(self) -> bool:
        """Whether any score comes with its floor."""
        return any(part.floor for group in self.scores for part in group.parts)


def render(page: Page) -> str:
    """Return the page as HTML that refers to nothing outside itself; every text is escaped."""
    return rendered("page.html", page, styles=("page.css",))


def rendered(template: str, page: Any, *, styles: Sequence[str]) -> str:
    """Return a page of one of the templates; `styles` are put into it, and every text is escaped."""
    environment = Environment(
        loader=PackageLoader("pgtools.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["own_markup"] = Markup
    style = "".join(environment.get_template(name).render() for name in styles)
    return environment.get_template(template).render(page=page, style=Markup(style)) + "\n"  # noqa: S704
