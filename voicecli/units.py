"""Units: durations, audio formats, samples.

All audio inside the program is mono, 16-bit signed little-endian PCM ("linear16").  Durations are
seconds (float), lengths are samples (int), levels are dBFS (0 = a full-scale square wave).
"""

from __future__ import annotations

from dataclasses import dataclass

Seconds = float
Samples = int

SAMPLE_SIZE = 2
"""Bytes per sample of linear16."""


def ms(duration: Seconds) -> float:
    """Convert seconds to milliseconds."""
    return 1000 * duration


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Mono linear16 at a sample rate in hertz."""

    rate: int

    def seconds(self, size: int) -> Seconds:
        """Return the duration of ``size`` bytes."""
        return size / (SAMPLE_SIZE * self.rate)

    def samples(self, duration: Seconds) -> Samples:
        """Return the number of samples in ``duration``, rounded to the nearest."""
        return round(duration * self.rate)

    def silence(self, duration: Seconds) -> bytes:
        """Return ``duration`` of digital silence as PCM."""
        return bytes(SAMPLE_SIZE * self.samples(duration))


@dataclass(frozen=True, slots=True)
class AudioBlock:
    """A block of microphone audio.

    pcm: linear16, mono.
    at: when its first sample was at the microphone, on the session's clock.
    last: whether the input ends with this block; only silence follows.
    came: when the block reached the program; None where the source cannot lag.
    """

    pcm: bytes
    at: Seconds
    last: bool = False
    came: Seconds | None = None
