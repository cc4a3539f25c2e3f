"""One agent turn: LLM ▶ clauses ▶ TTS ▶ sink.

A reply is drafted when its task starts and spoken once it is committed.  Cancelling the task is
enough to end it; whoever cancels has silenced the sink before, and tells the TTS after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from voicecli import clock
from voicecli.audio.interfaces import Sink
from voicecli.errors import ServiceError
from voicecli.events import (
    Event,
    PlaybackStarted,
    ReplyCancelled,
    ReplyFailed,
    ReplyFinished,
    TurnId,
)
from voicecli.pipeline.generation import Generation, HedgeDelay
from voicecli.pipeline.speech import ReplySpeech
from voicecli.services.interfaces import LanguageModel, Message, Synthesizer
from voicecli.text.chunker import BatchChunker, Chunker, ClauseChunker
from voicecli.units import SAMPLE_SIZE, Samples, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyOptions:
    """How replies are cut and spoken.  Durations in seconds.

    chunking: clauses, or batches of batch_chars.
    flush_each: have each piece spoken at once, or all at the end.
    speak_drafts: send the text to the TTS before the commitment; nothing sounds before it.
    stall: the LLM pausing so long within the first clause has what is there spoken.
    empty: with nothing left to play for so long, a reply whose last words came is taken as over.
    apology: spoken where the LLM fails; may be empty.
    """

    chunking: Literal["clauses", "batches"] = "clauses"
    first_clause_chars: int = 12
    batch_chars: int = 180
    flush_each: bool = True
    speak_drafts: bool = False
    stall: Seconds = 0.15
    empty: Seconds = 0.25
    apology: str = ""

    def pieces(self) -> Chunker:
        """What cuts one reply."""
        if self.chunking == "batches":
            return BatchChunker(self.batch_chars)
        return ClauseChunker(self.first_clause_chars)


class Reply:
    """One reply, from the first request to the last sample heard."""

    def __init__(
        self,
        turn: TurnId,
        messages: Sequence[Message],
        *,
        llm: LanguageModel,
        tts: Synthesizer,
        sink: Sink,
        hedge: HedgeDelay,
        options: ReplyOptions,
        post: Callable[[Event], None],
    ) -> None:
        self.turn = turn
        self._sink = sink
        self._post = post
        self._committed = asyncio.Event()
        self._thinking = Generation(
            turn,
            messages,
            llm,
            options.pieces(),
            hedge=hedge,
            stall=options.stall,
            apology=options.apology,
            post=post,
        )
        self._speaking = ReplySpeech(
            turn,
            tts,
            sink,
            options=options,
            following=self._thinking.following,
            committed=self._committed,
            post=post,
        )

    @property
    def heard(self) -> str:
        """The words that were heard so far, as far as flush boundaries tell."""
        return self._speaking.heard(self._sink.heard)

    def commit(self) -> None:
        """The user's turn has ended: speak."""
        self._committed.set()

    @property
    def committed(self) -> bool:
        """Whether it may sound."""
        return self._committed.is_set()

    async def run(self) -> None:
        """Prepare the reply, speak it once it is committed, and wait until it was heard.

        A failure is told as ReplyFailed; raises ServiceError only where a service refuses for good.
        """
        self._sink.start()
        failure: ServiceError | None = None
        async with asyncio.TaskGroup() as tasks:
            thinking = tasks.create_task(
                self._thinking.run(tasks), name=f"reply {self.turn}: think"
            )
            watching = tasks.create_task(self._watch(), name=f"reply {self.turn}: watch playback")
            try:
                await self._speaking.run()
            except ServiceError as error:
                failure = error
                thinking.cancel()
            self._sink.end()
            await self._sink.finish()
            watching.cancel()  # a reply that is silent throughout never starts
        failure = failure or self._thinking.failure
        self._post(self._finished() if failure is None else self._failed(failure))
        if failure is not None and failure.final:
            raise failure

    def cancelled(self, heard: Samples) -> ReplyCancelled:
        """What to tell of the reply when it was cut after so many samples."""
        return ReplyCancelled(
            at=clock.now(),
            turn=self.turn,
            said=self._speaking.heard(heard),
            heard=self._seconds(heard),
        )

    async def _watch(self) -> None:
        at = await self._sink.started()
        self._post(PlaybackStarted(at=at, turn=self.turn, estimated=self._sink.estimated))

    def _finished(self) -> ReplyFinished:
        thinking = self._thinking
        return ReplyFinished(
            at=clock.now(),
            turn=self.turn,
            said="".join(thinking.clauses).strip(),
            heard=self._seconds(self._sink.heard),
            underruns=self._sink.underruns,
            tokens=thinking.tokens,
            prompt_tokens=thinking.prompt_tokens,
            ended_by=self._speaking.ended_by,
        )

    def _failed(self, failure: ServiceError) -> ReplyFailed:
        heard = self._sink.heard
        return ReplyFailed(
            at=clock.now(),
            turn=self.turn,
            service="llm" if failure.service == "llm" else "tts",
            reason=str(failure),
            said="" if self._thinking.apologised else self._speaking.heard(heard),
            heard=self._seconds(heard),
        )

    def _seconds(self, samples: Samples) -> Seconds:
        return self._sink.format.seconds(SAMPLE_SIZE * samples)
