"""The TTS's side of a reply: pieces out, audio in, and on to the sink."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from voicecli import clock
from voicecli.audio.interfaces import Sink
from voicecli.audio.pcm import first_audible
from voicecli.errors import ServiceError, StalledError
from voicecli.events import ClauseSent, Event, FirstAudio, PlaybackEnd, TurnId, Warned
from voicecli.services.interfaces import Flushed, Synthesizer
from voicecli.units import SAMPLE_SIZE, AudioFormat, Samples, Seconds

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


class ReplySpeech:
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
        self._spoken = HeardText(sink.format)
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


CHARACTER: Seconds = 0.06
"""How long a character takes to say: 15 to 17 a second is a usual pace of Aura-2 in English."""


@dataclass(slots=True)
class Group:
    """What one flush covers.

    text: the words.
    pieces: how many pieces they came in.
    start, end: where its audio lies in the reply, in samples; end is None until all is delivered.
    received: samples of it so far, those that were not played (silence at the head) included.
    """

    text: str
    pieces: int = 1
    start: Samples | None = None
    end: Samples | None = None
    received: Samples = 0


class HeardText:
    """The reply's pieces on their way from text to sound.

    written: samples that went to the sink.
    """

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._open: list[str] = []
        self.groups: list[Group] = []
        self.delivered = 0
        self.written: Samples = 0
        self._resumed: Samples | None = None
        """Where the audio of the flush begins that was lost, and is to be spoken again."""

    def sent(self, text: str, *, flushed: bool) -> None:
        """A piece went to the TTS."""
        self._open.append(text)
        if flushed:
            self.groups.append(Group("".join(self._open), pieces=len(self._open)))
            self._open = []

    @property
    def outstanding(self) -> int:
        """Flushes whose audio has not all been delivered."""
        return len(self.groups) - self.delivered

    def received(self, samples: Samples, written: Samples) -> None:
        """Audio of the oldest outstanding flush came; so much of it went to the sink."""
        if self.outstanding:
            group = self.groups[self.delivered]
            group.received += samples
            self._begin(group)
        self.written += written

    def flushed(self) -> None:
        """The audio of the oldest outstanding flush is complete."""
        if self.outstanding:
            group = self.groups[self.delivered]
            self._begin(group)
            group.end = self.written
            self.delivered += 1

    def take_back(self) -> tuple[int, Samples]:
        """The TTS lost all that is outstanding: how many pieces, and how much had come of them.

        What had come was passed on; the same pieces, sent again, go on from there.
        """
        lost = self.groups[self.delivered :]
        if lost and lost[0].start is not None:
            self._resumed = lost[0].start
        del self.groups[self.delivered :]
        pieces = sum(group.pieces for group in lost) + len(self._open)
        self._open = []
        return pieces, lost[0].received if lost else 0

    def _begin(self, group: Group) -> None:
        if group.start is None:
            group.start = self.written if self._resumed is None else self._resumed
            self._resumed = None

    @property
    def plausible(self) -> bool:
        """Whether half of what the last flush should sound like has come."""
        if self.outstanding != 1:
            return False
        group = self.groups[-1]
        return self._format.seconds(2 * group.received) >= 0.5 * CHARACTER * len(group.text.strip())

    def heard(self, samples: Samples) -> str:
        """The words of the first so many samples of the reply; a word begun is not counted."""
        parts = []
        for group in self.groups:
            if group.start is None or samples <= group.start:
                break
            if group.end is not None and samples >= group.end:
                parts.append(group.text)
                continue
            expected = self._format.samples(CHARACTER * len(group.text.strip()))
            length = (
                group.end - group.start
                if group.end is not None
                else max(expected, self.written - group.start)
            )
            words = group.text.split()
            share = (samples - group.start) / max(length, 1)
            parts.append(" ".join(words[: int(len(words) * share)]))
            break
        return "".join(parts).strip()
