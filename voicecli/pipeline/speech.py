"""The TTS side of a reply: clauses go to the TTS, its audio to the sink."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from voicecli import clock
from voicecli.audio.interfaces import Sink
from voicecli.audio.pcm import find_audible, samples_of
from voicecli.errors import ServiceError, StalledError, find_first_error
from voicecli.events import ClauseSent, FirstAudio, PlaybackEnd, TurnId, Warned
from voicecli.pipeline import Post
from voicecli.services.interfaces import Flushed, Synthesizer, TtsSettings
from voicecli.text.chunker import BatchChunker, Chunker, ClauseChunker
from voicecli.units import SAMPLE_SIZE, AudioFormat, Samples, Seconds

PREROLL: Seconds = 0.010
"""Silence kept before the first audible sample: a soft consonant is below the "audible" level."""

DEFER_FLUSH_BELOW = 1 / 2
"""With less of the TTS's budget of flushes left, a flush is deferred until its audio is needed."""

SINGLE_FLUSH_BELOW = 3 / 20
"""With less left, a reply is flushed once, as a whole, rather than wait in the middle."""

FLUSH_LEAD: Seconds = 1.0
"""Send a deferred flush when this much audio is still queued; the first audio takes about 0.3 s."""

MAX_RECONNECTS = 2
"""Connections lost during one reply before it fails."""


def create_chunker(settings: TtsSettings) -> Chunker:
    """Create what cuts one reply into clauses or batches."""
    if settings.chunking == "batches":
        return BatchChunker(settings.batch_chars)
    return ClauseChunker(settings.first_clause_chars)


