"""Sound as numbers: format, seconds and samples, levels.

All audio inside the program is mono, 16-bit signed little-endian PCM ("linear16").  Durations are
seconds (float), lengths are samples (int), levels are dBFS (0 = a full-scale square wave).
"""

from __future__ import annotations

from dataclasses import dataclass

Seconds = float
Samples = int

SAMPLE_SIZE = 2
"""Bytes per sample of linear16."""


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
