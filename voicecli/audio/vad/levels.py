"""How loud a stream is, frame by frame, against the noise it stands in.

What the detectors read the beginning and the end of a voice from: levels relative to the noise and
to the voice's own peak, so that no absolute volume matters.  A sound card's constant offset and the
rumble below a voice (recordings had them at -42 dBFS, over a noise of -58) are no sound: they count
neither in a frame's level nor, as far as they are steady, in that of its steps.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicecli.audio.pcm import samples_of
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

FRAME: Seconds = 0.010
STEP: Seconds = 0.001
"""Within a frame, the beginning or the end of a voice is looked for in steps of this."""

NOISE_WINDOW: Seconds = 2.0
"""The quietest 50 ms of this long is the noise; speech has a dip within it."""

ABOVE_NOISE_DB = 6.0
BELOW_PEAK_DB = 30.0
"""A frame this far below the loudest of its stretch is its silence: 0.03 of its amplitude."""

FLOOR_DBFS = -55.0
"""Nothing below this is voice."""

QUIET_ROOM_DBFS = -51.0
"""The noise as long as it is unknown; what is 6 dB louder is AUDIBLE_DBFS."""

SILENT_DBFS = -100.0
"""The level of digital silence."""

_DIP = 5
"""Frames of the quietest 50 ms."""

_KNOWN = 50
"""Frames until the noise is known: half a second."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a stream.

    at: when its first sample was at the microphone.
    level: of what is in it but its mean, in dBFS.
    held: the level of the quieter of it and the one before: a click holds none.
    noise: the noise it stands in, in dBFS.
    """

    at: Seconds
    level: float
    held: float
    noise: float
    samples: NDArray[np.int16]
    rate: int
    offset: float

    @property
    def end(self) -> Seconds:
        """When its last sample was at the microphone."""
        return self.at + len(self.samples) / self.rate

    def threshold(self, peak: float = SILENT_DBFS) -> float:
        """What is louder is voice, in a stretch that held ``peak``."""
        return max(FLOOR_DBFS, self.noise + ABOVE_NOISE_DB, peak - BELOW_PEAK_DB)

    def first_loud(self, threshold: float) -> Seconds:
        """When its first step that loud began; the frame's beginning if there is none."""
        size = round(STEP * self.rate)
        loud = self._steps(self.samples[: len(self.samples) // size * size], size) >= threshold
        return self.at + int(loud.argmax()) * size / self.rate

    def last_loud(self, threshold: float) -> Seconds:
        """When its last step that loud ended; the frame's end if there is none."""
        size = round(STEP * self.rate)
        loud = self._steps(self.samples[len(self.samples) % size :], size) >= threshold
        return self.end - int(loud[::-1].argmax()) * size / self.rate

    def _steps(self, samples: NDArray[np.int16], size: Samples) -> NDArray[np.float64]:
        return _levels(_means(np.square(samples.reshape(-1, size) - self.offset)))


class Loudness:
    """Cuts a stream of blocks into frames and measures them; the cuts of the blocks are no matter.

    format: of the blocks.
    """

    def __init__(self, format: AudioFormat) -> None:
        self.format = format
        self._size = format.samples(FRAME)
        self._rest = np.zeros(0, np.int16)
        self._level = SILENT_DBFS
        self._offsets: deque[float] = deque(maxlen=_KNOWN)
        self._heard = 0
        self._dip: deque[float] = deque(maxlen=_DIP)
        # rising from the left: the first is the quietest 50 ms of the window
        self._quietest: deque[tuple[int, float]] = deque()

    def frames(self, block: AudioBlock) -> list[Frame]:
        """The frames that ``block`` completes."""
        rate = self.format.rate
        samples = np.concatenate([self._rest, samples_of(block.pcm)])
        at = block.at - len(self._rest) / rate
        whole = len(samples) // self._size * self._size
        self._rest = samples[whole:]
        cut = samples[:whole].reshape(-1, self._size)
        means = _means(cut.astype(np.float64))
        levels = _levels(_means(np.square(cut, dtype=np.float64)) - np.square(means))
        return [
            Frame(
                at + index * self._size / rate,
                level,
                self._held(level),
                self._noise(level),
                cut[index],
                rate,
                self._offset(mean),
            )
            for index, (level, mean) in enumerate(zip(levels.tolist(), means.tolist(), strict=True))
        ]

    def reset(self) -> None:
        """What follows does not continue what came before; the noise level is still known."""
        self._rest = np.zeros(0, np.int16)
        self._level = SILENT_DBFS

    def _held(self, level: float) -> float:
        self._level, before = level, self._level
        return min(before, level)

    def _offset(self, mean: float) -> float:
        """The stream's constant offset: over half a second, what a voice adds averages out."""
        self._offsets.append(mean)
        return sum(self._offsets) / len(self._offsets)

    def _noise(self, level: float) -> float:
        """Level of the quietest 50 ms lately, once half a second was heard: a stream may begin with
        a voice.
        """
        self._heard += 1
        self._dip.append(level)
        if len(self._dip) == _DIP:
            dip = sum(self._dip) / _DIP
            while self._quietest and self._quietest[-1][1] >= dip:
                self._quietest.pop()
            self._quietest.append((self._heard, dip))
            if self._quietest[0][0] <= self._heard - round(NOISE_WINDOW / FRAME) + _DIP - 1:
                self._quietest.popleft()
        return self._quietest[0][1] if self._heard >= _KNOWN else QUIET_ROOM_DBFS


def level_dbfs(samples: NDArray[np.int16]) -> float:
    """Root-mean-square level of ``samples`` in dBFS; digital silence is -100."""
    if not samples.size:
        return SILENT_DBFS
    return float(_levels(_means(np.square(samples[None], dtype=np.float64)))[0])


def _means(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of each row; ``rows.mean(1)`` takes twice as long on a few short ones."""
    means: NDArray[np.float64] = np.add.reduce(rows, axis=1) / rows.shape[1]
    return means


def _levels(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean squares of samples as dBFS."""
    silent = 10 ** (SILENT_DBFS / 10)
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum(power / 32768.0**2, silent))
    return levels
