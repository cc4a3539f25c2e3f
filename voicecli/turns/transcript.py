"""The words of the user's turn, as the STT's interims and finals build them up.  Pure.

An interim restates its whole open segment and may shrink; a final closes it.  The text in hand is
all finals and the open interim.  When a turn is committed while a segment is open, the segment goes
on: what it restates of the turn is not said twice.
"""

from __future__ import annotations

from voicecli.events import FinalTranscript, InterimTranscript
from voicecli.units import Seconds

SAME_WORD: Seconds = 0.2
"""Two guesses of the STT at the end of the same word differ by less; a new word takes longer."""


class TurnTranscript:
    """What the user has said since the last commitment.

    speech_start, speech_end: of its words, by the STT; None while there are none.
    """

    def __init__(self) -> None:
        self._finals: list[str] = []
        self._interim = ""
        self._interim_end: Seconds = 0.0
        self._taken: tuple[int, Seconds] | None = None
        self.speech_start: Seconds | None = None
        self.speech_end: Seconds | None = None

    @property
    def text(self) -> str:
        """All words in hand."""
        return " ".join(part for part in (*self._finals, self._interim) if part)

    @property
    def open(self) -> bool:
        """Whether some of them may still change."""
        return bool(self._interim)

    def hear(self, event: InterimTranscript | FinalTranscript) -> bool:
        """Take the words of ``event``; whether the text is another one now."""
        before = self.text
        text = self._fresh(event)
        if isinstance(event, FinalTranscript):
            self._finals += [text] if text else []
            self._interim, self._taken = "", self._taken_beyond(event)
        else:
            if not event.text and self._interim and event.speech_start >= self._interim_end:
                self._finals.append(self._interim)  # its final was lost: the next segment is open
            self._interim = text
            self._interim_end = event.speech_end
        if text:
            self.speech_end = max(event.speech_end, self.speech_end or event.speech_end)
            if self.speech_start is None:
                self.speech_start = event.speech_start
        return self.text != before

    def put_back(self, text: str, speech_end: Seconds | None) -> None:
        """The words of a turn that was not answered come before those in hand."""
        self._finals.insert(0, text)
        if self.speech_end is None:
            self.speech_end = speech_end
        self.speech_start = self.speech_start if self.speech_start is not None else speech_end

    def take(self) -> str:
        """All words in hand; from now on the utterance is empty."""
        text = self.text
        if self._interim and self.speech_end is not None:
            before = self._taken[0] if self._taken else 0
            self._taken = before + len(self._interim.split()), self.speech_end
        self._finals, self._interim = [], ""
        self.speech_start = self.speech_end = None
        return text

    def _fresh(self, event: InterimTranscript | FinalTranscript) -> str:
        """The words of ``event`` that no turn has had yet."""
        if self._taken is None:
            return event.text.strip()
        count, end = self._taken
        if event.speech_end <= end + SAME_WORD:
            return ""
        if event.speech_start > end + SAME_WORD:  # another segment: the final of that one was lost
            self._taken = None
            return event.text.strip()
        return " ".join(event.text.split()[count:])

    def _taken_beyond(self, event: FinalTranscript) -> tuple[int, Seconds] | None:
        """What a turn has had of the segments after ``event``, which may cover less than it."""
        if self._taken is None:
            return None
        count, end = self._taken
        left = count - len(event.text.split())
        return (left, end) if left > 0 and event.speech_end < end - SAME_WORD else None
