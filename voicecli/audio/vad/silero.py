"""Detects speech with Silero VAD (MIT), a small neural network, and the levels around its verdicts.

The network tells human voices from noise but not when they end: it decides in steps of 32 ms and
lags by 50 ms, and by more in reverberation.  So it decides whether there is a voice, and the levels
of the frames around its verdicts show from when to when, as in ``energy``.  It notices a voice
after 100 ms or more; before that, loudness raises a suspicion.  A synthetic tone is not a voice to
it, however syllable-like.

The network (``network``) is loaded once per process and takes 1 MB; a detector takes 0.1 MB.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf

import numpy as np
import soxr
from typing_extensions import override

from voicecli.audio.interfaces import Detector, Hearing
from voicecli.audio.pcm import SILENT_DBFS, Float32Array, samples_of
from voicecli.audio.vad.energy import FRAME, STEP, Frame, LevelMeter
from voicecli.audio.vad.network import RATE, WINDOW, SileroNetwork, Window, judge_alone
from voicecli.events import (
    Event,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    SpeechSuspected,
)
from voicecli.units import AudioBlock, AudioFormat, Seconds

START_PROBABILITY, CONTINUE_PROBABILITY = 0.5, 0.35  # of a voice; Silero's own values
ONSET_WINDOWS = 2  # consecutive windows of voice that start a stretch
SUSPECT_AFTER: Seconds = 0.04
SUSPECT_DB = 3.0
SUSPECT_FALL_DB = 10.0
"""A sound that stays this much above the threshold for this long, and never falls this much below
its peak, may be a voice.  A key of a keyboard dies away.  Five recorded sentences were suspected 40
to 125 ms after they began, where the network took 119 to 308."""

LOOK_BACK: Seconds = 0.2  # how long before the network's first verdict a voice may have begun
LAG: Seconds = 0.12
"""A voice ended at most this long before the end of the last voiced window: when loud noise covers
its end, the network is more reliable than the levels.  Five sentences in noise of 20, 12 and 5 dB
and in none lagged by -23 to 247 ms (median 83); this value had the smallest error on them."""

FADING: Seconds = 0.1  # how long after the last voiced window a voice may still be fading
BRIDGE: Seconds = 0.03  # bridges such a dip near the beginning or the end of a voice


_FULL_SCALE = np.float32(1 / 32768)  # a power of two: the product is exact


class _Windows:
    """Cuts blocks of ``format`` into windows at the network's rate.

    The resampler holds back a few milliseconds; that delays the verdicts but does not shift them.
    """

    def __init__(self, format: AudioFormat) -> None:
        self._rate = format.rate
        self._resampler = (
            None if format.rate == RATE else soxr.ResampleStream(format.rate, RATE, 1, quality="LQ")
        )
        self.reset()

    def reset(self) -> None:
        """Forget the stream."""
        self._in = self._out = 0
        self._rest = np.zeros(0, np.float32)
        if self._resampler is not None:
            self._resampler.clear()

    def cut(self, block: AudioBlock) -> Iterator[tuple[Float32Array, Seconds]]:
        """Yield each window that ``block`` completes, and its end."""
        began = block.at - self._in / self._rate
        samples = samples_of(block.pcm)
        self._in += len(samples)
        scaled = samples * _FULL_SCALE
        if self._resampler is not None:
            scaled = self._resampler.resample_chunk(scaled)
        self._rest = np.concatenate([self._rest, scaled])
        while len(self._rest) >= WINDOW:
            window, self._rest = self._rest[:WINDOW], self._rest[WINDOW:]
            self._out += WINDOW
            yield window, began + self._out / RATE


class SileroDetector(Detector):
    """Detects stretches of a human voice.

    format: of the blocks.
    hangover: seconds of silence that end a stretch.
    pause: seconds of silence that are reported before that; None for none.
    network: judges the windows; tests compare it with the published one.
    """

    def __init__(
        self,
        format: AudioFormat,
        hangover: Seconds,
        pause: Seconds | None = None,
        network: SileroNetwork | None = None,
    ) -> None:
        self.format = format
        self.speaking = False
        self._network = network or SileroNetwork()
        self._windows = _Windows(format)
        self._meter = LevelMeter(format)
        self._hangover = hangover
        self._pause = inf if pause is None else pause
        self._paused = False
        self._frames: deque[Frame] = deque()  # not yet judged
        self._recent: deque[Frame] = deque(maxlen=round((LOOK_BACK + 0.1) / FRAME))
        self._voiced_windows = 0  # in a row
        self._loud = 0  # frames in a row
        self._loudest = SILENT_DBFS  # of them
        self._peak = SILENT_DBFS
        self._voice_until: Seconds = 0.0  # by the network
        self._start: Seconds = 0.0
        self._last: tuple[Frame, float] | None = None  # the last loud frame and its threshold
        self._loud_until: Seconds | None = None  # within it; None until it is needed

    @override
    def feed(self, block: AudioBlock) -> list[Event]:
        return judge_alone(self.hear(block))

    @override
    def hear(self, block: AudioBlock) -> Hearing:
        until = block.at + self.format.seconds(len(block.pcm))
        frames, stream = self._meter.feed(block), self._frames
        stream.extend(frames)
        events = list(self._suspect(frames, until))
        for window, end in self._windows.cut(block):
            probability = yield Window(self._network, window)
            if self._frames is not stream:  # it was reset meanwhile
                return events
            events += self._judge(probability, end, until)
        if self.speaking:
            events += self._find_pause(until)
        return events

    @override
    def reset(self) -> None:
        self.speaking = self._paused = False
        self._voiced_windows = self._loud = 0
        self._network.reset()
        self._windows.reset()
        self._meter.reset()
        self._frames = deque()
        self._recent.clear()

    def _suspect(self, frames: list[Frame], until: Seconds) -> Iterator[Event]:
        """Suspect what is loud before the network can judge it."""
        for frame in frames:
            if self._loud and frame.level < self._loudest - SUSPECT_FALL_DB:
                self._loud = 0
            self._loud = self._loud + 1 if frame.level >= frame.threshold() + SUSPECT_DB else 0
            self._loudest = max(frame.level, self._loudest if self._loud > 1 else SILENT_DBFS)
            if self._loud == round(SUSPECT_AFTER / FRAME) and not self.speaking:
                yield SpeechSuspected(at=until)

    def _judge(self, probability: float, end: Seconds, until: Seconds) -> Iterator[Event]:
        """Process the probability of a voice in the window that ended at ``end``."""
        frames = []
        while self._frames and self._frames[0].end <= end:
            frames.append(self._frames.popleft())
        self._recent.extend(frames)
        if not self.speaking:
            likely = probability >= START_PROBABILITY
            self._voiced_windows = self._voiced_windows + 1 if likely else 0
            if self._voiced_windows >= ONSET_WINDOWS:
                self.speaking = True
                self._voice_until = end
                self._find_start()
                yield SpeechStarted(at=until, speech_start=self._start)
            return
        if probability >= CONTINUE_PROBABILITY:
            self._voice_until = end
        for frame in frames:
            self._follow(frame)
        if probability < CONTINUE_PROBABILITY and end - self._find_end() >= self._hangover:
            self.speaking, self._paused, self._voiced_windows = False, False, 0
            while self._recent and self._recent[0].at < self._find_end():
                self._recent.popleft()  # the next voice does not begin in this one
            yield SpeechStopped(at=until, speech_end=self._find_end())

    def _find_pause(self, until: Seconds) -> Iterator[Event]:
        """Report a pause, or its end; the levels tell 30 ms before the network has judged."""
        silent = self._is_silent(until)
        if self._paused and not silent:
            self._paused = False
            yield SpeechResumed(at=until)
        elif silent and not self._paused and not self._is_loud():
            self._paused = True
            yield SpeechPaused(at=until, speech_end=self._find_end())

    def _is_loud(self) -> bool:
        """Whether a frame that is not yet judged is as loud as the voice."""
        return any(frame.level >= frame.threshold(self._peak) for frame in self._frames)

    def _is_silent(self, until: Seconds) -> bool:
        """Whether the voice ended a pause ago, as far as is known."""
        latest = until - self._pause + STEP / 2  # the end is known to a STEP
        if self._last is not None and self._last[0].at > latest:  # mostly: it ended after that
            return False
        return self._find_end() <= latest

    def _find_start(self) -> None:
        """Find where the voice began that the network has just confirmed."""
        confirmed = self._voice_until - ONSET_WINDOWS * WINDOW / RATE
        start = None
        for frame in reversed(self._recent):
            if start is not None and frame.end < min(start, confirmed) - BRIDGE:
                break
            if frame.level >= frame.threshold():
                start = frame.find_first_loud(frame.threshold())
        self._start = confirmed if start is None else start
        self._peak, self._last, self._loud_until = SILENT_DBFS, None, None
        for frame in self._recent:
            if frame.end > self._start:
                self._follow(frame)

    def _follow(self, frame: Frame) -> None:
        """Update the peak and the last loud frame of the voice."""
        threshold = frame.threshold(self._peak)
        last = self._last[0].end if self._last else self._start
        fading = frame.at <= min(last + BRIDGE, self._voice_until + FADING)
        if frame.level >= threshold and (frame.at < self._voice_until or fading):
            self._peak = max(self._peak, frame.sustained)
            self._last, self._loud_until = (frame, threshold), None

    def _find_end(self) -> Seconds:
        """Return where the voice ended, as far as is known."""
        if self._loud_until is None:
            last = self._last
            self._loud_until = last[0].find_last_loud(last[1]) if last else self._start
        return max(self._loud_until, self._voice_until - LAG)
