"""fast: a conversation of short turns, 40 in two minutes: does it slow down?  Virtual time."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from tests.bench.size import choose_size
from tests.bench.strategies import Condition, Result, run_session, script_stt
from tests.bench.table import Check, format_table, print_checks
from tests.bench.user import Sentence
from voicecli.standin.script import Latency, LlmScript, Script, Speaks, TtsScript

TURNS = choose_size(40, 4)
FIRST = choose_size(10, 2)
"""Turns to which all are compared."""

SESSIONS = choose_size(3, 1)

ASKS = ("Yes, please.", "And tomorrow?", "Is it far?", "Which one?", "Not that one.")

SAYS = (
    "All right, it is done.",
    "It is warm. Take a hat.",
    "No. It is close to here.",
    "The second one, I think.",
    "We will take that one.",
)
"""About 23 characters, or 1.4 s of speech; half of them with a boundary within."""

GAP = (0.15, 0.3)
"""Seconds from the end of a reply to the next question."""

WORST = 1.1
"""P95 of all turns, at most, relative to that of the first ones."""

HEAD = ("ms", "turns", "in s", "first P95", "P50", "P95", "max", "underruns", "flushes")


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    print(f"fast: {SESSIONS} conversations of {TURNS} short turns; Finalize 50 ms, TTFT 200, 15 a")
    print(f"   token, TTFB 120; the first {FIRST} turns beside all.")
    rows, checks = [], []
    for wire in get_args(Speaks):
        row, found = _measure(wire)
        rows.append(row)
        checks += found
    print(format_table(HEAD, rows))
    return {
        "fast": {str(row[0]): dict(zip(HEAD[1:], row[1:], strict=True)) for row in rows},
        "checks": print_checks(checks),
    }


def _measure(wire: Speaks) -> tuple[list[object], list[Check]]:
    first: list[float] = []
    waits: list[float] = []
    took: list[float] = []
    underruns = flushes = 0
    condition = Condition("default")
    for seed in range(SESSIONS):
        said = [Sentence((ASKS[index % len(ASKS)],)) for index in range(TURNS)]
        script = Script(
            seed=seed,
            stt=script_stt(condition, said),
            llm=LlmScript(ttft=Latency(0.2), token=Latency(0.015), says=SAYS),
            tts=TtsScript(ttfb=Latency(0.12), speaks=wire),
        )
        result = Result()
        run_session(result, condition.profile(), script, said, seed, gap=GAP)
        assert not result.errors, result.errors
        here = [1000 * wait for wait in result.waits]
        first += here[:FIRST]
        waits += here
        took.append(result.said[-1].end - result.said[0].start)
        underruns += result.total("underruns")
        flushes += result.total("flushes")
    p95, p95_first = (float(np.percentile(of, 95)) for of in (waits, first))
    row = [f"TTS speaks on {wire}", len(waits), max(took), p95_first]
    row += [float(np.percentile(waits, 50)), p95, max(waits), underruns, flushes]
    checks = [
        (f"{wire}: {len(waits)} of {SESSIONS * TURNS} answered", len(waits) == SESSIONS * TURNS),
        (f"{wire}: {TURNS} turns in {max(took):.0f} s <= 120", max(took) <= 120),
        (f"{wire}: P95 {p95:.0f} ms <= {WORST} * {p95_first:.0f}", p95 <= WORST * p95_first),
        (f"{wire}: {underruns} underruns", underruns == 0),
    ]
    return row, checks
