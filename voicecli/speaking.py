"""The TTS's side of a reply: pieces out, audio in, and on to the sink."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from voicecli import clock
from voicecli.audio import SAMPLE_SIZE, Samples, Seconds, first_audible
from voicecli.errors import ServiceError, StalledError
from voicecli.events import ClauseSent, Event, FirstAudio, PlaybackEnd, TurnId, Warned
from voicecli.spoken import Spoken
from voicecli.stages import Flushed, Sink, Synthesizer

PREROLL: Seconds = 0.010
"""Silence kept before the first audible sample: a soft consonant lies below what is "audible"."""

FEW = 10
"""With fewer flushes left, a later piece's is put off until it would soon be missed."""

LAST = 3
"""With fewer left, a reply has one: it waits for the whole text, not in mid-reply for a flush."""

LEAD: Seconds = 1.0
"""A flush is put off at most until so much is left to play: first audio takes some 0.3 s."""

CONNECTIONS = 2
"""So many may be lost under one reply before it is given up."""


class SpeakingOptions(Protocol):
    """What it needs of ``reply.ReplyOptions``."""

    @property
    def flush_each(self) -> bool:
        """Have each piece spoken at once, or all at the end."""

    @property
    def speak_drafts(self) -> bool:
        """Send text before the commitment."""

    @property
    def empty(self) -> Seconds:
        """With nothing left to play for so long, a reply whose last words came is over."""


class Speaking:
    """One reply on its way from text to sound.

    following: the pieces from a number on, once there is one; none when no more come.
    committed: set when the reply may sound.
    ended_by: how the end of the audio was known.
    """

    def __init__(
        self,
        turn: TurnId,
        tts: Synthesizer,
        sink: Sink,
        *,
        options: SpeakingOptions,
        following: Callable[[int], Awaitable[Sequence[str]]],
        committed: asyncio.Event,
        post: Callable[[Event], None],
    ) -> None:
        self._turn = turn
        self._tts = tts
        self._sink = sink
        self._options = options
        self._following = following
        self._committed = committed
        self._post = post
        self._progress = asyncio.Event()
        self._next = 0
        self._complete = False
        self._spoken = Spoken(sink.format)
        self._audible = False
        self._first_byte: Seconds | None = None
        self._silence: Samples = 0
        self._preroll = b""
        self._skip: Samples = 0
        self.ended_by: PlaybackEnd = "flushed"

    def heard(self, samples: Samples) -> str:
        """The words of the first so many samples."""
        return self._spoken.heard(samples)

    async def run(self) -> None:
        """Until all audio has been handed to the sink; raises ServiceError.

        A connection that is lost or silent is replaced, and what it owed is spoken again, without
        what had come of it.
        """
        if not self._options.speak_drafts:
            await self._committed.wait()
        for lost in range(CONNECTIONS + 1):
            failure = await self._deliver()
            if failure is None:
                return
            await self._tts.clear()
            if isinstance(failure, StalledError) and self._complete and self._spoken.plausible:
                self.ended_by = "stalled"
                return
            if failure.final or lost == CONNECTIONS:
                raise failure
            self._post(
                Warned(at=clock.now(), service="tts", text=f"{failure.cause}; going on anew")
            )
            pieces, received = self._spoken.take_back()
            self._skip += received  # what was left to skip had been received before that
            self._next -= pieces

    async def _deliver(self) -> ServiceError | None:
        """Send what there is, until it has come as audio; why it did not, or None."""
        failure: ServiceError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                hearing = tasks.create_task(self._hear(), name=f"reply {self._turn}: hear")
                await self._send()
                await self._delivered()
                hearing.cancel()
        except* ServiceError as group:
            failure = _only(group)
        task = asyncio.current_task()
        if failure is not None and task is not None and task.cancelling():
            raise asyncio.CancelledError  # a TaskGroup forgets it where an error comes with it
        return failure

    async def _send(self) -> None:
        """All pieces, each with its flush, or one for all.

        A flush that is put off covers what came meanwhile.
        """
        self._complete = False
        each = self._options.flush_each and self._tts.flushes >= LAST
        while pieces := await self._following(self._next):
            if each and self._next and self._tts.flushes < FEW:
                await self._nearly_played()
                *before, last = await self._following(self._next)
            else:
                before, last = [], pieces[0]
            for piece in before:
                await self._send_piece(piece, flush=False)
            await self._send_piece(last, flush=each)
        if not each and self._next:
            await self._send_piece("", flush=True)
        self._complete = True

    async def _nearly_played(self) -> None:
        """Until all that was flushed has come, and no more than LEAD of it is left to play."""
        while self._spoken.outstanding or self._sink.queued > LEAD:
            spare = max(self._sink.queued - LEAD, 0.1)  # on hold, nothing is played
            await self._progressed(None if self._spoken.outstanding else spare)

    async def _send_piece(self, text: str, *, flush: bool) -> None:
        self._next += 1
        self._spoken.sent(text, flushed=flush)
        self._post(ClauseSent(at=clock.now(), turn=self._turn, text=text, flushed=flush))
        await self._tts.send(text, flush=flush)

    async def _delivered(self) -> None:
        """Until the service has said that all was delivered, or it obviously has been."""
        while self._spoken.outstanding:
            obvious = self._spoken.plausible and self._committed.is_set()
            limit = self._sink.queued + self._options.empty if obvious else None
            if not await self._progressed(limit) and self._sink.queued <= 0:
                self.ended_by = "empty"
                await self._tts.clear()
                return

    async def _progressed(self, limit: Seconds | None) -> bool:
        """Wait for the next audio or FLUSHED, no longer than ``limit``; whether it came."""
        try:
            async with asyncio.timeout(limit):
                await self._progress.wait()
        except TimeoutError:
            return False
        self._progress.clear()
        return True

    async def _hear(self) -> None:
        async with aclosing(self._tts.audio()) as audio:
            async for item in audio:
                if isinstance(item, Flushed):
                    self._spoken.flushed()
                    self._skip = 0  # spoken again, it may be shorter
                else:
                    await self._take(item)
                self._progress.set()

    async def _take(self, pcm: bytes) -> None:
        """Audio came: pass on what is to be heard of it."""
        if self._first_byte is None:
            self._first_byte = clock.now()
        samples = len(pcm) // SAMPLE_SIZE
        skipped = min(self._skip, samples)
        self._skip -= skipped
        pcm = pcm[SAMPLE_SIZE * skipped :]
        if not self._audible:
            pcm = self._without_lead(pcm)
        self._spoken.received(samples, len(pcm) // SAMPLE_SIZE)
        if pcm:
            await self._committed.wait()
            self._sink.write(pcm)

    def _without_lead(self, pcm: bytes) -> bytes:
        """``pcm`` without the silence at the reply's head, but for a little."""
        pcm = self._preroll + pcm
        keep = SAMPLE_SIZE * self._sink.format.samples(PREROLL)
        index = first_audible(pcm)
        if index is None:
            self._preroll = pcm[-keep:]
            self._silence += (len(pcm) - len(self._preroll)) // SAMPLE_SIZE
            return b""
        start = max(0, SAMPLE_SIZE * index - keep)
        self._silence += start // SAMPLE_SIZE
        self._audible = True
        self._post(
            FirstAudio(
                at=clock.now(),
                turn=self._turn,
                first_byte=self._first_byte if self._first_byte is not None else clock.now(),
                lead=self._silence / self._sink.format.rate,
            )
        )
        return pcm[start:]


def _only(group: BaseExceptionGroup[ServiceError]) -> ServiceError:
    """One error of ``group``: the others follow from it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ServiceError)
    return error
