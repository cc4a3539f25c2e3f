"""waiting: how long the user waits and how often they are cut off, by strategy.  Virtual time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any, get_args

from tests.bench.material import FIXED_FIRST
from tests.bench.strategies import (
    CONDITIONS,
    DEFAULT,
    ENDPOINTING,
    ENERGY,
    FIXED,
    FIXED_DEFAULT,
    SENTENCES,
    SESSIONS,
    Result,
    run_condition,
    run_fixed,
)
from tests.bench.table import Check, format_table, print_checks
from tests.bench.user import Said
from voicecli.standin.script import Speaks
from voicecli.units import Seconds

SEQUENTIAL = 200 + 100 + 200 + 120
"""Milliseconds: endpointing, final, TTFT and TTFB, one by one; the first token is spoken alone."""

HEAD = (
    "ms", "n", "P50", "P95", "P99", "cut %", "heard %", "drafts", "dropped", "LLM calls", "hedges",
)  # fmt: skip


DRAFTS_HEAD = (
    "discarded drafts", "n", "of", "prompt tokens", "tokens", "characters", "$ per 1000 turns",
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


def create_drafts_row(name: str, result: Result) -> list[object]:
    """Return a line of the table of what drafts cost; tokens and characters are per turn."""
    turns = len(result.said)
    spent = ("discarded_prompt_tokens", "discarded_tokens", "discarded_characters")
    return [
        name,
        result.total("drafts_discarded"),
        result.total("drafts"),
        *(result.total(kind) / turns for kind in spent),
        f"{1000 * result.discarded_cost / turns:.3f}",
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
    wires: tuple[Speaks, ...] = get_args(Speaks)
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        found = {one.name: processes.submit(run_condition, one) for one in CONDITIONS}
        fixed = {
            (one.name, wire): processes.submit(run_fixed, one, wire)
            for one in FIXED
            for wire in wires
        }
    log_normal = {name: future.result() for name, future in found.items()}
    by_wire = {at: future.result() for at, future in fixed.items()}
    failed = {at: one.errors for at, one in (log_normal | by_wire).items() if one.errors}
    assert not failed, failed
    _print_log_normal(log_normal)
    _print_fixed(by_wire)
    return {
        "log_normal": {name: _create_entry(one) for name, one in log_normal.items()},
        "cut": {name: [describe_cut(said) for said in one.cut] for name, one in log_normal.items()},
        "fixed": {f"{name}, {wire}": _create_entry(one) for (name, wire), one in by_wire.items()},
        "checks": print_checks([*_check_log_normal(log_normal), *_check_fixed(by_wire)]),
    }


def _print_log_normal(results: Mapping[str, Result]) -> None:
    print(f"waiting: {SESSIONS * SENTENCES} sentences, half with pauses of 0.3 to 0.6 s, in a")
    detector = CONDITIONS[0].profile().audio.vad
    print(f"   recorded voice; {detector} detector unless named; interims every")
    print("   200 ms unless named; Finalize 50 ms; TTFT 460/1100 ms, 2 % stalls of 2 to 8 s;")
    print("   TTS 313/420 ms.  Waits are of sentences that were not talked over.  How sure Flux is")
    print("   that a turn has ended is a rule of the stand-in, by the words and the silence: those")
    print(
        "   rows show what drafts and cut-offs cost with such a service, and not how good Flux is."
    )
    print(format_table(HEAD, [create_row(name, result) for name, result in results.items()]))
    print()
    print(
        format_table(DRAFTS_HEAD, [create_drafts_row(name, one) for name, one in results.items()])
    )
    print(
        "   Tokens and characters per turn; list prices of the services that stand-ins replace.\n"
    )
    for half, result in zip(("first", "second"), results[DEFAULT].halves, strict=True):
        print(f"  default, {half} half of the sessions: {_describe_half(result)}")
    for name, result in results.items():
        if name != "classic" and name != ENDPOINTING:
            print(f"  sentences cut by {name.strip()}: {len(result.cut)} of {len(result.paused)}")
            for said in result.cut:
                print(f"    {describe_cut(said)}")


def _describe_half(half: Result) -> str:
    return (
        f"P50 {half.at('p50'):.0f} ms, P95 {half.at('p95'):.0f}, cut {100 * half.cut_rate:.1f} % "
        f"of {len(half.paused)}"
    )


def _print_fixed(results: Mapping[tuple[str, str], Result]) -> None:
    print("\n   Fixed latencies, whole sentences: final 100 ms after 200 ms of endpointing, or")
    print("   after Finalize unless named; interims every 200 ms unless named; TTFT 200, 15 a")
    print(f"   token; first sentences of {FIXED_FIRST} tokens; TTFB 120, on a TTS that speaks on")
    print("   Flush and on one that also speaks at the end of a sentence.  The sum of the")
    print(f"   services, one by one, with the first token spoken alone, is {SEQUENTIAL} ms.")
    rows = [[*create_row(name, one)[:1], wire, *create_row(name, one)[1:4]]
            for (name, wire), one in results.items()]  # fmt: skip
    print(format_table(("ms", "speaks on", *HEAD[1:4]), rows))


def _check_log_normal(results: Mapping[str, Result]) -> list[Check]:
    default = results[DEFAULT]
    checks = _check_at("log-normal", default, {"p50": 950, "p95": 1600, "p99": 1900})
    for name in (DEFAULT, ENERGY):
        one = results[name]
        cut = f"{name}: {len(one.cut)} of {len(one.paused)} paused sentences cut"
        checks.append((f"{cut}, {100 * one.cut_rate:.1f} % <= 7", round(100 * one.cut_rate) <= 7))
        heard = sum(said.talked_over for said in one.paused)
        checks.append((f"{name}: {heard} of them heard by the user", heard == 0))
    return checks


def _check_fixed(results: Mapping[tuple[str, str], Result]) -> list[Check]:
    checks: list[Check] = []
    for (name, wire), one in results.items():
        if name == DEFAULT:
            checks += _check_at(f"fixed, {wire}", one, {"p50": 600, "p95": 640})
        elif name == FIXED_DEFAULT:
            checks += _check_at(f"fixed, {wire}, Finalize 50 ms", one, {"p50": 570})
    return checks


def _check_at(what: str, result: Result, limits: Mapping[str, float]) -> list[Check]:
    """Check percentiles, in milliseconds."""
    return [
        (f"{what}: {at.upper()} {result.at(at):.0f} ms <= {limit}", result.at(at) <= limit)
        for at, limit in limits.items()
    ]


def _create_entry(result: Result) -> dict[str, object]:
    return dict(zip(HEAD[1:], create_row("", result)[1:], strict=True))
