"""Streams microphone audio to the STT; reconnects and resends unacknowledged audio.

Audio is buffered until the STT's final transcripts cover it, so a lost connection loses no word:
the next one is sent the buffer again, faster than real time, and its transcripts keep the times at
which the words were spoken.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress
from itertools import islice

from voicecli import clock
from voicecli.errors import ServiceError, StalledError
from voicecli.events import ConnectionLost, Event, FinalTranscript, InterimTranscript, Warned
from voicecli.pipeline import Post
from voicecli.pipeline.connecting import LONGEST_PAUSE, RECONNECT_PAUSES, warn_of_retry
from voicecli.services.interfaces import Transcriber
from voicecli.units import AudioBlock, AudioFormat, Seconds

REPLAY_BUFFER: Seconds = 60.0
"""How much audio is kept for resending; older audio is dropped."""

CATCH_UP_SPEED = 1.25
"""How much faster than real time the STT accepts audio, by Deepgram's documentation."""

STABLE_AFTER: Seconds = 10.0
"""A connection that lasted this long was stable: its loss restarts the count of attempts."""

STT_WATCHDOG: Seconds = 2.0
"""After speech the STT must send something within this time, or its connection counts as dead; it
usually takes half a second."""

Connect = Callable[[], AbstractAsyncContextManager[Transcriber]]


