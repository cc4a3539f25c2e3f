"""The LLM side of a reply: requests that may race, their tokens, and the clauses they form.

A late request is hedged: a second one is sent beside it, and the first token decides which of them
is used.  A request that fails before its first token is retried if the error is temporary.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import ClauseReady, FirstToken, LlmRequested, TurnId
from voicecli.pipeline import Post
from voicecli.services.interfaces import LanguageModel, Message, Usage
from voicecli.text.chunker import Chunker
from voicecli.units import Seconds

RETRY_PAUSE: Seconds = 0.1
"""Wait this long before a retry: enough to replace a broken connection."""

RETRY_WITHIN: Seconds = 2.0
"""Do not retry after this long: the user has waited long enough for an apology."""

MAX_REQUESTS = 3
"""Requests per reply, including the hedge."""

MIN_HEDGE_DELAY: Seconds = 0.6
MAX_HEDGE_DELAY: Seconds = 1.2
"""Bounds of the hedge delay: an earlier hedge races ordinary requests, a later one cannot keep the
user's wait under 2 s."""

HEDGE_WINDOW = 50
HEDGE_MIN_SAMPLES = 5
"""How many waits the hedge delay follows; with fewer than the latter it is the minimum."""


class HedgeDelay:
    """When to hedge: a fixed delay, never, or the 90th percentile of the recent waits, bounded.

    fixed: seconds, None for never, or "auto" to follow the waits.
    """

    def __init__(self, fixed: Seconds | str | None) -> None:
        self._fixed = fixed
        self._waits: deque[Seconds] = deque(maxlen=HEDGE_WINDOW)

    def add(self, wait: Seconds) -> None:
        """Add the time from a request to its first token."""
        self._waits.append(wait)

    @property
    def delay(self) -> Seconds | None:
        """Seconds from the request to its hedge; None for never."""
        if not isinstance(self._fixed, str):
            return self._fixed
        if len(self._waits) < HEDGE_MIN_SAMPLES:
            return MIN_HEDGE_DELAY
        return min(max(float(np.percentile(self._waits, 90)), MIN_HEDGE_DELAY), MAX_HEDGE_DELAY)


@dataclass(eq=False)
class Generation:
    """The text of one reply, as the LLM generates it.

    stall: if the LLM pauses this long within the first clause, speak what there is.
    apology: what to say if the LLM fails; may be empty.
    clauses: the pieces to speak so far; complete: whether there will be no more.
    failure: why the LLM's text ended early, or None.
    apologised: whether the only piece is the apology.
    tokens, prompt_tokens: as the service counts them; None if it does not.
    """

    turn: TurnId
    messages: Sequence[Message]
    llm: LanguageModel
    chunker: Chunker
    hedge: HedgeDelay
    stall: Seconds
    apology: str
    post: Post

    clauses: list[str] = field(default_factory=list, init=False)
    complete: bool = field(default=False, init=False)
    failure: ServiceError | None = field(default=None, init=False)
    apologised: bool = field(default=False, init=False)
    tokens: int | None = field(default=None, init=False)
    prompt_tokens: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._progress = asyncio.Event()
        """Set when a request has brought a token or ended."""
        self._clauses_changed = asyncio.Event()
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._attempts = 0
        self._hedged = False
        self._winner: int | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a request has brought a token."""
        return self._winner is not None

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Request the reply and cut it into clauses; the requests become tasks of ``tasks``."""
        try:
            await self._race(tasks)
            await self._read_winner()
        except ServiceError as error:
            self.failure = error
        finally:  # the TaskGroup awaits the cancelled requests
            for request in self._requests.values():
                request.cancel()
        for clause in self.chunker.finish():
            if clause.strip():
                self._add(clause)
        if self.failure is None and not self.clauses:
            self.failure = _empty_reply()
        if self.failure is not None and not self.failure.final and not self.clauses:
            self.clauses += [self.apology] if self.apology else []
            self.apologised = True
        self.complete = True
        self._clauses_changed.set()

    async def clauses_from(self, index: int) -> Sequence[str]:
        """Wait for clause number ``index``; return all from there on, or none at the end."""
        while index >= len(self.clauses) and not self.complete:
            self._clauses_changed.clear()
            await self._clauses_changed.wait()
        return self.clauses[index:]

    async def _race(self, tasks: asyncio.TaskGroup) -> None:
        """Send requests until one has a token; raises the last error if none has."""
        began = clock.now()
        self._send_request(tasks)
        while self._winner is None:
            try:
                async with asyncio.timeout(None if self._hedged else self.hedge.delay):
                    await self._progress.wait()
            except TimeoutError:
                self._hedged = True
                self._send_request(tasks, hedge=True)
                continue
            self._progress.clear()
            if self._winner is None and not self._requests:
                error = cast(ServiceError, self.failure)
                too_late = clock.now() - began > RETRY_WITHIN
                if too_late or not error.temporary or self._attempts >= MAX_REQUESTS - 1:
                    raise error
                await asyncio.sleep(RETRY_PAUSE)
                self._send_request(tasks)
        for attempt, request in self._requests.items():
            if attempt != self._winner:
                request.cancel()

    def _send_request(self, tasks: asyncio.TaskGroup, *, hedge: bool = False) -> None:
        self._attempts += 1
        attempt = self._attempts
        self._requests[attempt] = tasks.create_task(
            self._request(attempt, hedge=hedge), name=f"reply {self.turn}: request {attempt}"
        )

    async def _request(self, attempt: int, *, hedge: bool) -> None:
        sent = clock.now()
        self.post(LlmRequested(at=sent, turn=self.turn, attempt=attempt, hedge=hedge))
        try:
            async with aclosing(self.llm.reply(self.messages)) as pieces:
                async for piece in pieces:
                    if self._winner is None and isinstance(piece, str):
                        self._winner, self.failure = attempt, None
                        self.hedge.add(clock.now() - sent)
                        self.post(FirstToken(at=clock.now(), turn=self.turn, attempt=attempt))
                    if self._winner == attempt:
                        self._take(piece)
        except ServiceError as error:
            if self._winner in (None, attempt):
                self.failure = error
        else:
            if self._winner is None:
                self.failure = _empty_reply()
        del self._requests[attempt]
        self._progress.set()

    def _take(self, piece: str | Usage) -> None:
        if isinstance(piece, Usage):
            self.tokens, self.prompt_tokens = piece.completion_tokens, piece.prompt_tokens
        else:
            for clause in self.chunker.push(piece):
                self._add(clause)
        self._progress.set()

    async def _read_winner(self) -> None:
        """Wait until the winner has ended; raises its error, if it failed.

        If it stalls within the first clause, what there is becomes the first clause.
        """
        while self._winner in self._requests:
            try:
                async with asyncio.timeout(None if self.clauses else self.stall):
                    await self._progress.wait()
                self._progress.clear()
            except TimeoutError:
                if text := self.chunker.take():
                    self._add(text)
                else:
                    await self._progress.wait()
        if self.failure is not None:
            raise self.failure

    def _add(self, clause: str) -> None:
        if not self.clauses:
            self.post(ClauseReady(at=clock.now(), turn=self.turn, text=clause))
        self.clauses.append(clause)
        self._clauses_changed.set()


def _empty_reply() -> ServiceError:
    return ServiceError("llm", "the reply was empty", temporary=True)
