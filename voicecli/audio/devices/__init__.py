"""Microphone and loudspeaker through PortAudio; PyAudio is imported when one is opened.

Each is a stream in callback mode; the callbacks, in PortAudio's thread, copy and return.  Both
streams share one PortAudio, which is restarted when a device is lost.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from typing_extensions import override

from voicecli import clock
from voicecli.audio.devices.played import EchoReference, PlayedAudio
from voicecli.audio.devices.sample_clock import BlockTime, CaptureClock, PlaybackClock
from voicecli.audio.devices.select import make_silence_error
from voicecli.audio.devices.stream import Stream, open_stream
from voicecli.audio.interfaces import Sink, Source
from voicecli.audio.pcm import Resampler, SampleArray, samples_of
from voicecli.audio.playout import FADE, PlayoutBuffer
from voicecli.events import Event
from voicecli.units import SAMPLE_SIZE, AudioBlock, AudioFormat, Samples, Seconds

T = TypeVar("T")

_CHECK_INTERVAL: Seconds = 0.1  # how often a device that something waits for is checked
_SILENCE_LIMIT: Seconds = 0.9  # of digital silence after opening: no room is that quiet
_BACKLOG = 3000  # blocks kept for a slow reader (60 s of 20 ms); the oldest are dropped first


class _Device:
    """What a microphone and a loudspeaker have in common: a stream."""

    stream: Stream

    @property
    def name(self) -> str:
        """Name of the device in use."""
        return self.stream.name

    @property
    def xruns(self) -> int:
        """How often samples were lost because the machine was too busy."""
        return self.stream.events.xruns

    def events(self) -> AsyncGenerator[Event, None]:
        """Yield the device's Warned and AudioGlitched, without end."""
        return self.stream.events.iterate()


@asynccontextmanager
async def open_microphone(name: str | None, rate: int, block: Seconds) -> AsyncIterator[Microphone]:
    """Open a microphone and start capturing.

    name: a device's name, a part of it, or its index; None for the default.
    rate: of the blocks, in hertz; resampled from the device's own.
    block: length of the blocks in seconds.

    Raises DeviceError.
    """
    microphone = Microphone(name, rate, block)
    async with open_stream(microphone.stream):
        yield microphone


class Microphone(_Device, Source):
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
            await self.stream.owner.check()
            with suppress(TimeoutError):
                async with asyncio.timeout(_CHECK_INTERVAL):
                    await self._arrived.wait()
            self._arrived.clear()
            while self._blocks:
                yield self._blocks.popleft()

    def _open_at(self, rate: int) -> None:
        self._resampler = Resampler(rate, self.format.rate)
        self._clock = CaptureClock(rate)
        self._silence_limit: Samples = round(_SILENCE_LIMIT * rate)
        self._received: Samples = 0
        self._silent = True  # only zeros so far, and not reported yet

    def _receive(self, samples: SampleArray, time: BlockTime) -> SampleArray:
        """Pass a block on to the loop.  Runs in PortAudio's thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._add, samples, time)
        return samples

    def _add(self, samples: SampleArray, time: BlockTime) -> None:
        at = self._clock.place(len(samples), time) - self._resampler.lag
        pcm = self._resampler.feed(samples).tobytes()
        self._blocks.append(AudioBlock(pcm, at, came=time.called))
        self._arrived.set()
        self._received += len(samples)
        self._silent &= not samples.any()
        if self._silent and self._received >= self._silence_limit:
            self._silent = False
            self.stream.events.warn(make_silence_error(self.name))


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
    async with open_stream(loudspeaker.stream):
        yield loudspeaker


class Loudspeaker(_Device, Sink):
    """Plays replies through PortAudio; times come from the clock of the converter (DAC).

    A lost device is replaced by another, which continues from what was last heard.

    echo_reference: what it played, for an echo canceller.
    """

    def __init__(self, name: str | None, rate: int, prebuffer: Seconds, block: Seconds) -> None:
        self.format = AudioFormat(rate)
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # guards the playout and all that goes with it
        self._changed = asyncio.Event()
        self._played = PlayedAudio(rate)
        self.echo_reference = EchoReference(rate)
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
    async def drain_to(self, level: Seconds) -> None:
        while (excess := self.queued - level) > 0:
            await self._wait_for_change(_CHECK_INTERVAL if self._playout.held else excess)

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
        self._notify()

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
    def settles_at(self) -> Seconds:
        with self._lock:
            drawn_until = self._playout.ends_at  # what was drawn sounds as it is
        return max(drawn_until or 0.0, clock.now()) + FADE

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
            await self._wait_for_change(_CHECK_INTERVAL)

    async def _wait_for_change(self, limit: Seconds) -> None:
        """Wait for a change, up to ``limit`` or the next check of the devices."""
        with suppress(TimeoutError):
            async with asyncio.timeout(min(limit, _CHECK_INTERVAL)):
                await self._changed.wait()
        await self.stream.owner.check()

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
        self.echo_reference.add(at, sound, playout.rate)
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
