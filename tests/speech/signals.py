"""The sounds of which the scenes are made, the same to the sample on every machine."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

HERE = Path(__file__).parent
RATE = 16_000

Signal = NDArray[np.float64]
"""Samples of full scale 1."""


def load(path: Path) -> Signal:
    """Load a recording of 16 kHz."""
    samples, rate = soundfile.read(path)
    assert rate == RATE
    signal: Signal = samples
    return signal


@cache
def load_clip(name: str) -> Signal:
    """Load a synthesized phrase: voiced from its first sample to its last."""
    return load(HERE / "clips" / f"{name}.flac")


def make_white(count: int, seed: int) -> Signal:
    """Make white noise of RMS 1, from raw bits: NumPy's distributions may change, these may not."""
    bits = np.random.PCG64(seed).random_raw(count)
    return ((bits >> np.uint64(11)).astype(np.float64) / 2**52 - 1) * np.sqrt(3)


def make_noise(count: int, seed: int) -> Signal:
    """Make noise of RMS 1 that falls with the frequency, as that of rooms and streets does."""
    white = make_white(count + 63, seed)
    sums = np.concatenate([[0.0], np.cumsum(white)])
    parts = [(sums[63 + 1 :] - sums[63 + 1 - n : -n or None]) / np.sqrt(n) for n in (1, 4, 16, 64)]
    total: Signal = np.sum(parts, axis=0)
    return total / np.sqrt(np.mean(total**2))


def make_cough(seed: int) -> Signal:
    """Make a cough: two bursts of noise, each loud at once and gone within 0.2 s."""
    return np.concatenate(
        [_make_burst(0.22, 0.05, seed), np.zeros(RATE // 20), _make_burst(0.18, 0.04, seed + 1)]
    )


def make_slam(seed: int) -> Signal:
    """Make a door that slams: one burst."""
    return _make_burst(0.25, 0.03, seed)


def _make_burst(length: float, decay: float, seed: int) -> Signal:
    """Noise that starts at its peak, 0.4, and is cut off where it has fallen by 40 dB or more."""
    count = round(length * RATE)
    noise = make_noise(count, seed)
    burst: Signal = noise * np.exp(-np.arange(count) / (decay * RATE))
    return 0.4 * burst / np.abs(burst).max()
