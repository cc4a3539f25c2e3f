"""The loudspeaker, as a sink of replies."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from voicecli import clock
from voicecli.audio.devices.card import Card, opened
from voicecli.audio.devices.played import EchoReference, PlayedAudio
from voicecli.audio.devices.ring import Ring
from voicecli.audio.devices.sample_clock import BlockTime, PlaybackTimes
from voicecli.audio.devices.stream import Sound, Stream
from voicecli.audio.pcm import samples_of
from voicecli.audio.playout import PREBUFFER
from voicecli.audio.resample import Resampler
from voicecli.events import Event
from voicecli.units import SAMPLE_SIZE, AudioFormat, Samples, Seconds

T = TypeVar("T")

_WATCH: Seconds = 0.1
"""How often the device is looked after while somebody waits for it."""


@asynccontextmanager
async def open_loudspeaker(
    name: str | None, rate: int, block: Seconds = 0.01, prebuffer: Seconds = PREBUFFER
) -> AsyncIterator[Loudspeaker]:
    """A loudspeaker, silent until the first reply.

    name: a device's, a part of it, or its index; None: the default.
    rate: of what is written in hertz, whatever the device's own is.
    block: seconds of sound in one callback: the device queues 2.5 of them, so that 10 ms are
        heard after 29 ms and 20 ms, which bear a busier machine, after 49.
    prebuffer: so many seconds of a reply are queued before it sounds.

    Raises DeviceError.
    """
    loudspeaker = Loudspeaker(name, rate, block, prebuffer)
    async with opened(loudspeaker.stream) as card:
        loudspeaker.card = card
        yield loudspeaker


class Loudspeaker:
    """A ``stages.Sink``.

    Times come from the clock of the converter (DAC).  When the device vanishes, another takes over
    and plays on from what was last heard; ``events`` tells.
    """

    card: Card

    def __init__(self, name: str | None, rate: int, block: Seconds, prebuffer: Seconds) -> None:
        self._format = AudioFormat(rate)
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()  # over what both threads use: the ring and what goes with it
        self._changed = asyncio.Event()
        self._tape = PlayedAudio(rate)
        self._echo_tape = EchoReference(rate)
        self._ring = Ring(rate, prebuffer)
        self._resampler = Resampler(rate, rate)
        self._times = PlaybackTimes(rate)
        self._reply = bytearray()  # kept for another device to go on with
        self._base: Samples = 0  # of the reply, where the ring's position is 0
        self._written: Samples = 0
        self._ended = True
        self.stream = Stream("output", name, rate, block, self._play, self._open_at)

    @property
    def format(self) -> AudioFormat:
        """Of what is written."""
        return self._format

    def start(self) -> None:
        """Begin a reply; what is left of the one before falls silent."""
        with self._lock:
            self._ring.start()
            self._resampler = Resampler(self._format.rate, self._ring.rate)
            self._reply.clear()
            self._base = self._written = 0
            self._ended = False

    def write(self, pcm: bytes) -> None:
        """Queue whole samples; they sound once the pre-buffer is queued, or at the end."""
        with self._lock:
            if not self._ended:  # what comes after a ``clear`` belongs to nothing
                self._reply += pcm
                self._written += len(pcm) // SAMPLE_SIZE
                self._ring.write(self._resampler.feed(samples_of(pcm)))

    def end(self) -> None:
        """Nothing more is written to this reply: what is queued sounds to its last sample."""
        with self._lock:
            if not self._ended:
                self._ended = True
                self._ring.write(self._resampler.flush())
                self._ring.end()
        self._notify()

    async def started(self) -> Seconds:
        """Wait until the first audible sample of the reply has sounded; when that was.

        Never, when the reply is cleared before it.  Raises DeviceError as ``finish`` does.
        """
        at = await self._once(lambda: self._ring.audible_at)
        await asyncio.sleep(at - clock.now())
        return at

    async def finish(self) -> None:
        """Wait until all that was written has sounded, to the last sample.

        Raises DeviceError when the device is lost and nothing takes its place.
        """
        await self._once(lambda: self._ring.drained or None)
        with self._lock:
            at = self._ring.ends_at
        if at is not None:
            await asyncio.sleep(at - clock.now())

    def duck(self) -> None:
        """Play softly (-20 dB), with a short fade."""
        with self._lock:
            self._ring.duck()

    def hold(self) -> None:
        """Be silent after a short fade, and remember where; what is written is queued."""
        with self._lock:
            self._ring.hold()

    def resume(self) -> None:
        """Go on from the exact sample, as loud as before, with a short fade."""
        with self._lock:
            self._ring.resume()

    def clear(self) -> Samples:
        """Be silent after a short fade, and forget the rest; the samples that were heard."""
        with self._lock:
            self._written = self._heard(clock.now())
            self._ring.clear()
            self._ended = True
        self._notify()
        return self._written

    @property
    def heard(self) -> Samples:
        """Samples of this reply that have sounded."""
        with self._lock:
            return self._heard(clock.now())

    @property
    def queued(self) -> Seconds:
        """How long what is queued, here and in the device, will take to sound."""
        return (self._written - self.heard) / self._format.rate

    @property
    def underruns(self) -> int:
        """How often this reply ran dry."""
        return self._ring.underruns

    def take(self, start: Seconds, count: Samples) -> NDArray[np.int16]:
        """What sounded in the ``count`` samples from ``start``, as it was played, fades and all.

        Consecutive calls must move forward, and are complete once that time has passed.
        """
        return self._tape.take(start, count)

    def played(self, start: Seconds, count: Samples) -> NDArray[np.int16]:
        """What sounds in the ``count`` samples from ``start``, for an echo canceller.

        Independent of ``take``.  Consecutive calls must move forward, and have fewer samples where
        no more was given to the device yet: that is 15 ms ahead, more or less.
        """
        return self._echo_tape.take(start, count)

    def events(self) -> AsyncGenerator[Event, None]:
        """Warned and AudioGlitched: what befalls the device; without end."""
        return self.stream.notices.events()

    @property
    def name(self) -> str:
        """Of the device that plays."""
        return self.stream.name

    @property
    def xruns(self) -> int:
        """How often the device ran out of samples, as the machine was too busy."""
        return self.stream.notices.xruns

    @property
    def estimated(self) -> bool:
        """Whether the device gave no times, so that they were estimated from its latency."""
        return self.stream.estimated

    def _heard(self, now: Seconds) -> Samples:
        heard = self._ring.heard(now) * self._format.rate / self._ring.rate
        return min(self._base + round(heard), self._written)

    async def _once(self, ask: Callable[[], T | None]) -> T:
        """What ``ask`` returns, as soon as that is something."""
        while True:
            with self._lock:
                answer = ask()
            if answer is not None:
                return answer
            with suppress(TimeoutError):
                async with asyncio.timeout(_WATCH):
                    await self._changed.wait()
            await self.card.check()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _play(self, silence: Sound, time: BlockTime) -> Sound:
        """In the card's thread."""
        with self._lock:
            ring = self._ring
            at = self._times.place(len(silence), time)
            before = ring.audible_at, ring.drained
            sound = ring.draw(len(silence), at)
            news = before != (ring.audible_at, ring.drained)
        self._tape.add(at, sound, ring.rate)
        self._echo_tape.add(at, sound, ring.rate)
        if news:
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._notify)
        return sound

    def _open_at(self, rate: int) -> None:
        """Another device plays on from what was heard last.  In the card's opening thread."""
        with self._lock:
            self._times = PlaybackTimes(rate)
            self._base = self._heard(self.stream.now())
            rest = samples_of(
                bytes(self._reply[SAMPLE_SIZE * self._base : SAMPLE_SIZE * self._written])
            )
            self._ring = self._ring.successor(rate)
            self._resampler = Resampler(self._format.rate, rate)
            self._ring.write(self._resampler.feed(rest))
            if self._ended:
                self._ring.write(self._resampler.flush())
                self._ring.end()
