"""The one clock, and the choice of time.

Whoever wants the time asks the running loop (``now``); nobody reads another clock.  Choosing the
loop is therefore choosing the time: the real one for a conversation, a virtual one where it is to
take no longer than computing it does.  Both start at 0.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from voicecli.units import Seconds

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def now() -> Seconds:
    """Seconds since the running loop was made."""
    return asyncio.get_running_loop().time()


def monotonic_origin() -> Seconds | None:
    """CLOCK_MONOTONIC at time 0 of the running loop; None in virtual time."""
    return getattr(asyncio.get_running_loop(), "origin", None)


def run(main: Coroutine[Any, Any, T], *, virtual: bool = False) -> T:
    """Run ``main`` in real time, or in virtual time: as fast as it can be computed."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop if virtual else RealTimeLoop) as runner:
        return runner.run(main)


class RealTimeLoop(asyncio.SelectorEventLoop):
    """The usual loop, its time counted from its making."""

    def __init__(self) -> None:
        self.origin = time.monotonic()
        super().__init__()

    def time(self) -> Seconds:
        """Seconds since the loop was made."""
        return time.monotonic() - self.origin


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop whose time moves only when nothing is left to do, and then to the next timer.

    Sockets work: what one end has sent on loopback, the other can read before time moves.  Work
    handed to a thread is waited for in real time.  A peer outside the process makes no sense of it.
    """

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> Seconds:
        """Virtual seconds since the loop was made."""
        return self._jumping.now

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run ``func`` in a thread; time stands still until it is done."""
        self._jumping.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self._jumping.threads -= 1


class _JumpingSelector(selectors.DefaultSelector):
    """Where another selector would sleep until the next timer, jumps to it."""

    now: Seconds = 0.0
    threads: int = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None or self.threads:  # only the world outside the loop can go on from here
            return super().select(None)
        self.now += timeout
        return []
