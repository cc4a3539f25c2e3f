"""A conversation as JSON lines."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.support.timelines import any_entry
from voicecli.report.json_result import JsonLines, result_line
from voicecli.timeline import Entry, decode


@given(st.lists(any_entry(), max_size=5))
def test_json_lines_are_the_records(records: list[Entry]):
    told: list[str] = []
    lines = JsonLines(told.append)
    for record in records:
        lines(record)
    parsed = [json.loads(line) for line in told]
    assert [one.pop("schema_version") for one in parsed] == [1] * len(records)
    assert [decode(json.dumps(one)) for one in parsed] == records
    assert all(line.isascii() and line.isprintable() for line in told)


def test_the_result_is_the_last_line():
    assert json.loads(result_line('{"turns": [],\n "x": 1}')) == {
        "schema_version": 1,
        "event": "Result",
        "result": {"turns": [], "x": 1},
    }
