"""Audio as levels: enough to play a sound of the same length and loudness, and not the words.

A letter stands for FRAME of audio, for its peak in steps of STEP below full scale; the last letter
also for anything softer.  The tone made of it is audible, and silent, where the audio was, to
within a frame.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from math import ceil

import numpy as np

from voicecli.audio.pcm import SampleArray, measure_level, samples_of
from voicecli.units import SAMPLE_SIZE, Seconds

FRAME: Seconds = 0.002

LEVEL_WINDOW: Seconds = 0.5
"""Audio to the STT that one level stands for."""

LETTERS = string.ascii_letters + string.digits

STEP = 1.5
"""Decibels; the last of the letters is -91.5 dBFS, one bit, or silence."""

_FULL_SCALE = 32768.0


def encode_levels(samples: SampleArray, rate: int) -> str:
    """Return the levels of ``samples``, one letter per FRAME; the last may stand for less."""
    length = round(FRAME * rate)
    frames = np.zeros(ceil(len(samples) / length) * length)
    frames[: len(samples)] = np.abs(samples.astype(np.float64))
    peaks = frames.reshape(-1, length).max(axis=1)
    below = -20 * np.log10(np.maximum(peaks, 0.5) / _FULL_SCALE) / STEP
    steps = np.clip(np.rint(below), 0, len(LETTERS) - 1).astype(int)
    return "".join(LETTERS[step] for step in steps)


def make_tone(levels: str, count: int, rate: int) -> SampleArray:
    """Return ``count`` samples with these levels: a tone with one period per FRAME.

    Raises ValueError for other letters, or too few of them.
    """
    length = round(FRAME * rate)
    if len(levels) != ceil(count / length):
        raise ValueError(f"{len(levels)} levels for {count} samples")
    steps = np.array([LETTERS.index(letter) for letter in levels])
    silent = steps == len(LETTERS) - 1
    peaks = np.where(silent, 0.0, (_FULL_SCALE - 1) * 10 ** (-STEP * steps / 20))
    period = np.sin(2 * np.pi * np.arange(length) / length)
    tone: SampleArray = np.rint(np.outer(peaks, period)).astype(np.int16).ravel()[:count]
    return tone


class WholeSamples:
    """Cuts a stream of bytes into whole samples.  A text message between them starts it over."""

    def __init__(self) -> None:
        self._odd = b""

    def feed(self, data: bytes) -> bytes:
        """Return the samples that ``data`` completes."""
        data = self._odd + data
        whole = len(data) // 2 * 2
        self._odd = data[whole:]
        return data[:whole]

    def restart(self) -> None:
        """Drop half a sample."""
        self._odd = b""


class LevelMeter:
    """Measures audio, as it is sent, in windows of LEVEL_WINDOW; ``rate`` in hertz."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._size = round(LEVEL_WINDOW * rate) * SAMPLE_SIZE
        self._pending = b""
        self._windows = 0

    def feed(self, pcm: bytes) -> Iterator[tuple[float, Seconds]]:
        """Yield the level in dBFS of each window that ``pcm`` completes, and its end in seconds."""
        self._pending += pcm
        while len(self._pending) >= self._size:
            window, self._pending = self._pending[: self._size], self._pending[self._size :]
            self._windows += 1
            end = self._windows * self._size / SAMPLE_SIZE / self._rate
            yield round(measure_level(samples_of(window)), 1), end
