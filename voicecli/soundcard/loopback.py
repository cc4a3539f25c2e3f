"""How the microphone hears the loudspeaker: after what time, and how softly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voicecli.audio import Samples, Seconds

_LENGTH: Seconds = 0.25
_LOWEST, _HIGHEST = 400.0, 6000.0
"""What small loudspeakers and microphones pass, and 16 kHz can hold."""

_PEAK = 0.5 * 32767

_CLEAR = 12.0
"""How far an echo must stand out of the correlation's noise; that of pure noise reaches 5."""

_TRAIL: Seconds = 0.1
"""Of a room: what still arrives after the direct sound."""


class Echo(NamedTuple):
    """A played signal, found in a recording.

    position: where in the recording it begins, in samples.
    attenuation: by how many decibels it is softer than it was played.
    """

    position: Samples
    attenuation: float


def chirp(rate: int) -> NDArray[np.int16]:
    """A rising tone with soft ends, which no other sound resembles."""
    time = np.arange(round(_LENGTH * rate)) / rate
    highest = min(_HIGHEST, 0.4 * rate)
    phase = 2 * np.pi * (_LOWEST * time + (highest - _LOWEST) * time**2 / (2 * _LENGTH))
    envelope = np.minimum(1, np.minimum(time, time[::-1]) / 0.01)
    signal: NDArray[np.int16] = (_PEAK * envelope * np.sin(phase)).astype(np.int16)
    return signal


def find_echo(played: NDArray[np.int16], recorded: NDArray[np.int16], rate: int) -> Echo | None:
    """Where ``recorded`` holds ``played``, and how softly; None when it cannot be told from noise.

    Both at ``rate``; the recording is longer, and holds the signal once.
    """
    signal, heard = played.astype(np.float64), recorded.astype(np.float64)
    size = len(signal) + len(heard)
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(signal, size))
    match = np.abs(np.fft.irfft(spectrum, size)[: len(heard) - len(signal) + 1])
    position = int(match.argmax())
    if match[position] <= _CLEAR * np.median(match) or not match[position]:
        return None
    until = position + len(signal) + round(_TRAIL * rate)
    rest = np.concatenate([heard[:position], heard[until:]])
    noise = float(np.mean(rest**2)) if len(rest) else 0.0
    energy = float(np.sum(heard[position:until] ** 2)) - noise * len(heard[position:until])
    energy = max(energy, match[position] ** 2 / float(np.sum(signal**2)))  # the direct sound's
    return Echo(position, float(10 * np.log10(np.sum(signal**2) / energy)))
