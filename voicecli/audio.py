"""Sound as numbers: format, seconds and samples, levels, and the playout buffer.

All audio inside the program is mono, 16-bit signed little-endian PCM ("linear16").  Durations are
seconds (float), lengths are samples (int), levels are dBFS (0 = a full-scale square wave).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Seconds = float
Samples = int

SAMPLE_SIZE = 2
"""Bytes per sample of linear16."""

AUDIBLE_DBFS = -45.0
"""A sample at or above this level is audible; the field's threshold for "first audible sample"."""

_AUDIBLE = 32768.0 * 10 ** (AUDIBLE_DBFS / 20)


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Mono linear16 at a sample rate in hertz."""

    rate: int

    def seconds(self, size: int) -> Seconds:
        """Duration of ``size`` bytes."""
        return size / (SAMPLE_SIZE * self.rate)

    def samples(self, duration: Seconds) -> Samples:
        """Samples in ``duration``, rounded to the nearest."""
        return round(duration * self.rate)

    def silence(self, duration: Seconds) -> bytes:
        """Digital silence."""
        return bytes(SAMPLE_SIZE * self.samples(duration))


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """A stretch of microphone audio.

    pcm: linear16, mono.
    at: when its first sample was at the microphone, on the session's clock.
    last: no more of the input follows, only silence.
    """

    pcm: bytes
    at: Seconds
    last: bool = False


def samples_of(pcm: bytes) -> NDArray[np.int16]:
    """The samples of linear16 ``pcm``; a view, no copy."""
    return np.frombuffer(pcm, dtype="<i2")


def first_audible(pcm: bytes) -> Samples | None:
    """Index of the first sample at or above AUDIBLE_DBFS; None when all is silent."""
    loud = np.abs(samples_of(pcm).astype(np.int32)) >= _AUDIBLE
    index = int(loud.argmax()) if loud.size else 0
    return index if loud.size and loud[index] else None


class PlayoutBuffer:
    """What a loudspeaker plays and when, if it plays at the rate of real time without a break.

    Pure arithmetic: every method is told the time.  Audio written while something still plays
    follows it without a gap; audio written to an empty buffer sounds at once, and was an underrun
    if its reply had sounded before.  Times are seconds, positions samples from the reply's start.
    """

    def __init__(self, format: AudioFormat) -> None:
        self.format = format
        self._pieces: deque[tuple[Seconds, bytes]] = deque()
        self._end: Seconds = 0.0
        self.start()

    def start(self) -> None:
        """Begin a reply: from here on ``heard``, ``audible_at`` and ``underruns`` speak of it."""
        self._written: list[tuple[Seconds, Samples]] = []
        self.audible_at: Seconds | None = None
        self.underruns = 0

    def write(self, pcm: bytes, now: Seconds) -> None:
        """Queue ``pcm`` (whole samples)."""
        if not pcm:
            return
        if self._end < now:
            self.underruns += bool(self._written)
            self._end = now
        if self.audible_at is None and (index := first_audible(pcm)) is not None:
            self.audible_at = self._end + index / self.format.rate
        self._pieces.append((self._end, pcm))
        self._written.append((self._end, len(pcm) // SAMPLE_SIZE))
        self._end += self.format.seconds(len(pcm))

    @property
    def ends_at(self) -> Seconds:
        """When the last sample written so far will have sounded."""
        return self._end

    def heard(self, now: Seconds) -> Samples:
        """Samples of this reply that have sounded by ``now``."""
        rate = self.format.rate
        return sum(min(max(round((now - at) * rate), 0), count) for at, count in self._written)

    def clear(self, now: Seconds) -> Samples:
        """Be silent from ``now`` on; the number of samples of this reply that were heard."""
        heard = self.heard(now)
        while self._pieces and self._pieces[-1][0] >= now:
            self._pieces.pop()
        if self._pieces and self._end > now:
            at, pcm = self._pieces.pop()
            self._pieces.append((at, pcm[: SAMPLE_SIZE * round((now - at) * self.format.rate)]))
        if self.audible_at is not None and self.audible_at >= now:
            self.audible_at = None
        self._end = min(self._end, now)
        self._written = [(at, count) for at, count in self._written if at < now]
        return heard

    def take(self, start: Seconds, count: Samples) -> NDArray[np.int16]:
        """What sounds in the ``count`` samples from ``start``, silence included.

        Consecutive calls must move forward: what lies before ``start`` is forgotten.
        """
        rate = self.format.rate
        out = np.zeros(count, np.int16)
        while self._pieces:
            at, pcm = self._pieces[0]
            samples = samples_of(pcm)
            offset = round((at - start) * rate)
            if offset >= count:
                break
            begin, end = max(offset, 0), min(offset + len(samples), count)
            if end > begin:
                out[begin:end] = samples[begin - offset : end - offset]
            if offset + len(samples) > count:
                break
            self._pieces.popleft()
        return out
