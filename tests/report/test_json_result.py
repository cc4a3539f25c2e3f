"""A session as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.timelines import Exchange, any_entry
from voicecli.events import AudioGlitched
from voicecli.metrics.interaction import Interaction
from voicecli.metrics.scoring import measure_interaction
from voicecli.metrics.summary import Budgets, summarize
from voicecli.metrics.thresholds import evaluate, parse_threshold
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.metrics.usage import Cost, Prices, count_usage, estimate_cost
from voicecli.report.json_result import (
    JsonLines,
    build_result,
    dump_result,
    encode_result_line,
    hash_profile,
)
from voicecli.timeline import Entry, decode

PLAIN = Exchange(ttft=0.2893)

BUDGETS = Budgets(llm=0.3)

OURS = Prices(stt=0.0077, llm=(0.15, 0.60), tts=0.030)


def later(**changes: Any) -> Exchange:
    return replace(PLAIN, number=2, start=10.0, **changes)


DURATIONS = st.floats(0, 3)


def session(*exchanges: Exchange, more: tuple[Entry, ...] = ()) -> list[Entry]:
    entries = [entry for exchange in exchanges for entry in exchange.entries()]
    return sorted([*entries, *more], key=lambda entry: entry.at)


RESOLVED = {"stt": {"model": "nova-3"}}


def result_of(entries: list[Entry]) -> dict[str, Any]:
    found = measure_turns(entries)
    book = count_usage(entries, found)
    scored = measure_interaction(entries)
    numbers = summarize(found, book, scored)
    verdicts = [evaluate(parse_threshold("mouth_to_ear.p95<3000"), numbers)]
    data = build_result(
        found,
        book,
        scored,
        numbers,
        BUDGETS,
        estimate_cost(book, OURS),
        verdicts,
        profile_name="default",
        resolved=RESOLVED,
        environment={"python": "3.11"},
    )
    text = dump_result(data)
    assert text.isascii()
    again: dict[str, Any] = json.loads(text)
    assert again == data
    return again


def test_the_result():
    data = result_of(
        session(PLAIN, later(ends="taken back"), more=(AudioGlitched(at=0.5, xruns=1),))
    )
    assert data["schema_version"] == 1
    assert data["program"] == "voicecli"
    assert data["profile"] == {"name": "default", "hash": hash_profile(RESOLVED)}
    assert data["environment"] == {"python": "3.11"}
    assert data["measurement"] == {
        "reliable": False,
        "reasons": ["turn 1: the sound card lost samples (xruns: 1)"],
    }
    assert data["expectations"] == [
        {
            "expectation": "mouth_to_ear.p95<3000",
            "met": False,
            "value": None,
            "why": "mouth_to_ear.p95 is withheld: n is 1, 20 needed",
        }
    ]
    assert data["summary"]["mouth_to_ear"] == {
        "n": 1,
        "min_ms": 815.3,
        "p50_ms": 815.3,
        "p90_ms": 815.3,
        "p95_ms": None,
        "p99_ms": None,
        "max_ms": 815.3,
    }
    assert data["ledger"]["discarded"] == 1
    assert data["ledger"]["tokens"] is None
    assert data["ledger"]["cutoff_rate"] is None  # withheld
    rate = data["interaction"]["metrics"]["cutoff_rate"]
    assert (rate["hits"], rate["n"]) == (1, 2)
    assert data["budgets_ms"] == {"stt": 300, "llm": 300, "tts": 250, "total": 3000}
    assert data["cost"]["estimated"]
    assert data["cost"]["llm"] is None


def test_a_turn_in_the_result():
    first, second = result_of(session(PLAIN, later(ends="taken back")))["turns"]
    assert first["mouth_to_ear_ms"] == 815.3
    assert first["stages_ms"] == {
        "stt.ttfs": 300,
        "turn.commit": 0,
        "llm.ttft": 289.3,
        "llm.clause": 45,
        "tts.ttfa": 120,
        "playout": 60,
        "pipeline": 1,
    }
    assert first["raw_ms"]["tts.ttfb"] == 100
    assert first["outcome"] == "answered"
    assert first["said"] == "It is noon."
    assert first["heard_s"] == 1.5
    assert first["reliable"]
    assert first["failure"] is None
    assert second["mouth_to_ear_ms"] is None
    assert set(second["stages_ms"].values()) == {None}
    assert second["outcome"] == "discarded"


def test_a_failure_in_the_result_is_washed():
    (turn,) = measure_turns(replace(PLAIN, ends="llm failed").entries())
    assert turn.failure is not None
    nasty: Turn = replace(turn, failure=replace(turn.failure, reason="bad key sk-12345\x1b[2J"))
    data = build_result(
        [nasty],
        count_usage([], []),
        Interaction(),
        summarize([], count_usage([], []), Interaction()),
        BUDGETS,
        Cost(),
        resolved={},
        environment={},
    )
    assert data["turns"][0]["failure"] == {"service": "llm", "reason": "bad key [redacted]"}


@given(st.builds(Exchange, stop=DURATIONS, ttft=DURATIONS, clause=DURATIONS, playout=DURATIONS))
def test_the_stages_in_the_result_sum_to_the_microsecond(exchange: Exchange):
    (turn,) = result_of(exchange.entries())["turns"]
    microseconds = sum(round(took * 1000) for took in turn["stages_ms"].values() if took)
    assert microseconds == round(turn["mouth_to_ear_ms"] * 1000)


def test_the_hash_knows_settings_and_not_their_order():
    assert hash_profile({"a": 1, "b": 2}) == hash_profile({"b": 2, "a": 1})
    assert hash_profile({"a": 1}) != hash_profile({"a": 2})
    assert re.fullmatch(r"[0-9a-f]{16}", hash_profile({}))


@given(st.lists(any_entry(), max_size=5))
def test_json_lines_are_the_entries(entries: list[Entry]):
    written: list[str] = []
    lines = JsonLines(written.append)
    for entry in entries:
        lines(entry)
    parsed = [json.loads(line) for line in written]
    assert [one.pop("schema_version") for one in parsed] == [1] * len(entries)
    assert [decode(json.dumps(one)) for one in parsed] == entries
    assert all(line.isascii() and line.isprintable() for line in written)


def test_the_result_is_the_last_line():
    assert json.loads(encode_result_line('{"turns": [],\n "x": 1}')) == {
        "schema_version": 1,
        "event": "Result",
        "result": {"turns": [], "x": 1},
    }
