"""When the machine stood still, as a process sees it that does nothing but sleep."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from voicecli.units import Seconds

NAP: Seconds = 0.005
LONG: Seconds = 0.02
"""What a nap must last to be a gap: a block of audio; on a quiet machine it lasts 5 to 6 ms."""

Gap = tuple[Seconds, Seconds]
"""When it began, on CLOCK_MONOTONIC, and how long it was."""


@contextmanager
def gaps() -> Iterator[list[Gap]]:
    """The gaps of what is done meanwhile; there once it is done."""
    found: list[Gap] = []
    command = [sys.executable, "-m", "tests.bench.stalls"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sleeper:
        try:
            yield found
        finally:
            sleeper.terminate()
            told, _ = sleeper.communicate()
            for line in told.splitlines():
                began, lasted = map(float, line.split())
                found.append((began, lasted))


def worst(found: list[Gap], since: Seconds, until: Seconds) -> Seconds:
    """The longest that touches this time; 0 where there is none."""
    touching = (gap for gap in found if gap[0] <= until and sum(gap) >= since)
    return max((lasted for _, lasted in touching), default=0.0)


def main() -> None:
    """Nap for ever, and print the gaps."""
    before = time.monotonic()
    while True:
        time.sleep(NAP)
        now = time.monotonic()
        if now - before > LONG:
            print(before, now - before, flush=True)
        before = now


if __name__ == "__main__":
    main()