@dataclass(eq=False)
class ReplySpeech:
    """The audio of one reply.

    next_clauses: waits for a clause number; returns all from there on, or none at the end.
    prepared: set when text may be sent to the TTS.
    committed: set when the reply may be played.
    ended_by: how the end of the audio was known.
    """

    turn: TurnId
    tts: Synthesizer
    sink: Sink
    settings: TtsSettings
    next_clauses: Callable[[int], Awaitable[Sequence[str]]]
    prepared: asyncio.Event
    committed: asyncio.Event
    post: Post
    ended_by: PlaybackEnd = field(default="flushed", init=False)

    def __post_init__(self) -> None:
        self._text = HeardText(self.sink.format, self.tts.capabilities.seconds_per_character)
        self._progress = asyncio.Event()
        """Set when audio or FLUSHED has arrived."""
        self._next_index = 0
        self._all_sent = False
        self._audible = False
        self._first_byte: Seconds | None = None
        self._silence: Samples = 0
        self._preroll = b""
        self._skip: Samples = 0
        """Samples to drop that were received before the connection was lost."""

    def heard(self, samples: Samples) -> str:
        """Return the words within the reply's first ``samples``."""
        return self._text.heard(samples)

    async def run(self) -> None:
        """Send the text and write all its audio to the sink; raises ServiceError.

        If the connection is lost or stalls, send what it owed again and skip what it delivered.
        """
        await self.prepared.wait()
        for reconnects in range(MAX_RECONNECTS + 1):
            failure = await self._try_deliver()
            if failure is None:
                return
            await self.tts.clear()
            if isinstance(failure, StalledError) and self._all_sent and self._text.is_plausible:
                self.ended_by = "stalled"
                return
            if failure.final or reconnects == MAX_RECONNECTS:
                raise failure
            text = f"{failure.cause}; resuming on a new connection"
            self.post(Warned(at=clock.now(), service="tts", text=text))
            pieces, received = self._text.take_back()
            self._skip += received  # the rest of it was received on an earlier connection
            self._next_index -= pieces

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
        """Send all clauses, each with its flush or with one flush at the end.

        A deferred flush covers the clauses that came in the meantime.
        """
        self._all_sent = False
        flush_each = self.settings.flush == "clauses" and not self._is_budget_below(
            SINGLE_FLUSH_BELOW
        )
        while pieces := await self.next_clauses(self._next_index):
            if flush_each and self._next_index and self._is_budget_below(DEFER_FLUSH_BELOW):
                await self._wait_until_needed()
                *before, last = await self.next_clauses(self._next_index)
            else:
                before, last = [], pieces[0]
            for piece in before:
                await self._send_piece(piece, flush=False)
            await self._send_piece(last, flush=flush_each)
        if not flush_each and self._next_index:
            await self._send_piece("", flush=True)
        self._all_sent = True

    async def _send_piece(self, text: str, *, flush: bool) -> None:
        self._next_index += 1
        self._text.send(text, flush=flush)
        self.post(ClauseSent(at=clock.now(), turn=self.turn, text=text, flushed=flush))
        await self.tts.send(text, flush=flush)

    def _is_budget_below(self, share: float) -> bool:
        """Whether less than this share of the TTS's budget of flushes is left."""
        budget, left = self.tts.capabilities.flushes, self.tts.flushes_left
        return budget is not None and left is not None and left < share * budget

    async def _wait_until_needed(self) -> None:
        """Wait until all flushes are delivered and at most FLUSH_LEAD of audio is queued."""
        while self._text.outstanding or self.sink.queued > FLUSH_LEAD:
            spare = max(self.sink.queued - FLUSH_LEAD, 0.1)  # polled, since playback may be held
            await self._wait_for_progress(None if self._text.outstanding else spare)

    async def _wait_for_delivery(self) -> None:
        """Wait until the TTS confirms that all was delivered, or it obviously has been."""
        while self._text.outstanding:
            plausible = self._text.is_plausible and self.committed.is_set()
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
                    self._text.flushed()
                    self._skip = 0  # the repeated audio may be shorter
                else:
                    await self._play(item)
                self._progress.set()

    async def _play(self, pcm: bytes) -> None:
        """Write received audio to the sink, without what was skipped or silent at the head."""
        if self._first_byte is None:
            self._first_byte = clock.now()
        samples = len(pcm) // SAMPLE_SIZE
        skipped = min(self._skip, samples)
        self._skip -= skipped
        pcm = pcm[SAMPLE_SIZE * skipped :]
        if not self._audible:
            pcm = self._trim_lead(pcm, self._first_byte)
        self._text.receive(samples, written=len(pcm) // SAMPLE_SIZE)
        if pcm:
            await self.committed.wait()
            self.sink.write(pcm)

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


@dataclass(slots=True)
class Flush:
    """The text of one flush, and where its audio lies in the reply.

    pieces: how many pieces the text was sent in.
    start, end: in samples written to the sink; None until the first, and until the last, arrived.
    received: samples that have arrived, including those that were not written.
    """

    text: str
    pieces: int = 1
    start: Samples | None = None
    end: Samples | None = None
    received: Samples = 0


class HeardText:
    """Maps a reply's played samples to its words.

    written: samples written to the sink.
    delivered: flushes whose audio has arrived completely.
    """

    def __init__(self, format: AudioFormat, seconds_per_character: Seconds) -> None:
        self._format = format
        self._pace = seconds_per_character
        self._unflushed: list[str] = []
        self._resume_at: Samples | None = None
        """Where the audio of a flush that was lost, and will be sent again, begins."""
        self.flushes: list[Flush] = []
        self.delivered = 0
        self.written: Samples = 0

    @property
    def outstanding(self) -> int:
        """How many flushes are not delivered yet."""
        return len(self.flushes) - self.delivered

    def send(self, text: str, *, flush: bool) -> None:
        """Note that a piece was sent to the TTS."""
        self._unflushed.append(text)
        if flush:
            self.flushes.append(Flush("".join(self._unflushed), pieces=len(self._unflushed)))
            self._unflushed = []

    def receive(self, samples: Samples, *, written: Samples) -> None:
        """Note audio of the oldest outstanding flush, of which ``written`` went to the sink."""
        if self.outstanding:
            self._begin_delivery().received += samples
        self.written += written

    def flushed(self) -> None:
        """Note that the audio of the oldest outstanding flush is complete."""
        if self.outstanding:
            self._begin_delivery().end = self.written
            self.delivered += 1

    def take_back(self) -> tuple[int, Samples]:
        """Forget unfinished flushes; return (pieces to resend, samples already received).

        The audio of the resent pieces continues where the received samples end.
        """
        lost = self.flushes[self.delivered :]
        if lost and lost[0].start is not None:
            self._resume_at = lost[0].start
        del self.flushes[self.delivered :]
        pieces = sum(flush.pieces for flush in lost) + len(self._unflushed)
        self._unflushed = []
        return pieces, lost[0].received if lost else 0

    def _begin_delivery(self) -> Flush:
        """Return the oldest outstanding flush, its start known."""
        flush = self.flushes[self.delivered]
        if flush.start is None:
            flush.start = self.written if self._resume_at is None else self._resume_at
            self._resume_at = None
        return flush

    @property
    def is_plausible(self) -> bool:
        """Whether all but the last flush, and half of its expected audio, have arrived."""
        if self.outstanding != 1:
            return False
        flush = self.flushes[-1]
        return self._format.seconds(2 * flush.received) >= 0.5 * self._expected_duration(flush)

    def heard(self, samples: Samples) -> str:
        """Return the words within the reply's first ``samples``; a partial word does not count."""
        parts = []
        for flush in self.flushes:
            if flush.start is None or samples <= flush.start:
                break
            if flush.end is not None and samples >= flush.end:
                parts.append(flush.text)
                continue
            expected = flush.start + self._format.samples(self._expected_duration(flush))
            end = max(expected, self.written) if flush.end is None else flush.end
            words = flush.text.split()
            share = (samples - flush.start) / max(end - flush.start, 1)
            parts.append(" ".join(words[: int(len(words) * share)]))
            break
        return "".join(parts).strip()

    def _expected_duration(self, flush: Flush) -> Seconds:
        return self._pace * len(flush.text.strip())
