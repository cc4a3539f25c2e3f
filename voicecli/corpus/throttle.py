"""Decides how many sessions run side by side in one event loop: fewer while the loop is late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from voicecli import clock
from voicecli.events import MAX_LAG
from voicecli.units import Seconds

TICK: Seconds = 0.010
"""Between two looks at how late the loop is."""

SPACING: Seconds = 0.1
"""Between two starts: a session that starts takes the loop 10 ms, and must not be in step."""

CALM: Seconds = 3.0
"""Without lag for this long, one more session may run; after lag, how long none is taken away."""


@dataclass(eq=False, slots=True)
class LagMeter:
    """How late the loop was, at worst, while it was watched."""

    worst: Seconds = 0.0


class Throttle:
    """Admits sessions to the loop; sets how many by how late it is.

    most: sessions side by side, at most.
    limit: how many may run now.
    """

    def __init__(self, most: int, first: int | None = None) -> None:
        self.most = most
        self.limit = min(most, first or most)
        self._running = 0
        self._changed = asyncio.Condition()
        self._meters: set[LagMeter] = set()
        self._changed_at: Seconds = 0.0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None, None]:
        """Watch the loop; leaving ends that."""
        watching = asyncio.create_task(self._watch(), name="watch loop")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def acquire(self) -> None:
        """Wait until one more session may start."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._running < self.limit)
            self._running += 1
        if self.most > 1:
            await asyncio.sleep(SPACING)

    async def release(self) -> None:
        """Note that a session has ended."""
        async with self._changed:
            self._running -= 1
            self._changed.notify_all()

    @contextmanager
    def measure(self) -> Iterator[LagMeter]:
        """Measure how late the loop is within the block."""
        meter = LagMeter()
        self._meters.add(meter)
        try:
            yield meter
        finally:
            self._meters.discard(meter)

    def slow_down(self) -> None:
        """Lower the limit, unless it has changed just now."""
        if clock.now() >= self._changed_at + CALM:
            self.limit = max(1, min(self.limit, self._running) * 3 // 4)
            self._changed_at = clock.now()

    async def _watch(self) -> None:
        while True:
            due = clock.now() + TICK
            await asyncio.sleep(TICK)
            lag = clock.now() - due
            for meter in self._meters:
                meter.worst = max(meter.worst, lag)
            if lag > MAX_LAG:
                self.slow_down()
            elif self._running == self.limit < self.most:
                await self._speed_up()

    async def _speed_up(self) -> None:
        """Raise the limit by one, if it has not changed for a while."""
        if clock.now() >= self._changed_at + CALM:
            self.limit += 1
            self._changed_at = clock.now()
            async with self._changed:
                self._changed.notify_all()
