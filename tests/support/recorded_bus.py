"""A recording of the virtual sound card: the truth about what sounded when."""

from __future__ import annotations

import os
import threading
import time
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tests.support.virtual_audio import RATE, VirtualAudio

EARLY = 0.010
"""A null sink's monitor hands out a block of 10 ms before that has sounded."""

HEARD_EARLY = 0.009
"""So a virtual microphone hears before it sounds what is said: what a program says of it is this
much longer than it is on the bus (measured: 8 to 10 ms)."""

LATENCY = 0.1
"""What a program has played may sound this much later."""

LOUD = 200


class Bus:
    """A recording of both devices, made while the ``with`` block runs.

    microphone, speaker: what was heard and played, at RATE, sample by sample together.
    base: CLOCK_MONOTONIC of their first sample.
    """

    def __init__(self, audio: VirtualAudio) -> None:
        self._audio = audio
        self._data: list[bytes] = []
        self._arrivals: list[tuple[float, int]] = []
        self._arrived = threading.Condition()

    def __enter__(self) -> Self:
        self._recorder = self._audio.listen("--raw", "--format=s16le")
        assert self._recorder.stdout is not None
        self._data.append(os.read(self._recorder.stdout.fileno(), 65536))  # it runs
        self._thread = threading.Thread(target=self._drain, args=(self._recorder.stdout.fileno(),))
        self._thread.start()
        return self

    def _drain(self, pipe: int) -> None:
        total = len(self._data[0])
        while data := os.read(pipe, 65536):
            total += len(data)
            with self._arrived:
                self._arrivals.append((time.monotonic(), total))
                self._data.append(data)
                self._arrived.notify_all()

    def __exit__(self, *_: object) -> None:
        sounding = time.monotonic() + LATENCY
        with self._arrived:
            self._arrived.wait_for(lambda: self._recorded_until() >= sounding, timeout=2.0)
        self._recorder.terminate()
        self._thread.join()
        self._recorder.communicate()
        raw = b"".join(self._data)
        both = np.frombuffer(raw[: len(raw) // 4 * 4], "<i2").reshape(-1, 2)
        self.microphone: NDArray[np.int16] = both[:, 0]
        self.speaker: NDArray[np.int16] = both[:, 1]
        self.base = self._find_base()

    def _find_base(self) -> float:
        """CLOCK_MONOTONIC of the first sample: the earliest arrival waited for nothing."""
        return min(at - size / 4 / RATE for at, size in self._arrivals[3:]) + EARLY

    def _recorded_until(self) -> float:
        """CLOCK_MONOTONIC of the last sample; 0 while that is unknown."""
        return self._find_base() + self._arrivals[-1][1] / 4 / RATE if self._arrivals[3:] else 0.0


def loud(signal: NDArray[np.int16], threshold: int = LOUD) -> NDArray[np.intp]:
    """The samples that are no silence."""
    return np.flatnonzero((signal > threshold) | (signal < -threshold))


def stretches(
    signal: NDArray[np.int16], apart: float = 0.3, rate: int = RATE, threshold: int = LOUD
) -> list[tuple[float, float]]:
    """When each sound begins and ends, in seconds of the recording."""
    samples = loud(signal, threshold)
    if not len(samples):
        return []
    cuts = np.flatnonzero(np.diff(samples) > apart * rate)
    firsts, lasts = samples[np.r_[0, cuts + 1]], samples[np.r_[cuts, len(samples) - 1]]
    return [(a / rate, (b + 1) / rate) for a, b in zip(firsts, lasts, strict=True)]
