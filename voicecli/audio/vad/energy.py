"""Detects speech by energy, on the sample clock.

The detector reports when the user's voice began and ended at the microphone, back-dated to the
voiced sample, however late it notices.  It compares levels with the noise around them and with the
loudest frame of the stretch, so no absolute volume matters: a sound card's constant offset and the
rumble below a voice (recordings had them at -42 dBFS, over a noise of -58) count neither in a
frame's level nor, where they are steady, in its steps.  Loud noise is taken for a voice: a steady
one until it is two seconds old, any other as long as it lasts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from math import inf
from typing import NamedTuple

import numpy as np
from typing_extensions import override

from voicecli.audio.interfaces import Detector
from voicecli.audio.pcm import SILENT_DBFS, SampleArray, samples_of, to_dbfs, to_power
from voicecli.events import Event, SpeechPaused, SpeechResumed, SpeechStarted, SpeechStopped
from voicecli.units import AudioBlock, AudioFormat, Seconds

FRAME: Seconds = 0.010
STEP: Seconds = 0.001  # precision of the beginning and the end of a voice within a frame
NOISE_WINDOW: Seconds = 2.0  # its quietest 50 ms are the noise; speech has a dip within it
ABOVE_NOISE_DB = 6.0
BELOW_PEAK_DB = 30.0  # below the loudest frame of its stretch, it is silence: 0.03 of its amplitude
FLOOR_DBFS = -55.0  # nothing below this is voice
QUIET_ROOM_DBFS = -51.0  # the noise level assumed until it is known; 6 dB more is AUDIBLE_DBFS
ONSET: Seconds = 0.030  # uninterrupted voice that starts a stretch; a click is shorter
RETURN: Seconds = 0.020  # voice that continues it after a dip: a click is shorter, a "t" is not
RECORDED_PAUSE: Seconds = 0.2  # ends a stretch of a recording
_DIP_FRAMES = 5  # length of the quietest part: 50 ms
_NOISE_KNOWN_AFTER = 50  # frames (half a second): a stream may begin with a voice


class Frame(NamedTuple):
    """One frame of a stream.

    at: when its first sample was at the microphone.
    level: of its deviation from its mean, in dBFS.
    sustained: the lower level of it and the one before: low for a click.
    noise: the noise around it, in dBFS.
    offset: the constant offset of the stream.
    """

    at: Seconds
    level: float
    sustained: float
    noise: float
    samples: SampleArray
    rate: int
    offset: float

    @property
    def end(self) -> Seconds:
        """When its last sample was at the microphone."""
        return self.at + len(self.samples) / self.rate

    def threshold(self, peak: float = SILENT_DBFS) -> float:
        """The level from which it is voice, in a stretch whose loudest frame had ``peak``."""
        return max(FLOOR_DBFS, self.noise + ABOVE_NOISE_DB, peak - BELOW_PEAK_DB)

    def find_first_loud(self, threshold: float) -> Seconds:
        """Return when its first step above ``threshold`` began; the frame's start without one."""
        return self.at + self._find_loud(self.samples, threshold)

    def find_last_loud(self, threshold: float) -> Seconds:
        """Return when its last step above ``threshold`` ended; the frame's end without one."""
        return self.end - self._find_loud(self.samples[::-1], threshold)

    def _find_loud(self, samples: SampleArray, threshold: float) -> Seconds:
        """Return the time before the first loud step of ``samples``; 0 without one."""
        size = round(STEP * self.rate)
        steps = samples[: len(samples) // size * size].reshape(-1, size)
        power = np.square(steps - self.offset).mean(axis=1)
        return int((power >= to_power(threshold)).argmax()) * size / self.rate


class LevelMeter:
    """Cuts blocks of any length into frames and measures them.

    format: of the blocks.
    """

    def __init__(self, format: AudioFormat) -> None:
        self.format = format
        self._size = format.samples(FRAME)
        self._rest = np.zeros(0, np.int16)
        self._level = SILENT_DBFS
        self._sums: deque[float] = deque()  # of the samples of the last frames
        self._sum = 0.0  # of them all; sums of integers are exact
        self._frames = 0
        self._dip: deque[float] = deque(maxlen=_DIP_FRAMES)
        # (frame, level) of dips, rising from the left: the first is the window's quietest
        self._quietest: deque[tuple[int, float]] = deque()

    def feed(self, block: AudioBlock) -> list[Frame]:
        """Return the frames that ``block`` completes."""
        rate, size = self.format.rate, self._size
        samples, at = samples_of(block.pcm), block.at
        if len(self._rest):
            at -= len(self._rest) / rate
            samples = np.concatenate([self._rest, samples])
        count = len(samples) // size
        self._rest = samples[count * size :]
        cut = samples[: count * size].reshape(-1, size)
        values = cut.astype(np.float64)
        sums = np.add.reduce(values, axis=1).tolist()
        squares = np.vecdot(values, values).tolist()
        frames = []
        for index in range(count):
            level = to_dbfs(squares[index] / size - (sums[index] / size) ** 2)
            sustained, self._level = min(self._level, level), level
            noise, offset = self._update_noise(level), self._update_offset(sums[index])
            start = at + index * size / rate
            frames.append(Frame(start, level, sustained, noise, cut[index], rate, offset))
        return frames

    def reset(self) -> None:
        """Expect a discontinuity; keep the noise level."""
        self._rest = np.zeros(0, np.int16)
        self._level = SILENT_DBFS

    def _update_offset(self, total: float) -> float:
        """Return the stream's constant offset: over half a second, a voice averages out."""
        self._sums.append(total)
        self._sum += total
        if len(self._sums) > _NOISE_KNOWN_AFTER:
            self._sum -= self._sums.popleft()
        return self._sum / (len(self._sums) * self._size)

    def _update_noise(self, level: float) -> float:
        """Return the level of the quietest 50 ms of the window."""
        self._frames += 1
        self._dip.append(level)
        if len(self._dip) == _DIP_FRAMES:
            dip = sum(self._dip) / _DIP_FRAMES
            while self._quietest and self._quietest[-1][1] >= dip:
                self._quietest.pop()
            self._quietest.append((self._frames, dip))
            oldest = self._frames - round(NOISE_WINDOW / FRAME) + _DIP_FRAMES - 1
            if self._quietest[0][0] <= oldest:
                self._quietest.popleft()
        return self._quietest[0][1] if self._frames >= _NOISE_KNOWN_AFTER else QUIET_ROOM_DBFS


class EnergyDetector(Detector):
    """Detects stretches of voice in a stream of blocks.

    format: of the blocks.
    hangover: seconds of silence that end a stretch.
    pause: seconds of silence that are reported before that; None for none.
    """

    def __init__(
        self, format: AudioFormat, hangover: Seconds, pause: Seconds | None = None
    ) -> None:
        self.format = format
        self.speaking = False
        self._meter = LevelMeter(format)
        self._hangover = max(1, round(hangover / FRAME))
        self._pause = inf if pause is None else round(pause / FRAME)
        self._paused = False
        self._voiced = self._silent = 0  # frames: the loud ones in a row; those since the voice
        self._peak = SILENT_DBFS
        self._start: Seconds = 0.0
        self._last: tuple[Frame, float] | None = None  # the last loud frame and its threshold

    @override
    def feed(self, block: AudioBlock) -> list[Event]:
        until = block.at + self.format.seconds(len(block.pcm))
        return [event for frame in self._meter.feed(block) for event in self._judge(frame, until)]

    @override
    def reset(self) -> None:
        self.speaking = self._paused = False
        self._voiced = self._silent = 0
        self._meter.reset()

    def _judge(self, frame: Frame, until: Seconds) -> Iterator[Event]:
        threshold = frame.threshold(self._peak) if self.speaking else frame.threshold()
        self._silent += 1
        if frame.level < threshold:
            self._voiced = 0
        else:
            self._add_voiced(frame, threshold)
        if not self.speaking and self._voiced * FRAME >= ONSET:
            self.speaking = True
            yield SpeechStarted(at=until, speech_start=self._start)
        elif self.speaking and not self._voiced and self._silent >= self._hangover:
            self.speaking = self._paused = False
            yield SpeechStopped(at=until, speech_end=self._find_end())
        elif self.speaking and self._paused != (self._silent >= self._pause):
            self._paused = not self._paused
            if self._paused:
                yield SpeechPaused(at=until, speech_end=self._find_end())
            else:
                yield SpeechResumed(at=until)

    def _find_end(self) -> Seconds:
        assert self._last is not None
        frame, threshold = self._last
        return frame.find_last_loud(threshold)

    def _add_voiced(self, frame: Frame, threshold: float) -> None:
        self._voiced += 1
        if self._voiced == 1 and not self.speaking:
            self._start, self._peak = frame.find_first_loud(threshold), SILENT_DBFS
        self._peak = max(self._peak, frame.sustained)
        if self._silent == 1 or self._voiced * FRAME >= RETURN:
            self._silent = 0
            self._last = frame, threshold


def find_stretches(
    blocks: Iterable[AudioBlock], format: AudioFormat, pause: Seconds = RECORDED_PAUSE
) -> Iterator[tuple[Seconds, Seconds]]:
    """Yield start and end of each stretch of voice in consecutive blocks, as it is found.

    pause: silence that ends a stretch.
    """
    detector = EnergyDetector(format, pause)
    silence = format.silence(pause + 2 * FRAME)
    start = end = 0.0
    for block in chain(blocks, [None]):
        block = block or AudioBlock(silence, end)
        end = block.at + format.seconds(len(block.pcm))
        for event in detector.feed(block):
            if isinstance(event, SpeechStarted):
                start = event.speech_start
            elif isinstance(event, SpeechStopped):
                yield start, event.speech_end
