"""The chat history: what the LLM gets to know of the conversation.

A fold over the timeline.  It holds what the user said and what was played of the replies; words of
a revoked commit appear once, in the turn that answers them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, islice

from voicecli import events
from voicecli.events import TurnId
from voicecli.services.interfaces import Message
from voicecli.timeline import Entry

CUT = " …"
"""Marks a reply that was cut off, so that the LLM does not assume the rest was said."""


@dataclass(slots=True)
class _PastTurn:
    """What the user said in one turn, and what was played of the reply."""

    user: str = ""
    agent: str = ""


class ChatHistory:
    """Collects the turns of the timeline it follows; ``messages`` renders the most recent ones.

    max_turns: sent to the LLM besides the one to answer.
    max_characters: of all turns sent; 8,000 are about 2,000 tokens.
    """

    def __init__(
        self, system_prompt: str, *, max_turns: int = 20, max_characters: int = 8000
    ) -> None:
        self._system_prompt = system_prompt
        self._max_turns = max_turns
        self._max_characters = max_characters
        self._turns: defaultdict[TurnId, _PastTurn] = defaultdict(_PastTurn)

    def __call__(self, entry: Entry) -> None:
        """Add the next timeline entry."""
        match entry:
            case events.CommitReply():
                self._turns[entry.turn].user = entry.user_text.strip()
            case events.CancelReply(heard_nothing=True, committed=True):
                # The turn goes on; the next commit repeats its words.
                self._turns[entry.turn].user = ""
            case events.ReplyFinished() | events.ReplyFailed() if said := entry.said.strip():
                self._turns[entry.turn].agent = said
            case events.ReplyCancelled() if said := entry.said.strip():
                self._turns[entry.turn].agent = said + CUT

    def messages(self, user_text: str, *, turn: TurnId | None = None) -> list[Message]:
        """Return the messages for a reply to ``user_text``, which comes last.

        turn: the turn to answer, which excludes it and later ones; None for a new turn.
        """
        kept: list[Message] = []
        room = self._max_characters - len(user_text)
        known = reversed(self._turns.items())
        past = (past_turn for number, past_turn in known if turn is None or number < turn)
        for past_turn in islice(past, self._max_turns):
            room -= len(past_turn.user) + len(past_turn.agent)
            if room < 0:
                break
            kept += [Message("assistant", past_turn.agent), Message("user", past_turn.user)]
        first = Message("system", self._system_prompt)
        return _alternating([first, *reversed(kept), Message("user", user_text)])


def _alternating(messages: Iterable[Message]) -> list[Message]:
    """Drop empty messages and join neighbours of one role, as some models require."""
    spoken = (message for message in messages if message.content)
    return [
        Message(role, "\n".join(message.content for message in neighbours))
        for role, neighbours in groupby(spoken, key=lambda message: message.role)
    ]
