"""The chat history: the past turns that are sent to the LLM.

A fold over the timeline.  It holds what the user said and what was played of the replies; words of
a revoked commit appear once, in the turn that answers them.

It is trimmed in large steps: the turn that exceeds a limit drops the older half at once.  Between
two steps the prompt only grows at its end, and the caches that keep a prompt's processed beginning
hit (llama.cpp's, OpenAI's: https://platform.openai.com/docs/guides/prompt-caching).  Dropping one
turn for each new one would change the beginning every time.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from voicecli import events
from voicecli.events import TurnId
from voicecli.services.interfaces import CUT, HistorySettings, Message
from voicecli.timeline import Entry


@dataclass(slots=True)
class _PastTurn:
    """What the user said in one turn, and what was played of the reply.

    stalled: the LLM had sent nothing when its time was up.
    """

    user: str = ""
    agent: str = ""
    stalled: bool = False

    def __len__(self) -> int:
        """Count the characters."""
        return len(self.user) + len(self.agent)


class ChatHistory:
    """Collects the turns of the timeline it follows; ``messages`` renders the most recent ones."""

    def __init__(self, system_prompt: str, limits: HistorySettings) -> None:
        self._system_prompt = system_prompt
        self._limits = limits
        self._turns: defaultdict[TurnId, _PastTurn] = defaultdict(_PastTurn)

    def __call__(self, entry: Entry) -> None:
        """Add the next timeline entry."""
        match entry:
            case events.CommitReply():
                self._turns[entry.turn].user = entry.user_text.strip()
            case events.CancelReply(heard_nothing=True, committed=True):
                # The turn goes on; the next commit repeats its words.
                self._turns[entry.turn].user = ""
            case events.ReplyFailed(stalled=True):
                self._turns[entry.turn].stalled = True
            case events.ReplyFinished() | events.ReplyFailed() if said := entry.said.strip():
                self._turns[entry.turn].agent = said
            case events.ReplyCancelled() if said := entry.said.strip():
                self._turns[entry.turn].agent = said + CUT
            case events.HeardReported():
                said = entry.said.strip()
                self._turns[entry.turn].agent = said + CUT if said else ""

    def messages(self, user_text: str, *, turn: TurnId | None = None) -> list[Message]:
        """Return the messages for a reply to ``user_text``, which comes last.

        turn: the turn to answer, which excludes it and later ones; None for a new turn.
        """
        known = self._turns.items()
        messages = [Message("system", self._system_prompt)]
        for past in self._trim(past for number, past in known if turn is None or number < turn):
            messages += [Message("user", past.user), Message("assistant", past.agent)]
        return _alternating([*messages, Message("user", user_text)])

    def _trim(self, turns: Iterable[_PastTurn]) -> Iterable[_PastTurn]:
        """Drop the older half each time that the turns so far exceed a limit or stall the LLM.

        What is dropped depends on the past turns alone, not on the words to answer.
        """
        most, longest = self._limits.max_turns, self._limits.max_chars
        kept: deque[_PastTurn] = deque()
        length = 0  # of all that is kept
        for turn in filter(len, turns):
            if turn.stalled:  # the next prompt is shorter; the words that wait for a reply stay
                length = _drop_oldest(kept, length, len(kept) // 2, length // 2)
            if len(kept) + 1 > most or length + len(turn) > longest:
                length = _drop_oldest(kept, length, most // 2 - 1, longest // 2 - len(turn))
                if not most or len(turn) > longest:
                    continue
            kept.append(turn)
            length += len(turn)
        return kept


def _drop_oldest(kept: deque[_PastTurn], length: int, most: int, longest: int) -> int:
    """Drop turns until ``most`` turns of ``longest`` characters are left, or fewer.

    length: characters of all turns in ``kept``; returns what is left of them.
    """
    while kept and (len(kept) > most or length > longest):
        length -= len(kept.popleft())
    return length


def _alternating(messages: Iterable[Message]) -> list[Message]:
    """Drop empty messages and join neighbours of one role, as some models require."""
    spoken = (message for message in messages if message.content)
    return [
        Message(role, "\n".join(message.content for message in neighbours))
        for role, neighbours in groupby(spoken, key=lambda message: message.role)
    ]
