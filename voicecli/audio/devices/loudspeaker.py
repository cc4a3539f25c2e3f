"""The loudspeaker, as a sink of replies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from typing_extensions import override

from voicecli import clock
from voicecli.audio.devices.played import EchoReference, PlayedAudio
from voicecli.audio.devices.sample_clock import BlockTime, PlaybackClock
from voicecli.audio.devices.stream import OpenDevice, Stream, open_stream
from voicecli.audio.echo import FarEnd
from voicecli.audio.interfaces import Sink
from voicecli.audio.pcm import Resampler, SampleArray, samples_of
from voicecli.audio.playout import PlayoutBuffer
from voicecli.units import SAMPLE_SIZE, AudioFormat, Samples, Seconds

T = TypeVar("T")

_CHECK_INTERVAL: Seconds = 0.1  # how often the device is checked while somebody waits for it


@asynccontextmanager
async def open_loudspeaker(
    name: str | None, rate: int, prebuffer: Seconds, block: Seconds = 0.01
) -> AsyncIterator[Loudspeaker]:
    """Open a loudspeaker; it is silent until the first reply.

    name: a device's name, a part of it, or its index; None for the default.
    rate: of what is written, in hertz; resampled to the device's own.
    prebuffer: seconds of a reply that are queued before it plays.
    block: seconds of sound in one callback.  The device queues 2.5 blocks: 10 ms are heard after
        29 ms; 20 ms, which tolerate a busier machine, after 49.

    Raises DeviceError.
    """
    loudspeaker = Loudspeaker(name, rate, prebuffer, block)
    async with open_stream(loudspeaker.stream) as host:
        loudspeaker.host = host
        yield loudspeaker


class Loudspeaker(OpenDevice, Sink, FarEnd):
    """Plays replies through PortAudio; times come from the clock of the converter (DAC).

    A lost device is replaced by another, which continues from what was last heard.
    """

    def __init__(self, name: str | None, rate: int, prebuffer: Seconds, block: Seconds) -> None:
        self.format = AudioFormat(rate)
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # guards the playout and all that goes with it
        self._changed = asyncio.Event()
        self._played = PlayedAudio(rate)
        self._echo_reference = EchoReference(rate)
        self._playout = PlayoutBuffer(rate, prebuffer)
        self._resampler = Resampler(rate, rate)
        self._clock = PlaybackClock(rate)
        self._reply = bytearray()  # kept for another device to continue with
        self._base: Samples = 0  # the reply's position where the playout's is 0
        self._written: Samples = 0
        self._ended = True
        self.stream = Stream("output", name, rate, block, self._play, self._open_at)

    @override
    def start(self) -> None:
        with self._lock:
            self._playout.start()
            self._resampler = Resampler(self.format.rate, self._playout.rate)
            self._reply.clear()
            self._base = self._written = 0
            self._ended = False

    @override
    def write(self, pcm: bytes) -> None:
        with self._lock:
            if not self._ended:
                self._reply += pcm
                self._written += len(pcm) // SAMPLE_SIZE
                self._playout.write(self._resampler.feed(samples_of(pcm)))

    @override
    def end(self) -> None:
        with self._lock:
            if not self._ended:
                self._ended = True
                self._playout.write(self._resampler.flush())
                self._playout.end()
        self._notify()

    @override
    async def started(self) -> Seconds:
        at = await self._poll(lambda: self._playout.audible_at)
        await asyncio.sleep(at - clock.now())
        return at

    @override
    async def finish(self) -> None:
        await self._poll(lambda: self._playout.drained or None)
        with self._lock:
            at = self._playout.ends_at
        if at is not None:
            await asyncio.sleep(at - clock.now())

    @override
    def duck(self) -> None:
        with self._lock:
            self._playout.duck()

    @override
    def hold(self) -> None:
        with self._lock:
            self._playout.hold()

    @override
    def resume(self) -> None:
        with self._lock:
            self._playout.resume()

    @override
    def clear(self) -> Samples:
        with self._lock:
            self._written = self._count_heard(clock.now())
            self._playout.clear()
            self._ended = True
        self._notify()
        return self._written

    @property
    @override
    def heard(self) -> Samples:
        with self._lock:
            return self._count_heard(clock.now())

    @property
    @override
    def queued(self) -> Seconds:
        return (self._written - self.heard) / self.format.rate

    @property
    @override
    def underruns(self) -> int:
        return self._playout.underruns

    @property
    @override
    def estimated(self) -> bool:
        return self.stream.estimated

    def take(self, start: Seconds, count: Samples) -> SampleArray:
        """Return what was heard in the ``count`` samples from ``start``, fades included.

        Consecutive calls must move forward, and are complete once that time has passed.
        """
        return self._played.take(start, count)

    @override
    def take_reference(self, start: Seconds, count: Samples) -> SampleArray:
        # The device is given samples some 15 ms ahead.
        return self._echo_reference.take(start, count)

    def _count_heard(self, now: Seconds) -> Samples:
        heard = self._playout.count_heard(now) * self.format.rate / self._playout.rate
        return min(self._base + round(heard), self._written)

    async def _poll(self, ask: Callable[[], T | None]) -> T:
        """Wait until ``ask`` returns something other than None; return that."""
        while True:
            with self._lock:
                answer = ask()
            if answer is not None:
                return answer
            with suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_INTERVAL):
                    await self._changed.wait()
            await self.host.check()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _play(self, silence: SampleArray, time: BlockTime) -> SampleArray:
        """Give the device its next block.  Runs in PortAudio's thread."""
        with self._lock:
            playout = self._playout
            at = self._clock.place(len(silence), time)
            before = playout.audible_at, playout.drained
            sound = playout.draw(len(silence), at)
            changed = before != (playout.audible_at, playout.drained)
        self._played.add(at, sound, playout.rate)
        self._echo_reference.add(at, sound, playout.rate)
        if changed:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._notify)
        return sound

    def _open_at(self, rate: int) -> None:
        """Continue on another device from what was heard last.  Runs in the host's thread."""
        with self._lock:
            self._clock = PlaybackClock(rate)
            self._base = self._count_heard(self.stream.now())
            rest = bytes(self._reply[SAMPLE_SIZE * self._base : SAMPLE_SIZE * self._written])
            self._playout = self._playout.create_successor(rate)
            self._resampler = Resampler(self.format.rate, rate)
            self._playout.write(self._resampler.feed(samples_of(rest)))
            if self._ended:
                self._playout.write(self._resampler.flush())
                self._playout.end()
