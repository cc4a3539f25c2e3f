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
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tests.bench.fixed import Talk, create_talk, hold_talk
from tests.bench.null_services import open_null_services
from tests.bench.size import choose_size
from tests.bench.table import Check, format_table, print_checks
from tests.support.conversations import profile
from voicecli import clock
from voicecli.audio.interfaces import AudioSettings
from voicecli.audio.vad.smart_turn import find_network
from voicecli.events import EndOfTurnScored, ScoreEndOfTurn
from voicecli.metrics.summary import describe
from voicecli.standin import Endpoints
from voicecli.turns.policy import EndModel
from voicecli.units import Seconds


class Load(NamedTuple):
    """What is measured with one, some and many conversations.

    counts: how many at once, in ascending order.
    end_model: as ``turn.end_model``.
    """

    rate: int
    counts: tuple[int, ...]
    end_model: EndModel

    def __str__(self) -> str:
        names = [DETECTOR.capitalize(), *(["Smart Turn"] if self.end_model != "off" else [])]
        return ", ".join([*names, f"{self.rate // 1000} kHz"])


DETECTOR = AudioSettings().vad  # what users get

LOADS = choose_size(
    (
        Load(16_000, (1, 32, 64), "off"),
        Load(48_000, (1, 48), "off"),
        Load(16_000, (1, 64), "smart-turn"),
    ),
    (Load(16_000, (1, 2), "off"),),
)

MOST_CPU, MOST_CPU_EACH = 3.0, 0.8  # percent of a core: of the first session, of each further one
MOST_MEMORY = {"off": 110, "smart-turn": 200}  # MB of the first session
MOST_MEMORY_EACH = 2.0  # MB of each further one
MOST_ADDED: Seconds = 0.050  # P95 of what the program adds to a wait

SPREAD: Seconds = choose_size(5.0, 0.5)
"""Over which the conversations begin, so that they are not in step."""

WINDOW: Seconds = choose_size(20.0, 5.0)
"""Of the measurement, which begins after that."""

TICK: Seconds = 0.050
"""Between two checks of how late the loop is.  Each wakes the process, which takes 0.1 ms of CPU
on a nested virtual machine: every 10 ms, they were 1 % of a core."""


def run() -> dict[str, Any]:
    """Measure and print; return the numbers for bench.json."""
    loads = [load for load in LOADS if load.end_model == "off" or find_network("auto")]
    print(
        f"load: sessions in one process pinned to one core, {WINDOW:g} s in real time; "
        "the services in another process."
    )
    measured = clock.run(_measure_all(loads))
    rows = [[f"{n}, {load}", *(one[key] for key in KEYS)] for load, n, one in measured]
    print(format_table(["sessions", *KEYS.values()], rows))
    checks = [
        check
        for load in loads
        for check in check_load(load, {n: one for of, n, one in measured if of == load})
    ]
    for load in LOADS:
        if load not in loads:
            print(f"- {load}: not measured; needs the extra smart-turn and its model.")
    kept = [{"n": n, **load._asdict(), "vad": DETECTOR, **one} for load, n, one in measured]
    return {"load": kept, "checks": print_checks(checks)}


def check_load(load: Load, measured: dict[int, dict[str, Any]]) -> list[Check]:
    """Compare what was measured, by the number of sessions, with the bars."""
    (few, first), *_, (many, last) = measured.items()
    cpu = (last["cpu"] - first["cpu"]) / (many - few)
    memory = (last["rss"] - first["rss"]) / (many - few)
    one, all_ = f"{few} session, {load}", f"{many} sessions, {load}"
    return [
        _bound(f"{one}: % of a core", first["cpu"], MOST_CPU),
        _bound(f"{one}: MB", first["rss"], MOST_MEMORY[load.end_model]),
        _bound(f"{all_}: % of a core for each one added", cpu, MOST_CPU_EACH),
        _bound(f"{all_}: MB for each one added", memory, MOST_MEMORY_EACH),
        _bound(f"{all_}: % of the core", last["cpu"], 100),
        _bound(
            f"{all_}: P95 of what the program adds, ms (n = {last['turns']})",
            last["added95"],
            1000 * MOST_ADDED,
        ),
    ]


def _bound(what: str, value: float, most: float) -> Check:
    return f"{what}: {value:.2f} <= {most:g}", value <= most


KEYS = {
    "cpu": "CPU %",
    "rss": "MB",
    "lag95": "lag P95 ms",
    "lag_max": "max",
    "turns": "turns",
    "added50": "added P50",
    "added95": "P95",
    "pipeline95": "pipeline P95",
    "scores": "scores",
    "score50": "score P50",
    "score95": "P95",
}


async def _measure_all(loads: Sequence[Load]) -> list[tuple[Load, int, dict[str, Any]]]:
    found = []
    for load in loads:
        for n in load.counts:
            found.append((load, n, await _measure_one(load, n)))
    return found


async def _measure_one(load: Load, n: int) -> dict[str, Any]:
    """Hold ``n`` conversations in a process of their own; return what it printed."""
    async with open_null_services() as endpoints:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.bench.load", str(n), str(load.rate), load.end_model),
            *(endpoints.deepgram, endpoints.openai),
            stdout=asyncio.subprocess.PIPE,
        )
        printed, _ = await child.communicate()
    numbers: dict[str, Any] = json.loads(printed)
    return numbers


# ── in the process that is measured ──────────────────────────────────────────


async def _measure(n: int, rate: int, end_model: str, endpoints: Endpoints) -> dict[str, Any]:
    settings = profile(
        f"audio.sample_rate={rate}",
        f"audio.vad={DETECTOR}",
        "tts.sample_rate=24000",
        "turn.detect=vad",
        f"turn.end_model={end_model}",
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
        memory = read_memory()
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
    scores = describe(wait for talk in talks for wait in _score_waits(talk, began))
    return {
        "cpu": 100 * used / took,
        "rss": memory,
        "lag95": 1000 * (lag.p95 or 0),
        "lag_max": 1000 * (lag.max or 0),
        "turns": added.n,
        "added50": 1000 * (added.p50 or 0),
        "added95": 1000 * (added.p95 or added.max or 0),
        "pipeline95": 1000 * (pipeline.p95 or pipeline.max or 0),
        "scores": scores.n,
        "score50": 1000 * (scores.p50 or 0),
        "score95": 1000 * (scores.p95 or scores.max or 0),
    }


def _score_waits(talk: Talk, began: Seconds) -> Iterator[Seconds]:
    """Yield how long each score of an end of turn took that came within its pause."""
    ordered: Seconds = 0.0
    for entry in talk.timeline:
        if isinstance(entry, ScoreEndOfTurn):
            ordered = entry.at
        elif isinstance(entry, EndOfTurnScored) and entry.at >= began:
            yield entry.at - ordered


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


def read_memory() -> float:
    """Return the resident memory in megabytes."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() / 2**20


if __name__ == "__main__":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    n, rate, end_model, deepgram, openai = sys.argv[1:]
    measuring = _measure(int(n), int(rate), end_model, Endpoints(deepgram, openai))
    print(json.dumps(clock.run(measuring)), flush=True)
    os._exit(0)  # without soxr's report of what the cancelled sessions had not closed
