"""Stalls of the machine, as seen by a process that does nothing but sleep."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from voicecli.units import Seconds

NAP: Seconds = 0.005
SHORTEST_GAP: Seconds = 0.02
"""A nap this long is a gap: one block of audio.  On a quiet machine it takes 5 to 6 ms."""

Gap = tuple[Seconds, Seconds]
"""Start on CLOCK_MONOTONIC, duration."""


@contextmanager
def record_gaps() -> Iterator[list[Gap]]:
    """Yield a list that holds, on exit, the gaps that occurred inside the block."""
    found: list[Gap] = []
    command = [sys.executable, "-m", "tests.bench.stalls"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sleeper:
        try:
            yield found
        finally:
            sleeper.terminate()
            printed, _ = sleeper.communicate()
            for line in printed.splitlines():
                began, lasted = map(float, line.split())
                found.append((began, lasted))


def find_longest(found: list[Gap], since: Seconds, until: Seconds) -> Seconds:
    """Return the length of the longest gap that touches the interval, or 0."""
    touching = (gap for gap in found if gap[0] <= until and sum(gap) >= since)
    return max((lasted for _, lasted in touching), default=0.0)


def main() -> None:
    """Nap forever and print the gaps."""
    before = time.monotonic()
    while True:
        time.sleep(NAP)
        now = time.monotonic()
        if now - before > SHORTEST_GAP:
            print(before, now - before, flush=True)
        before = now


if __name__ == "__main__":
    main()
