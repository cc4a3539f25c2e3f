"""Standard error as libraries written in C know it: a descriptor, whatever Python makes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hushed() -> Iterator[int | None]:
    """What is written to descriptor 2 leads nowhere, of all threads; gives the one it led to.

    None where there is no standard error.
    """
    try:
        saved = os.dup(2)
    except OSError:
        yield None
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield saved
    finally:
        os.dup2(saved, 2)
        os.close(saved)
