"""A probe that goes on: a live table with sparklines."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from voicecli import clock
from voicecli.events import Service
from voicecli.metrics.summary import describe
from voicecli.probe.metrics import METRICS
from voicecli.probe.samples import FailedSample, Sample
from voicecli.probe.tables import number
from voicecli.sanitize import sanitize_line
from voicecli.units import Seconds

if TYPE_CHECKING:
    from rich.table import Table

BARS = "▁▂▃▄▅▆▇█"

WIDTH = 30
"""Readings in a sparkline."""

WATCHED = ("stt.final", "stt.ttfs", "llm.ttft", "llm.clause", "tts.ttfa", "playout")
"""What a conversation waits for."""


def sparkline(values: Sequence[float]) -> str:
    """``values`` as bars, from the least to the greatest of them; equal ones are low."""
    if not values:
        return ""
    low, high = min(values), max(values)
    step = (high - low) / (len(BARS) - 1) if high > low else 1.0
    return "".join(BARS[round((value - low) / step)] for value in values)


class Watch:
    """See ``run.Watcher``: keeps the last readings, and shows them whenever there is a new one.

    show: is given the table; say: one line about a reading, where there is no table to be seen.
    """

    def __init__(self, show: Callable[[Table], None], say: Callable[[str], None]) -> None:
        self._show = show
        self._say = say
        self._values: dict[str, list[float]] = {}
        self._errors: dict[Service, int] = {}
        self._last: deque[str] = deque(maxlen=3)

    def begun(self, service: Service, steps: int | None) -> None:
        """``service`` is being probed."""
        self._errors[service] = 0

    def found(self, one: Sample | FailedSample) -> None:
        """A reading, or what went wrong."""
        if isinstance(one, FailedSample):
            self._errors[one.service] += 1
            self.noted(str(one.error))
            return
        shown = {name: value for name, value in one.values.items() if name in WATCHED}
        for name, value in shown.items():
            self._values.setdefault(name, []).append(value)
        for name, value in shown.items():
            self._say(f"{_stamp(one.at)} {name} {number(value, METRICS[name].unit)} ms")
        self._show(self.table())

    def noted(self, text: str) -> None:
        """Something that a user should know."""
        self._last.append(f"{_stamp(clock.now())} {sanitize_line(text)}")
        self._say(self._last[-1])
        self._show(self.table())

    def done(self, service: Service) -> None:
        """Nothing more of it."""

    def table(self) -> Table:
        """What is known, a row per metric."""
        from rich.table import Table

        errors = ", ".join(f"{name} {count}" for name, count in self._errors.items() if count)
        below = [*self._last, f"errors: {errors or 'none'}; Ctrl-C ends"]
        table = Table(box=None, pad_edge=False, caption="\n".join(below), caption_justify="left")
        table.add_column("ms")
        for heading in ("n", "last", "P50", "P95", "max"):
            table.add_column(heading, justify="right")
        table.add_column(f"the last {WIDTH}")
        for name in WATCHED:
            if values := self._values.get(name):
                one = describe(values)
                shown = (values[-1], one.p50, one.p95, one.max)
                cells = [number(value, "ms") for value in shown]
                table.add_row(name, str(one.n), *cells, sparkline(values[-WIDTH:]))
        return table


def _stamp(at: Seconds) -> str:
    minutes, seconds = divmod(int(at), 60)
    return f"{minutes:02d}:{seconds:02d}"
