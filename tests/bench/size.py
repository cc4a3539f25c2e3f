"""How much a part measures: all of it, or as little as shows that it runs."""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")

VARIABLE = "BENCH_BRIEF"
"""Set by ``python -m tests.bench --brief``; child processes inherit it."""


def choose_size(whole: T, brief: T) -> T:
    """Return ``whole``, or ``brief`` where nothing is to be measured."""
    return brief if os.environ.get(VARIABLE) else whole
