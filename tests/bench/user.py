"""A simulated user, who says whole sentences, pauses included, and waits for each reply.

A recording that waits after each committed turn could never be cut off; this user finishes the
sentence whatever the agent does, as people do.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from tests.support.recorded_voice import make_room_noise, take_voice
from voicecli import clock
from voicecli.audio.interfaces import Source
from voicecli.audio.pcm import samples_of
from voicecli.events import (
    CommitReply,
    PlaybackStarted,
    ReplyCancelled,
    ReplyFailed,
    ReplyFinished,
    TurnId,
)
from voicecli.timeline import Entry
from voicecli.units import SAMPLE_SIZE, AudioBlock, AudioFormat, Seconds

WORDS_PER_SECOND = 2.7
GAPS: tuple[Seconds, Seconds] = (1.5, 2.5)
"""The shortest and the longest silence before the next sentence."""

PATIENCE: Seconds = 15.0
"""After which a user without a reply says the next sentence."""


@dataclass(frozen=True)
class Sentence:
    """Parts of a sentence, with a pause after each but the last.

    parts: the words, as the STT transcribes them.
    pauses: seconds.
    """

    parts: tuple[str, ...]
    pauses: tuple[Seconds, ...] = ()

    def pcm(self, rate: int) -> bytes:
        """Return the sentence as audio that ends with its last voiced sample."""
        format = AudioFormat(rate)
        pieces = []
        for index, part in enumerate(self.parts):
            pieces.append(take_voice(round(len(part.split()) / WORDS_PER_SECOND, 1), rate))
            if index < len(self.pauses):
                pieces.append(format.silence(self.pauses[index]))
        return b"".join(pieces)


@dataclass
class Said:
    """A sentence and the agent's reaction.

    start, end: of its voice.
    commits: the agent's commits before the sentence ended; any of them cuts it.
    heard: when the agent was first heard after the sentence began.
    answered: when a reply committed after the sentence ended was first heard.
    answer: the commit of that reply.
    """

    sentence: Sentence
    start: Seconds
    end: Seconds
    commits: list[CommitReply] = field(default_factory=list)
    heard: Seconds | None = None
    answered: Seconds | None = None
    answer: CommitReply | None = None

    @property
    def cut(self) -> bool:
        """Whether the agent committed, heard or not, before the user had finished."""
        return bool(self.commits)

    @property
    def talked_over(self) -> bool:
        """Whether the agent was heard before the user had finished."""
        return self.heard is not None and self.heard < self.end


class User(Source):
    """An audio source that follows the timeline to know when the agent speaks."""

    estimated = False

    def __init__(
        self,
        sentences: Sequence[Sentence],
        rate: int,
        block: Seconds,
        *,
        seed: int = 1,
        gap: tuple[Seconds, Seconds] = GAPS,
    ) -> None:
        self.format = AudioFormat(rate)
        self.said: list[Said] = []
        self._sentences = deque(sentences)
        self._size = SAMPLE_SIZE * self.format.samples(block)
        self._noise = make_room_noise(rate)[: self.format.samples(block)]
        self._gap = gap
        self._rng = random.Random(seed)
        self._answered = self._agent_speaks = False
        self._turns: dict[TurnId, CommitReply] = {}  # since the end of the last sentence

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
                speaks_at = self._schedule(at, speaks_at)
                if self._sentences and speaks_at is not None and at >= speaks_at:
                    pcm, position, speaks_at = self._begin(at), 0, None
            piece = pcm[position : position + self._size]
            position += len(piece)
            last = not self._sentences and position >= len(pcm) and (speaking or bool(piece))
            yield AudioBlock(self._add_noise(piece), at, last=last)
            count += 1

    def _add_noise(self, piece: bytes) -> bytes:
        if not piece:
            return self._noise.tobytes()
        block = self._noise.copy()
        block[: len(piece) // SAMPLE_SIZE] += samples_of(piece)
        return block.tobytes()

    def _begin(self, at: Seconds) -> bytes:
        sentence = self._sentences.popleft()
        pcm = sentence.pcm(self.format.rate)
        self.said.append(Said(sentence, at, at + self.format.seconds(len(pcm))))
        self._answered = False
        self._turns.clear()
        return pcm

    def _schedule(self, now: Seconds, speaks_at: Seconds | None) -> Seconds | None:
        """Return when the next sentence begins; None while the user waits for the reply."""
        if self._agent_speaks:
            return None
        if speaks_at is not None:
            return speaks_at
        if self._answered or now > self.said[-1].end + PATIENCE:
            return now + self._rng.uniform(*self._gap)
        return None

    def note(self, entry: Entry) -> None:
        """Follow the timeline."""
        if not self.said:
            return
        said = self.said[-1]
        match entry:
            case CommitReply() if entry.at < said.end:
                said.commits.append(entry)
            case CommitReply():
                self._turns[entry.turn] = entry
            case PlaybackStarted():
                self._agent_speaks = True
                said.heard = said.heard if said.heard is not None else entry.at
                if said.answered is None and entry.turn in self._turns:
                    said.answered, said.answer = entry.at, self._turns[entry.turn]
            case ReplyFinished() | ReplyFailed() | ReplyCancelled():
                self._agent_speaks = False
                if entry.turn in self._turns and not isinstance(entry, ReplyCancelled):
                    self._answered = True

    def pause(self) -> None:
        """Do nothing: this user waits between sentences by itself."""

    def resume(self) -> None:
        """Do nothing."""
