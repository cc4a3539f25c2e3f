"""Deepgram Aura-2: text in, audio out (``/v1/speak``).

Three things make it delicate (https://developers.deepgram.com/docs/tts-ws-flush and beside it):

- Flushes in quick succession may be answered by one Flushed, so counting them does not tell the end
  of a reply.  Here a Flush waits for the Flushed before it, and what is flushed meanwhile rides on
  one Flush.  So each Flushed means all that its Flush covers, and ``audio`` yields one FLUSHED for
  each ``send(…, flush=True)``, in order.  It costs a round trip between clauses, while the clause
  before still plays: audio comes faster than it sounds.
- The service takes 20 Flushes and 2,400 characters a minute.  A Flush beyond that waits, and those
  after it join it; text beyond that waits in ``send``.  ``flushes`` tells how many are left, so
  that replies can do with fewer before it comes to that.
- After a Clear, audio already on its way still arrives: all is dropped until Cleared.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode

from voicecli import clock
from voicecli.errors import ServiceError, StalledError
from voicecli.events import ConnectionOpened
from voicecli.services.deepgram.socket import API_URL, CLOSE_TIMEOUT, KEY_ENV, Socket, open_socket
from voicecli.services.deepgram.synthesis import Synthesis
from voicecli.services.endpoint import check_url
from voicecli.services.interfaces import FLUSHED, Flushed
from voicecli.units import Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class AuraOptions:
    """What to ask of the service.

    flushes_per_minute, characters_per_minute: what one connection may be sent.
    first_audio_timeout: seconds without a frame, while audio is due, that make a stall.
    max_age: seconds after which a connection is replaced; the service ends it after 60 minutes.
    """

    url: str = API_URL
    key: str = field(default="", repr=False)
    key_env: str = KEY_ENV
    model: str = "aura-2-thalia-en"
    sample_rate: int = 24_000
    speed: float | None = None
    mip_opt_out: bool = False
    flushes_per_minute: int = 20
    characters_per_minute: int = 2400
    first_audio_timeout: Seconds = 5.0
    connect_timeout: Seconds = 5.0
    max_age: Seconds = 55 * 60.0


def build_aura_query(options: AuraOptions) -> list[tuple[str, str]]:
    """The query parameters, in order."""
    query = [
        ("model", options.model),
        ("encoding", "linear16"),
        ("sample_rate", str(options.sample_rate)),
    ]
    if options.speed is not None:
        query.append(("speed", f"{options.speed:g}"))
    return [*query, ("mip_opt_out", "true" if options.mip_opt_out else "false")]


class _Line:
    """One connection: its socket, and what it owes.

    lost: whether it has failed; then nothing more comes of it.
    """

    def __init__(self, options: AuraOptions, socket: Socket, stack: AsyncExitStack) -> None:
        self.opened = ConnectionOpened(
            at=clock.now(), service="tts", took=socket.took, request_id=socket.request_id
        )
        self.synthesis = Synthesis(
            flushes=options.flushes_per_minute, characters=options.characters_per_minute
        )
        self.lost = False
        self._stall = options.first_audio_timeout
        self._max_age = options.max_age
        self._socket = socket
        self._stack = stack

    @property
    def usable(self) -> bool:
        """Whether more text should go to it; one that owes something is never left for its age."""
        fresh = self._socket.open and clock.now() < self.opened.at + self._max_age
        return not self.lost and (fresh or not self.synthesis.idle)

    async def send(self, type: str, **fields: str) -> None:
        try:
            await self._socket.send(json.dumps({"type": type, **fields}))
        except ServiceError:
            self.lost = True
            raise

    async def receive(self) -> bytes:
        """The audio of the next frame, possibly none; raises ServiceError also for a stall."""
        synthesis = self.synthesis
        try:
            async with asyncio.timeout_at(synthesis.progress + self._stall):
                message = await self._socket.receive()
            return synthesis.receive(message, clock.now())
        except TimeoutError as error:
            if not synthesis.in_flight or clock.now() < synthesis.progress + self._stall:
                return b""  # cleared while waiting, and perhaps flushed again
            self.lost = True
            raise StalledError(
                "tts",
                f"no audio for {self._stall:g} s",
                request_id=self.opened.request_id or None,
                temporary=True,
            ) from error
        except ServiceError:
            self.lost = True
            raise

    async def flush(self) -> None:
        """Send the Flush that waits, if it may be sent now."""
        allowed = self.synthesis.flush_at(clock.now())
        if allowed is not None and allowed <= clock.now():
            self.synthesis.flush_sent(clock.now())
            await self.send("Flush")

    async def close(self) -> None:
        """Say Close and wait for the service to hang up, within CLOSE_TIMEOUT.

        A session left open counts against the project's few concurrent connections.
        """
        try:
            if not self.lost:
                with suppress(ServiceError, TimeoutError):
                    await self.send("Close")
                    async with asyncio.timeout(CLOSE_TIMEOUT):
                        while True:
                            await self._socket.receive()
        finally:
            self._socket.abort()
            await self._stack.aclose()


async def _open_line(options: AuraOptions) -> _Line:
    stack = AsyncExitStack()
    socket = await stack.enter_async_context(
        open_socket(
            "tts",
            check_url("tts", options.url),
            "/v1/speak?" + urlencode(build_aura_query(options)),
            key=options.key,
            key_env=options.key_env,
            connect_timeout=options.connect_timeout,
        )
    )
    return _Line(options, socket, stack)


class Aura:
    """Aura-2 over as many connections as it takes, one at a time; see ``stages.Synthesizer``.

    A reply that ended early, by an error or by being cancelled, must be followed by ``clear``.
    """

    def __init__(self, options: AuraOptions, line: _Line) -> None:
        self._options = options
        self._line = line
        self._asked = asyncio.Event()

    @property
    def opened(self) -> ConnectionOpened:
        """When the present connection was opened, how long it took, and the service's id of it."""
        return self._line.opened

    @property
    def flushes(self) -> int:
        """How many Flushes of this minute are left to the connection."""
        return self._line.synthesis.flushes(clock.now())

    async def send(self, text: str, *, flush: bool) -> None:
        """Text to be spoken, joined to the text before as it stands; ``flush``: synthesise now.

        Opens a new connection first where the present one failed, or is closed or old and owes
        nothing.  Waits while the minute's characters are spent.
        """
        if not self._line.usable:
            await self._reopen()
        line, synthesis = self._line, self._line.synthesis
        for piece in synthesis.pieces(text):
            if (wait := synthesis.text_at(piece, clock.now()) - clock.now()) > 0:
                await asyncio.sleep(wait)
            synthesis.text_sent(piece, clock.now())
            await line.send("Speak", text=piece)
        if flush:
            synthesis.ask_flush()
            await line.flush()
            self._asked.set()

    async def audio(self) -> AsyncGenerator[bytes | Flushed, None]:
        """Audio as it comes, whole samples, and one FLUSHED for each flush asked for; never ends.

        Flushes that were joined have their FLUSHED together, after the audio of all.  A reply has
        ended with the FLUSHED of its last flush.  Raises ServiceError for a failure or a stall.
        """
        while True:
            line, synthesis = self._line, self._line.synthesis
            if synthesis.due:
                synthesis.due -= 1
                yield FLUSHED
            elif synthesis.in_flight:
                if pcm := await line.receive():
                    yield pcm
            else:
                await self._flush_when_allowed(line)

    async def clear(self) -> None:
        """Forget what was sent; what still arrives of it never reaches ``audio``.

        The connection stays.  Never fails: a lost connection has forgotten all.
        """
        line = self._line
        if line.synthesis.forget() and not line.lost:
            with suppress(ServiceError):
                await line.send("Clear")

    async def _flush_when_allowed(self, line: _Line) -> None:
        """Send the Flush that waits once it may be sent; wait for one where there is none."""
        self._asked.clear()
        with suppress(TimeoutError):
            allowed = line.synthesis.flush_at(clock.now())
            if allowed is None or allowed > clock.now():
                async with asyncio.timeout_at(allowed):
                    await self._asked.wait()
        await line.flush()

    async def _reopen(self) -> None:
        old = self._line
        await old.close()
        old.lost = True  # should opening fail
        self._line = await _open_line(self._options)


@asynccontextmanager
async def open_aura(options: AuraOptions) -> AsyncGenerator[Aura, None]:
    """Connect to Aura-2; leaving says Close.  Raises as ``open_socket`` does."""
    speak = Aura(options, await _open_line(options))
    try:
        yield speak
    finally:
        await speak._line.close()
