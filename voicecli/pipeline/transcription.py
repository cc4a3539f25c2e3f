"""The way from the microphone to the STT, over as many connections as it takes.

What the STT has not answered for good is kept, so that a lost connection loses no word: the next
one is sent all of it again, faster than it was spoken, and its transcripts speak of the time at
which it was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, suppress

from voicecli import clock
from voicecli.errors import ServiceError, StalledError
from voicecli.events import ConnectionLost, Event, FinalTranscript, InterimTranscript, Warned
from voicecli.services.interfaces import Transcriber
from voicecli.units import AudioBlock, AudioFormat, Seconds

KEPT: Seconds = 60.0
"""More audio than this is not kept; a connection that is away for longer is lost."""

CATCH_UP = 1.25
"""How much faster than real time the service takes audio, by its documentation."""

RETRY_PAUSES: tuple[Seconds, ...] = (0.0, 0.25, 1.0, 2.0, 4.0)
"""Before each attempt to connect anew; then the conversation ends."""

PROVEN: Seconds = 10.0
"""A connection that has lasted so long was good: its loss starts the count of attempts anew."""

SILENT: Seconds = 2.0
"""A voice has ended, and for so long the service says nothing at all: its connection is dead.  What
it usually takes is half a second, and it sends more than it is asked for."""

Connect = Callable[[], AbstractAsyncContextManager[Transcriber]]


class ReconnectingTranscriber:
    """Sends what is heard, and receives what it means.

    ``hear`` is called with each block; ``send`` and ``receive`` run side by side until cancelled.

    stt: the connection to begin with; None where nobody will speak.
    failure: why the STT is lost for good; None while it is not.
    """

    def __init__(
        self,
        stt: Transcriber | None,
        reconnect: Connect,
        format: AudioFormat,
        post: Callable[[Event], None],
    ) -> None:
        self._stt = self._first = stt
        self._reconnect = reconnect
        self._format = format
        self._post = post
        self._blocks: deque[AudioBlock] = deque()
        self._sent = 0
        self._behind = False
        self._news = asyncio.Event()
        self._owed: Seconds | None = None
        self._patience: asyncio.Timeout | None = None
        self._open_words = False  # whether the last interim has words, and no final followed
        self.failure: ServiceError | None = None

    def hear(self, block: AudioBlock) -> None:
        """``block`` is to be transcribed."""
        self._blocks.append(block)
        while self._blocks[0].at < block.at - KEPT:
            self._forget()
        self._news.set()

    def expect(self) -> None:
        """A voice has ended: the service has something to say, or else is as good as lost."""
        self._owed = clock.now() + SILENT
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(self._owed)

    def excuse(self) -> None:
        """Nothing is sent any more, so that the service has nothing to say."""
        self._owed = None
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(None)

    def forget(self, until: Seconds) -> None:
        """What was heard before then is silence, or answered: no other connection is sent it."""
        while self._blocks and self._end(self._blocks[0]) <= until:
            self._forget()

    async def finalize(self) -> None:
        """Ask for the final text of all that was sent; without a connection nobody answers."""
        if self._stt is not None:
            with suppress(ServiceError):  # whoever receives is told
                await self._stt.finalize()

    async def finish(self) -> None:
        """Say good-bye to the service."""
        if self._stt is not None:
            with suppress(ServiceError):
                await self._stt.finish()

    async def send(self) -> None:
        """Send what is heard, as it comes; after a reconnection, what was kept."""
        while True:
            stt = self._stt
            if stt is None or self._sent == len(self._blocks):
                self._behind = self._behind and stt is None
                self._news.clear()
                await self._news.wait()
                continue
            block = self._blocks[self._sent]
            self._sent += 1
            if self._behind:
                await asyncio.sleep(self._format.seconds(len(block.pcm)) / CATCH_UP)
            if stt is self._stt:  # else the next one is sent it in its turn
                with suppress(ServiceError):  # whoever receives is told, and sends it again
                    await stt.send(block)

    async def receive(self) -> None:
        """What the service says, as events; connects anew where a connection is lost.

        Ends with ConnectionLost when that does not help.
        """
        failure = await self._listen(self._first) if self._first is not None else None
        while failure is not None:
            if failure.temporary:
                self._post(
                    Warned(at=clock.now(), service="stt", text=f"{failure.cause}; connecting anew")
                )
            failure = await self._listen_anew(failure)

    async def _listen_anew(self, failure: ServiceError) -> ServiceError | None:
        """Connect, and listen until that connection is lost, too."""
        for pause in RETRY_PAUSES:
            if not failure.temporary:
                break
            await asyncio.sleep(pause)
            try:
                async with self._reconnect() as stt:
                    connected = clock.now()
                    if isinstance(failure, StalledError):  # it may happen again
                        self._owed = connected + SILENT + self._kept / CATCH_UP
                    self._sent, self._behind = 0, True
                    self._stt = stt
                    self._post(stt.opened)
                    self._news.set()
                    lost = await self._listen(stt)
            except ServiceError as error:
                failure = error
                continue
            if lost is None or clock.now() - connected > PROVEN:
                return lost
            failure = lost
        self.failure = failure
        self._post(ConnectionLost(at=clock.now(), service="stt", reason=str(failure)))
        return None

    async def _listen(self, stt: Transcriber) -> ServiceError | None:
        """Until the connection ends: why, or None where it was meant to."""
        self._stt = stt
        try:
            async with aclosing(stt.events()) as events:
                while (event := await self._next(events)) is not None:
                    if isinstance(event, FinalTranscript):
                        self._done(event.speech_end)
                    if self._is_news(event):
                        self._post(event)
            return None
        except ServiceError as error:
            return error
        finally:
            self._stt = None

    async def _next(self, events: AsyncGenerator[Event, None]) -> Event | None:
        """What the service says next; raises StalledError when it owes an answer, and is silent."""
        try:
            async with asyncio.timeout_at(self._owed) as self._patience:
                return await anext(events, None)
        except TimeoutError:
            raise StalledError(
                "stt", f"silent for {SILENT:g} s after somebody spoke", temporary=True
            ) from None
        finally:
            self._owed = self._patience = None

    def _is_news(self, event: Event) -> bool:
        """Whether it says anything: an interim without words does when it takes words back.

        The others never cease in silence, and would be a third of a long conversation's timeline.
        """
        if isinstance(event, InterimTranscript):
            before, self._open_words = self._open_words, bool(event.text)
            return before or self._open_words
        if isinstance(event, FinalTranscript):
            self._open_words = False
        return True

    @property
    def _kept(self) -> Seconds:
        """How long what is kept is."""
        return self._end(self._blocks[-1]) - self._blocks[0].at if self._blocks else 0.0

    def _done(self, until: Seconds) -> None:
        """The words up to ``until`` are final."""
        while self._blocks and self._sent and self._end(self._blocks[0]) <= until:
            self._forget()

    def _forget(self) -> None:
        self._blocks.popleft()
        self._sent = max(0, self._sent - 1)

    def _end(self, block: AudioBlock) -> Seconds:
        return block.at + self._format.seconds(len(block.pcm))
