"""The virtual sound card as a fixture, and its recording as the truth about what sounded when.

A test module that imports ``running_virtual_audio`` has the fixture ``virtual_audio``.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from numpy.typing import NDArray
from virtual_audio import RATE, VirtualAudio, missing_programs

EARLY = 0.010
"""A null sink's monitor hands out a block of 10 ms before that has sounded."""


@pytest.fixture(scope="module", name="virtual_audio")
def running_virtual_audio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualAudio]:
    """A running virtual sound card that this process finds, too."""
    if importlib.util.find_spec("pyaudio") is None:
        pytest.skip("PyAudio is not installed: pip install voicecli[mic]")
    if missing := missing_programs():
        pytest.skip(f"no {', '.join(missing)}: apt install pulseaudio pulseaudio-utils")
    if not any(Path("/usr/lib").glob("**/libasound_module_pcm_pulse.so")):
        pytest.skip("ALSA does not know PulseAudio: apt install libasound2-plugins")
    audio = VirtualAudio(tmp_path_factory.mktemp("virtual_audio"))
    audio.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in audio.environment.items():
            patch.setenv(name, value)
        yield audio
    audio.stop()


class Bus:
    """A recording of both devices, made while the ``with`` block runs.

    microphone, speaker: what was heard and played, at RATE, sample by sample together.
    base: CLOCK_MONOTONIC of their first sample.
    """

    def __init__(self, audio: VirtualAudio) -> None:
        self._audio = audio
        self._data: list[bytes] = []
        self._arrivals: list[tuple[float, int]] = []

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
            self._arrivals.append((time.monotonic(), total))
            self._data.append(data)

    def __exit__(self, *_: object) -> None:
        time.sleep(0.15)  # what sounds now is still on its way
        self._recorder.terminate()
        self._thread.join()
        self._recorder.communicate()
        raw = b"".join(self._data)
        both = np.frombuffer(raw[: len(raw) // 4 * 4], "<i2").reshape(-1, 2)
        self.microphone: NDArray[np.int16] = both[:, 0]
        self.speaker: NDArray[np.int16] = both[:, 1]
        # The earliest arrival is the one that waited for nothing.
        self.base = min(at - size / 4 / RATE for at, size in self._arrivals[3:]) + EARLY


def loud(signal: NDArray[np.int16], threshold: int = 200) -> NDArray[np.intp]:
    """The samples that are no silence."""
    return np.flatnonzero(np.abs(signal.astype(np.int32)) > threshold)


def tone(duration: float, rate: int, hertz: float = 600.0, peak: int = 10_000) -> bytes:
    """A sine as linear16, which begins at its peak: loud from the first sample on."""
    angles = 2 * np.pi * hertz * np.arange(round(duration * rate)) / rate
    return (peak * np.cos(angles)).astype("<i2").tobytes()
