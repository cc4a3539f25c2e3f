"""The LLM, measured as a conversation uses it: a short prompt, streamed, cut into clauses.

A request that fails is repeated as a conversation repeats it, and counted; none is hedged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from itertools import pairwise

from typing_extensions import override

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import ClauseReady, Event, LlmRequested, Service
from voicecli.pipeline.generation import Generation, HedgeDelay
from voicecli.pipeline.speech import create_chunker
from voicecli.probe.schedule import Post, Sample, TicketCounter
from voicecli.services.interfaces import (
    LanguageModel,
    LlmSettings,
    Message,
    TtsSettings,
    Usage,
)
from voicecli.units import Seconds

STALL: Seconds = 2.0
"""A pause that a listener takes for the end."""

EXCHANGES = (
    ("What is the capital of Australia?", "It is Canberra. Many people think of Sydney first."),
    ("How far is it from Sydney?", "About two hundred and eighty kilometres, three hours by car."),
    ("And what should I see there?", "The war memorial is worth a morning. So is the lake."),
)
"""A conversation: the first reading asks the first question, the second the second, and so on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmSetting:
    """What is measured.

    open: opens the LLM.
    """

    open: Callable[[], AbstractAsyncContextManager[LanguageModel]]
    settings: LlmSettings
    speech: TtsSettings


def messages(system_prompt: str, number: int) -> list[Message]:
    """The prompt of the reading ``number``."""
    asked = number % len(EXCHANGES)
    history = [
        message
        for question, answer in EXCHANGES[:asked]
        for message in (Message("user", question), Message("assistant", answer))
    ]
    return [Message("system", system_prompt), *history, Message("user", EXCHANGES[asked][0])]


class LlmProber:
    """See ``series.Prober``."""

    service: Service = "llm"
    kinds = 1

    def __init__(self, setting: LlmSetting) -> None:
        self._setting = setting

    async def measure_cold(self, number: int) -> Sample:
        """One reply on a new connection, opening it included."""
        async with self._setting.open() as llm:
            return await self._reply(llm, number, cold=True)

    async def measure_warm(self, warmup: int, tickets: TicketCounter, post: Post) -> None:
        """One reply after the other."""
        async with self._setting.open() as llm:
            for number in range(warmup):
                await self._reply(llm, number)
            while (number_ := await tickets.take()) is not None:
                post(await self._reply(llm, number_))

    async def _reply(self, llm: LanguageModel, number: int, *, cold: bool = False) -> Sample:
        watched, events = Watched(llm), list[Event]()
        generation = Generation(
            0,
            messages(self._setting.settings.system_prompt, number),
            watched,
            create_chunker(self._setting.speech),
            hedge=HedgeDelay(None),
            stall=self._setting.speech.first_clause_stall,
            apology="",
            post=events.append,
        )
        async with asyncio.TaskGroup() as tasks:
            await generation.run(tasks)
        if generation.failure is not None:
            raise generation.failure
        return Sample(
            service="llm",
            at=clock.now(),
            values=_values(watched, events),
            request_id=llm.request_id,
            counts={
                "llm.requests": len(watched.requests),
                "llm.retries": len(watched.requests) - 1,
                "llm.refusals": watched.refusals,
                "llm.stalls": int(watched.longest_pause > STALL),
                "llm.tokens": generation.tokens or 0,
                "llm.prompt_tokens": generation.prompt_tokens or 0,
                "llm.uncounted": int(generation.tokens is None),
            },
            cold=cold,
        )


@dataclass(slots=True)
class Request:
    """One request: when it was sent, and when its pieces came."""

    at: Seconds
    pieces: list[Seconds] = field(default_factory=list)
    usage: Usage | None = None
    error: ServiceError | None = None


class Watched(LanguageModel):
    """An LLM whose pieces are timed on their way; see ``stages.LanguageModel``."""

    def __init__(self, inner: LanguageModel) -> None:
        self._inner = inner
        self.requests: list[Request] = []

    @property
    @override
    def request_id(self) -> str:
        return self._inner.request_id

    @override
    async def warm(self) -> None:
        await self._inner.warm()

    @override
    async def reply(self, messages: Sequence[Message]) -> AsyncGenerator[str | Usage, None]:
        request = Request(clock.now())
        self.requests.append(request)
        try:
            async with aclosing(self._inner.reply(messages)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Usage):
                        request.usage = piece
                    else:
                        request.pieces.append(clock.now())
                    yield piece
        except ServiceError as error:
            request.error = error
            raise

    @property
    def refusals(self) -> int:
        """Requests that were answered with 4xx."""
        statuses = [one.error.status or 0 for one in self.requests if one.error is not None]
        return sum(400 <= status < 500 for status in statuses)

    @property
    def longest_pause(self) -> Seconds:
        """In which nothing came of a request, at its beginning or later."""
        return max(max(_gaps([one.at, *one.pieces]), default=0.0) for one in self.requests)


def _values(watched: Watched, events: Sequence[Event]) -> dict[str, float]:
    """Of the request that was answered."""
    request = watched.requests[-1]
    asked = [event.at for event in events if isinstance(event, LlmRequested)][-1]
    first, last = request.pieces[0], request.pieces[-1]
    values = {"llm.ttft": first - asked, "llm.total": last - asked}
    clauses = [event.at for event in events if isinstance(event, ClauseReady)]
    if clauses:
        values["llm.clause"] = max(clauses[0] - first, 0.0)
    if gaps := _gaps(request.pieces):
        values["llm.gap"] = max(gaps)
        tokens = request.usage.completion_tokens if request.usage else len(request.pieces)
        if last > first and tokens > 1:
            values["llm.rate"] = (tokens - 1) / (last - first)
    return values


def _gaps(times: Sequence[Seconds]) -> list[Seconds]:
    return [later - sooner for sooner, later in pairwise(times)]
