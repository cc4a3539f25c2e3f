"""Tells of the speech in a recording before it is played.

When a turn is committed, the recording shows whether its user would have gone on: a polite one
waits, and an oblivious one may not be listened to.

A detector beside the live one takes as long as that does: 6 ms of CPU per second of sound with
Silero, a fifth of a session's.  So a recording of many is heard once, before it is played, and what
was found is kept (see ``pipeline.survey``).  One that is played alone is heard LOOK_AHEAD before it
is played: a pass over the whole file would delay the start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from math import ceil
from typing import Protocol

from typing_extensions import override

from voicecli import clock
from voicecli.audio.gain import Amplifier
from voicecli.audio.interfaces import Detector
from voicecli.audio.pcm import samples_of
from voicecli.events import (
    RecordedSpeechStarted,
    RecordedSpeechStopped,
    SpeechStarted,
    SpeechStopped,
)
from voicecli.metrics.recording import Recording, Stretch
from voicecli.units import AudioBlock, AudioFormat, Seconds

LOOK_AHEAD: Seconds = 2.0
"""Longer than the time in which a user who goes on was cut off (1.5 s) and what a detector needs to
notice a voice (0.3 s)."""

RecordedSpeech = RecordedSpeechStarted | RecordedSpeechStopped


class SpeechFinder(Protocol):
    """Finds the speech in consecutive blocks of a recording."""

    def feed(self, block: AudioBlock) -> Iterable[RecordedSpeech]:
        """Return what is found in ``block``, whose ``at`` is its position; ``at`` is not set."""


class KnownSpeech(SpeechFinder):
    """Finds the speech that is known to be there: from labels, or from an earlier pass.

    stretches: of speech, as positions, in order.
    """

    def __init__(self, stretches: Iterable[Stretch], format: AudioFormat) -> None:
        self._format = format
        self._changes = deque[RecordedSpeech]()
        for start, end, new_turn in stretches:
            self._changes.append(RecordedSpeechStarted(at=0.0, position=start, new_turn=new_turn))
            if end is not None:
                self._changes.append(RecordedSpeechStopped(at=0.0, position=end))

    @override
    def feed(self, block: AudioBlock) -> Iterator[RecordedSpeech]:
        until = block.at + self._format.seconds(len(block.pcm))
        while self._changes and self._changes[0].position <= until:
            yield self._changes.popleft()


class HeardSpeech(SpeechFinder):
    """Finds the speech that ``detector`` hears.

    amplifier: as that of the live input.
    """

    def __init__(self, detector: Detector, amplifier: Amplifier) -> None:
        self._detector = detector
        self._amplifier = amplifier

    @override
    def feed(self, block: AudioBlock) -> Iterator[RecordedSpeech]:
        amplified = self._amplifier.apply(samples_of(block.pcm)).tobytes()
        for event in self._detector.feed(AudioBlock(amplified, block.at)):
            match event:
                case SpeechStarted():
                    yield RecordedSpeechStarted(at=0.0, position=max(event.speech_start, 0.0))
                case SpeechStopped():
                    yield RecordedSpeechStopped(at=0.0, position=event.speech_end)


def list_labelled(turns: Iterable[Sequence[tuple[Seconds, Seconds]]]) -> tuple[Stretch, ...]:
    """List the stretches of speech of all ``turns``, in order."""
    return tuple(Stretch(*one, new_turn=one == turn[0]) for turn in turns for one in turn)


def find_speech(
    blocks: Iterable[bytes], finder: SpeechFinder, format: AudioFormat
) -> tuple[Stretch, ...]:
    """Find the speech in a whole recording, whose blocks are of the same length."""
    found, position = Recording(), 0.0
    for pcm in _follow_by_silence(blocks, format):
        for event in finder.feed(AudioBlock(pcm, position)):
            found.note(event)
        position += format.seconds(len(pcm))
    return tuple(found.speech)


def _follow_by_silence(blocks: Iterable[bytes], format: AudioFormat) -> Iterator[bytes]:
    """Yield ``blocks``, then LOOK_AHEAD of silence, in which the last voice ends."""
    size = 0
    for pcm in blocks:
        size = len(pcm)
        yield pcm
    if size:
        yield from repeat(bytes(size), ceil(LOOK_AHEAD / format.seconds(size)))


class LookAhead:
    """Tells what ``finder`` finds LOOK_AHEAD before it is played."""

    def __init__(self, format: AudioFormat, finder: SpeechFinder) -> None:
        self._format = format
        self._finder = finder
        self._found: list[RecordedSpeech] = []

    def read(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield ``blocks``, each when those of the next LOOK_AHEAD have been judged."""
        waiting: deque[bytes] = deque()
        position: Seconds = 0.0
        for pcm in blocks:
            self._judge(AudioBlock(pcm, position))
            length = self._format.seconds(len(pcm))
            position += length
            waiting.append(pcm)
            if len(waiting) * length > LOOK_AHEAD:
                yield waiting.popleft()
        for pcm in waiting:  # the last voice ends in the silence that follows
            self._judge(AudioBlock(bytes(len(pcm)), position))
            position += self._format.seconds(len(pcm))
            yield pcm

    def take_events(self) -> list[RecordedSpeech]:
        """Return what was found since the last call."""
        found, self._found = self._found, []
        return found

    def _judge(self, block: AudioBlock) -> None:
        found = self._finder.feed(block)
        self._found += [replace(event, at=clock.now()) for event in found]
