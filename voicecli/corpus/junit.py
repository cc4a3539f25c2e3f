"""A run as JUnit XML, for the reports of continuous integration.

Valid by the schema that pytest's own output is tested with, and read by Jenkins, GitLab and the
GitHub actions for test reports.  That schema has no ``error`` in a test case, so a replay that
could not be measured is a failure of the type of its error.  Written with the standard library: it
escapes, and the format is four elements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from voicecli.corpus.unit import UnitResult
from voicecli.corpus.verdict import Check
from voicecli.sanitize import sanitize_line
from voicecli.units import Seconds

_NOT_XML = re.compile("[\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class _Case:
    """A test case; failure: its type and message, None if it passed."""

    name: str
    took: Seconds = 0.0
    failure: tuple[str, str] | None = None
    output: str = ""


def render_junit(results: Iterable[UnitResult], checks: Sequence[Check]) -> str:
    """Render a suite of replays for each profile, and one for each kind of check."""
    suites: dict[str, list[_Case]] = {}
    for result in results:
        suites.setdefault(f"replay.{result.unit.variant}", []).append(_make_case(result))
    for check in checks:
        failure = None if check.met else ("Missed", check.detail)
        case = _Case(check.name, failure=failure, output=check.detail)
        suites.setdefault(f"{check.group}.{check.variant}", []).append(case)
    everything = [case for cases in suites.values() for case in cases]
    root = Element("testsuites", {"name": "voicecli", **_count(everything)})
    for name, cases in suites.items():
        clean = _clean(name)
        suite = SubElement(root, "testsuite", {"name": clean, "skipped": "0", **_count(cases)})
        for case in cases:
            _add_case(suite, clean, case)
    indent(root)
    text: str = tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _make_case(result: UnitResult) -> _Case:
    unit = result.unit
    name = f"{unit.recording} #{unit.repeat}" if unit.repeat > 1 else unit.recording
    if result.failure is not None:
        failure = (result.failure.kind, result.failure.message)
        return _Case(name, result.took_s, failure, result.failure.message)
    lines = []
    for turn in (result.result or {}).get("turns", ()):
        waited = turn["mouth_to_ear_ms"]
        took = "no mouth-to-ear" if waited is None else f"mouth-to-ear {waited:.0f} ms"
        cut = ", cut off" if turn["cut_off"] else ""
        doubts = "".join(f"; unreliable: {why}" for why in turn["unreliable"])
        lines.append(f"#{turn['turn']} {turn['outcome']}, {took}{cut}{doubts}")
    return _Case(name, result.took_s, None, "\n".join(lines))


def _count(cases: Sequence[_Case]) -> dict[str, str]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(case.failure is not None for case in cases)),
        "errors": "0",
        "time": f"{sum(case.took for case in cases):.3f}",
    }


def _add_case(suite: Element, classname: str, case: _Case) -> None:
    element = SubElement(
        suite,
        "testcase",
        name=_clean(case.name),
        classname=classname,
        time=f"{case.took:.3f}",
    )
    if case.failure is not None:
        kind, message = case.failure
        SubElement(element, "failure", type=_clean(kind), message=_clean(message))
    if case.output:
        lines = "\n".join(map(_clean, case.output.split("\n")))
        SubElement(element, "system-out").text = lines


def _clean(text: str) -> str:
    """Return ``text`` as a line that XML can hold: two characters that Unicode allows it cannot."""
    return _NOT_XML.sub("", sanitize_line(text))
