"""Tells a voice from any other sound: Silero VAD (MIT), a small network, says how likely each is.

The network knows voices from noise but not when they end: it decides in steps of 32 ms and lags, by
50 ms and by more in reverberation.  So it says whether there is a voice, and the loudness of the
frames around its verdicts says since when and until when, as in ``vad``.  A voice that begins it
notices after 100 ms or more; loudness makes one suspect it before that.  It knows human voices; a
synthetic tone is none to it, however syllable-like.

The network (release 6.2.1, see ``data/silero_vad.LICENSE``) is loaded once per process and takes
50 MB with onnxruntime; a detector takes 0.1 MB, and 6 to 10 ms of a core per second of audio.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from voicecli.audio.pcm import samples_of
from voicecli.audio.vad.levels import FRAME, SILENT_DBFS, Frame, Loudness
from voicecli.errors import UsageError
from voicecli.events import Event, SpeechStarted, SpeechStopped, SpeechSuspected
from voicecli.units import AudioBlock, AudioFormat, Seconds

RATE = 16_000
WINDOW = 512
"""Samples the network judges at a time: 32 ms."""

CONTEXT = 64
"""Samples of the window before that it wants to see again."""

STARTS, GOES_ON = 0.5, 0.35
"""How likely a voice must be to start a stretch, and to go on with it (Silero's own: 0.5, 0.35)."""

ONSET = 2
"""So many windows in a row start a stretch."""

SUSPECT: Seconds = 0.04
SUSPECT_DB = 3.0
FALL_DB = 10.0
"""So long in a row, so much louder than it must be, and never so much softer than it was, and a
sound may be a voice.  A key of a keyboard dies away; five recorded sentences were suspected 40 to
125 ms after they began, where the network took 119 to 308."""

BEFORE: Seconds = 0.2
"""So long before the network takes it for one, a voice may have begun."""

LAG: Seconds = 0.12
"""A voice ended no earlier before the last window taken for one: when loud noise drowns its end,
the network knows better than the levels do.  Five sentences in noise of 20, 12 and 5 dB and in none
lagged by -23 to 247 ms, 83 in the median; this value had the smallest error on the same five."""

AFTER: Seconds = 0.1
"""So long after the last window taken for one, a voice may still be fading."""

BRIDGE: Seconds = 0.03
"""A dip this long is bridged in looking for the beginning or the end of a voice."""


class Silero:
    """The network, and what it remembers of one stream; UsageError without onnxruntime."""

    _heard: NDArray[np.float32]
    _state: NDArray[np.float32]

    def __init__(self) -> None:
        self._session = _session()
        self._rate = np.array(RATE, np.int64)
        self.reset()

    def __call__(self, window: NDArray[np.float32]) -> float:
        """How likely there is a voice in ``window``: WINDOW samples of RATE between -1 and 1."""
        self._heard[0, :CONTEXT] = self._heard[0, -CONTEXT:]
        self._heard[0, CONTEXT:] = window
        likely, self._state = self._session.run(
            None, {"input": self._heard, "state": self._state, "sr": self._rate}
        )
        return float(likely[0, 0])

    def reset(self) -> None:
        """Forget what was heard."""
        self._heard = np.zeros((1, CONTEXT + WINDOW), np.float32)
        self._state = np.zeros((2, 1, 128), np.float32)


class SileroDetector:
    """Detects stretches of a human voice in a stream of blocks; UsageError without onnxruntime.

    format: of the blocks.
    hangover: so much silence ends a stretch, in seconds.
    """

    def __init__(self, format: AudioFormat, hangover: Seconds = 0.2) -> None:
        self.format = format
        self.speaking = False
        self._network = Silero()
        self._windows = _Windows(format)
        self._loudness = Loudness(format)
        self._hangover = hangover
        self._frames: deque[Frame] = deque()  # not yet judged
        self._recent: deque[Frame] = deque(maxlen=round((BEFORE + 0.1) / FRAME))
        self._likely = 0
        self._loud = 0  # frames in a row
        self._loudest = SILENT_DBFS  # of them
        self._peak = SILENT_DBFS
        self._voice_until: Seconds = 0.0  # as the network has it
        self._start: Seconds = 0.0
        self._last: tuple[Frame, float] | None = None  # the last loud frame, and what loud was

    def feed(self, block: AudioBlock) -> list[Event]:
        """The stretches that begin or end in ``block``, stamped with the block's end."""
        until = block.at + self.format.seconds(len(block.pcm))
        frames = self._loudness.frames(block)
        self._frames.extend(frames)
        events = self._suspect(frames, until)
        for window, end in self._windows.of(block):
            events += self._judge(self._network(window), end, until)
        return events

    def reset(self) -> None:
        """What follows does not continue what came before; the noise level is still known."""
        self.speaking = False
        self._likely = self._loud = 0
        self._network.reset()
        self._windows.reset()
        self._loudness.reset()
        self._frames.clear()
        self._recent.clear()

    def _suspect(self, frames: list[Frame], until: Seconds) -> list[Event]:
        """What is loud long before the network can know what it is."""
        events: list[Event] = []
        for frame in frames:
            if self._loud and frame.level < self._loudest - FALL_DB:
                self._loud = 0
            self._loud = self._loud + 1 if frame.level >= frame.threshold() + SUSPECT_DB else 0
            self._loudest = max(frame.level, self._loudest if self._loud > 1 else SILENT_DBFS)
            if self._loud == round(SUSPECT / FRAME) and not self.speaking:
                events.append(SpeechSuspected(at=until))
        return events

    def _judge(self, likely: float, end: Seconds, until: Seconds) -> Iterator[Event]:
        """Take note of how likely there was a voice in the window that ended at ``end``."""
        frames = []
        while self._frames and self._frames[0].end <= end:
            frames.append(self._frames.popleft())
        self._recent.extend(frames)
        if not self.speaking:
            self._likely = self._likely + 1 if likely >= STARTS else 0
            if self._likely >= ONSET:
                self.speaking = True
                self._voice_until = end
                self._begin()
                yield SpeechStarted(at=until, speech_start=self._start)
            return
        if likely >= GOES_ON:
            self._voice_until = end
        for frame in frames:
            self._follow(frame)
        if likely < GOES_ON and end - self._ended() >= self._hangover:
            self.speaking, self._likely = False, 0
            while self._recent and self._recent[0].at < self._ended():
                self._recent.popleft()  # the next voice does not begin in this one
            yield SpeechStopped(at=until, speech_end=self._ended())

    def _begin(self) -> None:
        """Find where the voice began that the network is now sure of."""
        verdict = self._voice_until - ONSET * WINDOW / RATE
        start = None
        for frame in reversed(self._recent):
            if start is not None and frame.end < min(start, verdict) - BRIDGE:
                break
            if frame.level >= frame.threshold():
                start = frame.first_loud(frame.threshold())
        self._start = verdict if start is None else start
        self._peak, self._last = SILENT_DBFS, None
        for frame in self._recent:
            if frame.end > self._start:
                self._follow(frame)

    def _follow(self, frame: Frame) -> None:
        """Take note of how loud the voice is, and until when."""
        threshold = frame.threshold(self._peak)
        last = self._last[0].end if self._last else self._start
        fading = frame.at <= min(last + BRIDGE, self._voice_until + AFTER)
        if frame.level >= threshold and (frame.at < self._voice_until or fading):
            self._peak = max(self._peak, frame.held)
            self._last = frame, threshold

    def _ended(self) -> Seconds:
        """Where the voice ended, as far as is known now."""
        end = self._last[0].last_loud(self._last[1]) if self._last else self._start
        return max(end, self._voice_until - LAG)


class _Windows:
    """Cuts a stream of blocks into windows for the network, at its rate.

    The resampler holds back a few milliseconds and gives them later: nothing moves in time.
    """

    _rest: NDArray[np.float32]

    def __init__(self, format: AudioFormat) -> None:
        self._rate = format.rate
        self._resampler = (
            None if format.rate == RATE else soxr.ResampleStream(format.rate, RATE, 1, quality="LQ")
        )
        self.reset()

    def of(self, block: AudioBlock) -> Iterator[tuple[NDArray[np.float32], Seconds]]:
        """The windows that ``block`` completes, and when each ended at the microphone."""
        began = block.at - self._heard / self._rate
        samples = samples_of(block.pcm)
        self._heard += len(samples)
        heard = samples.astype(np.float32) / 32768
        if self._resampler is not None:
            heard = self._resampler.resample_chunk(heard)
        self._rest = np.concatenate([self._rest, heard])
        while len(self._rest) >= WINDOW:
            window, self._rest = self._rest[:WINDOW], self._rest[WINDOW:]
            self._judged += WINDOW
            yield window, began + self._judged / RATE

    def reset(self) -> None:
        """What follows does not continue what came before."""
        self._heard = self._judged = 0
        self._rest = np.zeros(0, np.float32)
        if self._resampler is not None:
            self._resampler.clear()


@cache
def _session() -> Any:
    """The network, ready to run; all detectors share it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError(
            "The silero voice detector needs onnxruntime, which is not installed",
            hint="Install it with: pip install 'voicecli[vad]'.",
        ) from error
    # one thread is the caller's own: there is no pool that could spin
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = files("voicecli").joinpath("data", "silero_vad.onnx").read_bytes()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
