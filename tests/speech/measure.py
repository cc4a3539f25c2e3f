"""Measures where the speech of a recording begins and ends, against the noise of its room.

    python -m tests.speech.measure FILE...        prints start and end, and silences from 100 ms

In steps of 5 ms the energy is taken in two bands, of voice (150 to 3000 Hz) and of fricatives (3000
to 7800 Hz), and averaged over 15 ms.  Speech is where either is 6 dB above the room's, which is the
quietest tenth of a second before (for the end: after) the speech.  A sound of less than 20 ms is a
click; one that is under way when the recording begins is not its speech.

It uses nothing of voicecli: the labels must not inherit an error of its detectors.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

HOP = 0.005
WINDOW = 0.010
BANDS = ((150, 3000), (3000, 7800))
ABOVE_ROOM_DB = 6.0
ROOM = 20  # steps: a tenth of a second
SEARCHED = 0.25  # seconds at either end in which the room is looked for
CLICK = 4  # steps
UNDER_WAY = 2  # steps


@dataclass(frozen=True)
class Edges:
    """Start and end of the speech, and of each silence in it, in seconds."""

    start: float
    end: float
    silences: tuple[tuple[float, float], ...]


def measure_edges(file: Path, shortest: float = 0.1) -> Edges:
    """Measure the speech of ``file``; silences shorter than ``shortest`` belong to it."""
    samples, rate = soundfile.read(file)
    times, levels = _measure_levels(samples, rate)
    loud = np.zeros(len(times), bool)
    half = len(times) // 2
    for level in levels:
        for part, searched in (
            (slice(0, half), level[2 : round(SEARCHED / HOP)]),
            (slice(half, None), level[-round(SEARCHED / HOP) : -2]),
        ):
            loud[part] |= level[part] > _find_room(searched) + ABOVE_ROOM_DB
    runs = [run for run in _find_runs(loud) if run[0] > UNDER_WAY]
    joined: list[list[float]] = []
    for first, last in runs:
        start, end = times[first] - HOP / 2, times[last] + HOP / 2
        if joined and start - joined[-1][1] < shortest:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    silences = pairwise(joined)
    return Edges(
        start=round(float(joined[0][0]), 4),
        end=round(float(joined[-1][1]), 4),
        silences=tuple((round(float(a[1]), 4), round(float(b[0]), 4)) for a, b in silences),
    )


def _measure_levels(
    samples: NDArray[np.float64], rate: int
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """The middle of each step, and the level of each band in it, in decibels."""
    size, hop = round(WINDOW * rate), round(HOP * rate)
    starts = np.arange(0, len(samples) - size, hop)
    frames = samples[starts[:, None] + np.arange(size)] * np.hanning(size + 2)[1:-1]
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    frequencies = np.fft.rfftfreq(512, 1 / rate)
    levels = []
    for low, high in BANDS:
        band = power[:, (frequencies >= low) & (frequencies < high)].sum(axis=1)
        levels.append(10 * np.log10(np.convolve(band, np.ones(3) / 3, "same") + 1e-12))
    return (starts + size / 2) / rate, levels


def _find_room(level: NDArray[np.float64]) -> float:
    """The mean level of the quietest tenth of a second."""
    means = np.convolve(level, np.ones(ROOM) / ROOM, "valid")
    return float(means.min())


def _find_runs(loud: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last step of each sound that is no click."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], loud.astype(int), [0]])))
    return [(a, b - 1) for a, b in edges.reshape(-1, 2) if b - a >= CLICK]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        found = measure_edges(Path(name))
        silences = "  ".join(f"{start:.3f}–{end:.3f}" for start, end in found.silences)
        print(f"{name}: {found.start:.3f}–{found.end:.3f} s  {silences}")
