"""The microphone, as a source of blocks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

from voicecli.audio.devices import errors as failures
from voicecli.audio.devices.card import Card, opened
from voicecli.audio.devices.sample_clock import BlockTime, CaptureTimes
from voicecli.audio.devices.stream import Sound, Stream
from voicecli.audio.resample import Resampler
from voicecli.events import Event
from voicecli.units import AudioBlock, AudioFormat, Seconds

_SILENT: Seconds = 0.9
"""Digital silence for so long after the opening: no room is that quiet."""

_WATCH: Seconds = 0.1
"""How often a microphone that delivers nothing is looked after."""

_KEPT = 3000
"""Blocks that are kept for a slow listener (60 s of 20 ms); the oldest go first."""


@asynccontextmanager
async def open_microphone(
    name: str | None, rate: int, block: Seconds = 0.02
) -> AsyncIterator[Microphone]:
    """A microphone, listening.

    name: a device's, a part of it, or its index; None: the default.
    rate: of the blocks in hertz, whatever the device's own is.
    block: their length in seconds.

    Raises DeviceError.
    """
    microphone = Microphone(name, rate, block)
    async with opened(microphone.stream) as card:
        microphone.card = card
        yield microphone


class Microphone:
    """A ``stages.Source``.

    A block's ``at`` comes from the clock of the converter (ADC).  When the device vanishes, another
    takes over and ``at`` jumps; ``events`` tells.
    """

    card: Card

    def __init__(self, name: str | None, rate: int, block: Seconds) -> None:
        self._format = AudioFormat(rate)
        self._loop = asyncio.get_running_loop()
        self._blocks: deque[AudioBlock] = deque(maxlen=_KEPT)
        self._arrived = asyncio.Event()
        self._open_at(rate)
        self.stream = Stream("input", name, rate, block, self._heard, self._open_at)

    @property
    def format(self) -> AudioFormat:
        """Of the blocks."""
        return self._format

    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        """What is heard, as it comes; without end.

        Each block is ``block`` seconds long, but for the first one of a device whose sound has to
        be resampled: it is 1.5 ms shorter.  Raises DeviceError when the microphone, or the
        loudspeaker that shares its card, is lost and nothing takes its place.
        """
        while True:
            await self.card.check()
            with suppress(TimeoutError):
                async with asyncio.timeout(_WATCH):
                    await self._arrived.wait()
            self._arrived.clear()
            while self._blocks:
                yield self._blocks.popleft()

    def pause(self) -> None:
        """A live user need not wait."""

    def resume(self) -> None:
        """A live user has not waited."""

    def events(self) -> AsyncGenerator[Event, None]:
        """Warned and AudioGlitched: what else befalls the microphone; without end."""
        return self.stream.notices.events()

    @property
    def name(self) -> str:
        """Of the device that listens."""
        return self.stream.name

    @property
    def xruns(self) -> int:
        """How often sound was lost."""
        return self.stream.notices.xruns

    @property
    def estimated(self) -> bool:
        """Whether the device gave no times, so that ``at`` was estimated from its block size."""
        return self.stream.estimated

    def _open_at(self, rate: int) -> None:
        self._resampler = Resampler(rate, self._format.rate)
        self._times = CaptureTimes(rate)
        self._card_rate = rate
        self._in = self._out = 0  # samples of the device, samples made of them
        self._zeros: Seconds | None = 0.0  # of digital silence so far; None when it is none

    def _heard(self, sound: Sound, time: BlockTime) -> Sound:
        """In the card's thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._take, sound, time)
        return sound

    def _take(self, sound: Sound, time: BlockTime) -> None:
        made = self._resampler.feed(sound)
        # The first sample made now lies a little before this block, where the filter had to wait.
        at = self._times.place(len(sound), time)
        at += self._out / self._format.rate - self._in / self._card_rate
        self._in += len(sound)
        self._out += len(made)
        self._blocks.append(AudioBlock(made.tobytes(), at, came=time.called))
        self._arrived.set()
        if self._zeros is not None:
            self._look_for_zeros(sound)

    def _look_for_zeros(self, sound: Sound) -> None:
        assert self._zeros is not None
        self._zeros += len(sound) / self._card_rate
        if sound.any():
            self._zeros = None
        elif self._zeros >= _SILENT:
            self._zeros = None
            self.stream.notices.warn(failures.silent(self.name))
