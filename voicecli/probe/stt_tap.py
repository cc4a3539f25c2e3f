"""A connection to the STT that is listened to all the time, and how far its transcripts lag."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import MAX_LAG, Event, InterimTranscript
from voicecli.services.interfaces import Transcriber
from voicecli.units import AudioBlock, AudioFormat, Seconds

T = TypeVar("T")


class SttTap:
    """An open connection to the STT, in the hands of one that speaks into it.

    late: blocks since ``forget`` that went out late, because this machine was busy.
    lags: of each interim since ``forget``, see ``Transcriber.interim_lag``.
    """

    def __init__(self, stt: Transcriber, format: AudioFormat) -> None:
        self.opened = stt.opened
        self.late = 0
        self.lags: list[Seconds] = []
        self._stt = stt
        self._format = format
        self._heard: list[Event] = []
        self._news = asyncio.Event()

    async def use(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do ``work``, and listen meanwhile; raises ServiceError when the connection is lost."""
        failure: ServiceError | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(self._hear(), name="probe stt: hear")
                result = await work()
                listening.cancel()
            return result
        except* ServiceError as group:
            failure = _first(group)
        raise failure

    async def play(self, pcm: bytes, block: Seconds, since: Seconds | None = None) -> Seconds:
        """Send ``pcm`` in blocks, each when its last sample would be there; when that was.

        since: when the first sample is there; now if None.
        """
        format = self._format
        size = len(format.silence(block))
        at = clock.now() if since is None else since
        for start in range(0, len(pcm), size):
            piece = pcm[start : start + size]
            end = at + format.seconds(len(piece))
            await asyncio.sleep(max(0.0, end - clock.now()))
            self.late += clock.now() - end > MAX_LAG
            await self._stt.send(AudioBlock(piece, at))
            at = end
        return at

    async def finalize(self) -> None:
        """Ask for the final text."""
        await self._stt.finalize()

    def forget(self) -> None:
        """What was heard so far is of no interest any more."""
        self._heard.clear()
        self.late = 0
        self.lags.clear()

    def heard(self) -> list[Event]:
        """Since ``forget``."""
        return list(self._heard)

    async def first(self, wanted: Callable[[Event], bool], patience: Seconds) -> Event | None:
        """The first event since ``forget`` that is wanted; None when none comes in time."""
        deadline = clock.now() + patience
        while (found := next(filter(wanted, self._heard), None)) is None:
            self._news.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                return None
        return found

    async def _hear(self) -> None:
        async with aclosing(self._stt.events()) as events:
            async for event in events:
                lag = self._stt.interim_lag
                if isinstance(event, InterimTranscript) and lag is not None:
                    self.lags.append(lag)
                self._heard.append(event)
                self._news.set()


def _first(group: BaseExceptionGroup[ServiceError]) -> ServiceError:
    """One error of ``group``: the others follow from it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ServiceError)
    return error
