"""waiting: how long the user waits and how often they are cut off, by strategy.  Virtual time."""

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
    run_condition,
    run_fixed,
)
from tests.bench.table import Check, format_table, print_checks
from tests.bench.user import Said
from voicecli.units import Seconds

DRAFTS, NO_DRAFTS = "vad 700, draft llm, hedge", "vad 700, draft off, hedge"
SHIPPED = "vad 450/700/1200, draft llm, hedge"

SEQUENTIAL = 200 + 100 + 200 + 13 * 15 + 120
"""Milliseconds: endpointing, final, TTFT, first sentence's tokens and TTFB, one by one."""

HEAD = (
    "ms", "n", "P50", "P95", "P99", "cut %", "heard %", "drafts", "dropped", "LLM calls", "hedges",
)  # fmt: skip


def create_row(name: str, result: Result) -> list[object]:
    """Return a line of the table."""
    of = result.spread
    over = sum(one.talked_over for one in result.paused)
    return [
        name,
        of.n,
        *(_milliseconds(one) for one in (of.p50, of.p95, of.p99)),
        100 * result.cut_rate,
        100 * over / max(1, len(result.paused)),
        result.total("drafts"),
        result.total("drafts_discarded"),
        result.total("llm_requests"),
        result.total("hedges"),
    ]


def _milliseconds(value: Seconds | None) -> float | None:
    return None if value is None else round(1000 * value, 1)


def describe_cut(one: Said) -> str:
    """Describe a cut sentence: where, after which pauses, by which rule."""
    words = " | ".join(one.sentence.parts)
    pauses = ", ".join(f"{round(1000 * pause)}" for pause in one.sentence.pauses)
    rules = ", ".join(commit.reason for commit in one.commits)
    heard = "the agent was heard" if one.talked_over else "withdrawn unheard"
    return f"{words}   (pauses {pauses} ms; {rules}; {heard})"


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        names = [one.name for one in CONDITIONS]
        results = dict(zip(names, processes.map(run_condition, CONDITIONS), strict=True))
    failed = {name: one.errors for name, one in results.items() if one.errors}
    assert not failed, failed
    _print_results(results)
    fixed = {one.name: run_fixed(one) for one in FIXED}
    print("\n   Fixed latencies: final 100 ms after endpointing, 50 after Finalize; TTFT 200, 15 a")
    print(f"   token; TTFB 120; whole sentences. The sequential sum is {SEQUENTIAL} ms.")
    print(format_table(HEAD[:4], [create_row(name, one)[:4] for name, one in fixed.items()]))
    checks = [*_check(results), *_check_fixed(fixed[FIXED[-1].name])]
    return {
        "log_normal": {name: _create_entry(one) for name, one in results.items()},
        "cut": {name: [describe_cut(said) for said in one.cut] for name, one in results.items()},
        "fixed": {name: _create_entry(one) for name, one in fixed.items()},
        "checks": print_checks(checks),
    }


def _print_results(results: Mapping[str, Result]) -> None:
    print(f"waiting: {SESSIONS * SENTENCES} sentences, half with pauses of 0.3 to 0.6 s; TTFT")
    print("   460/1100 ms, 2 % stalls of 2 to 8 s; TTS 313/420 ms; Finalize 50 ms.  Waits are of")
    print("   sentences that were not talked over.")
    print(format_table(HEAD, [create_row(name, result) for name, result in results.items()]))
    for name, result in results.items():
        print(f"  sentences cut by {name}: {len(result.cut)} of {len(result.paused)}")
        if name.startswith("vad"):
            for said in result.cut:
                print(f"    {describe_cut(said)}")


def _check(results: Mapping[str, Result]) -> list[Check]:
    drafts, without = results[DRAFTS], results[NO_DRAFTS]
    p50, p95, p99 = drafts.at("p50"), drafts.at("p95"), drafts.at("p99")
    below = 100 * (1 - p50 / without.at("p50"))
    checks = [
        (f"{DRAFTS}: P50 {p50:.0f} ms <= 1250", p50 <= 1250),
        (f"{DRAFTS}: P95 {p95:.0f} ms <= 2000", p95 <= 2000),
        (f"{DRAFTS}: P99 {p99:.0f} ms <= 2500", p99 <= 2500),
        (f"{DRAFTS}: P50 {below:.0f} % below that without drafts, >= 25", below >= 25),
    ]
    most = results["endpointing 200"].cut_rate / 4
    for name in (DRAFTS, SHIPPED):
        rate = results[name].cut_rate
        what = f"{name}: {100 * rate:.1f} % cut, a quarter of endpointing 200 is {100 * most:.1f} %"
        checks.append((what, rate <= most))
    return checks


def _check_fixed(result: Result) -> list[Check]:
    p50, p95 = result.at("p50"), result.at("p95")
    return [
        (f"fixed: P50 {p50:.0f} ms <= 640", p50 <= 640),
        (f"fixed: P95 {p95:.0f} ms <= 690", p95 <= 690),
    ]


def _create_entry(result: Result) -> dict[str, object]:
    return dict(zip(HEAD[1:], create_row("", result)[1:], strict=True))
