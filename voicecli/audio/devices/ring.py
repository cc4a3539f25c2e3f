"""What a loudspeaker is yet to play, drawn from it block by block by the sound card."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from voicecli.audio.pcm import first_audible
from voicecli.audio.playout import DUCKED, FADE, LONGEST_PREBUFFER, PREBUFFER
from voicecli.units import Samples, Seconds


class Ring:
    """One reply at a time, and the fade of what was cut off before it.

    What a ``PlayoutBuffer`` does by the clock, this does by samples: a sound card draws them in
    blocks, ahead of their time, by a clock of its own.

    Pure: it knows time only as the time at which the samples that are drawn will sound.  Positions
    are samples from the reply's start, at ``rate``.  Not safe to use from two threads at once.
    """

    def __init__(self, rate: int, prebuffer: Seconds = PREBUFFER) -> None:
        self.rate = rate
        self._fade = round(FADE * rate)
        self._tail = np.zeros(0, np.float32)  # the fade of what was cut off
        self._prebuffer = self._least_prebuffer = prebuffer
        self._reset()

    def _reset(self) -> None:
        self._queue: deque[NDArray[np.int16]] = deque()
        self._position: Samples = 0  # of the queue's first sample
        self._queued: Samples = 0
        self._drawn: deque[tuple[Seconds, Samples, Samples]] = deque()  # when, position, count
        self._gain = self._goal = 1.0
        self._flowing = self._ended = self._held = self._cleared = False
        self._audible: Samples | None = None
        self.audible_at: Seconds | None = None
        """When the first audible sample of the reply sounds, once it was drawn."""
        self.underruns = 0

    def successor(self, rate: int) -> Ring:
        """A ring for another device, to be given what has not sounded of this reply yet."""
        ring = Ring(rate, self._least_prebuffer)
        ring._prebuffer, ring.underruns = self._prebuffer, self.underruns
        ring._gain, ring._goal, ring._held = 0.0, self._goal, self._held
        ring._cleared, ring.audible_at = self._cleared, self.audible_at
        return ring

    def start(self) -> None:
        """Begin a reply; what is left of the one before falls silent."""
        self.clear()
        if not self.underruns:
            self._prebuffer = max(self._prebuffer / 2, self._least_prebuffer)
        self._reset()

    def write(self, samples: NDArray[np.int16]) -> None:
        """Queue ``samples``; what comes after a ``clear`` belongs to nothing."""
        if self._cleared:
            return
        if self._audible is None and (index := first_audible(samples.tobytes())) is not None:
            self._audible = self._position + self._queued + index
        if samples.size:
            self._queue.append(samples)
            self._queued += len(samples)

    def end(self) -> None:
        """No more is written to this reply: what is queued sounds to its last sample."""
        self._ended = True

    def duck(self) -> None:
        """Go on 20 dB softer."""
        self._goal = DUCKED

    def hold(self) -> None:
        """Fade out, then be silent; the position stays where the fade began."""
        self._cut()
        self._held = True

    def resume(self) -> None:
        """Fade in from where the position is; with the fade of ``hold``, no sample is lost."""
        if self._held:
            self._gain = 0.0 if self._position else 1.0
        self._goal = 1.0
        self._held = False

    def clear(self) -> None:
        """Fade out, then be silent; the rest of the reply is forgotten."""
        self._cut()
        self._queue.clear()
        self._queued = 0
        self._ended = self._cleared = True

    def draw(self, count: Samples, at: Seconds) -> NDArray[np.int16]:
        """The next ``count`` samples, the first of which sounds at ``at``; silence included."""
        out = np.zeros(count, np.float32)
        offset = min(len(self._tail), count)
        out[:offset], self._tail = self._tail[:offset], self._tail[offset:]
        if offset < count and self._flows():
            self._play(out[offset:], at + offset / self.rate)
        samples: NDArray[np.int16] = np.rint(out).astype(np.int16)
        return samples

    @property
    def drained(self) -> bool:
        """Whether all of an ended reply was drawn."""
        return self._ended and not self._queued

    @property
    def ends_at(self) -> Seconds | None:
        """When what was drawn of the reply so far has sounded; None when nothing was."""
        if not self._drawn:
            return None
        at, _, count = self._drawn[-1]
        return at + count / self.rate

    def heard(self, now: Seconds) -> Samples:
        """Samples of the reply that have sounded by ``now``; consecutive calls move forward."""
        while len(self._drawn) > 1 and self._drawn[1][0] <= now:
            self._drawn.popleft()
        if not self._drawn:
            return 0
        at, position, count = self._drawn[0]
        return position + min(max(round((now - at) * self.rate), 0), count)

    def _flows(self) -> bool:
        """Whether the queue may sound: enough is there, or all there will be."""
        if self._held or not self._queued:
            return False
        if not self._flowing:
            enough = self._queued >= self._prebuffer * self.rate
            self._flowing = enough or self._ended
        return self._flowing

    def _play(self, out: NDArray[np.float32], at: Seconds) -> None:
        """Fill ``out`` from the queue; where that would run dry, fade out with what is left."""
        # The last of it must be here to fade: after this block it would be too late.
        dry = not self._ended and self._queued < len(out) + self._fade
        count = min(self._queued, len(out))
        self._note(at, count)
        out[:count] = self._taken(count) * self._gains(count)
        if dry:
            length = min(self._fade, count)
            out[count - length : count] *= np.linspace(1, 0, length, dtype=np.float32)
            self._gain, self._flowing = 0.0, False
            self.underruns += 1
            longest = max(LONGEST_PREBUFFER, self._least_prebuffer)
            self._prebuffer = min(2 * self._prebuffer, longest)

    def _note(self, at: Seconds, count: Samples) -> None:
        """Remember when what is drawn sounds."""
        self._drawn.append((at, self._position, count))
        first = self._audible
        if self.audible_at is None and first is not None and first < self._position + count:
            self.audible_at = at + (first - self._position) / self.rate

    def _taken(self, count: Samples) -> NDArray[np.float32]:
        """The queue's first ``count`` samples, which leave it."""
        samples = self._peek(count)
        left = count
        while left:
            piece = self._queue.popleft()
            if len(piece) > left:
                self._queue.appendleft(piece[left:])
            left -= min(len(piece), left)
        self._position += count
        self._queued -= count
        return samples

    def _peek(self, count: Samples) -> NDArray[np.float32]:
        """The queue's first ``count`` samples, or all there are."""
        out = np.zeros(min(count, self._queued), np.float32)
        filled = 0
        for piece in self._queue:
            if filled == len(out):
                break
            part = piece[: len(out) - filled]
            out[filled : filled + len(part)] = part
            filled += len(part)
        return out

    def _gains(self, count: Samples) -> NDArray[np.float32]:
        """The gain of each of the next ``count`` samples, on its way to the one wanted."""
        way = self._goal - self._gain
        steps = np.arange(count + 1) / self._fade
        gains = self._gain + np.sign(way) * np.minimum(steps, abs(way))
        self._gain = self._goal if steps[-1] >= abs(way) else float(gains[-1])
        wanted: NDArray[np.float32] = gains[:-1].astype(np.float32)
        return wanted

    def _cut(self) -> None:
        """What would sound next becomes a fade, unless a fade or nothing is sounding."""
        if self._flowing and not self._held and not self._tail.size:
            tail = self._peek(self._fade)
            tail *= self._gain
            tail *= 1 - np.arange(len(tail)) / self._fade  # `resume` rises as this falls
            self._tail = tail
