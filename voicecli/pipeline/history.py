"""What the LLM is told of the conversation: what the user said, and what was heard of the agent.

A fold over the timeline.  Words that the agent had prepared and nobody heard are not in it, and
words that the user's next turn took up again are in it once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from voicecli.events import (
    CancelReply,
    CommitReply,
    ReplyCancelled,
    ReplyFailed,
    ReplyFinished,
    TurnId,
)
from voicecli.services.interfaces import Message
from voicecli.timeline import Entry

CUT = " …"
"""Follows what was heard of a reply that was cut off: the LLM should not think it was all said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLimits:
    """How much of the conversation the LLM is told.  The oldest turns are forgotten first.

    turns: at most so many, besides the one to answer.
    characters: at most so many in them and in what is to be answered; 8,000 are about 2,000 tokens.
    """

    turns: int = 20
    characters: int = 8000


@dataclass(slots=True)
class _Exchange:
    """What the user said in one turn, and what was heard of the reply."""

    user: str = ""
    agent: str = ""

    @property
    def characters(self) -> int:
        return len(self.user) + len(self.agent)


class ChatHistory:
    """Notes record after record; what it then says costs no more than what it remembers."""

    def __init__(self, system_prompt: str = "", memory: HistoryLimits | None = None) -> None:
        self._system_prompt = system_prompt
        self._memory = memory or HistoryLimits()
        self._exchanges: dict[TurnId, _Exchange] = {}

    def note(self, record: Entry) -> None:
        """``record`` is what comes next in the timeline."""
        match record:
            case CommitReply():
                self._exchange(record.turn).user = record.user_text.strip()
            case CancelReply(heard_nothing=True, committed=True):
                # The turn goes on, and the next commitment has its words as well.
                self._exchange(record.turn).user = ""
            case ReplyFinished() | ReplyFailed() if said := record.said.strip():
                self._exchange(record.turn).agent = said
            case ReplyCancelled() if said := record.said.strip():
                self._exchange(record.turn).agent = said + CUT

    def messages(self, user_text: str, *, turn: TurnId | None = None) -> list[Message]:
        """The conversation for an answer to ``user_text``, what is to be answered last.

        turn: of the answer; what the timeline says of it or a later one is left out.  None: of a
            turn that the timeline does not know yet.
        """
        kept: list[Message] = []
        room = self._memory.characters - len(user_text)
        known = reversed(self._exchanges.items())
        past = (told for number, told in known if turn is None or number < turn)
        for exchange in islice(past, self._memory.turns):
            room -= exchange.characters
            if room < 0:
                break
            kept += [Message("assistant", exchange.agent), Message("user", exchange.user)]
        first = Message("system", self._system_prompt)
        return _alternating([first, *reversed(kept), Message("user", user_text)])

    def _exchange(self, turn: TurnId) -> _Exchange:
        return self._exchanges.setdefault(turn, _Exchange())


def conversation(
    timeline: Iterable[Entry], system_prompt: str = "", memory: HistoryLimits | None = None
) -> ChatHistory:
    """The conversation that ``timeline`` tells."""
    told = ChatHistory(system_prompt, memory)
    for record in timeline:
        told.note(record)
    return told


def _alternating(messages: Iterable[Message]) -> list[Message]:
    """``messages`` without empty ones, neighbours of one role joined: some models insist on it."""
    result: list[Message] = []
    for message in messages:
        if not message.content:
            continue
        if result and result[-1].role == message.role:
            message = Message(message.role, f"{result.pop().content}\n{message.content}")
        result.append(message)
    return result
