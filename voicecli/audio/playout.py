"""What a loudspeaker plays and when: pre-buffer, fades, hold and resume, underruns."""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import Self

import numpy as np
from typing_extensions import override

from voicecli.audio.pcm import Float64Array, SampleArray, find_audible
from voicecli.units import SAMPLE_SIZE, Samples, Seconds

FADE: Seconds = 0.01  # long enough to avoid a click, short enough to pass for immediate
DUCKED_GAIN = 10 ** (-20 / 20)

LONGEST_PREBUFFER: Seconds = 0.2  # an underrun doubles it up to this; a reply without one halves it
_LOG_LENGTH: Seconds = 30.0  # how long played sound is kept for ``take``
_DRAWN_BLOCKS = 1000  # whose times are kept: 10 s of 10 ms; no device delays playback longer
_NOTHING: SampleArray = np.zeros(0, np.int16)


class PlayoutBuffer:
    """A queue of one reply at a time, drawn block by block before it sounds.

    Pure arithmetic: time is known only as the time at which drawn samples will sound.  Positions
    are samples from the start of the reply.  Not thread-safe.

    Queued audio flows once the pre-buffer is filled or the reply has ended.  A reply that runs dry
    before its end waits for the pre-buffer again.  What ``hold``, ``clear`` and ``start`` cut off
    fades out beneath whatever follows.

    rate: hertz.
    prebuffer: seconds of a reply that are queued before it flows.
    fade: length of a fade in seconds.
    """

    def __init__(self, rate: int, prebuffer: Seconds, fade: Seconds = FADE) -> None:
        self.rate = rate
        self.prebuffer = self._least_prebuffer = prebuffer
        self._fade = round(fade * rate)
        # Fade out before the queue runs dry: a device draws whole blocks, so that once a block has
        # turned out too short it is too late.
        self._dry_fade = self._fade
        self._tail = _NOTHING  # the fade-out of what was cut off
        self._reset()

    def _reset(self) -> None:
        self._queue = bytearray()
        self.drawn: Samples = 0
        """Samples of the reply drawn so far: the position of the queue's first."""
        # times, positions and lengths of what was drawn
        self._blocks = deque[tuple[Seconds, Samples, Samples]](maxlen=_DRAWN_BLOCKS)
        self._gain = self._goal = 1.0
        self._ramp = self._fade  # samples in which the gain goes from 0 to 1
        self._flowing = self._held = self._ended = self._dry = False
        self._audible: Samples | None = None  # position of the first audible sample
        self._audible_at: Seconds | None = None
        self.underruns = 0
        """How often the reply ran dry before its end."""

    def create_successor(self, rate: int) -> PlayoutBuffer:
        """Create a buffer in the same state for another device; its queue is empty."""
        other = PlayoutBuffer(rate, self._least_prebuffer)
        other.prebuffer, other.underruns = self.prebuffer, self.underruns
        other._gain, other._goal, other._held = 0.0, self._goal, self._held
        other._audible_at = self._audible_at
        return other

    def start(self) -> None:
        """Begin a reply; the rest of the one before fades out."""
        self.clear()
        if not self.underruns:
            self.prebuffer = max(self.prebuffer / 2, self._least_prebuffer)
        self._reset()

    def write(self, samples: SampleArray) -> None:
        """Queue ``samples``; ignored after ``end`` or ``clear``."""
        if self._ended or not samples.size:
            return
        if self._audible is None and (index := find_audible(samples)) is not None:
            self._audible = self.drawn + self._queued + index
        self._queue += samples.tobytes()
        self._flow()

    def end(self) -> None:
        """Mark the reply as complete: the queue no longer waits for the pre-buffer."""
        self._ended = True
        self._flow()

    def duck(self) -> None:
        """Fade to -20 dB."""
        self._goal = DUCKED_GAIN

    def hold(self) -> None:
        """Fade out and stop; the position stays where the fade began."""
        if not self._held and (faded := self._cut()):
            self._gain, self._ramp = 0.0, faded
        self._held = True

    def resume(self) -> None:
        """Fade to full volume, from the position where ``hold`` stopped.

        The fade-in repeats what faded out, so that both together add up to the original.
        """
        self._held = False
        self._goal = 1.0
        self._flow()

    def clear(self) -> Samples:
        """Fade out and drop the rest of the reply; return the samples drawn before."""
        self._cut()
        self._queue.clear()
        self._ended = True
        return self.drawn

    def draw(self, count: Samples, at: Seconds) -> SampleArray:
        """Return the next ``count`` samples, silence included; the first will sound at ``at``."""
        out = np.zeros(count, np.int16)
        sound = self._draw(count, at)
        out[: len(sound)] = sound
        return out

    @property
    def queued(self) -> Seconds:
        """Playing time of what has not been drawn yet."""
        return self._queued / self.rate

    @property
    def held(self) -> bool:
        """Whether playback is held."""
        return self._held

    @property
    def drained(self) -> bool:
        """Whether the reply has ended and was drawn to its last sample."""
        return self._ended and not self._queued

    @property
    def audible_at(self) -> Seconds | None:
        """When the first audible sample of the reply sounds; None until it is drawn."""
        return self._audible_at

    @property
    def ends_at(self) -> Seconds | None:
        """When the last sample drawn so far has sounded; None before the first."""
        if not self._blocks:
            return None
        at, _, count = self._blocks[-1]
        return at + count / self.rate

    def count_heard(self, now: Seconds) -> Samples:
        """Count the samples that have sounded by ``now``, which must not go back."""
        while len(self._blocks) > 1 and self._blocks[1][0] <= now:
            self._blocks.popleft()
        if not self._blocks:
            return 0
        at, position, count = self._blocks[0]
        return position + min(max(round((now - at) * self.rate), 0), count)

    @property
    def _queued(self) -> Samples:
        return len(self._queue) // SAMPLE_SIZE

    def _flow(self) -> None:
        if not self._queued:
            return
        if self._dry:
            self._count_underrun()
        if not self._flowing and not self._held:
            self._flowing = self._ended or self._queued >= round(self.prebuffer * self.rate)

    def _count_underrun(self) -> None:
        self._dry = False
        self.underruns += 1
        self.prebuffer = min(2 * self.prebuffer, max(LONGEST_PREBUFFER, self._least_prebuffer))

    def _draw(self, count: Samples, at: Seconds) -> SampleArray:
        """Return at most ``count`` samples: without the silence that follows them."""
        sound = self._play(count, at) if self._flowing else _NOTHING
        tail, self._tail = self._tail[:count], self._tail[count:]
        return _mix(sound, tail) if len(tail) else sound

    def _play(self, count: Samples, at: Seconds) -> SampleArray:
        """Return at most ``count`` samples of the queue, at their gain."""
        runs_dry = not self._ended and self._queued < count + self._dry_fade
        samples = self._peek(count)
        if length := len(samples):
            self._blocks.append((at, self.drawn, length))
        first = self._audible
        if self._audible_at is None and first is not None and first < self.drawn + length:
            self._audible_at = at + (first - self.drawn) / self.rate
        self.drawn += length
        del self._queue[: SAMPLE_SIZE * length]
        fade = min(self._dry_fade, length) if runs_dry else 0
        if self._gain != 1.0 or self._goal != 1.0 or fade:
            gains = self._advance_gain(length)
            gains[length - fade :] *= np.linspace(1, 0, fade)
            samples = np.rint(samples * gains).astype(np.int16)
        if runs_dry:
            self._flowing = False
            self._dry = True  # without a fade, an underrun only if anything follows
            if self._dry_fade:
                self._gain, self._ramp = 0.0, self._fade
                self._count_underrun()
        return samples

    def _peek(self, count: Samples) -> SampleArray:
        """Return the first ``count`` samples of the queue, or all there are."""
        return np.frombuffer(self._queue[: SAMPLE_SIZE * count], np.int16)

    def _advance_gain(self, count: Samples) -> Float64Array:
        """Return the gains of the next ``count`` samples, on the way to the gain wanted."""
        distance = self._goal - self._gain
        steps = np.arange(count + 1) / self._ramp if self._ramp else np.full(count + 1, np.inf)
        gains: Float64Array = self._gain + np.sign(distance) * np.minimum(steps, abs(distance))
        if steps[-1] < abs(distance):
            self._gain = float(gains[-1])
        else:
            self._gain, self._ramp = self._goal, self._fade
        return gains[:-1]

    def _cut(self) -> Samples:
        """Turn what would flow next into a fade-out; return its length, 0 if nothing flows.

        The fade is shorter where less is queued; cut off in the middle, it would click.
        """
        samples = self._peek(self._fade) if self._flowing else _NOTHING
        self._flowing = False
        if count := len(samples):
            fade = samples * (self._gain * (1 - np.arange(count) / count))
            self._tail = _mix(np.rint(fade).astype(np.int16), self._tail)
        return count


