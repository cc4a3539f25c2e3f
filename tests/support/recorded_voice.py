"""A recorded voice of any length, whose beginning and end are known to the sample.

The Silero detector takes no synthetic tone for a voice, so a measurement with it needs a real one.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import soundfile
import soxr

from tests.support import ROOT
from voicecli.audio.pcm import SampleArray
from voicecli.audio.vad.energy import find_stretches
from voicecli.units import AudioBlock, AudioFormat, Seconds

RECORDING = ROOT / "tests" / "speech" / "librivox-0870.wav"

PAUSE: Seconds = 0.05
"""Silence of this length is cut out of the recording: the voice is uninterrupted."""

LOUD_END: Seconds = 3.02
"""Where the voice, without its pauses, is loud for 40 ms: its last sample is cut from a vowel."""

NOISE_DBFS = -60.0
"""Noise of a quiet room."""


def take_voice(duration: Seconds, rate: int) -> bytes:
    """Return ``duration`` of uninterrupted voice, loud in its last sample."""
    voice, format = _join_voice()
    count = format.samples(duration)
    rounds = 1 + count // len(voice)
    end = rounds * len(voice) + format.samples(LOUD_END)
    taken = np.concatenate([voice] * (rounds + 1))[end - count : end]
    return (taken if rate == format.rate else soxr.resample(taken, format.rate, rate)).tobytes()


@cache
def make_room_noise(rate: int) -> SampleArray:
    """Return a second of noise of NOISE_DBFS, always the same."""
    scale = 32768 * 10 ** (NOISE_DBFS / 20)
    return np.random.default_rng(1).normal(0, scale, rate).astype("<i2")


@cache
def _join_voice() -> tuple[SampleArray, AudioFormat]:
    samples, rate = soundfile.read(RECORDING, dtype="int16")
    format = AudioFormat(rate)
    stretches = find_stretches([AudioBlock(samples.tobytes(), 0.0)], format, PAUSE)
    pieces = [samples[format.samples(start) : format.samples(end)] for start, end in stretches]
    return np.concatenate(pieces), format
