"""The cascade: replies from an LLM, spoken by a TTS.

A reply is drafted when its task starts and played once it is committed.  Its text side is
``generation``, its audio side ``speech``; both run side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from voicecli import clock, events
from voicecli.audio.interfaces import Sink
from voicecli.errors import ServiceError, StalledError
from voicecli.events import TurnId
from voicecli.pipeline import Post, ReplyHandle, Responder
from voicecli.pipeline.generation import Generation, HedgeDelay, ReplyText
from voicecli.pipeline.greeting import Greeting
from voicecli.pipeline.speech import ReplySpeech, create_chunker
from voicecli.services.interfaces import LanguageModel, Message, Synthesizer, TtsSettings
from voicecli.text.markdown import compile_rules
from voicecli.text.pacing import Pacing
from voicecli.text.reasoning import ReasoningHabit
from voicecli.units import SAMPLE_SIZE, Samples, Seconds

WARM_CONNECTIONS = 2
"""Kept open to the LLM: over HTTP/1.1 dropping a draft closes its connection, and the next draft
must not wait for another."""


async def warm_llm(llm: LanguageModel) -> None:
    """Open the connections that a reply and its redraft need, or renew them."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(WARM_CONNECTIONS):
            tasks.create_task(llm.warm(), name=f"warm LLM connection {number + 1}")


@dataclass(frozen=True, kw_only=True)
class CascadeResponder(Responder):
    """Answers with an LLM whose text a TTS speaks.

    hedge: learns from reply to reply when the LLM is late.
    pacing: learns from reply to reply how fast the LLM writes and the TTS speaks.
    habit: learns from reply to reply how the LLM marks its reasoning.
    greeting: what ``greet`` says.
    """

    stages: ClassVar = ("llm.ttft", "llm.clause", "tts.ttfa", "playout")

    llm: LanguageModel
    tts: Synthesizer
    hedge: HedgeDelay
    pacing: Pacing
    habit: ReasoningHabit
    settings: TtsSettings
    greeting: Greeting | None = None

    @property
    @override
    def opened(self) -> Sequence[events.ConnectionOpened]:
        return (self.tts.opened,)

    @override
    def draft(self, turn: TurnId, messages: Sequence[Message], *, sink: Sink, post: Post) -> Reply:
        may_speak, may_play = asyncio.Event(), asyncio.Event()
        chunker = create_chunker(self.settings, self.pacing)
        text = ReplyText(chunker, self.habit, self.settings.language)
        generation = Generation(
            turn,
            messages,
            self.llm,
            text,
            hedge=self.hedge,
            pacing=self.pacing,
            stall=self.settings.first_clause_stall,
            apology=self.settings.apology,
            post=post,
        )
        speech = ReplySpeech(
            turn,
            self.tts,
            sink,
            self.settings,
            text,
            pacing=self.pacing,
            may_speak=may_speak,
            may_play=may_play,
            post=post,
        )
        return Reply(turn, generation, speech, sink, post)

    @override
    def greet(self, *, sink: Sink, post: Post) -> Reply:
        assert self.greeting is not None
        may_speak, may_play = asyncio.Event(), asyncio.Event()
        speech = ReplySpeech(
            events.GREETING,
            self.tts,
            sink,
            self.settings,
            self.greeting.text,
            pacing=self.pacing,
            may_speak=may_speak,
            may_play=may_play,
            post=post,
            is_ahead=self.greeting.is_ahead,
        )
        return Reply(events.GREETING, self.greeting, speech, sink, post)

    @override
    async def load(self) -> None:
        await asyncio.to_thread(compile_rules)
        await self.llm.load()

    @override
    async def prepare_next(self, post: Post) -> None:
        try:
            await self.tts.warm()
        except ServiceError as error:
            text = f"{error.cause}; quick replies may have to wait for the limit of flushes"
            post(events.Warned(at=clock.now(), service="tts", text=text))

    @override
    async def warm(self) -> None:
        await warm_llm(self.llm)


@dataclass(eq=False)
class Reply(ReplyHandle):
    """One reply of the cascade, from the first request to the last sample played."""

    turn: TurnId
    generation: Generation | Greeting
    speech: ReplySpeech
    sink: Sink
    post: Post

    @property
    @override
    def committed(self) -> bool:
        return self.speech.may_play.is_set()

    @property
    @override
    def heard(self) -> str:
        return self.speech.heard(self.sink.heard).text

    @override
    def prepare_speech(self) -> None:
        self.speech.may_speak.set()

    @override
    def commit(self) -> None:
        self.speech.may_speak.set()
        self.speech.may_play.set()

    @override
    async def run(self) -> None:
        self.sink.start()
        failure: ServiceError | None = None
        async with asyncio.TaskGroup() as tasks:
            generation = self.generation.run(tasks)
            generating = tasks.create_task(generation, name=f"reply {self.turn}: generate")
            watching = tasks.create_task(self._watch_playback(), name=f"reply {self.turn}: watch")
            try:
                await self.speech.run()
            except ServiceError as error:
                failure = error
                generating.cancel()
            self.sink.end()
            await self.sink.finish()
            watching.cancel()  # playback of an entirely silent reply never starts
        failure = failure or self.generation.failure
        self.post(self._finished() if failure is None else self._failed(failure))
        if failure is not None and failure.final:
            raise failure

    @override
    def cancelled(self, played: Samples) -> events.ReplyCancelled:
        words = self.speech.heard(played)
        return events.ReplyCancelled(
            at=clock.now(),
            turn=self.turn,
            said=words.text,
            heard=self._duration(played),
            estimated=words.estimated,
            committed=self.committed,
            tokens=self.generation.used.completion_tokens,
            prompt_tokens=self.generation.used.prompt_tokens,
            characters=self.speech.sent,
        )

    @override
    async def clear(self, played: Samples) -> None:
        await self.speech.clear(played)

    @override
    async def report_heard(self) -> None:
        if (said := await self.speech.ask_heard()) is not None:
            self.post(events.HeardReported(at=clock.now(), turn=self.turn, said=said))

    async def _watch_playback(self) -> None:
        at = await self.sink.started()
        self.post(events.PlaybackStarted(at=at, turn=self.turn, estimated=self.sink.estimated))

    def _finished(self) -> events.ReplyFinished:
        return events.ReplyFinished(
            at=clock.now(),
            turn=self.turn,
            said=self.generation.text.written.strip(),
            heard=self._duration(self.sink.heard),
            underruns=self.sink.underruns,
            tokens=self.generation.tokens,
            prompt_tokens=self.generation.prompt_tokens,
            ended_by=self.speech.ended_by,
            truncated=self.generation.truncated,
        )

    def _failed(self, failure: ServiceError) -> events.ReplyFailed:
        return events.ReplyFailed(
            at=clock.now(),
            turn=self.turn,
            service="llm" if failure.service == "llm" else "tts",
            reason=str(failure),
            stalled=isinstance(failure, StalledError) and not self.generation.has_begun,
            said="" if self.generation.apologised else self.heard,
            heard=self._duration(self.sink.heard),
        )

    def _duration(self, samples: Samples) -> Seconds:
        return self.sink.format.seconds(SAMPLE_SIZE * samples)
