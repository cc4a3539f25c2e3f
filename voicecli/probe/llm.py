"""Measures the LLM as a conversation uses it: a short prompt, streamed, cut into clauses.

A failed request is repeated as in a conversation, and counted; no request is hedged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np
from typing_extensions import override

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import ClauseReady, Event, FirstToken, LlmRequested, Service, Warned
from voicecli.pipeline.generation import Generation, HedgeDelay, ReplyText
from voicecli.pipeline.speech import create_chunker
from voicecli.pipeline.wiring import Services
from voicecli.probe.schedule import Post, Prober, Sample, TicketCounter, is_refusal
from voicecli.profile import Profile
from voicecli.services import find_provider
from voicecli.services.interfaces import LanguageModel, Message, Piece, Usage
from voicecli.services.provider import TtsProvider
from voicecli.text.pacing import Pacing
from voicecli.text.reasoning import ReasoningHabit
from voicecli.units import Seconds

STALL: Seconds = 2.0
"""A listener takes a longer pause, before the first token or after it, for the end."""

DIALOGUE = (
    ("What is the capital of Australia?", "It is Canberra. Many people think of Sydney first."),
    ("How far is it from Sydney?", "About two hundred and eighty kilometres, three hours by car."),
    ("And what should I see there?", "The war memorial is worth a morning. So is the lake."),
)
"""Sample 0 asks the first question, sample 1 the second after the first's answer, and so on."""


def make_prompt(system_prompt: str, number: int) -> list[Message]:
    """The messages of sample ``number``."""
    turn = number % len(DIALOGUE)
    messages = [Message("system", system_prompt)]
    for question, answer in DIALOGUE[:turn]:
        messages += Message("user", question), Message("assistant", answer)
    return [*messages, Message("user", DIALOGUE[turn][0])]


class LlmProber(Prober):
    """Probes the LLM."""

    service: Service = "llm"

    def __init__(self, profile: Profile, services: Services, note: Callable[[str], None]) -> None:
        self._system_prompt = profile.llm.system_prompt
        self._tts = profile.tts
        provider: TtsProvider = find_provider("tts", profile.tts.provider)
        self._pacing = Pacing(provider.capabilities.seconds_per_character)
        self._habit = ReasoningHabit(profile.llm.reasoning)
        self._services = services
        self._note = note

    @override
    async def measure_cold(self, number: int) -> Sample:
        async with self._services.open_llm() as llm:
            await llm.load()
            return await self.measure_reply(llm, number, cold=True)

    @override
    async def measure_warm(self, warmup: int, tickets: TicketCounter, post: Post) -> None:
        async with self._services.open_llm() as llm:
            await llm.load()
            for number in range(warmup):
                await self.measure_reply(llm, number)
            while (ticket := await tickets.take()) is not None:
                post(await self.measure_reply(llm, ticket))

    async def measure_reply(self, llm: LanguageModel, number: int, *, cold: bool = False) -> Sample:
        """Take sample ``number``; raises ServiceError or CredentialsError."""
        timed, events = _TimedModel(llm), list[Event]()
        generation = Generation(
            0,
            make_prompt(self._system_prompt, number),
            timed,
            ReplyText(create_chunker(self._tts, self._pacing), self._habit, self._tts.language),
            hedge=HedgeDelay(None),
            pacing=self._pacing,
            stall=self._tts.first_clause_stall,
            apology="",
            post=events.append,
        )
        async with asyncio.TaskGroup() as tasks:
            await generation.run(tasks)
        for warned in events:
            if isinstance(warned, Warned):
                self._note(f"LLM: {warned.text}")
        if generation.failure is not None:
            raise generation.failure
        pauses = [np.diff([one.at, *one.pieces]).max(initial=0.0) for one in timed.requests]
        return Sample(
            service="llm",
            at=clock.now(),
            values=_compute_values(timed, events),
            request_id=llm.request_id,
            counts={
                "llm.requests": len(timed.requests),
                "llm.retries": len(timed.requests) - 1,
                "llm.refusals": sum(is_refusal(one.error) for one in timed.requests),
                "llm.stalls": int(max(pauses) > STALL),
                "llm.tokens": generation.tokens or 0,
                "llm.prompt_tokens": generation.prompt_tokens or 0,
                "llm.uncounted": int(generation.tokens is None),
            },
            cold=cold,
        )


@dataclass(slots=True)
class _TimedRequest:
    """A request; pieces: when they arrived."""

    at: Seconds
    pieces: list[Seconds] = field(default_factory=list)
    usage: Usage | None = None
    error: ServiceError | None = None


class _TimedModel(LanguageModel):
    """Passes requests on to another LLM and times the pieces of the replies."""

    def __init__(self, inner: LanguageModel) -> None:
        self._inner = inner
        self.requests: list[_TimedRequest] = []

    @property
    @override
    def request_id(self) -> str:
        return self._inner.request_id

    @override
    async def load(self) -> None:
        await self._inner.load()

    @override
    async def warm(self) -> None:
        await self._inner.warm()

    @override
    async def reply(self, messages: Sequence[Message]) -> AsyncGenerator[Piece, None]:
        request = _TimedRequest(clock.now())
        self.requests.append(request)
        try:
            async with aclosing(self._inner.reply(messages)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Usage):
                        request.usage = piece
                    elif isinstance(piece, str):
                        request.pieces.append(clock.now())
                    yield piece
        except ServiceError as error:
            request.error = error
            raise


def _compute_values(timed: _TimedModel, events: Sequence[Event]) -> dict[str, float]:
    """The values of the request that was answered."""
    request = timed.requests[-1]
    asked = [event.at for event in events if isinstance(event, LlmRequested)][-1]
    first = [event.at for event in events if isinstance(event, FirstToken)][-1]
    last = request.pieces[-1]
    values = {"llm.ttft": first - asked, "llm.total": last - asked}
    if clauses := [event.at for event in events if isinstance(event, ClauseReady)]:
        values["llm.clause"] = max(clauses[0] - first, 0.0)
    if len(request.pieces) > 1:
        values["llm.gap"] = float(np.diff(request.pieces).max())
        tokens = request.usage.completion_tokens if request.usage else len(request.pieces)
        if last > request.pieces[0] and tokens > 1:
            values["llm.rate"] = (tokens - 1) / (last - request.pieces[0])
    return values
