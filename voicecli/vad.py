"""Tells voice from silence by energy, on the sample clock.

The detector says when the user's voice really began and ended at the microphone, back-dated to the
voiced sample, however late it notices.  It reads levels against the noise around them and against
the loudest frame of the stretch, so it needs no absolute volume; loud noise it takes for a voice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from voicecli.audio import AudioBlock, AudioFormat, Seconds, samples_of
from voicecli.events import Event, SpeechStarted, SpeechStopped

FRAME: Seconds = 0.010
STEP: Seconds = 0.001
"""Within the last voiced frame the end is looked for in steps of this."""

ONSET: Seconds = 0.030
"""So much voice in a row starts a stretch: a click does not."""

NOISE_WINDOW: Seconds = 2.0
"""The quietest 50 ms of this long is the noise; speech has a dip within it."""

ABOVE_NOISE_DB = 6.0
BELOW_PEAK_DB = 30.0
"""A frame this far below the loudest of its stretch is its silence: 0.03 of its amplitude."""

FLOOR_DBFS = -55.0
"""Nothing below this is voice."""


class EnergyDetector:
    """Detects stretches of voice in a stream of blocks.

    format: of the blocks.
    hangover: so much silence ends a stretch, in seconds.
    """

    def __init__(self, format: AudioFormat, hangover: Seconds = 0.2) -> None:
        self.format = format
        self.speaking = False
        self._frame = format.samples(FRAME)
        self._hangover = round(hangover / FRAME)
        self._rest = np.zeros(0, np.int16)
        self._recent: deque[float] = deque(maxlen=round(NOISE_WINDOW / FRAME))
        self._voiced = self._silent = 0
        self._peak = FLOOR_DBFS
        self._start: Seconds = 0.0
        self._end: Seconds = 0.0

    def feed(self, block: AudioBlock) -> Iterator[Event]:
        """The stretches that begin or end in ``block``, stamped with the block's end."""
        samples = np.concatenate([self._rest, samples_of(block.pcm)])
        at = block.at - len(self._rest) / self.format.rate
        until = block.at + self.format.seconds(len(block.pcm))
        whole = len(samples) // self._frame * self._frame
        self._rest = samples[whole:]
        for index in range(0, whole, self._frame):
            yield from self._hear(
                samples[index : index + self._frame], at + index / self.format.rate, until
            )

    def reset(self) -> None:
        """What follows does not continue what came before; the noise level is still known."""
        self.speaking = False
        self._voiced = self._silent = 0
        self._rest = np.zeros(0, np.int16)

    def _hear(self, frame: NDArray[np.int16], at: Seconds, until: Seconds) -> Iterator[Event]:
        level = level_dbfs(frame)
        self._recent.append(level)
        threshold = max(FLOOR_DBFS, self._noise() + ABOVE_NOISE_DB)
        if self.speaking:
            threshold = max(threshold, self._peak - BELOW_PEAK_DB)
        if level >= threshold:
            if not self.speaking and not self._voiced:
                self._start, self._peak = at, level
            self._voiced += 1
            self._silent = 0
            self._peak = max(self._peak, level)
            self._end = at + self._last_loud(frame, threshold)
        else:
            self._silent += 1
            self._voiced = self._voiced if self.speaking else 0
        if not self.speaking and self._voiced * FRAME >= ONSET:
            self.speaking = True
            yield SpeechStarted(at=until, speech_start=self._start)
        elif self.speaking and self._silent >= self._hangover:
            self.speaking, self._voiced = False, 0
            yield SpeechStopped(at=until, speech_end=self._end)

    def _noise(self) -> float:
        """Level of the quietest 50 ms lately; unknown, so none, until half a second was heard."""
        if len(self._recent) * FRAME < 0.5:
            return -np.inf
        levels = np.array(self._recent)
        return float(np.convolve(levels, np.full(5, 0.2), "valid").min())

    def _last_loud(self, frame: NDArray[np.int16], threshold: float) -> Seconds:
        """Where in a voiced frame the voice ends."""
        step = self.format.samples(STEP)
        for end in range(len(frame), 0, -step):
            if level_dbfs(frame[max(0, end - step) : end]) >= threshold:
                return end / self.format.rate
        return len(frame) / self.format.rate


def level_dbfs(samples: NDArray[np.int16]) -> float:
    """Root-mean-square level of ``samples`` in dBFS; digital silence is -100."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0
    return max(-100.0, 10 * float(np.log10(power / 32768.0**2))) if power else -100.0


def stretches(
    blocks: Iterable[AudioBlock], format: AudioFormat, hangover: Seconds = 0.2
) -> Iterator[tuple[Seconds, Seconds]]:
    """Start and end of each stretch of voice in consecutive blocks, as it is found."""
    detector = EnergyDetector(format, hangover)
    silence = format.silence(hangover + 2 * FRAME)
    start = end = 0.0
    for block in blocks:
        end = block.at + format.seconds(len(block.pcm))
        for event in detector.feed(block):
            if isinstance(event, SpeechStarted):
                start = event.speech_start
            elif isinstance(event, SpeechStopped):
                yield start, event.speech_end
    for event in detector.feed(AudioBlock(silence, end)):
        if isinstance(event, SpeechStopped):
            yield start, event.speech_end
