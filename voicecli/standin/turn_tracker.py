"""Where the turns of a Flux connection begin, pause and end in its audio.  Pure.

Everything is driven by the audio cursor, as in ``segmenter``, which cuts the audio of a turn where
the engine needs it cut.  How sure it is that a turn has ended depends on the silence since the last
voice, and on how likely it is, by the words and their sound, that the turn goes on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from voicecli.standin.segmenter import Mark, ResultDue, Segmenter
from voicecli.units import SAMPLE_SIZE, AudioFormat, Samples, Seconds

STEP: Seconds = 0.01
"""Audio after which it is looked what is due."""

UPDATE: Seconds = 0.25
"""Audio between two Updates."""

PAUSE: Seconds = 0.06
"""Silence after which it is weighed whether the turn has ended."""

USUAL_THRESHOLD = 0.7
"""The confidence that ``Pace.turn_end`` refers to: the service's default threshold."""


def find_confidence(silence: Seconds, turn_end: Seconds) -> float:
    """The confidence that a turn has ended after ``silence``; 0.7 after ``turn_end``."""
    return float(1 - (1 - USUAL_THRESHOLD) ** (silence / turn_end))


def find_silence(confidence: float, turn_end: Seconds) -> Seconds:
    """The silence that it takes to be so confident; infinite for 1."""
    if confidence >= 1:
        return math.inf
    return turn_end * math.log(1 - confidence) / math.log(1 - USUAL_THRESHOLD)


@dataclass(frozen=True, slots=True)
class VoiceResumed(Mark):
    """The voice has returned after a pause."""


@dataclass(frozen=True, slots=True)
class EagerDue(Mark):
    """The silence has lasted long enough to expect the end of the turn; ``due`` has its words."""

    due: ResultDue


@dataclass(frozen=True, slots=True)
class EndDue(Mark):
    """The turn ends, by ``trigger``; ``due`` has the words since its last cut."""

    due: ResultDue
    trigger: str


class TurnTracker:
    """The open turn of a connection.

    timeout: silence that ends a turn whatever the confidence.
    longest: speech after which the audio is cut for the engine; the turn goes on.
    """

    def __init__(self, rate: int, *, timeout: Seconds, longest: Seconds) -> None:
        self.rate = rate
        self.timeout = timeout
        self._format = AudioFormat(rate)
        self._segmenter = Segmenter(
            rate,
            endpointing=None,
            utterance_end=None,
            interim=UPDATE,
            pause=PAUSE,
            longest=longest,
        )
        self._silent_since: Samples | None = None
        """The end of the last voice of the turn; None before one, and while there is voice."""
        self._expected: tuple[Samples, float, float] | None = None
        """For the silence since a sample, where to expect and where to end the turn."""

    @property
    def cursor(self) -> Samples:
        """The samples received."""
        return self._segmenter.cursor

    def feed(self, pcm: bytes) -> Iterator[Mark]:
        """Take the next audio; yield what is due with it, in order."""
        step = SAMPLE_SIZE * self._format.samples(STEP)
        for offset in range(0, len(pcm), step):
            for mark in self._segmenter.feed(pcm[offset : offset + step]):
                if isinstance(mark, ResultDue) and (
                    mark.result == "interim" or mark.segment.voiced
                ):
                    yield mark
            yield from self._follow_silence()

    def expect(self, since: Samples, eager: Seconds, end: Seconds) -> None:
        """Expect the end of the turn after ``eager`` of the silence since ``since``.

        end: of the silence, after which the turn ends.
        """
        self._expected = (since, since + eager * self.rate, since + end * self.rate)

    def end(self, trigger: str) -> EndDue:
        """End the turn where the audio ends so far."""
        return self._end(self.cursor, trigger)

    def _follow_silence(self) -> Iterator[Mark]:
        since, was = self._segmenter.silent_since, self._silent_since
        if self._segmenter.has_voice:
            self._silent_since = self._expected = None
            if was is not None:
                yield VoiceResumed(self.cursor)
            return
        if since is not None:  # else the audio was cut in this silence
            self._silent_since = since
        if self._silent_since is None:
            return
        if self._expected is not None and self._expected[0] == self._silent_since:
            _, eager_at, end_at = self._expected
            if self.cursor >= eager_at:
                self._expected = (self._silent_since, math.inf, end_at)
                yield EagerDue(int(eager_at), self._segmenter.build(self.cursor, "interim"))
            if self.cursor >= end_at:
                yield self._end(int(end_at), "model")
                return
        if self.cursor >= (end := self._silent_since + self._format.samples(self.timeout)):
            yield self._end(end, "timeout")

    def _end(self, at: Samples, trigger: str) -> EndDue:
        self._silent_since = self._expected = None
        return EndDue(at, self._segmenter.cut(at), trigger)
