"""Finds the speech in a recording before it is played.

When a turn is committed, the recording shows whether its user would have gone on: a polite one
waits, and an oblivious one may not be listened to.  Looking 2 s ahead costs what the live detector
does, 10 ms of CPU per second of sound with Silero; a pass over the whole file would delay the start
or, in a thread, disturb what is measured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from typing_extensions import override

from voicecli import clock
from voicecli.audio.gain import Amplifier
from voicecli.audio.interfaces import Detector
from voicecli.audio.pcm import samples_of
from voicecli.events import (
    Event,
    RecordedSpeechStarted,
    RecordedSpeechStopped,
    SpeechStarted,
    SpeechStopped,
)
from voicecli.units import AudioBlock, AudioFormat, Seconds

LOOK_AHEAD: Seconds = 2.0
"""Longer than the time in which a user who goes on was cut off (1.5 s) and what a detector needs to
notice a voice (0.3 s)."""


class LabelledSpeech(Detector):
    """Finds the speech that labels say there is.

    turns: of each the stretches of speech, as positions, in order.
    """

    def __init__(
        self, turns: Iterable[Sequence[tuple[Seconds, Seconds]]], format: AudioFormat
    ) -> None:
        self._format = format
        self._changes = deque[RecordedSpeechStarted | RecordedSpeechStopped]()
        for turn in turns:
            for start, end in turn:
                new = start == turn[0][0]
                self._changes += [
                    RecordedSpeechStarted(at=0.0, position=start, new_turn=new),
                    RecordedSpeechStopped(at=0.0, position=end),
                ]

    @override
    def feed(self, block: AudioBlock) -> Iterator[Event]:
        until = block.at + self._format.seconds(len(block.pcm))
        while self._changes and self._changes[0].position <= until:
            yield replace(self._changes.popleft(), at=clock.now())

    @override
    def reset(self) -> None:
        return


class LookAhead:
    """Judges blocks LOOK_AHEAD before they are played.

    detector: hears the blocks at their positions in the recording.
    amplifier: as that of the live input.
    """

    def __init__(self, format: AudioFormat, detector: Detector, amplifier: Amplifier) -> None:
        self._format = format
        self._detector = detector
        self._amplifier = amplifier
        self._found: list[Event] = []

    def read(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield ``blocks``, each when those of the next LOOK_AHEAD have been judged."""
        waiting: deque[bytes] = deque()
        position: Seconds = 0.0
        for pcm in blocks:
            self._judge(AudioBlock(self._amplifier.apply(samples_of(pcm)).tobytes(), position))
            length = self._format.seconds(len(pcm))
            position += length
            waiting.append(pcm)
            if len(waiting) * length > LOOK_AHEAD:
                yield waiting.popleft()
        for pcm in waiting:  # the last voice ends in the silence that follows
            self._judge(AudioBlock(bytes(len(pcm)), position))
            position += self._format.seconds(len(pcm))
            yield pcm

    def take_events(self) -> list[Event]:
        """Return what was found since the last call."""
        found, self._found = self._found, []
        return found

    def _judge(self, block: AudioBlock) -> None:
        for event in self._detector.feed(block):
            match event:
                case SpeechStarted():
                    start = max(event.speech_start, 0.0)
                    self._found.append(RecordedSpeechStarted(at=clock.now(), position=start))
                case SpeechStopped():
                    end = event.speech_end
                    self._found.append(RecordedSpeechStopped(at=clock.now(), position=end))
                case RecordedSpeechStarted() | RecordedSpeechStopped():
                    self._found.append(event)
