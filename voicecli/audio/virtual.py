"""A loudspeaker that plays into nothing and a source of silence.

Both run by the loop's clock, so that a conversation has the same numbers in virtual and in real
time, and mouth-to-ear means the same as with a sound card.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from itertools import count

from typing_extensions import override

from voicecli import clock
from voicecli.audio.interfaces import Sink, Source
from voicecli.audio.pcm import SampleArray, samples_of
from voicecli.audio.playout import FADE, ClockedPlayout
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

_TIMER_ERROR: Seconds = 1e-9  # asyncio's timers may fire this early


class VirtualSpeaker(Sink):
    """Plays replies at the rate of real time without a device.

    prebuffer: seconds of a reply that are queued before it plays.
    """

    estimated = False

    def __init__(self, rate: int, prebuffer: Seconds) -> None:
        self.format = AudioFormat(rate)
        self._playout = ClockedPlayout(rate, prebuffer)
        self._changed = asyncio.Event()

    @override
    def start(self) -> None:
        self._change().start()

    @override
    def write(self, pcm: bytes) -> None:
        self._change().write(samples_of(pcm))

    @override
    def end(self) -> None:
        self._change().end()

    @override
    async def started(self) -> Seconds:
        while (at := self._now().audible_at) is None or at > clock.now() + _TIMER_ERROR:
            await self._wait_for_change(at)
        return at

    @override
    async def finish(self) -> None:
        while not self._now().drained:
            await self._wait_for_change(self._playout.ends_at)

    @override
    async def drain_to(self, level: Seconds) -> None:
        while self.queued > level:
            ends_at = self._playout.ends_at
            due = None if ends_at is None else ends_at - level
            if due is not None and due <= clock.now():  # less than a sample is missing
                return
            await self._wait_for_change(due)

    @override
    def duck(self) -> None:
        self._change().duck()

    @override
    def hold(self) -> None:
        self._change().hold()

    @override
    def resume(self) -> None:
        self._change().resume()

    @override
    def clear(self) -> Samples:
        return self._change().clear()

    @property
    @override
    def settles_at(self) -> Seconds:
        return clock.now() + FADE

    @property
    @override
    def heard(self) -> Samples:
        return self._now().drawn

    @property
    @override
    def queued(self) -> Seconds:
        return self._now().queued

    @property
    @override
    def underruns(self) -> int:
        return self._now().underruns

    def take(self, start: Seconds, count: Samples) -> SampleArray:
        """Return what sounded in the ``count`` samples from ``start``; calls must move forward."""
        return self._playout.take(start, count)

    def _now(self) -> ClockedPlayout:
        return self._playout.advance(clock.now())

    def _change(self) -> ClockedPlayout:
        self._changed.set()
        return self._now()

    async def _wait_for_change(self, until: Seconds | None) -> None:
        """Wait for the next change, or until a time in the future."""
        if until is not None and until <= clock.now():  # the reply has run dry
            until = None
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._changed.wait()


_SILENT_BLOCK: Seconds = 0.1  # short enough that a recording of the conversation keeps up


class SilentSource(Source):
    """Yields digital silence in real time, without end."""

    def __init__(self, rate: int) -> None:
        self.format = AudioFormat(rate)

    @override
    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        start, pcm = clock.now(), self.format.silence(_SILENT_BLOCK)
        length = self.format.seconds(len(pcm))
        for index in count():
            await asyncio.sleep(start + (index + 1) * length - clock.now())
            yield AudioBlock(pcm, start + index * length)
