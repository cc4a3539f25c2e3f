"""Speech-like audio whose every beginning and end is known to the sample."""

from __future__ import annotations

import numpy as np

SYLLABLE = 0.16
GAP = 0.04
"""Between two syllables: what the silence within speech is at most."""


def voice(duration: float, rate: int = 16_000) -> bytes:
    """Syllables of amplitude-modulated harmonics, loud in the first and in the last sample."""
    count = round(duration * rate)
    time = np.arange(count) / rate
    tone = sum(np.sin(2 * np.pi * 130 * n * time + n) / n for n in range(1, 9))
    swing = 0.8 + 0.2 * np.sin(2 * np.pi * 5 * time)
    until_end = (count - np.arange(count)) / rate  # the last syllable is a whole one
    loud = (until_end % (SYLLABLE + GAP)) <= SYLLABLE
    loud[: round(GAP * rate)] = True
    return (5000 * tone * swing * loud).astype("<i2").tobytes()


def silence(duration: float, rate: int = 16_000) -> bytes:
    """Digital silence."""
    return bytes(2 * round(duration * rate))


def alternate_speech(*durations: float, rate: int = 16_000) -> tuple[bytes, list[float]]:
    """Alternate silence and voice, beginning with silence; return where each voice ends, too."""
    pcm, ends = b"", []
    for index, duration in enumerate(durations):
        pcm += voice(duration, rate) if index % 2 else silence(duration, rate)
        if index % 2:
            ends.append(len(pcm) / 2 / rate)
    return pcm, ends