class ClockedPlayout(PlayoutBuffer):
    """A playout buffer drawn by a clock, as a loudspeaker without latency would.

    Samples sound at ticks of 1/rate, counted from time 0.  An order takes effect at the first tick
    after the time of the last ``advance``; a sample counts as heard once it has begun to sound.
    """

    def __init__(self, rate: int, prebuffer: Seconds, fade: Seconds = FADE) -> None:
        super().__init__(rate, prebuffer, fade)
        self._dry_fade = 0
        self._tick: Samples = 0  # everything before it has been drawn
        self._log = PlayedLog(rate)

    def advance(self, now: Seconds) -> Self:
        """Draw what has sounded by ``now``, which must not go back; return self."""
        # A time is rarely a whole tick to the last bit: ignore a thousandth of one.
        self._draw_until(ceil(now * self.rate - 1e-3))
        return self

    @property
    @override
    def audible_at(self) -> Seconds | None:
        """When the reply's first audible sample sounded or will; None while that is open."""
        if self._audible_at is not None:
            return round(self._audible_at * self.rate) / self.rate
        if self._audible is None or not self._flowing:
            return None
        return (self._tick + self._audible - self.drawn) / self.rate

    @property
    @override
    def ends_at(self) -> Seconds | None:
        """When all that was written will have sounded; None while it waits, or before any has."""
        if self._queued:
            return (self._tick + self._queued) / self.rate if self._flowing else None
        last = super().ends_at
        return None if last is None else round(last * self.rate) / self.rate

    def take(self, start: Seconds, count: Samples) -> SampleArray:
        """Return what sounds in the ``count`` samples from ``start``; see ``PlayedLog.take``.

        Later orders take effect after what was taken.
        """
        begin = round(start * self.rate)
        self._draw_until(begin + count)
        return self._log.take(begin / self.rate, count)

    def _draw_until(self, tick: Samples) -> None:
        if tick > self._tick:
            at = self._tick / self.rate
            self._log.add(at, self._draw(tick - self._tick, at))
            self._tick = tick


