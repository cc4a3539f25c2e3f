"""What a stream has to say beside its sound, handed from its thread to the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress

from voicecli import clock
from voicecli.audio import Seconds
from voicecli.errors import VoiceError
from voicecli.events import AudioGlitched, Event, Warned

_TOGETHER: Seconds = 0.2
"""Glitches come in swarms: those within this are one event."""


class Notices:
    """Warnings and glitches, to be iterated over; and how many glitches there were."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._warnings: deque[Warned] = deque()
        self._told = 0
        self.xruns = 0
        """How often the device lost samples, by PortAudio's flags."""

    def glitched(self) -> None:
        """The device lost samples; to be called in its thread."""
        self.xruns += 1
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._news.set)

    def warn(self, what: VoiceError | str) -> None:
        """Something that the user should know; to be called in the loop's thread."""
        text = str(what)
        text = text[0].upper() + text[1:]
        self._warnings.append(Warned(at=clock.now(), service="audio", text=text))
        self._news.set()

    async def events(self) -> AsyncGenerator[Event, None]:
        """Warned and AudioGlitched, as they come; without end."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._warnings:
                yield self._warnings.popleft()
            if new := self.xruns - self._told:
                self._told += new
                yield AudioGlitched(at=clock.now(), xruns=new)
                await asyncio.sleep(_TOGETHER)
