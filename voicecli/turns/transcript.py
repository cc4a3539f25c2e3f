"""The transcript of the user's turn, built from interims and finals.  Pure.

An interim restates its whole segment and may shrink; a final closes the segment.  The text is all
finals, by their times, plus the open interim.  Services also repeat finals, restate in a final what
earlier ones said (xAI, Mistral), let them overlap, and send them late.  What lies in the same
stretch of audio is the same speech: a final replaces those that it restates, and words that an
earlier final or an earlier turn has are removed from the rest.  Words that are said twice lie in
two stretches, and stay.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import takewhile

from voicecli.events import FinalTranscript, InterimTranscript
from voicecli.turns.same_words import count_restated, resembles, says_same
from voicecli.units import Seconds

SAME_WORD: Seconds = 0.2
"""The STT's estimates of one word's end differ by less than this; a new word takes longer."""

UNHEARD: Seconds = float("-inf")
"""The time of words that are not from the STT."""

TAKEN_KEPT = 1000
"""Segments of earlier turns that are remembered."""


@dataclass(frozen=True, slots=True)
class _Segment:
    """Words, and the stretch of audio in which they were spoken."""

    text: str
    start: Seconds
    end: Seconds

    def overlaps(self, other: _Segment) -> bool:
        """Whether both have some words of the same audio."""
        shorter = min(self.end - self.start, other.end - other.start)
        overlap = min(self.end, other.end) - max(self.start, other.start)
        return overlap > min(SAME_WORD, shorter / 2)

    def precedes(self, other: _Segment) -> bool:
        """Whether it lies before ``other``; if it comes later, it is late."""
        return self.start < other.start and self.end <= other.start + SAME_WORD

    def contains(self, other: _Segment) -> bool:
        """Whether ``other`` has no audio of its own."""
        return self.start <= other.start + SAME_WORD and other.end <= self.end + SAME_WORD

    def restates(self, other: _Segment) -> bool:
        """Whether the words resemble those of ``other``; services err in the times, too."""
        return resembles(self.text, other.text)

    def without(self, other: _Segment) -> _Segment:
        """Return the words that ``other`` does not have; its words lie at either end or inside."""
        if not self.overlaps(other):
            return self
        if other.contains(self):
            return replace(self, text="")
        words, said = self.text.split(), other.text.split()
        if other.start <= self.start + SAME_WORD:
            whole = other.start >= self.start - SAME_WORD
            first = count_restated(words, said, len(said) if whole else self._index(other.end))
            return _Segment(" ".join(words[first:]), max(self.start, other.end), self.end)
        if other.end >= self.end - SAME_WORD:
            expected = len(words) - self._index(other.start)
            last = len(words) - count_restated(words[::-1], said[::-1], expected)
            return _Segment(" ".join(words[:last]), self.start, min(self.end, other.start))
        first = self._index(other.start)
        restated = count_restated(words[first:], said, len(said))
        return replace(self, text=" ".join(words[:first] + words[first + restated :]))

    def _index(self, at: Seconds) -> int:
        """Return how many of the words lie before ``at``, if all take the same time."""
        count = len(self.text.split())
        return min(count, max(0, round(count * (at - self.start) / (self.end - self.start))))


class TurnTranscript:
    """What the user has said since the last commit.

    speech_end: end of the last word; None without words.
    """

    def __init__(self) -> None:
        self._finals: list[_Segment] = []
        self._interim: _Segment | None = None
        self._earlier: deque[_Segment] = deque(maxlen=TAKEN_KEPT)
        """Of the turns before the one that was taken last."""
        self._taken: list[_Segment] = []
        """Of the turn that was taken last."""
        self.speech_end: Seconds | None = None

    @property
    def text(self) -> str:
        """All words of the turn so far."""
        return " ".join(segment.text for segment in self._segments)

    @property
    def is_open(self) -> bool:
        """Whether the last words may still change."""
        return self._interim is not None and bool(self._interim.text)

    @property
    def _segments(self) -> list[_Segment]:
        interim = [self._interim] if self._interim else []
        return [segment for segment in (*self._finals, *interim) if segment.text]

    def update(self, event: InterimTranscript | FinalTranscript) -> bool:
        """Add or replace the words of ``event``; return whether the turn says something else."""
        before = self.text
        segment = _Segment(event.text.strip(), event.speech_start, event.speech_end)
        new = _remove(segment, [*self._list_earlier(segment), *self._taken])
        if isinstance(event, FinalTranscript):
            self._add_final(new)
            if self._interim is not None and not segment.precedes(self._interim):
                self._interim = None
        else:
            new = self._set_interim(segment, new)
        if new.text:
            self.speech_end = max(event.speech_end, self.speech_end or event.speech_end)
        return not says_same(self.text, before)

    def _list_earlier(self, segment: _Segment) -> list[_Segment]:
        """List what earlier turns had since ``segment`` began; what it has all of, in one piece."""
        since = takewhile(lambda one: one.end > segment.start, reversed(self._earlier))
        earlier = list(since)[::-1]
        whole = [one for one in earlier if one.start >= segment.start - SAME_WORD]
        if len(whole) < 2:
            return earlier
        text = " ".join(one.text for one in whole)
        joined = _Segment(text, whole[0].start, whole[-1].end)
        return [*(one for one in earlier if one.start < segment.start - SAME_WORD), joined]

    def _add_final(self, new: _Segment) -> None:
        """Add a segment in the order of the times; it replaces those that it restates."""
        for other in [one for one in self._finals if new.text and new.overlaps(one)]:
            if new.contains(other) and new.restates(other):
                self._finals.remove(other)
            elif other.contains(new) and other.restates(new):
                return
            elif not new.contains(other):
                new = new.without(other)
        self._insert(new)

    def _set_interim(self, segment: _Segment, new: _Segment) -> _Segment:
        """Replace the open segment; return what is new in it."""
        new, interim = _remove(new, self._finals), self._interim
        if interim is not None and interim.text:
            if not segment.text and segment.start >= interim.end:
                self._insert(interim)  # a new segment: the final of the last was lost
            elif segment.text and not new.text and segment.precedes(interim):
                return new  # of a segment that is closed
        self._interim = new
        return new

    def _insert(self, segment: _Segment) -> None:
        if segment.text:
            starts = [one.start for one in self._finals]
            self._finals.insert(bisect_right(starts, segment.start), segment)

    def put_back(self, text: str, speech_end: Seconds | None) -> None:
        """Prepend words that the STT did not hear in this turn."""
        self._finals.insert(0, _Segment(text, UNHEARD, UNHEARD))
        if self.speech_end is None:
            self.speech_end = speech_end

    def restore(self, speech_end: Seconds | None) -> None:
        """Put the words that were taken last back in their place: the commit was revoked."""
        if self.speech_end is not None:  # also after words that came late
            speech_end = max([self.speech_end, *(one.end for one in self._taken)])
        self.speech_end = speech_end
        later, self._finals, self._taken = self._finals, self._taken, []
        for segment in later:
            self._insert(segment)

    def take(self) -> str:
        """Return all words, and start over with none."""
        text = self.text
        self._earlier += [one for one in self._taken if one.end > UNHEARD]
        self._taken = self._segments
        self.drop()
        return text

    def drop(self) -> None:
        """Start over with no words; a transcript that restates them brings them back."""
        self._finals, self._interim, self.speech_end = [], None, None


def _remove(segment: _Segment, known: Iterable[_Segment]) -> _Segment:
    """Return what ``segment`` adds to the segments known."""
    for other in known:
        if not segment.text:
            break
        segment = segment.without(other)
    return segment
