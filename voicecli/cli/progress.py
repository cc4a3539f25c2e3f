"""Shows how far a run of many replays is."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from voicecli.cli.output import print_text
from voicecli.corpus.unit import UnitResult
from voicecli.report.format import format_count
from voicecli.units import Seconds

LINE_EVERY: Seconds = 10.0
"""Between two lines of progress where standard error is no terminal."""


@dataclass(slots=True)
class Progress:
    """Shows on standard error how much is done, and estimates the rest.

    total: units; present: those that were measured before.
    """

    total: int
    present: int
    _done: int = 0
    _failed: int = 0
    _began: float = 0.0
    _shown: float = 0.0
    _moves: bool = field(default_factory=lambda: sys.stderr.isatty())

    def begin(self) -> None:
        """Say what there is to do."""
        text = format_count(self.total, "replays")
        if self.present:
            text += f", {self.present} of them measured before"
        print_text(text, err=True)
        self._began = self._shown = time.monotonic()

    def note(self, result: UnitResult) -> None:
        """Count a result."""
        self._done += 1
        self._failed += result.failure is not None
        now = time.monotonic()
        if self._moves:
            print_text(f"\r{self._describe(now)}\x1b[K", err=True, end="")
        elif now - self._shown >= LINE_EVERY:
            self._shown = now
            print_text(self._describe(now), err=True)

    def end(self) -> None:
        """Leave the last line."""
        if self._moves and self._done:
            print_text(err=True)

    def _describe(self, now: float) -> str:
        left = self.total - self.present - self._done
        seconds = (now - self._began) / self._done * left
        rest = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self.present + self._done} of {self.total} replayed{failed}; about {rest} left"
