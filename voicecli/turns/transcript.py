"""The transcript of the user's turn, built from interims and finals.  Pure.

An interim restates its whole segment and may shrink; a final closes the segment.  The text is all
finals plus the open interim.  A turn may be committed while a segment is open; words of that turn
that the segment's later transcripts restate are removed from them.
"""

from __future__ import annotations

from math import inf

from voicecli.events import FinalTranscript, InterimTranscript
from voicecli.turns.same_words import says_same, split_after
from voicecli.units import Seconds

SAME_WORD: Seconds = 0.2
"""The STT's estimates of one word's end differ by less than this; a new word takes longer."""


class TurnTranscript:
    """What the user has said since the last commit.

    speech_end: end of the last word; None without words.
    """

    def __init__(self) -> None:
        self._finals: list[str] = []
        self._interim = ""
        self._interim_end: Seconds = 0.0
        self._closed_until: Seconds = -inf
        """The end of the last word that is final."""
        self._taken: tuple[str, Seconds] | None = None
        """Of the open segment: the words that earlier turns took, and where they end."""
        self.speech_end: Seconds | None = None

    @property
    def text(self) -> str:
        """All words of the turn so far."""
        return " ".join(part for part in (*self._finals, self._interim) if part)

    @property
    def is_open(self) -> bool:
        """Whether the last words may still change."""
        return bool(self._interim)

    def update(self, event: InterimTranscript | FinalTranscript) -> bool:
        """Add or replace the words of ``event``; return whether the turn says something else."""
        before = self.text
        if isinstance(event, InterimTranscript) and event.text and self._is_outdated(event):
            return False
        text = self._remove_taken(event)
        if isinstance(event, FinalTranscript):
            if event.text:
                self._closed_until = event.speech_end
            self._finals += [text] if text else []
            self._interim, self._taken = "", self._find_taken_after(event)
        else:
            if not event.text and self._interim and event.speech_start >= self._interim_end:
                self._finals.append(self._interim)  # a new segment: the final of the last was lost
            self._interim = text
            self._interim_end = event.speech_end
        if text:
            self.speech_end = max(event.speech_end, self.speech_end or event.speech_end)
        return not says_same(self.text, before)

    def put_back(self, text: str, speech_end: Seconds | None) -> None:
        """Prepend the words of a turn whose commit was revoked."""
        self._finals.insert(0, text)
        if self.speech_end is None:
            self.speech_end = speech_end

    def take(self) -> str:
        """Return all words, and start over with none."""
        text = self.text
        if self._interim and self.speech_end is not None:
            before = self._taken[0] if self._taken else ""
            self._taken = f"{before} {self._interim}", self.speech_end
        self._finals, self._interim = [], ""
        self.speech_end = None
        return text

    def _is_outdated(self, event: InterimTranscript) -> bool:
        """Whether the words of ``event`` are final already."""
        return event.speech_end <= self._closed_until + SAME_WORD

    def _remove_taken(self, event: InterimTranscript | FinalTranscript) -> str:
        """Return the words of ``event`` that no earlier turn has taken."""
        if self._taken is None:
            return event.text.strip()
        taken, end = self._taken
        if event.speech_end <= end + SAME_WORD:
            return ""
        if event.speech_start > end + SAME_WORD:  # a new segment: the final of that one was lost
            self._taken = None
            return event.text.strip()
        return split_after(event.text, taken)

    def _find_taken_after(self, event: FinalTranscript) -> tuple[str, Seconds] | None:
        """Return what was taken beyond the segment of ``event``, which may end before it."""
        if self._taken is None:
            return None
        taken, end = self._taken
        left = split_after(taken, event.text)
        return (left, end) if left and event.speech_end < end - SAME_WORD else None
