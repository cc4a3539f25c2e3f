"""The LLM's side of a reply: requests that may race, tokens, and the clauses they make.

A request that is late is hedged: a second one is sent beside it, and the first token decides which
of them is listened to.  One that failed before its first token is tried again, if that may help.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import cast

import numpy as np

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import ClauseReady, Event, FirstToken, LlmRequested, TurnId
from voicecli.services.interfaces import LanguageModel, Message, Usage
from voicecli.text.chunker import Chunker
from voicecli.units import Seconds

RETRY_PAUSE: Seconds = 0.1
"""Before a request that failed is sent again: long enough for a connection to be made anew."""

RETRY_WITHIN: Seconds = 2.0
"""What took longer to fail is not tried again: the user has waited long enough for an apology."""

REQUESTS = 3
"""At most so many per reply, the hedge included."""


class Generation:
    """One reply as the LLM gives it.

    clauses: the pieces to be spoken so far; complete: whether there will be no more.
    failure: why the LLM's own words ended early; None when they did not.
    apologised: whether the only piece is the apology.
    """

    def __init__(
        self,
        turn: TurnId,
        messages: Sequence[Message],
        llm: LanguageModel,
        pieces: Chunker,
        *,
        hedge: HedgeDelay,
        stall: Seconds,
        apology: str,
        post: Callable[[Event], None],
    ) -> None:
        self._turn = turn
        self._messages = messages
        self._llm = llm
        self._pieces = pieces
        self._hedge = hedge
        self._stall = stall
        self._apology = apology
        self._post = post
        self._news = asyncio.Event()
        self._changed = asyncio.Event()
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._count = 0
        self._hedged = False
        self._winner: int | None = None
        self._ended = False
        self.clauses: list[str] = []
        self.complete = False
        self.failure: ServiceError | None = None
        self.apologised = False
        self.tokens: int | None = None
        self.prompt_tokens: int | None = None

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Ask, and cut what comes into clauses; requests become tasks of ``tasks``."""
        try:
            await self._race(tasks)
            await self._read()
        except ServiceError as error:
            self.failure = error
        finally:  # whoever cancels this goes on with the group, and need not wait for them
            for request in self._requests.values():
                request.cancel()
        for clause in self._pieces.finish():
            if clause.strip():
                self._add(clause)
        if self.failure is None and not self.clauses:
            self.failure = _empty()
        if self.failure is not None and not self.failure.final and not self.clauses:
            self.clauses += [self._apology] if self._apology else []
            self.apologised = True
        self.complete = True
        self._changed.set()

    async def following(self, index: int) -> Sequence[str]:
        """The pieces from number ``index`` on, once there is one; none when no more come."""
        while index >= len(self.clauses) and not self.complete:
            self._changed.clear()
            await self._changed.wait()
        return self.clauses[index:]

    async def _race(self, tasks: asyncio.TaskGroup) -> None:
        """Send requests until one has a token; raises the last error when none has."""
        begun = clock.now()
        self._ask(tasks)
        while self._winner is None:
            try:
                async with asyncio.timeout(self._patience):
                    await self._news.wait()
            except TimeoutError:
                self._hedged = True
                self._ask(tasks, hedge=True)
                continue
            self._news.clear()
            if self._winner is None and not self._requests:
                error = cast(ServiceError, self.failure)
                if not error.temporary or self._count >= REQUESTS - 1:
                    raise error
                if clock.now() - begun > RETRY_WITHIN:
                    raise error
                await asyncio.sleep(RETRY_PAUSE)
                self._ask(tasks)
        for attempt, request in self._requests.items():
            if attempt != self._winner:
                request.cancel()

    @property
    def _patience(self) -> Seconds | None:
        return None if self._hedged else self._hedge.delay

    def _ask(self, tasks: asyncio.TaskGroup, *, hedge: bool = False) -> None:
        self._count += 1
        attempt = self._count
        self._requests[attempt] = tasks.create_task(
            self._request(attempt, hedge=hedge), name=f"reply {self._turn}: request {attempt}"
        )

    async def _request(self, attempt: int, *, hedge: bool) -> None:
        asked = clock.now()
        self._post(LlmRequested(at=asked, turn=self._turn, attempt=attempt, hedge=hedge))
        try:
            async with aclosing(self._llm.reply(self._messages)) as pieces:
                async for piece in pieces:
                    if self._winner is None and isinstance(piece, str):
                        self._winner, self.failure = attempt, None
                        self._hedge.note(clock.now() - asked)
                        self._post(FirstToken(at=clock.now(), turn=self._turn, attempt=attempt))
                    if self._winner == attempt:
                        self._take(piece)
        except ServiceError as error:
            if self._winner in (None, attempt):
                self.failure = error
        else:
            if self._winner is None:
                self.failure = _empty()
        del self._requests[attempt]
        self._ended = self._ended or self._winner == attempt
        self._news.set()

    def _take(self, piece: str | Usage) -> None:
        if isinstance(piece, Usage):
            self.tokens, self.prompt_tokens = piece.completion_tokens, piece.prompt_tokens
        else:
            for clause in self._pieces.push(piece):
                self._add(clause)
        self._news.set()

    async def _read(self) -> None:
        """Until the winner has ended; raises its error, if it failed on the way."""
        while not self._ended:
            waits = None if self.clauses else self._stall
            try:
                async with asyncio.timeout(waits):
                    await self._news.wait()
                self._news.clear()
            except TimeoutError:
                if text := self._pieces.take():
                    self._add(text)
                else:
                    await self._news.wait()
        if self.failure is not None:
            raise self.failure

    def _add(self, clause: str) -> None:
        if not self.clauses:
            self._post(ClauseReady(at=clock.now(), turn=self._turn, text=clause))
        self.clauses.append(clause)
        self._changed.set()


def _empty() -> ServiceError:
    return ServiceError("llm", "the reply was empty", temporary=True)


LEAST: Seconds = 0.6
MOST: Seconds = 1.2
"""Bounds of the delay: earlier, a hedge races requests that are merely usual; later, it comes too
late to keep the user's wait under 2 s."""

REMEMBERED = 50
ENOUGH = 5
"""So many waits tell something of the usual one; before, the delay is the least."""


class HedgeDelay:
    """The delay: fixed, none, or the rolling 90th percentile of the waits so far, within bounds.

    fixed: seconds; None never hedges, "auto" follows what it is told.
    """

    def __init__(self, fixed: Seconds | str | None = "auto") -> None:
        self._fixed = fixed
        self._waits: deque[Seconds] = deque(maxlen=REMEMBERED)

    def note(self, wait: Seconds) -> None:
        """A first token came after so long, counted from its own request."""
        self._waits.append(wait)

    @property
    def delay(self) -> Seconds | None:
        """Seconds from the request; None for never."""
        if not isinstance(self._fixed, str):
            return self._fixed
        if len(self._waits) < ENOUGH:
            return LEAST
        return min(max(float(np.percentile(self._waits, 90)), LEAST), MOST)
