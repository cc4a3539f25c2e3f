"""What the loudspeaker played and when, for recordings and for the echo canceller."""

from __future__ import annotations

from collections import deque
from math import inf

from typing_extensions import override

from voicecli.audio.echo import FarEnd
from voicecli.audio.pcm import Resampler, SampleArray
from voicecli.audio.playout import PlayedLog
from voicecli.units import Samples, Seconds

_SILENCE_KEPT: Seconds = 0.05  # after sound, so that sound without a pause stays in one run
_JITTER: Seconds = 0.03
"""Two blocks follow each other although their times differ by this (measured: 5 ms, once 13)."""

_BACKLOG: Seconds = 30.0  # how long blocks wait for ``take``


class PlayedAudio:
    """Takes blocks from PortAudio's thread and hands out samples at ``rate`` in the loop's.

    Silence takes no memory: it is what lies between the blocks.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._waiting: deque[tuple[Seconds, SampleArray, int]] = deque()
        self._sounded_until: Seconds = -1.0
        self._device_rate = 0
        self._run_end: Seconds = -inf  # of blocks without a gap: each begins where the last ended
        self._log = PlayedLog(rate)

    def __len__(self) -> int:
        """Number of blocks that wait for ``take``."""
        return len(self._waiting)

    def add(self, at: Seconds, samples: SampleArray, rate: int) -> None:
        """Add ``samples`` of the device, at its ``rate``, that sound from ``at`` on."""
        if samples.any():
            self._sounded_until = at + len(samples) / rate
        if at < self._sounded_until + _SILENCE_KEPT:
            self._waiting.append((at, samples, rate))
            if self._waiting[0][0] < at - _BACKLOG:
                self._waiting.popleft()

    def take(self, start: Seconds, count: Samples) -> SampleArray:
        """Return what sounds in the ``count`` samples from ``start``; see ``PlayedLog.take``."""
        while self._waiting:
            at, samples, rate = self._waiting.popleft()
            if rate != self._device_rate or abs(at - self._run_end) > _JITTER:
                self._device_rate, self._run_end = rate, at
                self._resampler = Resampler(rate, self.rate)
            begin = self._run_end - self._resampler.lag
            self._log.add(begin, self._resampler.feed(samples))
            self._run_end += len(samples) / rate
        return self._log.take(start, count)


_GAP: Seconds = 0.05  # a block this far from the end of the one before does not continue it
_OPENING = 10
"""Blocks placed by their own times: behind PulseAudio, the first few after the device was opened
are reported 24 ms too early."""

_SETTLING = 100  # silent blocks after these whose times are averaged
_SLEW = 0.001
"""After that, how far a silent block may be moved, as a fraction of its length.  Clocks differ by a
fifth of this, but after an xrun PulseAudio's times were 10 ms wrong for seconds."""

_RESAMPLER_DELAY: Seconds = 0.002


class EchoReference(PlayedAudio, FarEnd):
    """Without gaps: its blocks follow each other, however their times jitter.

    More precise than those times from one moment to the next, less so against the clock: only
    silence, where a shift is inaudible, is used to bring the two together.
    """

    def __init__(self, rate: int) -> None:
        super().__init__(rate)
        self._end: Seconds = -inf  # of what was added
        self._blocks = self._silent = 0  # since the last gap; and the silent ones of them

    @override
    def add(self, at: Seconds, samples: SampleArray, rate: int) -> None:
        length = len(samples) / rate
        begin = self._place(at, length, bool(samples.any()))
        super().add(begin, samples, rate)
        self._end = begin + length

    @override
    def take(self, start: Seconds, count: Samples) -> SampleArray:
        # The device is given samples some 15 ms ahead.
        known = (self._end - _RESAMPLER_DELAY - start) * self.rate
        return super().take(start, int(min(max(known, 0), count)))

    def _place(self, at: Seconds, length: Seconds, sounds: bool) -> Seconds:
        """Decide when a block begins that is reported to begin at ``at``."""
        off = at - self._end
        if abs(off) > _GAP:
            self._blocks = self._silent = 0
        self._blocks += 1
        if self._blocks <= _OPENING:
            return at
        if sounds:
            return self._end
        self._silent += 1
        if self._silent <= _SETTLING:
            return self._end + off / self._silent
        return self._end + min(max(off, -_SLEW * length), _SLEW * length)
