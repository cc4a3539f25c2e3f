"""overhead: what the program adds to the services' latencies and the chosen waits.  Real time."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.bench.fixed import (
    ENDPOINTING,
    FINAL,
    FINALIZE,
    FIRST_CLAUSE,
    HANGOVER,
    TOKEN,
    TTFB,
    TTFT,
    Talk,
    create_talk,
    hold_talk,
    open_standins,
    script_latency,
)
from tests.bench.floor import Late, query_services
from tests.bench.size import choose_size
from tests.bench.table import Check, format_table, print_checks
from tests.support.conversations import profile
from voicecli import clock
from voicecli.metrics.stages import STAGES
from voicecli.metrics.summary import describe
from voicecli.metrics.turns import Turn
from voicecli.profile import Profile
from voicecli.units import Seconds

TURNS = choose_size(30, 2)

RATE = "tts.sample_rate=24000"


def load_profiles() -> dict[str, Profile]:
    """Return the profiles to compare over the same services; classic is the early design."""
    endpointing = "turn.detect=endpointing"
    return {
        "classic": profile(RATE, endpointing, "llm.hedge_ms=null", name="classic"),
        "endpointing": profile(RATE, endpointing, name="default"),
        "vad": profile(RATE, "turn.detect=vad", name="default"),
    }


def measure_lateness(talk: Talk) -> dict[str, list[Seconds]]:
    """Return by how much each stage of each turn was longer than the script's latencies."""
    due = dict.fromkeys(STAGES, 0.0)
    due |= {"llm.ttft": TTFT, "llm.clause": FIRST_CLAUSE * TOKEN, "tts.ttfa": TTFB}
    due["stt.ttfs"] = ENDPOINTING + FINAL
    if talk.profile.turn.detect == "vad":
        due["stt.ttfs"] = HANGOVER + FINALIZE
    return {
        name: [turn.stages.get(name, 0.0) - due[name] for turn in talk.turns] for name in STAGES
    }


async def _hold_talks(late: Late) -> dict[str, Talk]:
    """Hold all at once, which is hardly any load, with the minimal client beside them."""
    talks = {
        name: create_talk(settings, TURNS, seed)
        for seed, (name, settings) in enumerate(load_profiles().items())
    }
    async with open_standins() as endpoints, asyncio.TaskGroup() as tasks:
        for talk in talks.values():
            tasks.create_task(hold_talk(talk, endpoints))
        tasks.create_task(query_services(endpoints, late, TURNS))
    return talks


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    late = Late()
    talks = clock.run(_hold_talks(late))
    rows = {name: _row(talk) for name, talk in talks.items()}
    print(f"overhead: added to the services' latencies and the chosen waits, {TURNS} turns each.")
    print(format_table(HEAD, [[name, *row] for name, row in rows.items()]))
    own = 1000 * late.typical
    print(f"   of which {own:.1f} ms are the stand-ins' own: a minimal client's P50.")
    print("   by stage, at P50, including the stand-ins' own:")
    print(format_table(["ms", *STAGES], [_by_stage(name, talks[name]) for name in CHECKED]))
    checks = [one for name in CHECKED for one in _check(name, talks[name], own)]
    checks.append(_check_sums([turn for talk in talks.values() for turn in talk.turns]))
    return {
        "added": {name: dict(zip(HEAD[1:], row, strict=True)) for name, row in rows.items()},
        "standins_late_ms": own,
        "checks": print_checks(checks),
    }


HEAD = ("ms", "n", "script", "added P50", "P95", "max", "pipeline P50", "P95 ")

CHECKED = ("endpointing", "vad")


def _row(talk: Talk) -> list[float | None]:
    added = describe(talk.added)
    pipeline = describe(turn.stages.get("pipeline", 0.0) for turn in talk.turns)
    times = [
        script_latency(talk.profile),
        added.p50,
        added.p95,
        added.max,
        pipeline.p50,
        pipeline.p95,
    ]
    return [added.n, *(None if took is None else 1000 * took for took in times)]


def _by_stage(name: str, talk: Talk) -> list[object]:
    return [name, *(1000 * (describe(late).p50 or 0.0) for late in measure_lateness(talk).values())]


def _check(name: str, talk: Talk, own: float) -> list[Check]:
    """own: milliseconds by which the stand-ins themselves are late, at P50."""
    added = describe(talk.added)
    p50, p95 = 1000 * (added.p50 or 1), 1000 * (added.p95 or 1)
    return [
        (f"{name}: P50 {p50:.1f} ms <= 15, the stand-ins' own included", p50 <= 15),
        (f"{name}: P50 {p50 - own:.1f} ms <= 10", p50 - own <= 10),
        (f"{name}: P95 {p95 - own:.1f} ms <= 25", p95 - own <= 25),
    ]


def _check_sums(turns: list[Turn]) -> Check:
    measured = [turn for turn in turns if turn.mouth_to_ear is not None]
    off = [abs(sum(turn.stages.values()) - (turn.mouth_to_ear or 0.0)) for turn in measured]
    return f"the stages sum to the total in all {len(off)} turns", max(off) < 1e-6
