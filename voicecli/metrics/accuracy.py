"""How exact mouth-to-ear is: the program's own error, on signals whose ends are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from voicecli.events import ErrorCalibrated
from voicecli.units import Seconds

QUANTILE = 0.95


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far measured times were off.

    error: 95 of 100 are off by less; rounded up to a millisecond.
    bias: the median; positive: measured as too long.
    signals: how many were measured.
    """

    error: Seconds
    bias: Seconds
    signals: int

    def make_event(self, at: Seconds) -> ErrorCalibrated:
        """Make the entry that says so in a session's timeline."""
        return ErrorCalibrated(at=at, error=self.error, signals=self.signals)


VIRTUAL = Calibration(error=0.009, bias=-0.003, signals=24)
"""Of replay's path, in virtual and in real time.  ``voicecli devices test --calibrate --virtual``
measures it again, and so does a test."""


def summarize_errors(errors: Sequence[Seconds]) -> Calibration:
    """Summarize measured minus known times, of which there is at least one."""
    sizes = sorted(abs(one) for one in errors)
    error = sizes[ceil(QUANTILE * len(sizes)) - 1]
    return Calibration(ceil(round(error * 1000, 3)) / 1000, median(errors), len(errors))
