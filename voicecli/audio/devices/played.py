"""What the loudspeaker played, by the time it sounded."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voicecli.audio.resample import Resampler
from voicecli.units import Samples, Seconds

_PAUSE: Seconds = 0.05
"""Silence that is kept after sound, so that what sounds in one go stays in one piece."""

_JITTER: Seconds = 0.03
"""Two blocks follow each other though their times differ by this (measured: 5 ms, once 13)."""

_KEPT: Seconds = 30.0
"""For how long what nobody takes is kept."""


class _Block(NamedTuple):
    """Samples of the sound card, the first of which sounds at ``at``."""

    at: Seconds
    samples: NDArray[np.int16]
    rate: int

    @property
    def end(self) -> Seconds:
        return self.at + len(self.samples) / self.rate


class PlayedAudio:
    """Takes the sound card's blocks from its thread, and gives samples at ``rate`` to the loop's.

    Silence costs nothing: it is what lies between the blocks.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._added: deque[_Block] = deque()
        self._sounded_until: Seconds = -1.0
        self._run: _Run | None = None
        self._pieces: deque[tuple[Seconds, NDArray[np.int16]]] = deque()

    def add(self, at: Seconds, samples: NDArray[np.int16], rate: int) -> None:
        """``samples`` of the sound card, at its ``rate``, sound from ``at`` on."""
        block = _Block(at, samples, rate)
        if samples.any():
            self._sounded_until = block.end
        if block.at < self._sounded_until + _PAUSE:
            self._added.append(block)
            if self._added[0].at < at - _KEPT:
                self._added.popleft()

    def take(self, start: Seconds, count: Samples) -> NDArray[np.int16]:
        """What sounds in the ``count`` samples from ``start``, silence included.

        Consecutive calls must move forward: what lies before ``start`` is forgotten.
        """
        while self._added:
            self._append(self._added.popleft())
        out = np.zeros(count, np.int16)
        while self._pieces:
            at, samples = self._pieces[0]
            offset = round((at - start) * self.rate)
            if offset >= count:
                break
            begin, end = max(offset, 0), min(offset + len(samples), count)
            if end > begin:
                out[begin:end] = samples[begin - offset : end - offset]
            if offset + len(samples) > count:
                break
            self._pieces.popleft()
        return out

    def _append(self, block: _Block) -> None:
        if self._run is None or not self._run.goes_on_with(block):
            self._run = _Run(block, self.rate)
        self._pieces.append(self._run.feed(block.samples))


class _Run:
    """Blocks without a break: placed by the first one's time, the others behind it."""

    def __init__(self, first: _Block, rate: int) -> None:
        self._start, self._card_rate, self._rate = first.at, first.rate, rate
        self._resampler = Resampler(first.rate, rate)
        self._taken: Samples = 0
        self._made: Samples = 0

    def goes_on_with(self, block: _Block) -> bool:
        end = self._start + self._taken / self._card_rate
        return block.rate == self._card_rate and abs(block.at - end) <= _JITTER

    def feed(self, samples: NDArray[np.int16]) -> tuple[Seconds, NDArray[np.int16]]:
        """The samples at the other rate, and when the first of them sounds."""
        at = self._start + self._made / self._rate
        made = self._resampler.feed(samples)
        self._taken += len(samples)
        self._made += len(made)
        return at, made


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


class EchoReference:
    """A ``Tape`` on which blocks follow each other sample by sample, however their times waver.

    Truer than those times from one moment to the next, less so to the clock.  Silence, which nobody
    hears moved, brings the two together.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._tape = PlayedAudio(rate)
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
