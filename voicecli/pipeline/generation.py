"""The LLM side of a reply: requests that may race, their tokens, and the text they form.

A late request is hedged: a second one is sent beside it, and the first token decides which of them
is used.  A request that fails before its first token is retried if the error is temporary.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import accumulate
from typing import cast

import numpy as np

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import ClauseReady, FirstToken, LlmRequested, Truncation, TurnId, Warned
from voicecli.pipeline import Post
from voicecli.services.interfaces import LanguageModel, Message, Truncated, Usage
from voicecli.text.chunker import Chunker, find_cuts, find_last_end
from voicecli.text.markdown import MarkdownFilter
from voicecli.text.pacing import Pacing
from voicecli.text.reasoning import ReasoningFilter, ReasoningHabit
from voicecli.text.words import find_words
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

CHARACTERS_PER_TOKEN = 4.0
"""Of English text, by the LLM services' rule of thumb."""

_UNOPENED = (
    "the reply began with its reasoning, without an opening tag; "
    "if all do, set `llm.reasoning: unopened`"
)

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


class ReplyText:
    """The speakable text of one reply, which the LLM writes and the TTS side reads.

    written: the text so far.
    complete: whether nothing follows.
    first_end: where the first piece to speak ends; None while that is open.
    answer: tells the LLM's answer from its reasoning.
    """

    def __init__(
        self, chunker: Chunker, habit: ReasoningHabit | None = None, language: str = "en"
    ) -> None:
        self.written = ""
        self.complete = False
        self.first_end: int | None = None
        self.answer = ReasoningFilter(habit)
        self._chunker = chunker
        self._words = find_words(language)
        self._filter = MarkdownFilter(self._words)
        self._read = 0
        """Characters that were read to be spoken."""
        self._changed = asyncio.Event()

    def push(self, token: str) -> None:
        """Add a token of the LLM's."""
        answer = self.answer.push(token)
        if self.answer.revoked:
            self._revoke()
        self.written += self._filter.push(answer)
        if self.first_end is None:
            self._end_first(self._chunker.find_first(self.written))
        self._notify()

    def read(self, start: int, end: int) -> str:
        """Return a part of the text to speak it; it cannot be revoked any more."""
        self._read = max(self._read, end)
        return self.written[start:end]

    def _revoke(self) -> None:
        """Drop what was not read yet: it was reasoning."""
        self.written = self.written[: self._read]
        self.first_end = self.first_end if self._read else None
        self._filter = MarkdownFilter(self._words)

    def end_first(self) -> bool:
        """End the first piece with what is there; return whether there was anything to say."""
        self._end_first(self._chunker.find_next(self.written, stalled=True))
        self._notify()
        return self.first_end is not None

    def flush(self, *, cut: bool = False) -> bool:
        """Add what was held back: no token follows.  Return whether there is anything to say.

        cut: whether the LLM reached its limit of tokens; then half a clause at the end is dropped.
        """
        self.written += self._filter.push(self.answer.finish(cut=cut)) + self._filter.finish()
        if cut:
            self.written = self.written[: max(find_last_end(self.written), self._read)]
            self.first_end = self.first_end and min(self.first_end, len(self.written))
        return bool(self.written.strip())

    def finish(self, apology: str | None = None) -> None:
        """Note that the text is complete; an ``apology`` replaces what was not written."""
        self.written = self.written if apology is None else apology
        if self.first_end is None:
            self._end_first(len(self.written))
        self.complete = True
        self._notify()

    def is_last(self, start: int) -> bool:
        """Whether the text from ``start`` on is the last piece."""
        return self.complete and len(self.written) - start <= self._chunker.longest

    def find_end(self, start: int) -> int:
        """Return where a piece from ``start``, needed now, ends; ``start`` if there is none."""
        if self.is_last(start):
            return len(self.written)
        return start + self._chunker.find_next(self.written[start:])

    def find_clause_end(self) -> int:
        """Return where the last clause ends that is whole; 0 if none is."""
        ends = [cut.end for cut in find_cuts(self.written) if cut.kind != "phrase"]
        return max(ends, default=0)

    async def wait_for(self, ready: Callable[[], object]) -> None:
        """Wait until ``ready()`` is true, which changes of the text may make it."""
        while not ready():
            await self._changed.wait()

    def _end_first(self, end: int) -> None:
        self.first_end = end or None

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(eq=False)
class Generation:
    """The text of one reply, as the LLM generates it.

    text: what it writes into.
    pacing: learns how fast the LLM writes.
    stall: if the LLM pauses this long within the first clause, speak what there is.
    apology: what to say if the LLM fails; may be empty.
    failure: why the LLM's text ended early, or None.
    apologised: whether the text is the apology.
    tokens, prompt_tokens: as the service counts them; None if it does not.
    truncated: why the service ended the text before it was complete, or None.
    """

    turn: TurnId
    messages: Sequence[Message]
    llm: LanguageModel
    text: ReplyText
    hedge: HedgeDelay
    pacing: Pacing
    stall: Seconds
    apology: str
    post: Post

    failure: ServiceError | None = field(default=None, init=False)
    apologised: bool = field(default=False, init=False)
    tokens: int | None = field(default=None, init=False)
    prompt_tokens: int | None = field(default=None, init=False)
    truncated: Truncation | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._progress = asyncio.Event()
        """Set when a request has brought a token or ended."""
        self._requests: dict[int, asyncio.Task[None]] = {}
        self._attempts = 0
        self._hedged = False
        self._winner: int | None = None
        self._tokens: list[tuple[Seconds, str]] = []
        self._token_reported = self._clause_reported = False

    @property
    def has_begun(self) -> bool:
        """Whether a request has brought a token."""
        return self._winner is not None

    @property
    def used(self) -> Usage:
        """The tokens used so far; estimated from the text until the service reports them."""
        prompt = sum(len(message.content) for message in self.messages)
        return Usage(
            prompt_tokens=_estimate_tokens(prompt)
            if self.prompt_tokens is None
            else self.prompt_tokens,
            completion_tokens=_estimate_tokens(sum(len(token) for _, token in self._tokens))
            if self.tokens is None
            else self.tokens,
        )

    async def run(self, tasks: asyncio.TaskGroup) -> None:
        """Request the reply and write its text; the requests become tasks of ``tasks``."""
        try:
            await self.llm.load()  # which is not the LLM being late
            await self._race(tasks)
            await self._read_winner()
        except ServiceError as error:
            self.failure = error
        finally:  # the TaskGroup awaits the cancelled requests
            for request in self._requests.values():
                request.cancel()
        spoken = self.text.flush(cut=self.truncated is not None)
        if self.failure is None and not spoken:
            self.failure = _empty_reply(hidden=self.text.answer.hidden)
        self.apologised = self.failure is not None and not self.failure.final and not spoken
        self.text.finish(self.apology if self.apologised else None)
        if spoken:
            self._report_first()

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
                    if isinstance(piece, Warned):
                        self.post(piece)
                        continue
                    if self._winner is None and isinstance(piece, str):
                        self._winner, self.failure = attempt, None
                        self.hedge.add(clock.now() - sent)
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

    def _take(self, piece: str | Truncated | Usage) -> None:
        if isinstance(piece, Truncated):
            self.truncated = piece.reason
        elif isinstance(piece, Usage):
            self.tokens, self.prompt_tokens = piece.completion_tokens, piece.prompt_tokens
        else:
            self._tokens.append((clock.now(), piece))
            self.text.push(piece)
            if self.text.answer.revoked:
                self._token_reported = self._clause_reported = False
                self.post(Warned(at=clock.now(), service="llm", text=_UNOPENED))
            self._report_first()
        self._progress.set()

    async def _read_winner(self) -> None:
        """Wait until the winner has ended; raises its error, if it failed.

        If it stalls within the first clause, what there is becomes the first clause.
        """
        while self._winner in self._requests:
            try:
                async with asyncio.timeout(None if self.text.first_end else self.stall):
                    await self._progress.wait()
                self._progress.clear()
            except TimeoutError:
                if self.text.end_first():
                    self._report_first()
                else:
                    await self._progress.wait()
        if self.failure is not None:
            raise self.failure
        (began, _), *rest = self._tokens or [(0.0, "")]
        if rest:
            self.pacing.add_writing("".join(token for _, token in rest), rest[-1][0] - began)

    def _report_first(self) -> None:
        """Report the answer's first token and its first clause, as soon as they are known."""
        if (begins := self.text.answer.begins) is not None and not self._token_reported:
            self._token_reported = True
            at, attempt = self._find_arrival(begins), cast(int, self._winner)
            self.post(FirstToken(at=at, turn=self.turn, attempt=attempt))
        if (end := self.text.first_end) and not self._clause_reported:
            self._clause_reported = True
            text = self.text.written[:end]
            self.post(ClauseReady(at=clock.now(), turn=self.turn, text=text))

    def _find_arrival(self, index: int) -> Seconds:
        """Return when the character at ``index`` of the LLM's text arrived."""
        ends = accumulate(len(token) for _, token in self._tokens)
        return next(at for (at, _), end in zip(self._tokens, ends, strict=True) if index < end)


def _estimate_tokens(characters: int) -> int:
    return round(characters / CHARACTERS_PER_TOKEN)


def _empty_reply(*, hidden: bool = False) -> ServiceError:
    if hidden:
        hint = "Turn its reasoning off, or raise `llm.max_tokens`."
        return ServiceError("llm", "the reply was only reasoning", hint=hint, temporary=True)
    return ServiceError("llm", "the reply was empty", temporary=True)
