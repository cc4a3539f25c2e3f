"""A recording for a microphone, and a loudspeaker that is not there.

Both go by the loop's clock, so that a conversation has the same numbers in virtual time as in real
time, and mouth-to-ear means the same as with a sound card.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from voicecli import clock
from voicecli.audio.playout import PREBUFFER, PlayoutBuffer
from voicecli.units import AudioBlock, AudioFormat, Samples, Seconds

EARLY: Seconds = 1e-9
"""asyncio's timers may come so early."""


class VirtualSpeaker:
    """Plays at the rate of real time into nothing; see ``stages.Sink``."""

    estimated = False

    def __init__(self, rate: int, prebuffer: Seconds = PREBUFFER) -> None:
        self.format = AudioFormat(rate)
        self._buffer = PlayoutBuffer(self.format, prebuffer)
        self._changed = asyncio.Event()

    def start(self) -> None:
        """Begin a reply."""
        self._buffer.start(clock.now())
        self._changed.set()

    def write(self, pcm: bytes) -> None:
        """Queue whole samples."""
        self._buffer.write(pcm, clock.now())
        self._changed.set()

    def end(self) -> None:
        """Nothing more is written to this reply."""
        self._buffer.end(clock.now())
        self._changed.set()

    async def started(self) -> Seconds:
        """Wait until the first audible sample of the reply has sounded; when that was."""
        while (at := self._buffer.audible_at) is None or at > clock.now() + EARLY:
            await self._until(at)
        return at

    async def finish(self) -> None:
        """Wait until all that was written has sounded."""
        while self.queued > 0 or not self._buffer.drained:
            await self._until(self._buffer.ends_at)

    def duck(self) -> None:
        """Play softly."""
        self._buffer.duck(clock.now())

    def hold(self) -> None:
        """Be silent, and remember where."""
        self._buffer.hold(clock.now())
        self._changed.set()

    def resume(self) -> None:
        """Go on from there, as loud as before."""
        self._buffer.resume(clock.now())
        self._changed.set()

    def clear(self) -> Samples:
        """Be silent, and forget the rest; the samples that were heard."""
        heard = self._buffer.clear(clock.now())
        self._changed.set()
        return heard

    @property
    def heard(self) -> Samples:
        """Samples of this reply that have sounded."""
        return self._buffer.heard(clock.now())

    @property
    def queued(self) -> Seconds:
        """How long what is queued will take to sound."""
        return self._buffer.queued(clock.now())

    @property
    def underruns(self) -> int:
        """How often this reply ran dry."""
        return self._buffer.underruns

    def take(self, start: Seconds, count: Samples) -> NDArray[np.int16]:
        """What sounded in the ``count`` samples from ``start``; calls must move forward."""
        return self._buffer.take(start, count)

    async def _until(self, when: Seconds | None) -> None:
        """Until ``when``, if that is to come, or until something changes."""
        if when is not None and when <= clock.now():  # the reply has run dry
            when = None
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(when):
                await self._changed.wait()


_SILENCE: Seconds = 0.1
"""Length of a block of nothing; the recording has to move on."""


class SilentSource:
    """A ``stages.Source`` in which nobody speaks."""

    def __init__(self, rate: int) -> None:
        self.format = AudioFormat(rate)

    async def blocks(self) -> AsyncGenerator[AudioBlock, None]:
        """Digital silence, at the pace of real time; without end."""
        start, pcm = clock.now(), self.format.silence(_SILENCE)
        length, count = self.format.seconds(len(pcm)), 0
        while True:
            await asyncio.sleep(start + (count + 1) * length - clock.now())
            yield AudioBlock(pcm, start + count * length)
            count += 1

    def pause(self) -> None:
        """Silence need not wait."""

    def resume(self) -> None:
        """Silence has not waited."""
