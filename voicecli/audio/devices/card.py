"""The streams of this process, and the one PortAudio that they run on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar, TypeVarTuple

from voicecli import clock
from voicecli.audio.devices import errors as failures
from voicecli.audio.devices import host as portaudio
from voicecli.audio.devices.select import NOUNS
from voicecli.audio.devices.stream import Stream
from voicecli.errors import DeviceError
from voicecli.units import Seconds

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_BETWEEN: Seconds = 0.2
"""From one attempt to find another device to the next."""

_PATIENCE: Seconds = 10.0
"""How long a lost device may be without a successor before that is an error."""

_one_at_a_time = threading.Lock()
"""PortAudio is one per process, and not safe to be started in two threads at once."""


class Card:
    """PortAudio, started with the first stream and ended with the last.

    All its calls are made in one thread of the card's own, which some systems ask for and which
    keeps them, 10 ms to seconds, out of the loop.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sound card")
        self._library: portaudio.Library | None = None
        self._streams: list[Stream] = []
        self._mending = asyncio.Lock()
        self.users = 0

    async def open(self, stream: Stream) -> None:
        """Open ``stream``; raises DeviceError."""
        await self._call(self._open, stream)

    async def close(self, stream: Stream) -> None:
        """Close ``stream``, be it open or still opening; with the last one, PortAudio."""
        await self._call(self._close, stream)

    async def check(self) -> None:
        """Return at once while all devices are there; else replace them first.

        PortAudio sees new devices only when it is started anew, so all streams are interrupted.
        Raises DeviceError when nothing takes the place of a lost device in time.
        """
        for stream in self._streams:
            if stream.fault:
                raise stream.fault
        if self._all_alive():
            return
        await asyncio.sleep(0.05)  # a process that was stopped for a while hears this first
        async with self._mending:
            if not self._all_alive():
                await self._replace([stream for stream in self._streams if not stream.alive])

    def _all_alive(self) -> bool:
        return all(stream.alive for stream in self._streams)

    async def _replace(self, lost: list[Stream]) -> None:
        for stream in lost:
            stream.notices.warn(failures.vanished(stream.direction, stream.name))
        give_up_at = clock.now() + _PATIENCE
        while True:
            try:
                await self._call(self._restart)
                break
            except DeviceError as error:
                if clock.now() >= give_up_at:
                    raise failures.vanished(lost[0].direction, lost[0].name) from error
                await asyncio.sleep(_BETWEEN)
        for stream in lost:
            noun = NOUNS[stream.direction]
            stream.notices.warn(f"Going on with the {noun} {stream.name!r}.")

    def _open(self, stream: Stream) -> None:
        with _one_at_a_time:
            if self._library is None:
                self._library = portaudio.start()
            self._streams.append(stream)
            stream.open(self._library)

    def _close(self, stream: Stream) -> None:
        with _one_at_a_time:
            stream.close()
            if stream in self._streams:
                self._streams.remove(stream)
            if not self._streams:
                self._end()

    def _restart(self) -> None:
        with _one_at_a_time:
            for stream in self._streams:
                stream.close()
            self._end()
            self._library = portaudio.start()
            for stream in self._streams:
                stream.open(self._library)

    def _end(self) -> None:
        library, self._library = self._library, None
        if library is not None:
            portaudio.end(library)

    async def _call(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def end(self) -> None:
        """Let the thread go, once it has done what it was asked for."""
        self._thread.shutdown(wait=False)


_card: Card | None = None


@asynccontextmanager
async def opened(stream: Stream) -> AsyncIterator[Card]:
    """The card that all streams of the process share, with ``stream`` open; raises DeviceError."""
    global _card
    if _card is None:
        _card = Card()
    card = _card
    card.users += 1
    try:
        await card.open(stream)
        yield card
    finally:
        card.users -= 1
        if not card.users:
            _card = None
        try:
            await card.close(stream)
        finally:
            if not card.users:
                card.end()
