"""Part b: what the program itself adds to the services' latencies.  Real time."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.bench.bare import Late, ask
from tests.bench.exact import (
    ENDPOINTING,
    FINAL,
    FINALIZE,
    FIRST_CLAUSE,
    HANGOVER,
    TOKEN,
    TTFB,
    TTFT,
    Talk,
    hold,
    new_talk,
    open_standins,
    owed,
)
from tests.bench.table import table, verdict
from tests.conversing import profile
from voicecli import clock
from voicecli.audio import Seconds
from voicecli.milestones import STAGES
from voicecli.percentiles import spread
from voicecli.profile import Profile

TURNS = 30

RATE = "tts.sample_rate=24000"


def profiles() -> dict[str, Profile]:
    """What is compared, over the same services; the first is the project's starting point."""
    endpointing = "turn.detect=endpointing"
    return {
        "classic": profile(RATE, endpointing, "llm.hedge_ms=null", name="classic"),
        "endpointing": profile(RATE, endpointing, name="default"),
        "vad": profile(RATE, "turn.detect=vad", name="default"),
    }


def lateness(talk: Talk) -> dict[str, list[Seconds]]:
    """What each stage took beyond its part of what was owed."""
    due = dict.fromkeys(STAGES, 0.0)
    due |= {"llm.ttft": TTFT, "llm.clause": FIRST_CLAUSE * TOKEN, "tts.ttfa": TTFB}
    due["stt.ttfs"] = ENDPOINTING + FINAL
    if talk.profile.turn.detect == "vad":
        due["stt.ttfs"] = HANGOVER + FINALIZE
    return {
        name: [turn.stages.get(name, 0.0) - due[name] for turn in talk.turns] for name in STAGES
    }


async def _talks(late: Late) -> dict[str, Talk]:
    """All of them at once, three conversations are next to no load; and the bare client beside."""
    talks = {
        name: new_talk(settings, TURNS, seed)
        for seed, (name, settings) in enumerate(profiles().items())
    }
    async with open_standins() as endpoints, asyncio.TaskGroup() as tasks:
        for talk in talks.values():
            tasks.create_task(hold(talk, endpoints))
        tasks.create_task(ask(endpoints, late, TURNS))
    return talks


def run() -> dict[str, Any]:
    """Print the tables; the numbers, for bench.json."""
    late = Late()
    talks = clock.run(_talks(late))
    print(f"b. What is added to the services' latencies and the chosen waits, {TURNS} turns each.")
    rows, kept = [], {}
    for name, talk in talks.items():
        added, due = spread(talk.added), owed(talk.profile)
        pipeline = spread(turn.stages.get("pipeline", 0.0) for turn in talk.turns)
        numbers = [added.n, due, added.p50, added.p95, added.max, pipeline.p50, pipeline.p95]
        numbers = [
            number and (number if number is added.n else 1000 * number) for number in numbers
        ]
        rows.append([name, *numbers])
        kept[name] = dict(zip(HEAD[1:], numbers, strict=True))
    print(table(HEAD, rows))
    parts = [
        [name, *(1000 * (spread(late).p50 or 0) for late in lateness(talk).values())]
        for name, talk in talks.items()
        if name != "classic"
    ]
    print("   of which, at P50, by stage:")
    print(table(["ms", *STAGES], parts))
    own = 1000 * late.usual
    print(f"   of which {own:.1f} ms are the stand-ins' own: a bare client waits as much, at P50.")
    judged = []
    for name in ("endpointing", "vad"):
        added = spread(talks[name].added)
        p50, p95 = 1000 * (added.p50 or 1) - own, 1000 * (added.p95 or 1) - own
        judged.append((f"{name}: P50 {p50:.1f} ms <= 10", p50 <= 10))
        judged.append((f"{name}: P95 {p95:.1f} ms <= 25", p95 <= 25))
    sums = [
        abs(sum(turn.stages.values()) - turn.mouth_to_ear)
        for talk in talks.values()
        for turn in talk.turns
        if turn.mouth_to_ear is not None
    ]
    judged.append((f"the stages sum to the total in all {len(sums)} turns", max(sums) < 1e-6))
    for what, met in judged:
        print(verdict(what, met))
    return {
        "added": kept,
        "standins_late": own,
        "judged": [{"what": what, "met": met} for what, met in judged],
    }


HEAD = ("ms", "n", "owed", "added P50", "P95", "max", "pipeline P50", "P95 ")
