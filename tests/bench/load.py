"""Part c: what conversations cost: CPU, memory, lateness, by their number in one process.

Real time; each number in a process of its own, on a core of its own where there are two, and the
the services in another, so that only the program's own cost is counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from contextlib import suppress
from typing import Any

from tests.bench.fixed import Talk, hold, new_talk
from tests.bench.null_services import open_dull
from tests.bench.table import table, verdict
from tests.support.conversations import profile
from voicecli import clock
from voicecli.metrics.summary import describe
from voicecli.standin import Endpoints
from voicecli.units import Seconds

NUMBERS = (1, 8, 32, 64)
SPREAD: Seconds = 5.0
"""The conversations begin within so long, not all at once."""

WINDOW: Seconds = 20.0
"""Then they are measured for so long."""

TICK: Seconds = 0.010
"""How often the loop is asked how late it is."""


def run() -> dict[str, Any]:
    """Print the table; the numbers, for bench.json."""
    measured = clock.run(_all())
    print(f"c. Conversations in one process, {WINDOW:g} s each; the services in another.")
    rows = [[f"{one['n']} at {one['rate']} Hz", *(one[key] for key in KEYS)] for one in measured]
    print(table(["conversations", *KEYS.values()], rows))
    first, *_, last = [one for one in measured if one["rate"] == 16_000]
    usual = next(one for one in measured if one["rate"] == 48_000)
    added = last["n"] - first["n"]
    share = (last["cpu"] - first["cpu"]) / added
    memory = (last["rss"] - first["rss"]) / added
    judged = [
        (f"one: {first['cpu']:.1f} % of a core <= 3", first["cpu"] <= 3),
        (f"one at 48 kHz: {usual['cpu']:.1f} % of a core <= 3", usual["cpu"] <= 3),
        (f"one: {first['rss']:.0f} MB <= 110", first["rss"] <= 110),
        (f"each more: {share:.2f} % of a core <= 1.5", share <= 1.5),
        (f"each more: {memory:.2f} MB <= 4", memory <= 4),
        (
            f"{last['n']}: P95 of what is added {last['added95']:.1f} ms <= 50",
            last["added95"] <= 50,
        ),
    ]
    for what, met in judged:
        print(verdict(what, met))
    return {"load": measured, "judged": [{"what": what, "met": met} for what, met in judged]}


KEYS = {
    "cpu": "CPU %",
    "rss": "MB",
    "lag95": "lag P95 ms",
    "lag_max": "max",
    "turns": "turns",
    "added50": "added P50",
    "added95": "P95",
    "pipeline95": "pipeline P95",
}


async def _all() -> list[dict[str, Any]]:
    found = []
    for n, rate in [*((n, 16_000) for n in NUMBERS), (1, 48_000), (32, 48_000)]:
        async with open_dull() as endpoints:
            command = [sys.executable, "-m", "tests.bench.load", str(n), str(rate)]
            child = await asyncio.create_subprocess_exec(
                *command, endpoints.deepgram, endpoints.openai, stdout=asyncio.subprocess.PIPE
            )
            told, _ = await child.communicate()
        found.append({"n": n, "rate": rate, **json.loads(told)})
    return found


# ── in the process that is measured ──────────────────────────────────────────


async def _measure(n: int, rate: int, endpoints: Endpoints) -> dict[str, Any]:
    settings = profile(
        f"audio.sample_rate={rate}", "tts.sample_rate=24000", "turn.detect=vad", name="default"
    )
    talks = [new_talk(settings, 100, seed) for seed in range(n)]
    late: list[Seconds] = []
    async with asyncio.TaskGroup() as tasks:
        held = [
            tasks.create_task(_later(SPREAD * index / n, talk, endpoints))
            for index, talk in enumerate(talks)
        ]
        await asyncio.sleep(SPREAD + 1)
        watching = tasks.create_task(_watch(late))
        began, cpu = clock.now(), _cpu()
        await asyncio.sleep(WINDOW)
        took, used = clock.now() - began, _cpu() - cpu
        memory = _rss()
        watching.cancel()
        for task in held:
            task.cancel()
    lag = describe(late)
    added = describe(wait for talk in talks for wait in talk.added_since(began))
    pipeline = describe(
        turn.stages["pipeline"]
        for talk in talks
        for turn in talk.turns
        if turn.stages and turn.at >= began
    )
    return {
        "cpu": 100 * used / took,
        "rss": memory,
        "lag95": 1000 * (lag.p95 or 0),
        "lag_max": 1000 * (lag.max or 0),
        "turns": added.n,
        "added50": 1000 * (added.p50 or 0),
        "added95": 1000 * (added.p95 or added.max or 0),
        "pipeline95": 1000 * (pipeline.p95 or pipeline.max or 0),
    }


async def _later(delay: Seconds, talk: Talk, endpoints: Endpoints) -> None:
    await asyncio.sleep(delay)
    with suppress(asyncio.CancelledError):
        await hold(talk, endpoints)


async def _watch(late: list[Seconds]) -> None:
    while True:
        due = clock.now() + TICK
        await asyncio.sleep(TICK)
        late.append(clock.now() - due)


def _cpu() -> Seconds:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _rss() -> float:
    """Megabytes that are resident."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    n, rate, deepgram, openai = sys.argv[1:]
    print(json.dumps(clock.run(_measure(int(n), int(rate), Endpoints(deepgram, openai)))))
