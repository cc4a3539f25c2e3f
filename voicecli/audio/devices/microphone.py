"""The microphone, as a source of blocks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

from typing_extensions import override

from voicecli.audio.devices.sample_clock import BlockTime, CaptureClock
from voicecli.audio.devices.select import make_silence_error
from voicecli.audio.devices.stream import OpenDevice, Stream, open_stream
from voicecli.audio.interfaces import Source
from voicecli.audio.pcm import Resampler, SampleArray
from voicecli.units import AudioBlock, AudioFormat, Seconds

_SILENCE_LIMIT: Seconds = 0.9  # of digital silence after opening: no room is that quiet
_CHECK_INTERVAL: Seconds = 0.1  # how often a microphone that delivers nothing is checked
_BACKLOG = 3000  # blocks kept for a slow reader (60 s of 20 ms); the oldest are dropped first


@asynccontextmanager
async def open_microphone(name: str | None, rate: int, block: Seconds) -> AsyncIterator[Microphone]:
    """Open a microphone and start capturing.

    name: a device's name, a part of it, or its index; None for the default.
    rate: of the blocks, in hertz; resampled from the device's own.
    block: length of the blocks in seconds.

    Raises DeviceError.
    """
    microphone = Microphone(name, rate, block)
    async with open_stream(microphone.stream) as host:
        microphone.host = host
        yield microphone


class Microphone(OpenDevice, Source):
    """Captures blocks through PortAudio; times come from the clock of the converter (ADC).

    A lost device is replaced by another; ``at`` jumps then.
    """

    def __init__(self, name: str | None, rate: int, block: Seconds) -> None:
        self.format = AudioFormat(rate)
        self._loop = asyncio.get_running_loop()
        self._blocks: deque[AudioBlock] = deque(maxlen=_BACKLOG)
        self._arrived = asyncio.Event()
        self._open_at(rate)
        self.stream = Stream("input", name, rate, block, self._receive, self._open_at)

    @override
    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        """Yield blocks as they arrive, without end.

        All are equally long, except that the first one of a device whose sound is resampled is
        1.5 ms shorter.  Raises DeviceError when the microphone, or a loudspeaker open at the same
        time, is lost and no other takes its place.
        """
        while True:
            await self.host.check()
            with suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_INTERVAL):
                    await self._arrived.wait()
            self._arrived.clear()
            while self._blocks:
                yield self._blocks.popleft()

    def _open_at(self, rate: int) -> None:
        self._resampler = Resampler(rate, self.format.rate)
        self._clock = CaptureClock(rate)
        self._device_rate = rate
        self._in = self._out = 0  # samples of the device, samples made of them
        self._silent = True  # only zeros so far, and not reported yet

    def _receive(self, samples: SampleArray, time: BlockTime) -> SampleArray:
        """Pass a block on to the loop.  Runs in PortAudio's thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._add, samples, time)
        return samples

    def _add(self, samples: SampleArray, time: BlockTime) -> None:
        resampled = self._resampler.feed(samples)
        # The first sample made now lies a little before this block: the filter had to wait.
        at = self._clock.place(len(samples), time)
        at += self._out / self.format.rate - self._in / self._device_rate
        self._in += len(samples)
        self._out += len(resampled)
        self._blocks.append(AudioBlock(resampled.tobytes(), at, came=time.called))
        self._arrived.set()
        self._silent &= not samples.any()
        if self._silent and self._in >= _SILENCE_LIMIT * self._device_rate:
            self._silent = False
            self.stream.events.warn(make_silence_error(self.name))
