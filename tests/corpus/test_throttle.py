"""How many sessions run side by side: as many as the loop carries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from voicecli import clock
from voicecli.corpus.throttle import CALM, TICK, Throttle
from voicecli.events import MAX_LAG
from voicecli.units import Seconds


def run_sessions(
    throttle: Throttle, count: int, session: Callable[[], Awaitable[None]]
) -> tuple[list[int], Seconds]:
    """Run sessions in virtual time; return how many ran at each start, and when the last ended."""
    running = 0
    seen: list[int] = []

    async def run_one() -> None:
        nonlocal running
        running += 1
        seen.append(running)
        await session()
        running -= 1
        await throttle.release()

    async def run_all() -> Seconds:
        async with throttle.open(), asyncio.TaskGroup() as tasks:
            for _ in range(count):
                await throttle.acquire()
                tasks.create_task(run_one())
        return clock.now()

    ended = clock.run(run_all(), virtual=True)
    return seen, ended


def be_busy(duration: Seconds) -> None:
    """Keep the running loop of virtual time from everything else for ``duration``."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, clock.VirtualTimeLoop)
    loop._jumping.now += duration


async def last_ten_seconds() -> None:
    await asyncio.sleep(10)


def test_more_sessions_are_admitted_while_the_loop_is_calm() -> None:
    seen, _ = run_sessions(Throttle(8, first=2), 40, last_ten_seconds)
    assert seen[:3] == [1, 2, 3]
    assert max(seen) == 8


def test_a_fixed_number_is_never_exceeded() -> None:
    seen, ended = run_sessions(Throttle(3), 9, last_ten_seconds)
    assert max(seen) == 3
    assert 30 <= ended < 32


def test_one_at_a_time_starts_at_once() -> None:
    seen, ended = run_sessions(Throttle(1), 3, last_ten_seconds)
    assert (seen, round(ended, 6)) == ([1, 1, 1], 30)


def test_a_late_loop_admits_fewer() -> None:
    """Lag is noticed by the watcher, which finds itself late, and by who measures."""

    async def hold_up() -> Throttle:
        throttle = Throttle(8)
        async with throttle.open():
            for _ in range(8):
                await throttle.acquire()
            await asyncio.sleep(CALM)
            with throttle.measure() as meter:
                be_busy(2 * MAX_LAG)
                await asyncio.sleep(3 * TICK)
            assert meter.worst > 1.5 * MAX_LAG
        return throttle

    assert clock.run(hold_up(), virtual=True).limit == 6


def test_the_limit_falls_once_and_not_below_one() -> None:
    async def slow_down() -> list[int]:
        throttle, limits = Throttle(4), []
        for _ in range(4):
            await throttle.acquire()
        for _ in range(4):
            await asyncio.sleep(CALM)
            throttle.slow_down()
            throttle.slow_down()
            limits.append(throttle.limit)
        return limits

    assert clock.run(slow_down(), virtual=True) == [3, 2, 1, 1]
