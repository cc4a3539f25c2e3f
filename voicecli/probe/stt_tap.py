"""A connection to the STT that is listened to all the time, and how far its transcripts lag."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar
from urllib.parse import urlencode

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import MAX_LAG, Event
from voicecli.services.deepgram.nova import Nova, NovaOptions, build_nova_query
from voicecli.services.deepgram.socket import Socket, open_socket
from voicecli.services.endpoint import check_url
from voicecli.units import AudioBlock, AudioFormat, Seconds

T = TypeVar("T")


class Overheard(Socket):
    """A socket whose frames are noted on their way: what was sent, and what interims cover.

    format: of the audio; sent: seconds of it; lags: of each interim since ``Ear.forget``.
    """

    def __init__(self, inner: Socket, rate: int) -> None:
        self.took = inner.took
        self.request_id = inner.request_id
        self._inner = inner
        self.format = AudioFormat(rate)
        self.sent: Seconds = 0.0
        self.lags: list[Seconds] = []

    @property
    def open(self) -> bool:
        """As of the inner one."""
        return self._inner.open

    async def send(self, message: str | bytes) -> None:
        """Send a frame."""
        if isinstance(message, bytes):
            self.sent += self.format.seconds(len(message))
        await self._inner.send(message)

    async def receive(self) -> str | bytes:
        """The next frame."""
        message = await self._inner.receive()
        cursor = interim_cursor(message)
        if cursor is not None:
            # A service that has heard more than it was sent has rounded.
            self.lags.append(max(self.sent - cursor, 0.0))
        return message

    def abort(self) -> None:
        """Drop the connection."""
        self._inner.abort()


def interim_cursor(message: str | bytes) -> Seconds | None:
    """Where in the audio an interim's transcript ends; None for what is no interim."""
    try:
        frame = json.loads(message)
    except (ValueError, RecursionError):
        return None
    match frame:
        case {
            "type": "Results",
            "is_final": False,
            "start": int() | float() as start,
            "duration": int() | float() as duration,
        }:
            return float(start + duration)
    return None


class SttTap:
    """An open connection to the STT, in the hands of one that speaks into it.

    late: blocks since ``forget`` that went out late, because this machine was busy.
    """

    def __init__(self, listen: Nova, socket: Overheard) -> None:
        self.opened = listen.opened
        self.socket = socket
        self.late = 0
        self._listen = listen
        self._format = socket.format
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
            await self._listen.send(AudioBlock(piece, at))
            at = end
        return at

    async def finalize(self) -> None:
        """Ask for the final text."""
        await self._listen.finalize()

    def forget(self) -> None:
        """What was heard so far is of no interest any more."""
        self._heard.clear()
        self.late = 0
        self.socket.lags.clear()

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
        async with aclosing(self._listen.events()) as events:
            async for event in events:
                self._heard.append(event)
                self._news.set()


@asynccontextmanager
async def open_stt_tap(options: NovaOptions) -> AsyncGenerator[SttTap, None]:
    """Connect as ``open_listen`` does, and raise as it does."""
    async with open_socket(
        "stt",
        check_url("stt", options.url),
        "/v1/listen?" + urlencode(build_nova_query(options)),
        key=options.key,
        key_env=options.key_env,
        connect_timeout=options.connect_timeout,
    ) as socket:
        overheard = Overheard(socket, options.sample_rate)
        yield SttTap(Nova(overheard, options.sample_rate), overheard)


def _first(group: BaseExceptionGroup[ServiceError]) -> ServiceError:
    """One error of ``group``: the others follow from it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, ServiceError)
    return error
