"""Part a: how long the user waits, and how often they are cut off, by strategy.  Virtual time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from tests.bench.strategies import (
    CONDITIONS,
    FIXED,
    SENTENCES,
    SESSIONS,
    Result,
    tried,
    tried_fixed,
)
from tests.bench.table import table, verdict
from tests.bench.user import Said
from voicecli.units import Seconds

Judged = list[tuple[str, bool]]

DRAFTS, NO_DRAFTS = "vad 700, draft llm, hedge", "vad 700, draft off, hedge"
USUAL = "vad 450/700/1200, draft llm, hedge"

SEQUENTIAL = 200 + 100 + 200 + 13 * 15 + 120
"""Endpointing, final, TTFT, the first sentence's tokens and TTFB, one after the other."""

HEAD = (
    "ms", "n", "P50", "P95", "P99", "cut %", "heard %", "drafts", "dropped", "LLM calls", "hedges",
)  # fmt: skip


def row(name: str, result: Result) -> list[object]:
    """A line of the table."""
    of = result.spread
    over = sum(one.talked_over for one in result.paused)
    return [
        name,
        of.n,
        *(_ms(one) for one in (of.p50, of.p95, of.p99)),
        100 * result.cut_rate,
        100 * over / max(1, len(result.paused)),
        result.total("drafts"),
        result.total("drafts_discarded"),
        result.total("llm_requests"),
        result.total("hedges"),
    ]


def _ms(value: Seconds | None) -> float | None:
    return None if value is None else round(1000 * value, 1)


def cut_line(one: Said) -> str:
    """A sentence that was cut: where, after how long, and by which rule."""
    words = " | ".join(one.sentence.parts)
    pauses = ", ".join(f"{round(1000 * pause)}" for pause in one.sentence.pauses)
    rules = ", ".join(commit.reason for commit in one.commits)
    heard = "the agent was heard" if one.talked_over else "taken back unheard"
    return f"{words}   (pauses {pauses} ms; {rules}; {heard})"


def run() -> dict[str, Any]:
    """Print the tables; the numbers, for bench.json."""
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        names = [one.name for one in CONDITIONS]
        results = dict(zip(names, processes.map(tried, CONDITIONS), strict=True))
    failed = {name: one.errors for name, one in results.items() if one.errors}
    assert not failed, failed
    _print_results(results)
    fixed = {one.name: tried_fixed(one) for one in FIXED}
    print("\n   Fixed latencies: final 100 ms after endpointing, 50 after Finalize; TTFT 200, 15 a")
    print(f"   token; TTFB 120; whole sentences. Sentence by sentence, in turn: {SEQUENTIAL} ms.")
    print(table(HEAD[:4], [row(name, one)[:4] for name, one in fixed.items()]))
    judged = [*_judged(results), *_judged_fixed(fixed[FIXED[-1].name])]
    for what, met in judged:
        print(verdict(what, met))
    return {
        "log_normal": {name: _kept(one) for name, one in results.items()},
        "cut": {name: [cut_line(said) for said in one.cut] for name, one in results.items()},
        "fixed": {name: _kept(one) for name, one in fixed.items()},
        "judged": [{"what": what, "met": met} for what, met in judged],
    }


def _print_results(results: Mapping[str, Result]) -> None:
    print(f"a. {SESSIONS * SENTENCES} sentences, half of them with pauses of 0.3 to 0.6 s; TTFT")
    print("   460/1100 ms, 2 % stalls of 2 to 8 s; TTS 313/420 ms; Finalize 50 ms.  Waits for the")
    print("   replies to what nobody talked over.")
    print(table(HEAD, [row(name, result) for name, result in results.items()]))
    for name, result in results.items():
        print(f"  sentences cut by {name}: {len(result.cut)} of {len(result.paused)}")
        if name.startswith("vad"):
            for said in result.cut:
                print(f"    {cut_line(said)}")


def _judged(results: Mapping[str, Result]) -> Judged:
    drafts, without = results[DRAFTS], results[NO_DRAFTS]
    p50, p95, p99 = drafts.at("p50"), drafts.at("p95"), drafts.at("p99")
    below = 100 * (1 - p50 / without.at("p50"))
    judged = [
        (f"{DRAFTS}: P50 {p50:.0f} ms <= 1250", p50 <= 1250),
        (f"{DRAFTS}: P95 {p95:.0f} ms <= 2000", p95 <= 2000),
        (f"{DRAFTS}: P99 {p99:.0f} ms <= 2500", p99 <= 2500),
        (f"{DRAFTS}: P50 {below:.0f} % below that without drafts, >= 25", below >= 25),
    ]
    most = results["endpointing 200"].cut_rate / 4
    for name in (DRAFTS, USUAL):
        rate = results[name].cut_rate
        what = f"{name}: {100 * rate:.1f} % cut, a quarter of endpointing 200 is {100 * most:.1f} %"
        judged.append((what, rate <= most))
    return judged


def _judged_fixed(result: Result) -> Judged:
    p50, p95 = result.at("p50"), result.at("p95")
    return [
        (f"fixed: P50 {p50:.0f} ms <= 640", p50 <= 640),
        (f"fixed: P95 {p95:.0f} ms <= 690", p95 <= 690),
    ]


def _kept(result: Result) -> dict[str, object]:
    return dict(zip(HEAD[1:], row("", result)[1:], strict=True))
