"""Loads large packages in a thread, beside a conversation that has begun."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable
from threading import Lock

from voicecli.units import Seconds

SWITCH_INTERVAL: Seconds = 0.001
"""How soon a thread that loads lets the event loop run; Python's 5 ms would add up to MAX_LAG."""

_loading = Lock()
"""Held while something is loaded: the interpreter's settings belong to the whole process."""


atexit.register(gc.unfreeze)  # a frozen object of an extension module is reported as leaked


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
