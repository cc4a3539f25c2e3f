"""One connection to Flux TTS: its frames, its failures and its age."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack

from voicecli import clock
from voicecli.errors import ServiceError, StalledError
from voicecli.events import ConnectionOpened
from voicecli.services.deepgram import CLOSE_TTS
from voicecli.services.deepgram.flux_speech import FatalFrameError, Message, SpeechLedger
from voicecli.services.deepgram.socket import Socket, create_frame_error
from voicecli.units import Samples, Seconds


class Connection:
    """One connection: its socket, and what was sent and is owed on it.

    Several may wait for frames at once, each for its own: they take turns to process one.

    ledger: what was sent and is owed.
    stack: holds the socket.
    max_age: seconds after which it is no longer usable.
    stall: seconds without a frame, while one is owed, that count as a failure.
    """

    def __init__(
        self,
        ledger: SpeechLedger,
        socket: Socket,
        stack: AsyncExitStack,
        *,
        max_age: Seconds,
        stall: Seconds,
    ) -> None:
        self.opened = ConnectionOpened(
            at=clock.now(), service="tts", took=socket.took, request_id=socket.request_id
        )
        self.ledger = ledger
        self._failure: ServiceError | None = None
        self._watch: asyncio.Timeout | None = None
        self._max_age = max_age
        self._stall = stall
        self._socket = socket
        self._stack = stack
        self._turn = asyncio.Lock()

    @property
    def lost(self) -> bool:
        """Whether it has failed: nothing more arrives on it."""
        return self._failure is not None

    @property
    def usable(self) -> bool:
        """Whether to send it more text; one that owes audio is never replaced for its age."""
        fresh = self._socket.open and clock.now() < self.opened.at + self._max_age
        return not self.lost and (fresh or not self.ledger.idle)

    async def speak(self, text: str) -> None:
        """Send text; raises ServiceError when the connection is gone."""
        await self._send(self.ledger.speak(text))

    async def flush(self) -> None:
        """End the speech; raises ServiceError."""
        await self._send(self.ledger.flush(clock.now()))
        if self._watch is not None:
            self._watch.reschedule(self._find_deadline())

    async def interrupt(self, unplayed: Samples | None) -> None:
        """Drop what is owed; raises ServiceError."""
        messages = list(self.ledger.interrupt(unplayed))
        if not self.lost:
            await self._send(messages)

    async def receive_audio(self) -> None:
        """Process frames until there is audio, or none is expected; raises ServiceError."""
        await self.receive_until(lambda: self.ledger.items or not self.ledger.speeches)

    async def receive_until(self, ready: Callable[[], object]) -> None:
        """Process frames until ``ready()``, which only frames or this task can make true.

        Raises StalledError after a silence in which audio was owed, ServiceError for a failure.
        """
        while not ready():
            async with self._turn:
                if self._failure is not None:
                    raise self._failure
                if not ready():
                    await self._receive()

    async def _receive(self) -> None:
        """Process the next frame."""
        try:
            async with asyncio.timeout_at(self._find_deadline()) as self._watch:
                message = await self._socket.receive()
            await self._send(self.ledger.receive(message, clock.now()))
        except TimeoutError:
            due = self._find_deadline()
            if due is not None and clock.now() >= due:  # else interrupted while waiting
                self._failure = self._describe_stall()
                raise self._failure from None
        except FatalFrameError as error:
            self._failure = create_frame_error(
                "tts", error.code, error.description, self.opened.request_id
            )
            raise self._failure from None
        except ServiceError as error:
            self._failure = error
            raise
        finally:
            self._watch = None

    def _find_deadline(self) -> Seconds | None:
        """When silence is a failure; None while the service may be silent."""
        return self.ledger.progress + self._stall if self.ledger.owes_audio else None

    def _describe_stall(self) -> StalledError:
        return StalledError(
            "tts",
            f"no audio for {self._stall:g} s",
            request_id=self.opened.request_id or None,
            temporary=True,
        )

    async def _send(self, messages: Iterable[Message]) -> None:
        try:
            for message in messages:
                await self._socket.send(json.dumps(message))
        except ServiceError as error:
            self._failure = error
            raise

    def give_up(self, error: ServiceError) -> None:
        """Take it for lost: it does not answer."""
        self._failure = error

    async def close(self) -> None:
        """Say Close and wait for the service to hang up, within CLOSE_TIMEOUT.

        A session left open counts against the project's few concurrent connections.  While a speech
        is open the service would first synthesise the rest of it: then the socket is just closed.
        """
        try:
            if not self.lost and self.ledger.idle:
                await self._socket.say_goodbye(CLOSE_TTS)
        finally:
            self._socket.abort()
            await self._stack.aclose()
