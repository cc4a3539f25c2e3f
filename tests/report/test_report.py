"""What is told of a session: lines and JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from math import fsum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.timelines import Exchange
from voicecli.events import AudioGlitched, ConnectionLost, ConnectionOpened, Warned
from voicecli.metrics.summary import Budgets, summarize
from voicecli.metrics.thresholds import evaluate, parse_threshold
from voicecli.metrics.turns import Turn, measure_turns
from voicecli.metrics.usage import Cost, Prices, count_usage, estimate_cost
from voicecli.report.format import exact_ms, format_counts, format_table, round_parts
from voicecli.report.json_result import SessionContext, build_result, dump_result, profile_hash
from voicecli.report.summary_lines import summary_lines
from voicecli.report.turn_lines import TurnLines, paint, reply_lines, stage_bar, turn_lines
from voicecli.sanitize import sanitize_line
from voicecli.timeline import Entry

PLAIN = Exchange(ttft=0.2893)
BUDGETS = Budgets(llm=0.3)
OURS = Prices(stt=0.0077, llm=(0.15, 0.60), tts=0.030)


def lines(exchange: Exchange, *more: Entry, budgets: Budgets = BUDGETS) -> list[str]:
    second = measure_turns([*PLAIN.entries(), *more, *exchange.entries()])[-1]
    return turn_lines(second, budgets)


def later(**changes: Any) -> Exchange:
    return replace(PLAIN, number=2, start=10.0, **changes)


# ── a turn ───────────────────────────────────────────────────────────────────


def test_the_lines_of_a_turn():
    (turn,) = measure_turns(PLAIN.entries())
    assert turn_lines(turn, BUDGETS) == [
        '#1 you   "What is the time?"',
        '#1 agent "It is noon."',
        "#1 ⏱ mouth-to-ear 815 ms = stt.ttfs 300 + llm.ttft 289 + llm.clause 45 + tts.ttfa 120"
        " + playout 60 + pipeline 1   [speech_final]  cold",
    ]


@pytest.mark.parametrize(
    ("exchange", "agent", "told"),
    [
        (later(ends="interrupted"), '"It is noon. …"', "[speech_final]  interrupted after 1.5 s"),
        (
            later(ends="taken back"),
            None,
            "not answered: the user continued, and the words are in a later turn   [speech_final]",
        ),
        (later(ends="silent"), '"It is noon."', "no reply: no audio was played   [speech_fin"),
        (later(ends="llm failed"), '"Sorry."', "no reply   [speech_final]  LLM failed: no token"),
        (later(ends="tts failed"), '"It"', "pipeline 1   [speech_final]  TTS failed: gone"),
        (later(reason="typed"), '"It is noon."', "⏱ not measured: typed, not spoken   [typed]"),
        (later(ttft=0.4), '"It is noon."', "over budget: llm.ttft 400 > 300"),
        (later(ttft=3.0), '"It is noon."', "over budget: mouth_to_ear 3526 > 3000"),
    ],
)
def test_what_became_of_a_turn_is_told(exchange, agent, told):
    user, *replied, waited = lines(exchange)
    assert user == '#2 you   "What is the time?"'
    assert replied == ([] if agent is None else [f"#2 agent {agent}"])
    assert waited.startswith("#2 ⏱ ")
    assert told in waited
    assert "cold" not in waited


def test_all_the_marks():
    (turn,) = measure_turns(PLAIN.entries())
    doubtful = ("the event loop was 30 ms late", "the reply sounded before the user had stopped")
    worst = replace(
        turn, cold=False, requests=4, hedges=1, underruns=1, cut_off=True, unreliable=doubtful
    )
    assert turn_lines(worst, BUDGETS)[-1].partition("   ")[2] == (
        "[speech_final]  retried 2 times  hedged once  ran dry once  cut off"
        "  unreliable: the event loop was 30 ms late"
        "  unreliable: the reply sounded before the user had stopped"
    )


def test_a_turn_without_an_end_of_speech_is_not_measured():
    (turn,) = measure_turns(PLAIN.entries())
    blind = replace(turn, mouth_to_ear=None, stages={})
    assert turn_lines(blind, BUDGETS)[-1].startswith("#1 ⏱ not measured   [speech_final]")


def test_nothing_a_service_says_commands_the_terminal():
    nasty = "\x1b]0;title\x07red\x1b[31m \u202eleft\n#9 you sk-abcdefghijkl " + "long " * 200
    text = "\n".join(lines(later(text=nasty, said=nasty)))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", text)
    assert text.count("\n") == 2
    assert "abcdefghijkl" not in text
    assert text.count("long") == 400


def waterfall(line: str) -> tuple[int, list[int]]:
    total, terms = re.findall(r"mouth-to-ear (\d+) ms = (.*?)   \[", line)[0]
    return int(total), [int(term.split()[-1]) for term in terms.split(" + ")]


DURATIONS = st.floats(0, 3)


@given(st.builds(Exchange, stop=DURATIONS, ttft=DURATIONS, clause=DURATIONS, playout=DURATIONS))
def test_the_printed_stages_sum_to_the_printed_total(exchange: Exchange):
    (turn,) = measure_turns(exchange.entries())
    total, parts = waterfall(turn_lines(turn, BUDGETS)[-1])
    assert sum(parts) == total
    assert total == round((turn.mouth_to_ear or 0) * 1000)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=7))
def test_rounded_parts_sum_to_the_rounded_whole_and_are_near(parts: list[float]):
    named = {str(index): part for index, part in enumerate(parts)}
    whole = round_parts(named, fsum(parts), per_second=1000)
    assert abs(sum(whole.values()) - fsum(parts) * 1000) <= 0.5 + 1e-6
    assert all(abs(whole[name] - part * 1000) <= 1 for name, part in named.items())


# ── live ─────────────────────────────────────────────────────────────────────


def test_lines_are_written_when_something_happens():
    told: list[str] = []
    follower = TurnLines(told.append, BUDGETS)
    entries = PLAIN.entries()
    for entry in entries[:-1]:
        follower(entry)
    assert told == ['#1 you   "What is the time?"']
    follower(entries[-1])
    assert told[1:] == turn_lines(measure_turns(entries)[0], BUDGETS)[1:]


def test_warnings_and_losses_are_written():
    told: list[str] = []
    follower = TurnLines(told.append)
    follower(Warned(at=1, service="audio", text="only\x1b[2J zeros"))
    follower(ConnectionLost(at=2, service="stt", reason="STT: connection lost"))
    follower(ConnectionLost(at=3, service="tts", reason="no answer"))
    assert told == ["! AUDIO: only zeros", "! STT: connection lost", "! TTS: no answer"]


# ── the end ──────────────────────────────────────────────────────────────────


def session(*exchanges: Exchange, more: tuple[Entry, ...] = ()) -> list[Entry]:
    entries = [entry for exchange in exchanges for entry in exchange.entries()]
    return sorted([*entries, *more], key=lambda entry: entry.at)


def closing(entries: list[Entry], spent: Cost | None = None) -> list[str]:
    found = measure_turns(entries)
    book = count_usage(entries, found)
    return summary_lines(
        found,
        book,
        summarize(found, book),
        BUDGETS,
        estimate_cost(book, OURS) if spent is None else spent,
    )


OPENED = ConnectionOpened(at=0.0, service="stt", took=0.1, request_id="id")


def test_the_closing_lines():
    entries = session(
        replace(PLAIN, tokens=7, prompt_tokens=50),
        later(ends="taken back"),
        replace(PLAIN, number=3, start=20.0, ttft=0.5, ends="interrupted"),
        more=(
            OPENED,
            AudioGlitched(at=20.5, xruns=2),
        ),
    )
    assert closing(entries) == [
        "3 turns: 1 answered, 1 interrupted, 1 discarded",
        "",
        "ms            n  P50     P95   max  budget  over",
        "mouth_to_ear  2  921  n < 20  1026    3000     0",
        "  stt.ttfs    2  300  n < 20   300",
        "  llm.ttft    2  395  n < 20   500",
        "  llm.clause  2   45  n < 20    45",
        "  tts.ttfa    2  120  n < 20   120",
        "  playout     2   60  n < 20    60",
        "  pipeline    2    1  n < 20     1",
        "raw.stt.ttfs  3  300  n < 20   300     300     0",
        "raw.llm.ttft  2  395  n < 20   500     300     1",
        "raw.tts.ttfa  2  120  n < 20   120     250     0",
        "Indented: what was waited for; the percentiles of parts do not add up.",
        "raw: what a service took by itself, waited for or not.",
        "",
        "endpointing: P50 300 ms, 1 of 3 turns cut off",
        "drafts: 3 prepared",
        "LLM: 3 requests, 50 prompt tokens, 7 tokens",
        "TTS: 2 flushes, 22 characters",
        "sound: 2 xruns",
        "not reliable: 1 of 3 turns (#3)",
        "cost: at least $0.0037 (STT 0.0030, LLM 0.0000, TTS 0.0007; estimated, list prices of"
        " 2026-08)",
    ]


def test_p95_of_twenty_turns_is_told():
    many = [replace(PLAIN, number=n, start=n * 10.0, ttft=0.01 * n) for n in range(1, 21)]
    (row,) = [line for line in closing(session(*many)) if line.startswith("raw.llm.ttft")]
    assert row.split() == ["raw.llm.ttft", "20", "105", "190", "200", "300", "0"]


def test_nothing_happened():
    assert closing([], Cost()) == ["0 turns", "cost: not known"]
    assert closing([], Cost(stt=0.0, llm=0.0, tts=0.0)) == ["0 turns", "cost: nothing"]


# ── JSON ─────────────────────────────────────────────────────────────────────

SETTING = SessionContext(
    profile="default", resolved={"stt": {"model": "nova-3"}}, environment={"python": "3.11"}
)


def told(entries: list[Entry]) -> dict[str, Any]:
    found = measure_turns(entries)
    book = count_usage(entries, found)
    numbers = summarize(found, book)
    verdicts = [evaluate(parse_threshold("mouth_to_ear.p95<3000"), numbers)]
    data = build_result(
        found,
        book,
        numbers,
        BUDGETS,
        estimate_cost(book, OURS),
        context=SETTING,
        verdicts=verdicts,
    )
    text = dump_result(data)
    assert text.isascii()
    again: dict[str, Any] = json.loads(text)
    assert again == data
    return again


def test_the_result():
    data = told(session(PLAIN, later(ends="taken back"), more=(AudioGlitched(at=0.5, xruns=1),)))
    assert data["schema_version"] == 1
    assert data["program"] == "voicecli"
    assert data["profile"] == {"name": "default", "hash": profile_hash(SETTING.resolved)}
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
    assert data["ledger"]["cutoff_rate"] == 0.5
    assert data["budgets_ms"] == {"stt": 300, "llm": 300, "tts": 250, "total": 3000}
    assert data["cost"]["estimated"]
    assert data["cost"]["llm"] is None


def test_a_turn_in_the_result():
    first, second = told(session(PLAIN, later(ends="taken back")))["turns"]
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
        summarize([], count_usage([], [])),
        BUDGETS,
        Cost(),
        context=SETTING,
    )
    assert data["turns"][0]["failure"] == {"service": "llm", "reason": "bad key [redacted]"}


@given(st.builds(Exchange, stop=DURATIONS, ttft=DURATIONS, clause=DURATIONS, playout=DURATIONS))
def test_the_stages_in_the_result_sum_to_the_microsecond(exchange: Exchange):
    (turn,) = told(exchange.entries())["turns"]
    microseconds = sum(round(took * 1000) for took in turn["stages_ms"].values() if took)
    assert microseconds == round(turn["mouth_to_ear_ms"] * 1000)


def test_the_hash_knows_settings_and_not_their_order():
    assert profile_hash({"a": 1, "b": 2}) == profile_hash({"b": 2, "a": 1})
    assert profile_hash({"a": 1}) != profile_hash({"a": 2})
    assert re.fullmatch(r"[0-9a-f]{16}", profile_hash({}))


# ── words ────────────────────────────────────────────────────────────────────


def test_words_and_numbers():
    assert sanitize_line(" a\n\x1b[31mb\u200b  c ") == "a b c"
    assert exact_ms(0.1 + 0.2) == 300.0
    assert exact_ms(None) is None
    assert format_counts({"a": 1, "b": 0, "c": 2}) == "1 a, 2 c"
    assert format_table([["a", "1"], ["bb", "22"], ["c", ""]]) == ["a    1", "bb  22", "c"]


# ── the bar ──────────────────────────────────────────────────────────────────


def bar(turn: Turn, columns: int, budgets: Budgets = BUDGETS) -> list[str]:
    return ["".join(one.text for one in line) for line in stage_bar(turn, budgets, columns)]


def test_the_bar_of_a_turn():
    (turn,) = measure_turns(PLAIN.entries())
    assert bar(turn, 100) == [
        "#1 ⏱ ███████████████▓▓▓▓▓▓▓▓▓▓▓▓▓▓██▓▓▓▓▓▓███ 815 ms  [speech_final]  cold",
        "     stt.ttfs 300 · llm.ttft 289 · llm.clause 45 · tts.ttfa 120 · playout 60 · pipeline 1",
    ]
    assert bar(turn, 44) == [
        "#1 ⏱ ████████████▓▓▓▓▓▓▓▓▓▓▓██▓▓▓▓▓██ 815 ms",
        "     [speech_final]  cold",
        "     stt.ttfs 300 · llm.ttft 289",
        "     llm.clause 45 · tts.ttfa 120",
        "     playout 60 · pipeline 1",
    ]


def test_the_bar_is_coloured_against_the_budgets():
    (turn,) = measure_turns(PLAIN.entries())
    first, second = stage_bar(turn, Budgets(stt=0.4, llm=0.2, tts=0.2, total=0.8), 200)
    styles = {one.text.split()[0]: one.style for one in second if one.text.strip(" ·")}
    assert styles == {
        "stt.ttfs": "met",
        "llm.ttft": "over",
        "llm.clause": "",
        "tts.ttfa": "met",
        "playout": "",
        "pipeline": "",
    }
    assert [one.style for one in first if set(one.text) <= set("█▓")] == [
        "met",
        "over",
        "",
        "met",
        "",
    ]
    assert "\x1b[31m815 ms\x1b[0m" in paint(first)
    assert paint(first).count("\x1b[0m") == 4


@given(
    st.builds(Exchange, stop=DURATIONS, ttft=DURATIONS, clause=DURATIONS, playout=DURATIONS),
    st.integers(20, 200),
)
def test_the_bar_is_in_proportion_and_fits(exchange: Exchange, columns: int):
    (turn,) = measure_turns(exchange.entries())
    first, *others = stage_bar(turn, BUDGETS, columns)
    cells = [len(one.text) for one in first if one.text.strip() and set(one.text) <= set("█▓")]
    head, total = first[0].text, f" {round((turn.mouth_to_ear or 0) * 1000)} ms"
    assert sum(cells) == min(40, columns - len(head) - len(total))
    for line in others:
        words = [one for one in line if one.text.strip(" ·")]
        assert len(words) == 1 or sum(len(one.text) for one in line) <= columns


def test_a_terminal_shows_the_bar_and_a_pipe_does_not():
    (turn,) = measure_turns(PLAIN.entries())
    assert reply_lines(turn, BUDGETS)[1:] == turn_lines(turn, BUDGETS)[2:]
    assert reply_lines(turn, BUDGETS, 100)[1:] == [*map(paint, stage_bar(turn, BUDGETS, 100))]
    typed = replace(turn, reason="typed", mouth_to_ear=None)
    assert reply_lines(typed, BUDGETS, 100) == reply_lines(typed, BUDGETS)
