"""One connection to Aura-2: its frames, its failures and its age."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

from voicecli import clock
from voicecli.errors import ServiceError, StalledError
from voicecli.events import ConnectionOpened
from voicecli.services.deepgram import CLOSE_TTS
from voicecli.services.deepgram.socket import Socket
from voicecli.services.deepgram.synthesis import Synthesis
from voicecli.units import Seconds


class Connection:
    """One connection: its socket, and the audio it owes.

    lost: whether it has failed; then no more audio arrives on it.
    retired: whether another one is about to take its place.

    synthesis: what it was sent and owes.
    stack: holds the socket.
    max_age: seconds after which it is no longer usable.
    stall: seconds without audio, while some is owed, that count as a failure.
    """

    def __init__(
        self,
        synthesis: Synthesis,
        socket: Socket,
        stack: AsyncExitStack,
        *,
        max_age: Seconds,
        stall: Seconds,
    ) -> None:
        self.opened = ConnectionOpened(
            at=clock.now(), service="tts", took=socket.took, request_id=socket.request_id
        )
        self.synthesis = synthesis
        self.lost = self.retired = False
        self._stall = stall
        self._max_age = max_age
        self._socket = socket
        self._stack = stack

    @property
    def usable(self) -> bool:
        """Whether to send it more text; one that owes audio is never replaced for its age."""
        fresh = self._socket.open and clock.now() < self.opened.at + self._max_age
        return not (self.lost or self.retired) and (fresh or not self.synthesis.idle)

    @property
    def budget_left(self) -> float:
        """The share of its budget, of Flushes or of characters, that may be spent now."""
        return self.synthesis.budget_left(clock.now())

    def allows(self, text: str) -> bool:
        """Whether ``text`` and a Flush may be sent now."""
        return self.synthesis.flush_allowed_at(len(text), clock.now()) <= clock.now()

    async def send(self, type: str, **fields: str) -> None:
        """Send a message; raises ServiceError when the connection is gone."""
        try:
            await self._socket.send(json.dumps({"type": type, **fields}))
        except ServiceError:
            self.lost = True
            raise

    async def receive(self) -> bytes:
        """The audio of the next frame, possibly none; raises StalledError after a silence."""
        synthesis = self.synthesis
        try:
            async with asyncio.timeout_at(synthesis.progress + self._stall):
                message = await self._socket.receive()
            return synthesis.receive(message, clock.now())
        except TimeoutError as error:
            if not synthesis.in_flight or clock.now() < synthesis.progress + self._stall:
                return b""  # cleared while waiting, and perhaps flushed again
            self.lost = True
            raise StalledError(
                "tts",
                f"no audio for {self._stall:g} s",
                request_id=self.opened.request_id or None,
                temporary=True,
            ) from error
        except ServiceError:
            self.lost = True
            raise

    async def flush(self) -> None:
        """Send the waiting Flush if it may be sent now."""
        allowed = self.synthesis.flush_at(clock.now())
        if allowed is not None and allowed <= clock.now():
            self.synthesis.flush_sent(clock.now())
            await self.send("Flush")

    async def close(self) -> None:
        """Say Close and wait for the service to hang up, within CLOSE_TIMEOUT.

        A session left open counts against the project's few concurrent connections.
        """
        try:
            if not self.lost:
                await self._socket.say_goodbye(CLOSE_TTS)
        finally:
            self._socket.abort()
            await self._stack.aclose()
