"""What a loudspeaker plays and when, if it plays at the rate of real time without a break."""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voicecli.audio.pcm import first_audible, samples_of
from voicecli.units import SAMPLE_SIZE, AudioFormat, Samples, Seconds

FADE: Seconds = 0.01
"""Long enough that no click is heard, short enough to pass for at once."""

DUCKED = 10 ** (-20 / 20)
"""Gain of what is played softly."""

PREBUFFER: Seconds = 0.06
LONGEST_PREBUFFER: Seconds = 0.2
"""What is queued before audio begins to sound; doubled when a reply runs dry, halved when not."""

_KEPT: Seconds = 30.0
"""For how long what has sounded is kept for ``take``."""

Sound = NDArray[np.int16]


class _Piece(NamedTuple):
    """Samples, the first of which sounds at the tick ``at``."""

    at: Samples
    samples: Sound


class PlayoutBuffer:
    """A reply on its way out of a loudspeaker.  One reply at a time.

    Pure arithmetic: every method is told the time, in seconds, and times never go back.  Samples
    sound at ticks of 1/rate, counted from time 0; what is done at a time takes effect at the next
    tick, and a sample is heard when it has begun to sound.  Positions are samples from the reply's
    start.

    Audio written while something still plays follows it without a gap.  Audio written to an empty
    buffer sounds once the pre-buffer is queued, or the reply has ended; it was an underrun if the
    reply had sounded before.
    """

    def __init__(
        self, format: AudioFormat, prebuffer: Seconds = PREBUFFER, fade: Seconds = FADE
    ) -> None:
        self.format = format
        self.prebuffer = self._least_prebuffer = prebuffer
        self._fade = format.samples(fade)
        self._tick: Samples = 0  # what sounds before it has been decided
        self._sounded: deque[_Piece] = deque()
        self._reset()

    def _reset(self) -> None:
        self._queue: deque[Sound] = deque()
        self._queued: Samples = 0
        self._position: Samples = 0  # of the queue's first sample
        self._gain = self._goal = 1.0
        self._ramp = self._fade  # samples in which the gain goes from 0 to 1
        self._flowing = False  # the queue's first sample, written or not, sounds at self._tick
        self._held = self._ended = False
        self._audible: Samples | None = None  # position of the first audible sample
        self._audible_at: Samples | None = None  # the tick at which that sounded
        self._silent_from: Samples | None = None  # the tick after the last that sounded
        self.underruns = 0

    def start(self, now: Seconds) -> None:
        """Begin a reply; what is left of the one before fades out."""
        self.clear(now)
        if not self.underruns:
            self.prebuffer = max(self.prebuffer / 2, self._least_prebuffer)
        self._reset()

    def write(self, pcm: bytes, now: Seconds) -> None:
        """Queue ``pcm`` (whole samples); what comes after an ``end`` or ``clear`` is ignored."""
        self._advance(now)
        if self._ended or not pcm:
            return
        if self._audible is None and (index := first_audible(pcm)) is not None:
            self._audible = self._position + self._queued + index
        if self._position and not self._queued and not (self._flowing or self._held):
            self.underruns += 1
            longest = max(LONGEST_PREBUFFER, self.prebuffer)
            self.prebuffer = min(2 * self.prebuffer, longest)
        self._queue.append(samples_of(pcm))
        self._queued += len(pcm) // SAMPLE_SIZE
        self._flow()

    def end(self, now: Seconds) -> None:
        """Nothing more is written to this reply: what is queued need not wait for more."""
        self._advance(now)
        self._ended = True
        self._flow()

    def duck(self, now: Seconds) -> None:
        """Fade to -20 dB."""
        self._advance(now)
        self._goal = DUCKED

    def hold(self, now: Seconds) -> None:
        """Fade out, then be silent; the position stays where the fade began."""
        self._advance(now)
        if not self._held and (faded := self._cut()):
            self._gain, self._ramp = 0.0, faded
        self._held = True

    def resume(self, now: Seconds) -> None:
        """Fade to full loudness, from the position.

        After a hold, this fade in repeats what had faded out: the two together are the original.
        What had not begun to sound does not fade in.
        """
        self._advance(now)
        self._held = False
        self._goal = 1.0
        self._flow()

    def clear(self, now: Seconds) -> Samples:
        """Fade out, then be silent; the rest is forgotten.  The samples that were heard."""
        self._advance(now)
        self._cut()
        self._queue.clear()
        self._queued = 0
        self._ended = True
        return self._position

    def heard(self, now: Seconds) -> Samples:
        """Samples of this reply that have sounded; not those of a fade out."""
        self._advance(now)
        return self._position

    def queued(self, now: Seconds) -> Seconds:
        """How long what has not sounded yet will take to sound."""
        self._advance(now)
        return self._queued / self.format.rate

    @property
    def drained(self) -> bool:
        """Whether the reply has ended, and nothing of it was left at the time last told."""
        return self._ended and not self._queued

    @property
    def ends_at(self) -> Seconds | None:
        """When all that was written will have sounded; None while nothing says so.

        None: nothing has begun to sound, or what is queued is held or waits for the pre-buffer.
        """
        if self._flowing:
            return (self._tick + self._queued) / self.format.rate
        if self._queued or self._silent_from is None:
            return None
        return self._silent_from / self.format.rate

    @property
    def audible_at(self) -> Seconds | None:
        """When the reply's first audible sample sounded or will; None while nothing says so."""
        if self._audible_at is not None:
            return self._audible_at / self.format.rate
        if self._audible is None or not self._flowing or not self._queued:
            return None
        return (self._tick + self._audible - self._position) / self.format.rate

    def take(self, start: Seconds, count: Samples) -> Sound:
        """What sounds in the ``count`` samples from ``start``, silence included.

        Consecutive calls must move forward: what lies before ``start`` is forgotten.  What was
        taken has sounded: whatever is done later takes effect after it.
        """
        begin = round(start * self.format.rate)
        self._advance_to(begin + count)
        out = np.zeros(count, np.int32)
        rest = []
        while self._sounded and self._sounded[0].at < begin + count:
            at, samples = piece = self._sounded.popleft()
            part = samples[max(begin - at, 0) : begin + count - at]
            offset = max(at - begin, 0)
            out[offset : offset + len(part)] += part  # a fade out may overlap what follows it
            if at + len(samples) > begin + count:
                rest.append(piece)
        self._sounded.extendleft(reversed(rest))
        return out.clip(-32768, 32767).astype(np.int16)

    def _advance(self, now: Seconds) -> None:
        # A time is rarely a whole tick to the last bit: a thousandth of one is forgiven.
        self._advance_to(ceil(now * self.format.rate - 1e-3))

    def _advance_to(self, tick: Samples) -> None:
        """Decide what sounds until ``tick``."""
        while self._flowing and self._tick < tick:
            if not self._queued:
                self._flowing = False
                break
            self._play(self._next(tick - self._tick))
        self._tick = max(self._tick, tick)

    def _next(self, longest: Samples) -> Sound:
        """The queue's first samples, in one piece, which leave it."""
        samples = self._queue.popleft()
        if len(samples) > longest:
            self._queue.appendleft(samples[longest:])
            samples = samples[:longest]
        self._queued -= len(samples)
        return samples

    def _play(self, samples: Sound) -> None:
        """``samples`` sound from this tick on."""
        if self._gain != 1.0 or self._goal != 1.0:
            samples = np.rint(samples * self._gains(len(samples))).astype(np.int16)
        self._keep(samples)
        first, position = self._audible, self._position
        if first is not None and position <= first < position + len(samples):
            self._audible_at = self._tick + first - position
        self._position += len(samples)
        self._tick += len(samples)
        self._silent_from = self._tick

    def _gains(self, count: Samples) -> NDArray[np.float64]:
        """The gains of the next ``count`` samples, on their way to the one wanted."""
        way = self._goal - self._gain
        steps = np.arange(count + 1) / self._ramp if self._ramp else np.full(count + 1, np.inf)
        gains = self._gain + np.sign(way) * np.minimum(steps, abs(way))
        if steps[-1] < abs(way):
            self._gain = float(gains[-1])
        else:
            self._gain, self._ramp = self._goal, self._fade
        wanted: NDArray[np.float64] = gains[:-1]
        return wanted

    def _flow(self) -> None:
        """Let the queue sound if it may: enough is there, or all there will be."""
        if self._flowing or self._held or not self._queued:
            return
        self._flowing = self._ended or self._queued >= self.format.samples(self.prebuffer)

    def _cut(self) -> Samples:
        """What would sound next becomes a fade out; how many samples that takes, 0 for none.

        It is shorter where less is queued: cut off, it would click.
        """
        if not self._flowing or not self._queued:
            return 0
        self._flowing = False
        tail, missing = [], self._fade
        for samples in self._queue:
            tail.append(samples[:missing])
            missing -= len(tail[-1])
            if not missing:
                break
        fade = np.concatenate(tail).astype(np.float64)
        fade *= self._gain * (1 - np.arange(len(fade)) / max(len(fade), 1))
        self._keep(np.rint(fade).astype(np.int16))
        self._silent_from = self._tick + len(fade)
        return len(fade)

    def _keep(self, samples: Sound) -> None:
        """Remember for ``take`` that ``samples`` sound from this tick on."""
        self._sounded.append(_Piece(self._tick, samples))
        while self._sounded[0].at < self._tick - self.format.samples(_KEPT):
            self._sounded.popleft()
