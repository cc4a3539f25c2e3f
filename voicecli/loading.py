"""Loads modules fast, and large packages in a thread beside a conversation that has begun."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from voicecli.units import Seconds

SWITCH_INTERVAL: Seconds = 0.001
"""How soon a thread that loads lets the event loop run; Python's 5 ms would add up to MAX_LAG."""

STARTING_THRESHOLD = 50_000
"""Objects after which garbage is collected while the program starts.  Modules are no garbage: with
Python's 700, 147 collections took 44 ms of the 640 to the first audio (Intel Xeon, n = 3)."""

_THRESHOLDS = gc.get_threshold()

_loading = Lock()
"""Held while something is loaded: the interpreter's settings belong to the whole process."""

atexit.register(gc.unfreeze)  # a frozen object of an extension module is reported as leaked


def begin_start() -> None:
    """Collect garbage less often until ``end_start``."""
    gc.set_threshold(STARTING_THRESHOLD)


@contextmanager
def end_start() -> Iterator[None]:
    """Exempt what has been loaded from collections: one that went over it took 35 ms.

    Without that, a loudspeaker ran dry.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.unfreeze()


class Library:
    """Something large that the first reply needs and the start of a conversation does not.

    loaded: whether it has been imported and has done the work of its first use.
    """

    def __init__(self, rehearse: Callable[[], None]) -> None:
        """``rehearse`` imports it, and uses it for the first time."""
        self.loaded = False
        self._rehearse = rehearse

    def load(self) -> None:
        """Load it, unless it is loaded.  Blocks; in a thread, it lets the event loop run."""
        if self.loaded:
            return  # without the lock, which another library may hold for a while
        with _loading:
            if self.loaded:
                return
            interval, collects = sys.getswitchinterval(), gc.isenabled()
            sys.setswitchinterval(SWITCH_INTERVAL)
            gc.disable()  # a collection stops all threads, for up to 35 ms
            try:
                self._rehearse()
                self.loaded = True
            finally:
                gc.freeze()  # nothing of it is ever garbage
                if collects:
                    gc.enable()
                sys.setswitchinterval(interval)
