"""What the loudspeaker played, as an echo canceller wants it: without a break."""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import NDArray

from voicecli.audio import Samples, Seconds
from voicecli.soundcard.tape import Tape

_LEAP: Seconds = 0.05
"""Blocks this far from where those before them end do not go on with them."""

_OPENING = 10
"""Blocks that are put where they say they belong: behind PulseAudio, the first few after the device
was opened say so 24 ms too early."""

_SETTLED = 100
"""Silent blocks after these whose times are averaged."""

_SLEW = 0.001
"""From then on, the part of its length by which a silent block may be moved: clocks differ by a
fifth of it, but after the device ran dry PulseAudio's times were 10 ms wrong for seconds."""

_HELD: Seconds = 0.002
"""The tape's resampler waits for so much."""


class EchoTape:
    """A ``Tape`` on which blocks follow each other sample by sample, however their times waver.

    Truer than those times from one moment to the next, less so to the clock.  Silence, which nobody
    hears moved, brings the two together.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._tape = Tape(rate)
        self._end: Seconds = -inf  # of what was added
        self._blocks = self._silent = 0  # of them, in one go; and those of silence

    def add(self, at: Seconds, samples: NDArray[np.int16], rate: int) -> None:
        """``samples`` of the sound card, at its ``rate``, sound from ``at`` on, it says.

        May be called in another thread than ``take``.
        """
        length = len(samples) / rate
        begin = self._begin(at, length, bool(samples.any()))
        self._tape.add(begin, samples, rate)
        self._end = begin + length

    def take(self, start: Seconds, count: Samples) -> NDArray[np.int16]:
        """What sounds in the ``count`` samples from ``start``; fewer where no more is known yet.

        Consecutive calls must move forward: what lies before ``start`` is forgotten.
        """
        known = (self._end - _HELD - start) * self.rate
        return self._tape.take(start, int(min(max(known, 0), count)))

    def _begin(self, at: Seconds, length: Seconds, sounds: bool) -> Seconds:
        """When a block begins that is said to begin at ``at``."""
        off = at - self._end
        if abs(off) > _LEAP:
            self._blocks = self._silent = 0
        self._blocks += 1
        if self._blocks <= _OPENING:
            return at
        if sounds:
            return self._end
        self._silent += 1
        if self._silent <= _SETTLED:
            return self._end + off / self._silent
        return self._end + min(max(off, -_SLEW * length), _SLEW * length)
