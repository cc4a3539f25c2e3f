"""Sound as numbers: format, seconds and samples, levels.

All audio inside the program is mono, 16-bit signed little-endian PCM ("linear16").  Durations are
seconds (float), lengths are samples (int), levels are dBFS (0 = a full-scale square wave).
"""

from __future__ import annotations

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
    came: when it reached the program; None where that tells nothing.
    """

    pcm: bytes
    at: Seconds
    last: bool = False
    came: Seconds | None = None


def samples_of(pcm: bytes) -> NDArray[np.int16]:
    """The samples of linear16 ``pcm``; a view, no copy."""
    return np.frombuffer(pcm, dtype="<i2")


def first_audible(pcm: bytes) -> Samples | None:
    """Index of the first sample at or above AUDIBLE_DBFS; None when all is silent."""
    loud = np.abs(samples_of(pcm).astype(np.int32)) >= _AUDIBLE
    index = int(loud.argmax()) if loud.size else 0
    return index if loud.size and loud[index] else None
