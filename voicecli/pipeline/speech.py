"""The TTS side of a reply: its text goes to the TTS just in time, the audio to the sink."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import aclosing
from dataclasses import dataclass, field

from voicecli import clock
from voicecli.audio.interfaces import Sink
from voicecli.audio.pcm import find_audible, samples_of
from voicecli.errors import ServiceError, StalledError, find_first_error
from voicecli.events import ClauseSent, FirstAudio, PlaybackEnd, TurnId, Warned
from voicecli.pipeline import Post
from voicecli.pipeline.generation import ReplyText
from voicecli.pipeline.heard import HeardText, HeardWords
from voicecli.services.interfaces import Flushed, Synthesizer, TtsSettings
from voicecli.text.chunker import BatchChunker, Chunker, ClauseChunker
from voicecli.text.pacing import LONGEST_FIRST, Pacing
from voicecli.units import SAMPLE_SIZE, Samples, Seconds

PREROLL: Seconds = 0.010
"""Silence kept before the first audible sample: a soft consonant is below the "audible" level."""

SAVE_FLUSHES_BELOW = 1 / 2
"""With less of the TTS's budget of flushes left, a reply that is complete is flushed as a whole."""

LAST_FLUSHES = 5
"""With this many left, because there is no second connection, a reply is flushed once, when it is
complete: a little late rather than broken off for up to a minute until a flush is allowed."""

MAX_RECONNECTS = 2
"""Connections lost during one reply before it fails."""


def create_chunker(settings: TtsSettings, pacing: Pacing) -> Chunker:
    """Create what cuts one reply into clauses or batches."""
    if settings.chunking == "batches":
        return BatchChunker(settings.batch_chars)
    return ClauseChunker(pacing)


