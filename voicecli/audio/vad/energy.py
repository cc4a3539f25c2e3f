"""Tells voice from silence by energy, on the sample clock.

The detector says when the user's voice really began and ended at the microphone, back-dated to the
voiced sample, however late it notices.  It reads levels against the noise around them and against
the loudest frame of the stretch, so it needs no absolute volume; loud noise it takes for a voice:
a steady one until it is two seconds old, any other as long as it lasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from voicecli.audio.vad.levels import FRAME as FRAME
from voicecli.audio.vad.levels import SILENT_DBFS, Frame, Loudness
from voicecli.events import Event, SpeechStarted, SpeechStopped
from voicecli.units import AudioBlock, AudioFormat, Seconds

ONSET: Seconds = 0.030
"""So much voice in a row starts a stretch: a click does not."""

RETURN: Seconds = 0.020
"""So much voice in a row goes on with one after a dip: a click does not, a "t" released does."""


class EnergyDetector:
    """Detects stretches of voice in a stream of blocks.

    format: of the blocks.
    hangover: so much silence ends a stretch, in seconds.
    """

    def __init__(self, format: AudioFormat, hangover: Seconds = 0.2) -> None:
        self.format = format
        self.speaking = False
        self._loudness = Loudness(format)
        self._hangover = max(1, round(hangover / FRAME))
        self._voiced = self._silent = 0  # frames: the loud ones in a row; those since the voice
        self._peak = SILENT_DBFS
        self._start: Seconds = 0.0
        self._last: tuple[Frame, float] | None = None  # the last loud frame, and what loud was

    def feed(self, block: AudioBlock) -> list[Event]:
        """The stretches that begin or end in ``block``, stamped with the block's end."""
        until = block.at + self.format.seconds(len(block.pcm))
        return [e for frame in self._loudness.frames(block) for e in self._hear(frame, until)]

    def reset(self) -> None:
        """What follows does not continue what came before; the noise level is still known."""
        self.speaking = False
        self._voiced = self._silent = 0
        self._loudness.reset()

    def _hear(self, frame: Frame, until: Seconds) -> Iterator[Event]:
        threshold = frame.threshold(self._peak) if self.speaking else frame.threshold()
        self._silent += 1
        if frame.level < threshold:
            self._voiced = 0
        else:
            self._voice(frame, threshold)
        if not self.speaking and self._voiced * FRAME >= ONSET:
            self.speaking = True
            yield SpeechStarted(at=until, speech_start=self._start)
        elif self.speaking and not self._voiced and self._silent >= self._hangover:
            self.speaking = False
            yield SpeechStopped(at=until, speech_end=self._end())

    def _voice(self, frame: Frame, threshold: float) -> None:
        """Take note of a loud frame."""
        self._voiced += 1
        if self._voiced == 1 and not self.speaking:
            self._start, self._peak = frame.first_loud(threshold), SILENT_DBFS
        self._peak = max(self._peak, frame.held)
        if self._silent == 1 or self._voiced * FRAME >= RETURN:
            self._silent = 0
            self._last = frame, threshold

    def _end(self) -> Seconds:
        """Where the voice ended, as far as is known."""
        assert self._last is not None
        frame, threshold = self._last
        return frame.last_loud(threshold)


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
