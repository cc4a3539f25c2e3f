"""A thread for what takes more than a millisecond and can wait: the event loop must not be late.

All sessions of the process share it: with more threads, they would compete with the audio path of
every session for the cores.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache

NICENESS = 10
"""Of the thread.  The event loop comes first where both share a core."""


@cache
def open_thread() -> ThreadPoolExecutor:
    """Return the thread; it starts with its first work."""
    return ThreadPoolExecutor(1, "background", initializer=_give_way)


def _give_way() -> None:
    """Lower this thread's priority; where a priority is the whole process's, do nothing."""
    if sys.platform == "linux":
        os.nice(NICENESS)  # of the calling thread
