"""The reply that is drafted before the user's turn is committed.  Pure."""

from __future__ import annotations

from voicecli import events
from voicecli.events import Action
from voicecli.turns.same_words import says_same
from voicecli.units import Seconds

SPEECH_LEAD: Seconds = 0.25
"""The speech of a draft is prepared this long before the commit.  Aura's first audio took 129 to
145 ms and 300 ms after a flush in three projects' measurements, and ``budgets.tts_ms`` is 250: so
the audio is there when the commit comes, and little is synthesised in vain."""


class Draft:
    """The draft under way, if any; numbers the replies.

    turn: the number of the current or last reply.
    text: the words that the draft answers; None without one.
    has_clause: whether it has something to speak.
    """

    def __init__(self) -> None:
        self.turn: events.TurnId = 0
        self.text: str | None = None
        self.has_clause = self._speech_prepared = False

    @property
    def is_ready(self) -> bool:
        """Whether a commit need not wait for it."""
        return self.text is None or self.has_clause

    def start(self, at: Seconds, text: str) -> Action:
        """Draft a reply to ``text``."""
        self.turn += 1
        self.text = text
        self.has_clause = self._speech_prepared = False
        return events.DraftReply(at=at, turn=self.turn, user_text=text)

    def drop(self, at: Seconds) -> list[Action]:
        """Cancel the draft, if there is one."""
        if self.text is None:
            return []
        self.text = None
        return [events.CancelReply(at=at, turn=self.turn, heard_nothing=True, committed=False)]

    def drop_unless(self, text: str, at: Seconds) -> list[Action]:
        """Cancel the draft unless ``text`` says the same as what it answers."""
        return [] if self.text is None or says_same(self.text, text) else self.drop(at)

    def prepare_speech(self, at: Seconds) -> list[Action]:
        """Have the draft synthesised, once."""
        if self.text is None or self._speech_prepared:
            return []
        self._speech_prepared = True
        return [events.PrepareSpeech(at=at, turn=self.turn)]

    def end(self) -> None:
        """Note that the draft has been committed, or has failed."""
        self.text = None
