"""Part b: what the program itself adds to the services' latencies.  Real time."""

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
    hold,
    new_talk,
    open_standins,
    owed,
)
from tests.bench.floor import Late, ask
from tests.bench.table import table, verdict
from tests.support.conversations import profile
from voicecli import clock
from voicecli.metrics.stages import STAGES
from voicecli.metrics.summary import describe
from voicecli.metrics.turns import Turn
from voicecli.profile import Profile
from voicecli.units import Seconds

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
    rows = {name: _row(talk) for name, talk in talks.items()}
    print(f"b. What is added to the services' latencies and the chosen waits, {TURNS} turns each.")
    print(table(HEAD, [[name, *row] for name, row in rows.items()]))
    own = 1000 * late.usual
    print(f"   of which {own:.1f} ms are the stand-ins' own: a bare client waits as much, at P50.")
    print("   by stage, at P50, the stand-ins' own included:")
    print(table(["ms", *STAGES], [_by_stage(name, talks[name]) for name in JUDGED]))
    judged = [one for name in JUDGED for one in _judged(name, talks[name], own)]
    judged.append(_sums([turn for talk in talks.values() for turn in talk.turns]))
    for what, met in judged:
        print(verdict(what, met))
    return {
        "added": {name: dict(zip(HEAD[1:], row, strict=True)) for name, row in rows.items()},
        "standins_late": own,
        "judged": [{"what": what, "met": met} for what, met in judged],
    }


HEAD = ("ms", "n", "owed", "added P50", "P95", "max", "pipeline P50", "P95 ")

JUDGED = ("endpointing", "vad")


def _row(talk: Talk) -> list[float | None]:
    added = describe(talk.added)
    pipeline = describe(turn.stages.get("pipeline", 0.0) for turn in talk.turns)
    times = [owed(talk.profile), added.p50, added.p95, added.max, pipeline.p50, pipeline.p95]
    return [added.n, *(None if took is None else 1000 * took for took in times)]


def _by_stage(name: str, talk: Talk) -> list[object]:
    return [name, *(1000 * (describe(late).p50 or 0.0) for late in lateness(talk).values())]


def _judged(name: str, talk: Talk, own: float) -> list[tuple[str, bool]]:
    """``own``, at P50, is what the services took beyond the script."""
    added = describe(talk.added)
    p50, p95 = 1000 * (added.p50 or 1), 1000 * (added.p95 or 1)
    return [
        (f"{name}: P50 {p50:.1f} ms <= 15, the stand-ins' own included", p50 <= 15),
        (f"{name}: P50 {p50 - own:.1f} ms <= 10", p50 - own <= 10),
        (f"{name}: P95 {p95 - own:.1f} ms <= 25", p95 - own <= 25),
    ]


def _sums(turns: list[Turn]) -> tuple[str, bool]:
    measured = [turn for turn in turns if turn.mouth_to_ear is not None]
    off = [abs(sum(turn.stages.values()) - (turn.mouth_to_ear or 0.0)) for turn in measured]
    return f"the stages sum to the total in all {len(off)} turns", max(off) < 1e-6
