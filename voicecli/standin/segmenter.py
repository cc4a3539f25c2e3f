"""Cuts the audio of a listen connection into segments, and decides which answers are due where.

Pure: everything is driven by the audio cursor, the number of samples received.  The end of a voice,
and with it the endpoint, is known to the millisecond, however the audio was framed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from voicecli.audio.vad.energy import FRAME, EnergyDetector
from voicecli.events import SpeechStarted, SpeechStopped
from voicecli.standin.engines import Result, Segment
from voicecli.units import SAMPLE_SIZE, AudioBlock, AudioFormat, Samples, Seconds

HANGOVER: Seconds = 0.03
"""A shorter dip does not end a stretch of voice; a longer one may be the gap between two words."""

LONGEST_SILENCE: Seconds = 5.0
"""A segment of this much silence ends empty."""

LONGEST_WAIT_FOR_GAP: Seconds = 3.5
"""A segment that is too long is cut anywhere after this (the service did so at 8.49 s)."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that is due when the cursor is at ``at``."""

    at: Samples


@dataclass(frozen=True, slots=True)
class VoiceStarted(Mark):
    """The first voice of a segment was detected; it began at ``at``."""


@dataclass(frozen=True, slots=True)
class WordsEnded(Mark):
    """``utterance_end`` has passed without a word."""


@dataclass(frozen=True, slots=True)
class ResultDue(Mark):
    """A result is due for ``segment``, which begins at ``start``.

    shown: whether it is sent to the client; if not, it only prepares the engine for the final.
    paused: whether it is due because the voice has paused.
    """

    start: Samples
    segment: Segment
    result: Result
    speech_final: bool = False
    from_finalize: bool = False
    shown: bool = True
    paused: bool = False


class Segmenter:
    """The open segment of a connection.

    endpointing: silence that ends a segment; None for never.
    utterance_end: time without a word after which WordsEnded is due; None for never.
    interim: audio between two interim results; None for none.
    pause: silence after which one more interim result is due; None for none.
    longest: speech after which a segment is cut at its last gap.
    """

    def __init__(
        self,
        rate: int,
        *,
        endpointing: Seconds | None,
        utterance_end: Seconds | None,
        interim: Seconds | None,
        pause: Seconds | None,
        longest: Seconds,
    ) -> None:
        self.rate = rate
        self.cursor: Samples = 0
        self._format = AudioFormat(rate)
        self._endpointing = self._to_samples(endpointing)
        self._utterance_end = self._to_samples(utterance_end)
        self._interim = self._to_samples(interim)
        self._pause = self._to_samples(pause)
        self._longest = self._to_samples(longest)
        self._detector = EnergyDetector(self._format, HANGOVER)
        self._pcm = bytearray()
        self._start: Samples = 0
        self._voiced: list[tuple[Samples, Samples]] = []
        self._voice_from: Samples | None = None
        self._interim_at = self._interim
        self._pause_at = self._words_end_at = math.inf

    @property
    def has_voice(self) -> bool:
        """Whether the audio so far ends with voice."""
        return self._voice_from is not None

    @property
    def silent_since(self) -> Samples | None:
        """The end of the segment's last voice; None if it has none or has not paused."""
        return None if self.has_voice or not self._voiced else self._voiced[-1][1]

    def feed(self, pcm: bytes) -> Iterator[Mark]:
        """Take the next audio; yield what is due with it, in order."""
        step = SAMPLE_SIZE * self._format.samples(FRAME)
        for offset in range(0, len(pcm), step):
            self._pcm += pcm[offset : offset + step]
            yield from self._detect(pcm[offset : offset + step])
            yield from self._marks_due()

    def cut(
        self, at: Samples, result: Result = "final", *, from_finalize: bool = False
    ) -> ResultDue:
        """End the segment at ``at``; return its last result, of kind ``result``."""
        due = self.build(at, result, speech_final=result == "final", from_finalize=from_finalize)
        del self._pcm[: SAMPLE_SIZE * (at - self._start)]
        self._voiced = [(max(start, at), end) for start, end in self._voiced if end > at]
        if self._voice_from is not None:
            self._voice_from = max(self._voice_from, at)
        self._start = at
        self._interim_at = at + self._interim
        self._pause_at = math.inf
        return due

    def _to_samples(self, duration: Seconds | None) -> float:
        return math.inf if duration is None else self._format.samples(duration)

    def _detect(self, pcm: bytes) -> Iterator[Mark]:
        block = AudioBlock(pcm, self.cursor / self.rate)
        self.cursor += len(pcm) // SAMPLE_SIZE
        for event in self._detector.feed(block):
            if isinstance(event, SpeechStarted):
                self._voice_from = max(round(event.speech_start * self.rate), self._start)
                self._pause_at = math.inf
                if not self._voiced:
                    yield VoiceStarted(self._voice_from)
            elif isinstance(event, SpeechStopped):
                end = round(event.speech_end * self.rate)
                if self._voice_from is not None and end > self._voice_from:
                    self._voiced.append((self._voice_from, end))
                    self._pause_at = end + self._pause
                self._voice_from = None
                self._words_end_at = end + self._utterance_end

    def _marks_due(self) -> Iterator[Mark]:
        if (cut := self._find_forced_cut()) is not None:
            yield self.cut(cut, "forced")
        if self._voice_from is None:
            yield from self._marks_due_in_silence()
        if self.cursor >= self._interim_at:
            yield self.build(self.cursor, "interim")
            self._interim_at += self._interim

    def _marks_due_in_silence(self) -> Iterator[Mark]:
        if self.cursor >= self._pause_at:
            yield self.build(self.cursor, "interim", shown=self._interim < math.inf, paused=True)
            self._pause_at = math.inf
        if self._voiced and self.cursor >= (end := self._voiced[-1][1] + self._endpointing):
            yield self.cut(int(end))
        silence = self._format.samples(LONGEST_SILENCE)
        if not self._voiced and self.cursor - self._start >= silence:
            yield self.cut(self._start + silence)
        if self.cursor >= self._words_end_at:
            yield WordsEnded(int(self._words_end_at))
            self._words_end_at = math.inf

    def _find_forced_cut(self) -> Samples | None:
        """Where to cut a segment that has become too long; None if it has not."""
        first = self._voiced[0][0] if self._voiced else self._voice_from
        if first is None or (excess := self.cursor - first - self._longest) < 0:
            return None
        if self._voice_from is None:
            return self.cursor if self._endpointing == math.inf else None
        if self._voiced:
            return (self._voiced[-1][1] + self._voice_from) // 2
        return self.cursor if excess >= LONGEST_WAIT_FOR_GAP * self.rate else None

    def build(self, at: Samples, result: Result, **flags: bool) -> ResultDue:
        """Make the result of the open segment up to ``at``."""
        open_stretch = [] if self._voice_from is None else [(self._voice_from, self.cursor)]
        voiced = tuple(
            ((start - self._start) / self.rate, (min(end, at) - self._start) / self.rate)
            for start, end in self._voiced + open_stretch
            if start < min(end, at)
        )
        pcm = bytes(self._pcm[: SAMPLE_SIZE * (at - self._start)])
        return ResultDue(at, self._start, Segment(pcm, self.rate, voiced), result, **flags)
