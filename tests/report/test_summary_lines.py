"""The summary of a session."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.support.timelines import Exchange
from voicecli.events import AudioGlitched, ConnectionOpened
from voicecli.metrics.scoring import measure_interaction
from voicecli.metrics.summary import Budgets, summarize
from voicecli.metrics.turns import measure_turns
from voicecli.metrics.usage import Cost, Prices, count_usage, estimate_cost
from voicecli.report.summary_lines import format_summary
from voicecli.timeline import Entry

PLAIN = Exchange(ttft=0.2893)

BUDGETS = Budgets(llm=0.3)

OURS = Prices(stt=0.0077, llm=(0.15, 0.60), tts=0.030)


def later(**changes: Any) -> Exchange:
    return replace(PLAIN, number=2, start=10.0, **changes)


def session(*exchanges: Exchange, more: tuple[Entry, ...] = ()) -> list[Entry]:
    entries = [entry for exchange in exchanges for entry in exchange.entries()]
    return sorted([*entries, *more], key=lambda entry: entry.at)


def closing(entries: list[Entry], spent: Cost | None = None) -> list[str]:
    found = measure_turns(entries)
    book = count_usage(entries, found)
    scored = measure_interaction(entries)
    return format_summary(
        found,
        book,
        scored,
        summarize(found, book, scored),
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
        "endpointing: P50 300 ms, 1 of 3 turns cut off (0 heard)",
        "drafts: 3 prepared",
        "LLM: 3 requests, 50 prompt tokens, 7 tokens",
        "TTS: 2 flushes, 22 characters",
        "sound: 2 xruns",
        "not reliable: 1 of 3 turns (#3)",
        "cost: at least $0.0037 (STT 0.0030, LLM 0.0000, TTS 0.0007; estimated, list prices of"
        " 2026-08)",
        "",
        "turn-taking              events   value",
        "false_interruption_rate  1 of 2  n < 10",
        "dead_air_s                       15.7 s",
        "  at 23.54 s: stopped without words  #3",
    ]


def test_p95_of_twenty_turns_is_told():
    many = [replace(PLAIN, number=n, start=n * 10.0, ttft=0.01 * n) for n in range(1, 21)]
    (row,) = [line for line in closing(session(*many)) if line.startswith("raw.llm.ttft")]
    assert row.split() == ["raw.llm.ttft", "20", "105", "190", "200", "300", "0"]


def test_nothing_happened():
    assert closing([], Cost()) == ["0 turns", "cost: not known"]
    assert closing([], Cost(stt=0.0, llm=0.0, tts=0.0)) == ["0 turns", "cost: nothing"]