@dataclass(eq=False)
class ReplySpeech:
    """The audio of one reply.

    Its first piece is flushed as soon as there is one.  Later text is gathered, and flushed when it
    is complete or the queued audio falls to what the TTS needs to deliver more.

    A TTS that speaks unflushed is sent the words of the first clause as they come, then one clause
    at a time, so that a clause which the LLM does not complete is not begun; and one flush.

    text: what to speak, while it is written.
    pacing: what the services usually take; learns.
    may_speak: set when the first piece may be sent to the TTS, which costs money and a flush.
    may_play: set when the reply is committed: it may be played, and the rest may be sent.
    is_ahead: whether the TTS was sent the whole text, and a flush, before.
    ended_by: how the end of the audio was known.
    sent: characters of the text that were sent to the TTS.
    """

    turn: TurnId
    tts: Synthesizer
    sink: Sink
    settings: TtsSettings
    text: ReplyText
    pacing: Pacing
    may_speak: asyncio.Event
    may_play: asyncio.Event
    post: Post
    is_ahead: bool = False
    ended_by: PlaybackEnd = field(default="flushed", init=False)
    sent: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._spoken = HeardText(self.sink.format, self.pacing)
        self._progress = asyncio.Event()
        """Set when audio or FLUSHED has arrived."""
        self._ends: list[int] = []
        """Where the pieces end that were sent once; sent again, they sound the same."""
        self._all_sent = False
        self._flushed_at: Seconds | None = None
        """When the flush was sent whose first byte is awaited; None if it had to wait."""
        self._delivery_began: Seconds | None = None
        self._audible = False
        self._first_byte: Seconds | None = None
        self._silence: Samples = 0
        self._preroll = b""
        self._skip: Samples = 0
        """Samples to drop that were received before the connection was lost."""

    def heard(self, samples: Samples) -> HeardWords:
        """Return the words within the reply's first ``samples``."""
        return self._spoken.heard(samples)

    async def clear(self, played: Samples) -> None:
        """Have the TTS drop the rest, after the reply was cut when it had played so much."""
        await self.tts.clear(unplayed=self._spoken.written - played if played else None)

    async def ask_heard(self) -> str | None:
        """After ``clear``, return the words that were heard, by the service's account.

        None where it gives none, not in time, or words that are not those sent.
        """
        if not self.tts.capabilities.reports_heard:
            return None
        try:
            reported = await self.tts.cleared()
        except ServiceError:
            return None
        said = " ".join((reported or "").split())
        sent = " ".join(self.text.written[: self.sent].split())
        return said if reported is not None and sent.startswith(said) else None

    async def run(self) -> None:
        """Send the text and write all its audio to the sink; raises ServiceError.

        If the connection is lost or stalls, send what it owed again and skip what it delivered.
        """
        await self.may_speak.wait()
        for reconnects in range(MAX_RECONNECTS + 1):
            failure = await self._try_deliver()
            if failure is None:
                return
            await self.tts.clear()
            if isinstance(failure, StalledError) and self._all_sent and self._spoken.is_plausible:
                self.ended_by = "stalled"
                return
            if failure.final or reconnects == MAX_RECONNECTS:
                raise failure
            text = f"{failure.cause}; resuming on a new connection"
            self.post(Warned(at=clock.now(), service="tts", text=text))
            characters, received = self._spoken.take_back()
            self._skip += received  # the rest of it was received on an earlier connection
            self.sent -= characters
            self._flushed_at = self._delivery_began = None

    async def _try_deliver(self) -> ServiceError | None:
        """Send the text and receive its audio; return the error that ended it early, or None."""
        failure: ServiceError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                name = f"reply {self.turn}: receive audio"
                receiving = tasks.create_task(self._receive(), name=name)
                await self._send()
                await self._wait_for_delivery()
                receiving.cancel()
        except* ServiceError as group:
            failure = find_first_error(group)
        task = asyncio.current_task()
        if failure is not None and task is not None and task.cancelling():
            raise asyncio.CancelledError  # a TaskGroup drops it if an error comes with it
        return failure

    # ── text to the TTS ──────────────────────────────────────────────────────

    async def _send(self) -> None:
        """Send the whole text."""
        self._all_sent = False
        if self.is_ahead:
            await self._send_piece(self.text.written, flush=True)
        else:
            await (self._stream() if self._streams else self._send_pieces())
        self._all_sent = True

    async def _send_pieces(self) -> None:
        """Send the text in pieces, each with a flush or all with one at the end."""
        flush_each = self.settings.flush == "clauses"
        while piece := await self._next_piece():
            await self._send_piece(piece, flush=flush_each)
        if self.sent and not flush_each:
            await self._send_piece("", flush=True)

    @property
    def _streams(self) -> bool:
        """Whether text is sent as it comes, and flushed once."""
        settings = self.settings
        unflushed = settings.flush == "clauses" and settings.chunking == "clauses"
        return unflushed and self.tts.capabilities.speaks_unflushed

    async def _stream(self) -> None:
        """Send the text as it comes, and a flush with its end."""
        text = self.text
        complete = False
        while not complete:
            await text.wait_for(lambda: text.complete or self._find_sendable() > self.sent)
            end = self._find_sendable()
            complete = text.complete and end == len(text.written)
            piece = text.read(self.sent, end)
            if piece or (complete and self.sent):
                await self._send_piece(piece, flush=complete)
            if not complete and not self.may_play.is_set() and end >= self._draft_limit:
                await self.may_play.wait()

    def _find_sendable(self) -> int:
        """Return up to where the text can be sent as it comes."""
        text, end = self.text, len(self.text.written)
        if not text.complete and text.first_end and end - self.sent < LONGEST_FIRST:
            end = max(text.first_end, text.find_clause_end())
        if not self.may_play.is_set():
            end = min(end, self._draft_limit)
        return max(end, self.sent)

    @property
    def _draft_limit(self) -> int:
        """Up to where a draft is sent: enough to begin with, and no more to pay in vain."""
        return max(self.text.first_end or 0, LONGEST_FIRST)

    async def _next_piece(self) -> str:
        """Wait until the TTS should have more of the text; return it, or "" after the last."""
        if self._ends and self.sent < self._ends[-1]:
            end = next(end for end in self._ends if end > self.sent)
        elif not self.sent:
            end = await self._wait_for_first()
        else:
            end = await self._wait_for_next()
        return self.text.read(self.sent, end)

    async def _wait_for_first(self) -> int:
        """Wait for the first piece; return its end, 0 if there is no text."""
        text, left, budget = self.text, self.tts.flushes_left, self.tts.capabilities.flushes
        if left is None or budget is None or self.settings.flush == "end":
            left = budget = sys.maxsize
        await text.wait_for(lambda: text.complete or (text.first_end and left > LAST_FLUSHES))
        if text.complete and left < SAVE_FLUSHES_BELOW * budget:
            return text.find_end(0)
        return text.first_end or 0

    async def _wait_for_next(self) -> int:
        """Wait for a piece after the first; return its end, which is its start after the last."""
        text, start = self.text, self.sent
        await text.wait_for(lambda: text.complete or len(text.written) > start)
        if len(text.written) > start:
            await self.may_play.wait()
            while self._spoken.outstanding:  # so that it is clear whose audio comes next
                await self._wait_for_progress(None)
            await self._wait_until_needed()
        await text.wait_for(lambda: text.complete or text.find_end(start) > start)
        return text.find_end(start)

    async def _wait_until_needed(self) -> None:
        """Wait until the rest can be sent as a whole, or the TTS needs a part of it."""
        if self.settings.chunking == "batches":
            return
        complete = self.text.wait_for(lambda: self.text.is_last(self.sent))
        if self.settings.flush == "end":
            await complete
            return
        await self._wait_for_either(complete, self.sink.drain_to(self.pacing.flush_lead))

    async def _wait_for_either(self, *waits: Coroutine[object, object, None]) -> None:
        """Wait until one of ``waits`` is over, and cancel the others."""
        async with asyncio.TaskGroup() as tasks:
            name = f"reply {self.turn}: wait"
            running = [tasks.create_task(one, name=name) for one in waits]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in running:
                task.cancel()

    async def _send_piece(self, text: str, *, flush: bool) -> None:
        self.sent += len(text)
        if not self._streams and (not self._ends or self.sent > self._ends[-1]):
            self._ends.append(self.sent)
        if flush and not self._streams:
            self._flushed_at = clock.now() if self.tts.flushes_left != 0 else None
        self._spoken.send(text, flush=flush)
        sent = ClauseSent(
            at=clock.now(), turn=self.turn, text=text, flushed=flush, streamed=self._streams
        )
        self.post(sent)
        if not self.is_ahead:
            await self.tts.send(text, flush=flush)
        self.is_ahead = False

    async def _wait_for_delivery(self) -> None:
        """Wait until the TTS confirms that all was delivered, or it obviously has been."""
        while self._spoken.outstanding:
            plausible = self._spoken.is_plausible and self.may_play.is_set()
            limit = self.sink.queued + self.settings.empty if plausible else None
            if not await self._wait_for_progress(limit) and self.sink.queued <= 0:
                self.ended_by = "empty"
                await self.tts.clear()
                return

    async def _wait_for_progress(self, limit: Seconds | None) -> bool:
        """Wait up to ``limit`` for audio or FLUSHED; return whether either came."""
        try:
            async with asyncio.timeout(limit):
                await self._progress.wait()
        except TimeoutError:
            return False
        self._progress.clear()
        return True

    # ── audio to the sink ────────────────────────────────────────────────────

    async def _receive(self) -> None:
        async with aclosing(self.tts.audio()) as audio:
            async for item in audio:
                if isinstance(item, Flushed):
                    self._skip = 0  # the repeated audio may be shorter
                    self._finish_flush()
                else:
                    await self._play(item)
                self._progress.set()

    async def _play(self, pcm: bytes) -> None:
        """Write received audio to the sink, without what was skipped or silent at the head."""
        now = clock.now()
        if self._first_byte is None:
            self._first_byte = now
        if self._flushed_at is not None:
            self.pacing.add_ttfb(now - self._flushed_at)
            self._flushed_at = None
        if self._delivery_began is None and self.may_play.is_set():
            self._delivery_began = now
        samples = len(pcm) // SAMPLE_SIZE
        skipped = min(self._skip, samples)
        self._skip -= skipped
        pcm = pcm[SAMPLE_SIZE * skipped :]
        if not self._audible:
            pcm = self._trim_lead(pcm, self._first_byte)
        self._spoken.receive(samples, written=len(pcm) // SAMPLE_SIZE)
        if pcm:
            await self.may_play.wait()
            self.sink.write(pcm)

    def _finish_flush(self) -> None:
        """Note that all audio of a flush has arrived, and learn from it."""
        flush = self._spoken.flushed()
        if flush is None or flush.start is None or flush.end is None:
            return
        seconds = self.sink.format.seconds
        self.pacing.add_speech(flush.text, seconds(SAMPLE_SIZE * (flush.end - flush.start)))
        if self._delivery_began is not None and not self._streams:
            took = clock.now() - self._delivery_began
            self.pacing.add_delivery(seconds(SAMPLE_SIZE * flush.received), took)
            self._delivery_began = None

    def _trim_lead(self, pcm: bytes, first_byte: Seconds) -> bytes:
        """Return ``pcm`` without the silence at the reply's head, except for PREROLL."""
        pcm = self._preroll + pcm
        keep = SAMPLE_SIZE * self.sink.format.samples(PREROLL)
        index = find_audible(samples_of(pcm))
        if index is None:
            self._preroll = pcm[-keep:]
            self._silence += (len(pcm) - len(self._preroll)) // SAMPLE_SIZE
            return b""
        start = max(0, SAMPLE_SIZE * index - keep)
        self._silence += start // SAMPLE_SIZE
        self._audible = True
        lead = self._silence / self.sink.format.rate
        self.post(FirstAudio(at=clock.now(), turn=self.turn, first_byte=first_byte, lead=lead))
        return pcm[start:]
