"""A check as JUnit XML, which CI systems show beside the tests: a suite a metric, a case a figure.

Source of the elements: what GitLab, Jenkins and the report actions of GitHub read (testsuites, testsuite with its
counts, testcase with classname and name, failure with message, type and text, skipped, system-out). GitLab shows the
text of a failure and not its message, so both say all. `time` is 0 for suites and cases: some reporters
reckon with it and show NaN where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree

from pgtools.gate.check import Check, notices, remarks, verdict
from pgtools.gate.compare import FAILURES, Move
from pgtools.gate.power import fails
from pgtools.gate.words import number, printable

PREFIX = "pgtools.gate"


def as_junit(done: Check) -> str:
    """Return the XML document; figures that the baseline does not hold count as skipped."""
    root = ElementTree.Element("testsuites", {"name": "pgtools gate", **_counts(done.moves)})
    for metric, moves in groupby(done.moves, key=lambda move: move.metric):
        suite = _suite(root, metric, list(moves))
        properties = ElementTree.Element("properties")
        for name, value in done.protocols.get(metric, {}).items():
            ElementTree.SubElement(properties, "property", name=printable(name), value=printable(repr(value)))
        suite.insert(0, properties)
    if len(root):
        _text(ElementTree.SubElement(root[-1], "system-out"), [verdict(done), *remarks(done)])
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(root: ElementTree.Element, metric: str, moves: Sequence[Move]) -> ElementTree.Element:
    suite = ElementTree.SubElement(root, "testsuite", {"name": printable(metric), **_counts(moves), "time": "0"})
    for move in moves:
        words = {"classname": printable(f"{PREFIX}.{metric}"), "name": printable(move.name), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", words)
        if move.verdict in FAILURES:
            failure = ElementTree.SubElement(case, "failure", message=printable(_told(move)), type=move.verdict)
            _text(failure, [_told(move), *_power(move)])
        elif move.verdict == "new":
            ElementTree.SubElement(case, "skipped", message="not in the baseline")
        else:
            _text(ElementTree.SubElement(case, "system-out"), [_told(move), *_power(move)])
    return suite


def _counts(moves: Sequence[Move]) -> dict[str, str]:
    failed, new = (sum(move.verdict in kinds for move in moves) for kinds in (FAILURES, {"new"}))
    return {"tests": f"{len(moves)}", "failures": f"{failed}", "errors": "0", "skipped": f"{new}"}


def _told(move: Move) -> str:
    if move.verdict == "missing":
        return f"{move.name} is missing; {number(move.accepted)} was accepted."
    moved = f"{number(move.accepted)} → {number(move.value)} ({number(move.change, '+')})"
    return (
        f"{move.name} is {move.verdict}: {moved}; {number(move.allowed, '±')} may change, {move.direction} is better."
    )


def _power(move: Move) -> list[str]:
    if move.power.notices is None or move.power.alarms is None:
        return []
    noticed = notices(move.power.notices, move.accepted, move.direction)
    return [f"A change of {noticed} fails in 80 of 100 checks; by chance, {fails(move.power.alarms)}."]


def _text(element: ElementTree.Element, lines: Sequence[str]) -> None:
    element.text = "\n".join(map(printable, lines))
