"""The one clock: the running event loop's time.

The program reads the time with ``now`` only, so choosing the loop chooses the time: real for a
conversation, virtual to run one as fast as it can be computed.  Both start at 0.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from typing_extensions import override

from voicecli.units import Seconds

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def now() -> Seconds:
    """Return the seconds since the running loop was created."""
    return asyncio.get_running_loop().time()


def monotonic_origin() -> Seconds | None:
    """Return CLOCK_MONOTONIC at the running loop's time 0; None in virtual time."""
    return getattr(asyncio.get_running_loop(), "origin", None)


async def sleep_until(when: Seconds) -> None:
    """Sleep until ``now()`` is ``when``; return at once, without yielding, if that is past."""
    if (delay := when - now()) > 0:
        await asyncio.sleep(delay)


def run(main: Coroutine[Any, Any, T], *, virtual: bool = False) -> T:
    """Run ``main`` in real time, or in virtual time as fast as it can be computed."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop if virtual else RealTimeLoop) as runner:
        return runner.run(main)


class RealTimeLoop(asyncio.SelectorEventLoop):
    """The standard selector loop with its time counted from its creation."""

    def __init__(self) -> None:
        self.origin = time.monotonic()
        super().__init__()

    @override
    def time(self) -> Seconds:
        return time.monotonic() - self.origin


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose time jumps to the next timer whenever there is nothing left to do.

    Loopback sockets work: data sent by one end can be read by the other before time moves.  While a
    thread runs, time stands still.  Peers outside the process must not depend on the time.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    @override
    def time(self) -> Seconds:
        return self._jumping.now

    @override
    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        self._jumping.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self._jumping.threads -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that jumps to the next timer instead of sleeping."""

    now: Seconds = 0.0
    threads: int = 0

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self.threads:  # only something outside the loop can continue
            return super().select(None)
        self.now += timeout
        return []


class RateLimit:
    """Allows ``limit`` units within any ``window`` seconds.  Pure: the caller gives the time."""

    def __init__(self, limit: int, window: Seconds) -> None:
        self.limit = limit
        self._window = window
        self._spent: deque[tuple[Seconds, int]] = deque()

    def spend(self, amount: int, now: Seconds) -> None:
        """Count ``amount`` as spent now."""
        while self._spent and self._spent[0][0] + self._window <= now:
            self._spent.popleft()
        self._spent.append((now, amount))

    def left(self, now: Seconds) -> int:
        """Return how much may be spent now."""
        return self.limit - sum(spent for _, spent in self._recent(now))

    def allowed_at(self, amount: int, now: Seconds) -> Seconds:
        """Return the earliest time, from ``now`` on, to spend ``amount`` (at most ``limit``)."""
        excess = amount - self.left(now)
        allowed = now
        for at, spent in self._recent(now):
            if excess <= 0:
                break
            excess -= spent
            allowed = at + self._window
        return allowed

    def _recent(self, now: Seconds) -> list[tuple[Seconds, int]]:
        return [(at, spent) for at, spent in self._spent if at + self._window > now]