class ReconnectingTranscriber:
    """A connection to the STT that is replaced when it is lost.

    Call ``add`` with each block; run ``send`` and ``receive`` side by side until cancelled.

    stt: the first connection; None if nothing will be transcribed.
    failure: why the STT was lost for good, or None.
    """

    def __init__(
        self, stt: Transcriber | None, reconnect: Connect, format: AudioFormat, post: Post
    ) -> None:
        self._stt = self._first = stt
        self._reconnect = reconnect
        self._format = format
        self._post = post
        self._blocks: deque[AudioBlock] = deque()
        self._sent = 0
        """How many of the blocks the current connection was sent."""
        self._catching_up = False
        self._sendable = asyncio.Event()
        self._watchdog: Seconds | None = None
        """When the STT must have sent something; None while it owes nothing.

        A lost connection leaves it set: what it owed, the next one owes.
        """
        self._timeout: asyncio.Timeout | None = None
        self._interim_has_words = False
        self.failure: ServiceError | None = None

    def add(self, block: AudioBlock) -> None:
        """Queue ``block`` for the STT."""
        self._blocks.append(block)
        while self._blocks[0].at < block.at - REPLAY_BUFFER:
            self._drop_first()
        self._sendable.set()

    def arm_watchdog(self) -> None:
        """Require the STT to send something within STT_WATCHDOG: speech has ended.

        The time counts from when the audio so far has been sent, on this connection or the next.
        """
        unsent = sum(len(block.pcm) for block in islice(self._blocks, self._sent, None))
        catch_up = self._format.seconds(unsent) / CATCH_UP_SPEED
        self._set_watchdog(clock.now() + catch_up + STT_WATCHDOG)

    def disarm_watchdog(self) -> None:
        """Require nothing of the STT: it is not sent any audio."""
        self._set_watchdog(None)

    def _set_watchdog(self, due: Seconds | None) -> None:
        self._watchdog = due
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(due)

    def drop_before(self, until: Seconds) -> None:
        """Drop audio before ``until``, which is silence or answered: it is not resent."""
        while self._blocks and self._end(self._blocks[0]) <= until:
            self._drop_first()

    async def finalize(self) -> None:
        """Ask the STT for the final text of all audio sent; does nothing while disconnected."""
        if self._stt is not None:
            with suppress(ServiceError):  # ``receive`` gets it as well
                await self._stt.finalize()

    async def finish(self) -> None:
        """Tell the STT that no more audio follows."""
        if self._stt is not None:
            with suppress(ServiceError):
                await self._stt.finish()

    async def send(self) -> None:
        """Send the blocks as they come; after a reconnect, the buffered ones first."""
        while True:
            stt = self._stt
            if stt is None or self._sent == len(self._blocks):
                self._catching_up = self._catching_up and stt is None
                self._sendable.clear()
                await self._sendable.wait()
                continue
            block = self._blocks[self._sent]
            self._sent += 1
            if self._catching_up:
                await asyncio.sleep(self._format.seconds(len(block.pcm)) / CATCH_UP_SPEED)
            if stt is self._stt:  # else the block waits for its turn on the new connection
                with suppress(ServiceError):  # ``receive`` gets it as well, and reconnects
                    await stt.send(block)

    async def receive(self) -> None:
        """Post what the STT sends; reconnect when the connection is lost.

        Ends with ConnectionLost if reconnecting fails.
        """
        failure = await self._read(self._first) if self._first is not None else None
        pauses = iter(RECONNECT_PAUSES)
        while failure is not None:
            pause = next(pauses, None)
            if pause is None or not failure.temporary:
                self.failure = failure
                self._post(ConnectionLost(at=clock.now(), service="stt", reason=str(failure)))
                return
            pause = max(pause, min(failure.retry_after or 0.0, LONGEST_PAUSE))
            self._post(warn_of_retry("stt", failure, pause))
            await asyncio.sleep(pause)
            try:
                async with self._reconnect() as stt:
                    connected = clock.now()
                    self._resend_on(stt)
                    failure = await self._read(stt)
            except ServiceError as error:
                failure = error
            else:
                if clock.now() - connected > STABLE_AFTER:
                    pauses = iter(RECONNECT_PAUSES)

    def _resend_on(self, stt: Transcriber) -> None:
        """Continue on ``stt`` with all that is buffered."""
        self._sent, self._catching_up = 0, True
        if self._watchdog is not None:
            self.arm_watchdog()
        self._stt = stt
        self._post(stt.opened)
        self._sendable.set()

    async def _read(self, stt: Transcriber) -> ServiceError | None:
        """Post the events of ``stt`` until it ends; return why, or None if it was meant to end."""
        self._stt = stt
        try:
            async with aclosing(stt.events()) as events:
                while (event := await self._next(events)) is not None:
                    if isinstance(event, FinalTranscript):
                        self._acknowledge(stt.final_until)
                    if self._is_news(event):
                        self._post(event)
            return None
        except ServiceError as error:
            return error
        finally:
            self._stt = None

    async def _next(self, events: AsyncGenerator[Event, None]) -> Event | None:
        """Return the next event, or None at the end; raises StalledError if the watchdog fires."""
        try:
            async with asyncio.timeout_at(self._watchdog) as self._timeout:
                event = await anext(events, None)
        except TimeoutError:
            cause = f"silent for {STT_WATCHDOG:g} s after speech"
            raise StalledError("stt", cause, temporary=True) from None
        finally:
            self._timeout = None
        if not isinstance(event, Warned):  # of frames that cannot be used
            self._watchdog = None
        return event

    def _is_news(self, event: Event) -> bool:
        """Whether ``event`` is worth posting: empty interims are not, unless they retract words.

        They arrive all through silence and would fill a third of a long session's timeline.
        """
        if isinstance(event, InterimTranscript):
            had_words, self._interim_has_words = self._interim_has_words, bool(event.text)
            return had_words or self._interim_has_words
        if isinstance(event, FinalTranscript):
            self._interim_has_words = False
        return True

    def _acknowledge(self, until: Seconds) -> None:
        """Drop sent blocks up to ``until``: their words are final."""
        while self._blocks and self._sent and self._end(self._blocks[0]) <= until:
            self._drop_first()

    def _drop_first(self) -> None:
        self._blocks.popleft()
        self._sent = max(0, self._sent - 1)

    def _end(self, block: AudioBlock) -> Seconds:
        return block.at + self._format.seconds(len(block.pcm))
