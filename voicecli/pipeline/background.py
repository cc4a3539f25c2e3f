"""Threads for what takes more than a millisecond and can wait: the event loop must not be late.

All sessions of the process share one thread for a purpose: with more, they would compete with the
audio path of every session for the cores.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache

NICENESS = 10
"""Of the threads.  The event loop comes first where both share a core."""


@cache
def open_thread(purpose: str) -> ThreadPoolExecutor:
    """Return the thread for ``purpose``; it starts with its first work."""
    return ThreadPoolExecutor(1, purpose, initializer=_give_way)


if sys.platform != "win32":  # a forked process has none of the threads, and starts its own
    os.register_at_fork(after_in_child=open_thread.cache_clear)


def _give_way() -> None:
    """Lower this thread's priority; where a priority is the whole process's, do nothing."""
    if sys.platform == "linux":
        os.nice(NICENESS)  # of the calling thread
