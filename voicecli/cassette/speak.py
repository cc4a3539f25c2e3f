"""The TTS of a cassette: a text is answered with what followed its Flush."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from voicecli import clock
from voicecli.cassette.chat import CUT_GRACE
from voicecli.cassette.difference import Differences, cut_around_difference
from voicecli.cassette.format import parse_text
from voicecli.cassette.listen import cut_reason
from voicecli.cassette.speech import Close, Flush, SpeakTrack, Speech, Timed
from voicecli.sanitize import redact_secrets
from voicecli.units import Seconds


class SpeakPlayer:
    """Serves one connection.

    track: the greeting, and how long each Clear takes.
    speech: what can be spoken, shared by all connections.
    """

    def __init__(
        self, track: SpeakTrack, speech: Speech, socket: ServerConnection, differences: Differences
    ) -> None:
        self._track = track
        self._speech = speech
        self._socket = socket
        self._differences = differences
        self._text = ""
        self._clears: Iterator[Seconds] = iter(track.clears)
        self._cleared = 0
        self._asked: asyncio.Queue[tuple[Seconds, Flush]] = asyncio.Queue()

    async def run(self) -> None:
        """Serve until either side closes the connection."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            opened = clock.now()
            greeting = tasks.create_task(self._send(opened, self._track.greeting), name="greeting")
            self._start_speaking()
            with suppress(ConnectionClosed):
                async for message in self._socket:
                    await self._receive(message)
            greeting.cancel()
            self._speaking.cancel()

    def _start_speaking(self) -> None:
        self._speaking = self._tasks.create_task(self._speak(), name="cassette speech")

    async def _receive(self, message: str | bytes) -> None:
        match parse_text(message) if isinstance(message, str) else None:
            case {"type": "Speak", "text": str(text)}:
                self._text += text
            case {"type": "Flush"}:
                await self._flush()
            case {"type": "Clear"}:
                await self._clear()
            case {"type": "Close"}:
                await self._socket.close(1000)
            case _:
                await self._fail("a message that is none of Speak, Flush, Clear and Close")

    async def _flush(self) -> None:
        text = redact_secrets(self._text)
        if (flush := self._speech.find(text)) is not None:
            self._ask(flush)
            if flush.complete:
                self._text = ""
            return
        nearest = self._speech.find_nearest(text)
        if nearest is None:
            await self._fail(f"{text[:40]!r} was to be spoken, and nothing was recorded")
            return
        was, now = cut_around_difference(nearest.text, text)
        await self._fail(f"the text was {was!r}, and is {now!r} ({nearest.place})")

    def _ask(self, flush: Flush) -> None:
        """Have ``flush`` spoken, as from now."""
        self._asked.put_nowait((clock.now(), flush))

    async def _stop_speaking(self) -> None:
        self._speaking.cancel()
        await asyncio.wait([self._speaking])
        self._text, self._asked = "", asyncio.Queue()

    async def _clear(self) -> None:
        await self._stop_speaking()
        await asyncio.sleep(next(self._clears, 0.0))
        await self._socket.send(json.dumps({"type": "Cleared", "sequence_id": self._cleared}))
        self._cleared += 1
        self._start_speaking()

    async def _speak(self) -> None:
        while True:
            asked, flush = await self._asked.get()
            await self._send(asked, flush.messages)
            if flush.cleared is None:
                continue
            await clock.sleep_until(asked + flush.cleared)
            await asyncio.sleep(CUT_GRACE)  # cancelled by the Clear
            await self._fail(
                f"the program cleared this speech after {flush.cleared:.2f} s, "
                f"and waits for more of it ({flush.place})"
            )

    async def _send(self, start: Seconds, messages: list[Timed]) -> None:
        with suppress(ConnectionClosed):
            for after, message in messages:
                await clock.sleep_until(start + after)
                if not isinstance(message, Close):
                    await self._socket.send(message)
                elif message.code == 1006:
                    self._socket.transport.abort()
                else:
                    await self._socket.close(message.code, message.reason)

    async def _fail(self, cause: str) -> None:
        error = self._differences.report("tts", cause)
        await self._socket.close(1008, cut_reason(error.cause))
