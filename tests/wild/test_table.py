"""All cases of all kinds as one table; each kind has the observed case and three siblings."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path

import pytest

from tests.wild import Case

FEWEST = 4
WIDTHS = (40, 58, 58)


def collect_cases() -> list[Case]:
    """Collect the ``CASES`` of the modules beside this one, by kind."""
    names = sorted(file.stem for file in Path(__file__).parent.glob("test_*.py"))
    modules = [import_module(f"tests.wild.{name}") for name in names if name != "test_table"]
    cases = [case for module in modules for case in getattr(module, "CASES", ())]
    return sorted(cases, key=lambda case: case.kind)


def format_table(cases: Sequence[Case]) -> Iterator[str]:
    """Format the cases as lines: a heading for each kind, then name, before, after."""
    for kind, rows in groupby(cases, lambda case: case.kind):
        yield from ("", kind.upper(), format_row("case", "before", "after"))
        for case in rows:
            yield format_row(case.name, case.before, case.after or "prints nothing")


def format_row(*texts: str) -> str:
    cells = [
        textwrap.shorten(text, width, placeholder="…").ljust(width)
        for text, width in zip(texts, WIDTHS, strict=True)
    ]
    return "  ".join(cells).rstrip()


def test_each_kind_has_siblings_and_no_case_comes_twice(capsys: pytest.CaptureFixture[str]) -> None:
    cases = collect_cases()
    with capsys.disabled():
        print(*format_table(cases), f"\n{len(cases)} cases", sep="\n")
    kinds = {kind: list(rows) for kind, rows in groupby(cases, lambda case: case.kind)}
    assert {kind: len(rows) for kind, rows in kinds.items() if len(rows) < FEWEST} == {}
    names = [(case.kind, case.name) for case in cases]
    assert sorted(set(names)) == sorted(names)
    assert all(case.name and case.before for case in cases)
