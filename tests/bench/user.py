"""A user who says whole sentences, pauses included, and waits for the reply to each.

A recording that waits whenever a turn was committed would never be cut off; this user finishes the
sentence whatever the agent does, as people do.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from tests.support.speech_like import voice
from voicecli import clock
from voicecli.events import (
    CommitReply,
    PlaybackStarted,
    ReplyCancelled,
    ReplyFailed,
    ReplyFinished,
    TurnId,
)
from voicecli.timeline import Entry
from voicecli.units import AudioBlock, AudioFormat, Seconds

WORDS_PER_SECOND = 2.7
PATIENCE: Seconds = 15.0
"""A user who gets no reply goes on after so long."""


@dataclass(frozen=True)
class Sentence:
    """What is said: parts, with a pause after each but the last.

    parts: the words, as the STT understands them.
    pauses: seconds.
    """

    parts: tuple[str, ...]
    pauses: tuple[Seconds, ...] = ()

    def pcm(self, rate: int) -> bytes:
        """The sentence as audio that ends with its last voiced sample."""
        format = AudioFormat(rate)
        pieces = []
        for index, part in enumerate(self.parts):
            pieces.append(voice(round(len(part.split()) / WORDS_PER_SECOND, 1), rate))
            if index < len(self.pauses):
                pieces.append(format.silence(self.pauses[index]))
        return b"".join(pieces)


@dataclass
class Said:
    """What became of a sentence.

    start, end: of its voice.
    commits: of the agent, before the sentence had ended: it was cut.
    heard: when the agent was first heard after its beginning.
    answered: when a reply was first heard that the agent decided on after its end.
    """

    sentence: Sentence
    start: Seconds
    end: Seconds
    commits: list[CommitReply] = field(default_factory=list)
    heard: Seconds | None = None
    answered: Seconds | None = None

    @property
    def cut(self) -> bool:
        """Whether the agent took the floor, heard or not, before the user had finished."""
        return bool(self.commits)

    @property
    def talked_over(self) -> bool:
        """Whether it was heard before the user had finished."""
        return self.heard is not None and self.heard < self.end


class User:
    """A source; and a follower of the timeline, for what it hears."""

    estimated = False

    def __init__(
        self,
        sentences: Sequence[Sentence],
        rate: int,
        block: Seconds,
        *,
        seed: int = 1,
        gap: tuple[Seconds, Seconds] = (1.5, 2.5),
    ) -> None:
        self.format = AudioFormat(rate)
        self.said: list[Said] = []
        self._sentences = deque(sentences)
        self._size = 2 * self.format.samples(block)
        self._gap = gap
        self._dice = random.Random(seed)
        self._answered = self._agent_speaks = False
        self._turns: set[TurnId] = set()  # committed since the end of the last sentence

    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        start, count = clock.now(), 0
        pcm, position = b"", 0
        speaks_at: Seconds | None = start + 0.6
        while True:
            at = start + count * self._size / 2 / self.format.rate
            due = start + (count + 1) * self._size / 2 / self.format.rate
            if (delay := due - clock.now()) > 0:
                await asyncio.sleep(delay)
            speaking = position < len(pcm)
            if not speaking:
                speaks_at = self._next(at, speaks_at)
                if self._sentences and speaks_at is not None and at >= speaks_at:
                    pcm, position, speaks_at = self._begin(at), 0, None
            piece = pcm[position : position + self._size]
            position += len(piece)
            last = not self._sentences and position >= len(pcm) and (speaking or bool(piece))
            yield AudioBlock(piece + bytes(self._size - len(piece)), at, last=last)
            count += 1

    def _begin(self, at: Seconds) -> bytes:
        sentence = self._sentences.popleft()
        pcm = sentence.pcm(self.format.rate)
        self.said.append(Said(sentence, at, at + self.format.seconds(len(pcm))))
        self._answered = False
        self._turns.clear()
        return pcm

    def _next(self, now: Seconds, speaks_at: Seconds | None) -> Seconds | None:
        """When the next sentence begins; None while the reply is waited for."""
        if self._agent_speaks:
            return None
        if speaks_at is not None:
            return speaks_at
        if self._answered or now > self.said[-1].end + PATIENCE:
            return now + self._dice.uniform(*self._gap)
        return None

    def note(self, record: Entry) -> None:
        """``record`` is what comes next in the timeline."""
        if not self.said:
            return
        said = self.said[-1]
        match record:
            case CommitReply() if record.at < said.end:
                said.commits.append(record)
            case CommitReply():
                self._turns.add(record.turn)
            case PlaybackStarted():
                self._agent_speaks = True
                said.heard = said.heard if said.heard is not None else record.at
                if said.answered is None and record.turn in self._turns:
                    said.answered = record.at
            case ReplyFinished() | ReplyFailed() | ReplyCancelled():
                self._agent_speaks = False
                if record.turn in self._turns and not isinstance(record, ReplyCancelled):
                    self._answered = True

    def pause(self) -> None:
        """Nobody makes this user wait within a sentence."""

    def resume(self) -> None:
        """And between sentences it waits by itself."""
