"""load: CPU, memory and loop lag by the number of conversations in one process.

Real time, with the detector that users get and a recorded voice in a quiet room.  The conversations
of a row run in one process, pinned to the first core, the services in another one, which the system
may move, so that only the program's own cost is counted.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from contextlib import suppress
from typing import Any

from tests.bench.fixed import Talk, create_talk, hold_talk
from tests.bench.null_services import open_null_services
from tests.bench.table import Check, format_table, print_checks
from tests.support.conversations import profile
from voicecli import clock
from voicecli.audio.interfaces import AudioSettings
from voicecli.metrics.summary import describe
from voicecli.standin import Endpoints
from voicecli.units import Seconds

CONVERSATIONS = {16_000: (1, 8, 32, 64), 48_000: (1, 32, 48)}
"""How many at once, by sample rate."""

SPREAD: Seconds = 5.0
"""Over which the conversations begin, so that they are not in step."""

WINDOW: Seconds = 20.0
"""Of the measurement, which begins after that."""

TICK: Seconds = 0.010
"""Between two checks of how late the loop is."""


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    measured = clock.run(_measure_all())
    print(
        f"load: conversations in one process pinned to one core, {WINDOW:g} s each, "
        f"{AudioSettings().vad} detector; the services in another."
    )
    rows = [[f"{one['n']} at {one['rate']} Hz", *(one[key] for key in KEYS)] for one in measured]
    print(format_table(["conversations", *KEYS.values()], rows))
    checks = [check for rate in CONVERSATIONS for check in _check(rate, measured)]
    return {"load": measured, "checks": print_checks(checks)}


def _check(rate: int, measured: list[dict[str, Any]]) -> list[Check]:
    first, *_, last = [one for one in measured if one["rate"] == rate]
    added = last["n"] - first["n"]
    share = (last["cpu"] - first["cpu"]) / added
    memory = (last["rss"] - first["rss"]) / added
    at = f"at {rate} Hz"
    return [
        (f"one {at}: {first['cpu']:.1f} % of a core <= 3", first["cpu"] <= 3),
        (f"one {at}: {first['rss']:.0f} MB <= 110", first["rss"] <= 110),
        (f"each more {at}: {share:.2f} % of a core <= 0.8", share <= 0.8),
        (f"each more {at}: {memory:.2f} MB <= 2", memory <= 2),
        (f"{last['n']} {at}: {last['cpu']:.0f} % of a core <= 100", last["cpu"] <= 100),
        (
            f"{last['n']} {at}: P95 of what the program adds {last['added95']:.1f} ms <= 50",
            last["added95"] <= 50,
        ),
    ]


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


async def _measure_all() -> list[dict[str, Any]]:
    found = []
    for rate, n in [(rate, n) for rate, numbers in CONVERSATIONS.items() for n in numbers]:
        async with open_null_services() as endpoints:
            command = [sys.executable, "-m", "tests.bench.load", str(n), str(rate)]
            child = await asyncio.create_subprocess_exec(
                *command, endpoints.deepgram, endpoints.openai, stdout=asyncio.subprocess.PIPE
            )
            printed, _ = await child.communicate()
        found.append({"n": n, "rate": rate, **json.loads(printed)})
    return found


# ── in the process that is measured ──────────────────────────────────────────


async def _measure(n: int, rate: int, endpoints: Endpoints) -> dict[str, Any]:
    settings = profile(
        f"audio.sample_rate={rate}",
        f"audio.vad={AudioSettings().vad}",
        "tts.sample_rate=24000",
        "turn.detect=vad",
        name="default",
    )
    talks = [create_talk(settings, 100, seed) for seed in range(n)]
    late: list[Seconds] = []
    async with asyncio.TaskGroup() as tasks:
        held = [
            tasks.create_task(_hold_later(SPREAD * index / n, talk, endpoints))
            for index, talk in enumerate(talks)
        ]
        await asyncio.sleep(SPREAD + 1)
        watching = tasks.create_task(_record_lag(late))
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


async def _hold_later(delay: Seconds, talk: Talk, endpoints: Endpoints) -> None:
    await asyncio.sleep(delay)
    with suppress(asyncio.CancelledError):
        await hold_talk(talk, endpoints)


async def _record_lag(late: list[Seconds]) -> None:
    while True:
        due = clock.now() + TICK
        await asyncio.sleep(TICK)
        late.append(clock.now() - due)


def _cpu() -> Seconds:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _rss() -> float:
    """Return the resident memory in megabytes."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    n, rate, deepgram, openai = sys.argv[1:]
    print(json.dumps(clock.run(_measure(int(n), int(rate), Endpoints(deepgram, openai)))))
