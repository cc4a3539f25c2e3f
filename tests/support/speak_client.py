"""A plain client of the stand-ins' TTS, which notes what comes back, and when."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from voicecli import clock


@dataclass
class Received:
    """What came back, with its times since the first message, and how it ended."""

    frames: list[tuple[float, bytes]] = field(default_factory=list)
    messages: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    code: int | None = None
    reason: str = ""
    closed_at: float = 0.0

    @property
    def pcm(self) -> bytes:
        return b"".join(frame for _, frame in self.frames)

    def of(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at, message) for at, message in self.messages if message["type"] == kind]


async def converse(socket: ClientConnection, *moves: str | bytes | float) -> Received:
    """Send messages at once, wait where there is a number."""
    received = Received()
    received.messages.append((0.0, json.loads(await socket.recv())))
    began = clock.now()

    async def receive() -> None:
        with suppress(ConnectionClosed):
            while True:
                message = await socket.recv()
                at = clock.now() - began
                if isinstance(message, bytes):
                    received.frames.append((at, message))
                else:
                    received.messages.append((at, json.loads(message)))
        received.code, received.reason = socket.close_code, socket.close_reason or ""
        received.closed_at = clock.now() - began

    async def send() -> None:
        with suppress(ConnectionClosed):  # the receiving task notes why
            for move in moves:
                if isinstance(move, float):
                    await asyncio.sleep(move)
                else:
                    await socket.send(move)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(receive())
        tasks.create_task(send())
    return received