class PlayedLog:
    """The sounds of the last 30 s by the time at which they were played.

    rate: hertz, of all samples.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._sounds: deque[tuple[Seconds, SampleArray]] = deque()

    def add(self, at: Seconds, samples: SampleArray) -> None:
        """Add ``samples`` that sound from ``at`` on, after all that were added before."""
        if len(samples):
            self._sounds.append((at, samples))
            while self._sounds[0][0] < at - _LOG_LENGTH:
                self._sounds.popleft()

    def take(self, start: Seconds, count: Samples) -> SampleArray:
        """Return what sounded in the ``count`` samples from ``start``, silence included.

        Consecutive calls must move forward: what lies before ``start`` is forgotten.
        """
        out = np.zeros(count, np.int16)
        while self._sounds:
            at, samples = self._sounds[0]
            offset = round((at - start) * self.rate)
            if offset >= count:
                break
            begin, end = max(offset, 0), min(offset + len(samples), count)
            if end > begin:
                out[begin:end] = samples[begin - offset : end - offset]
            if offset + len(samples) > count:
                break
            self._sounds.popleft()
        return out


def _mix(one: SampleArray, other: SampleArray) -> SampleArray:
    """Add two sounds that begin together, clipped."""
    mixed = np.zeros(max(len(one), len(other)), np.int32)
    mixed[: len(one)] += one
    mixed[: len(other)] += other
    return mixed.clip(-32768, 32767).astype(np.int16)
