"""Deepgram Aura-2: text in, audio out (``/v1/speak``).

Three things need care (https://developers.deepgram.com/docs/tts-ws-flush and the pages beside it):

- The service may answer several Flushes with one Flushed, so counting them does not show the end of
  a reply.  Here a Flush waits for the Flushed before it, and the flushes asked for meanwhile share
  the next one.  Each Flushed then stands for everything that its Flush covers, and ``audio`` yields
  one FLUSHED for each ``send(…, flush=True)``, in order.  This costs a round trip between clauses,
  while the clause before still plays: audio arrives faster than it sounds.
- The service takes 20 Flushes and 2,400 characters a minute on one connection.  When little of that
  is left, ``warm`` opens a second connection, which the next reply uses; if that is refused, it
  replaces the first one between two replies.  A Flush beyond the limit waits, and later ones join
  it; text beyond it waits in ``send``.  ``flushes_left`` lets replies save Flushes before that.
- After a Clear, audio already on its way still arrives: everything is dropped until Cleared.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from typing_extensions import override

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import ConnectionOpened
from voicecli.services.deepgram import API_URL, KEY_ENV, URL_ENV, create_handshake
from voicecli.services.deepgram.synthesis import Synthesis
from voicecli.services.endpoint import declare_key_env, declare_url
from voicecli.services.interfaces import FLUSHED, Flushed, Synthesizer, TtsCapabilities, TtsSettings
from voicecli.services.provider import Handshake, ServiceAddress, TtsProvider
from voicecli.settings import SettingsConflict, setting, timeout
from voicecli.units import Samples, Seconds

if TYPE_CHECKING:
    from voicecli.services.deepgram.aura_connection import Connection

CAPABILITIES = TtsCapabilities(
    sample_rates=(8000, 16_000, 24_000, 32_000, 48_000),
    flushes=20,
    characters=2400,
    window=64.0,  # the documentation says 60 s; measured, Flushes are allowed again after 64 s
    seconds_per_character=0.06,  # 15 to 17 characters a second are usual in English
    word_timestamps=False,
)

LOW_BUDGET = 1 / 3
"""With less of a connection's budget left, another one is opened: three replies ahead."""

MAX_AGE: Seconds = 55 * 60.0
"""Age at which an idle connection is replaced; the service ends it after 60 minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuraSettings(TtsSettings):
    """Text to speech: Deepgram's /v1/speak."""

    base_url: str | None = declare_url(URL_ENV, "wss://api.deepgram.com")
    key_env: str = declare_key_env(KEY_ENV)
    model: str = setting("aura-2-thalia-en", "Name of the voice.")
    speed: float | None = setting(
        None,
        "1 is the voice's own pace; Aura-2 in en, and in es from 0.9; null: not sent.",
        ge=0.7,
        le=1.5,
    )
    flushes_per_minute: int = setting(
        CAPABILITIES.flushes,
        "More are held back; the service refuses the 21st.",
        ge=1,
        le=CAPABILITIES.flushes,
    )
    characters_per_minute: int = setting(
        CAPABILITIES.characters,
        "More are held back; beyond 2400 the service closes the connection.",
        ge=100,
        le=CAPABILITIES.characters,
    )
    first_audio_timeout: Seconds = timeout(3000, "From a flush to its first audio.")
    connect_timeout: Seconds = timeout(5000, "Time to open the connection.")
    mip_opt_out: bool = setting(
        False, "Keep the text out of the service's model improvement; may change the price."
    )

    @property
    @override
    def language(self) -> str:
        return self.model[-2:] if re.search("-[a-z]{2}$", self.model) else "en"

    def check(self) -> None:
        """Raise SettingsConflict for combinations that the service refuses."""
        if self.speed is None:
            return
        if not re.fullmatch(r"aura-2-.*-(en|es)", self.model):
            rule = f"speed is for Aura-2 in en or es, not {self.model}"
            raise SettingsConflict(rule, "speed", "model")
        if self.speed < 0.9 and self.model.endswith("-es"):
            raise SettingsConflict("speed is at least 0.9 for a voice in es", "speed", "model")


def build_query(settings: AuraSettings) -> list[tuple[str, str]]:
    """The query parameters, in order."""
    query = [
        ("model", settings.model),
        ("encoding", "linear16"),
        ("sample_rate", str(settings.sample_rate)),
    ]
    if settings.speed is not None:
        query.append(("speed", f"{settings.speed:g}"))
    return [*query, ("mip_opt_out", "true" if settings.mip_opt_out else "false")]


async def _open_connection(
    settings: AuraSettings, address: ServiceAddress, max_age: Seconds
) -> Connection:
    # websockets: 25 ms
    from voicecli.services.deepgram.aura_connection import Connection
    from voicecli.services.deepgram.socket import open_socket

    stack = AsyncExitStack()
    socket = await stack.enter_async_context(
        open_socket("tts", address, _handshake(settings, address))
    )
    synthesis = Synthesis(
        flushes=settings.flushes_per_minute,
        characters=settings.characters_per_minute,
        window=CAPABILITIES.window,
    )
    return Connection(synthesis, socket, stack, max_age=max_age, stall=settings.first_audio_timeout)


@dataclass(eq=False)
class Aura(Synthesizer):
    """Aura-2 over one connection at a time, which is replaced when it fails or grows old.

    While its budget is low there is a second connection, the spare, with a budget of its own.
    """

    settings: AuraSettings
    address: ServiceAddress
    connection: Connection
    max_age: Seconds
    _spare: Connection | None = field(default=None, init=False)
    _refused: bool = field(default=False, init=False)
    _warming: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _asked: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    @override
    def opened(self) -> ConnectionOpened:
        return self.connection.opened

    @property
    @override
    def capabilities(self) -> TtsCapabilities:
        return CAPABILITIES

    @property
    @override
    def flushes_left(self) -> int:
        return sum(one.synthesis.flushes_left(clock.now()) for one in self._connections)

    @override
    def flush_allowed_at(self, characters: int) -> Seconds:
        now = clock.now()
        return min(one.synthesis.flush_allowed_at(characters, now) for one in self._connections)

    @property
    def _connections(self) -> list[Connection]:
        """The present connection, and the spare if it can be used."""
        spare = self._spare
        return [self.connection, *([spare] if spare is not None and spare.usable else [])]

    @override
    async def send(self, text: str, *, flush: bool) -> None:
        if not self.connection.usable:
            await self._reopen()
        elif self.connection.synthesis.idle and not self.connection.allows(text):
            self._use_spare()
            if self._refused and not self.connection.allows(text):
                await self._replace()
        connection, synthesis = self.connection, self.connection.synthesis
        for piece in synthesis.pieces(text):
            if (wait := synthesis.text_at(piece, clock.now()) - clock.now()) > 0:
                await asyncio.sleep(wait)
            synthesis.text_sent(piece, clock.now())
            await connection.send("Speak", text=piece)
        if flush:
            synthesis.ask_flush()
            await connection.flush()
            self._asked.set()

    @override
    async def warm(self) -> None:
        async with self._warming:
            spare = self._spare
            if self.connection.budget_left >= LOW_BUDGET:
                if spare is not None and spare.budget_left == 1:  # not needed for a minute
                    await self._close_spare()
                return
            if spare is None or not spare.usable or spare.budget_left < LOW_BUDGET:
                await self._close_spare()
                await self._open_spare()
            if not self.connection.synthesis.idle:
                return
            if self._spare is not None:
                self._use_spare()
            else:
                with suppress(ServiceError):  # ``send`` tries again, and raises
                    await self._replace()

    def _use_spare(self) -> None:
        """Go on with the spare, if it can be used and has more left."""
        spare = self._spare
        if spare and spare.usable and spare.budget_left > self.connection.budget_left:
            self.connection, self._spare = spare, self.connection
            self._asked.set()

    async def _open_spare(self) -> None:
        """Open a spare; raises ServiceError the first time that it is refused."""
        try:
            async with self._opening:
                self._spare = await _open_connection(self.settings, self.address, self.max_age)
        except ServiceError:
            if not self._refused:
                self._refused = True
                raise

    async def _close_spare(self) -> None:
        spare, self._spare = self._spare, None
        if spare is not None:
            await spare.close()

    @override
    async def audio(self) -> AsyncGenerator[bytes | Flushed, None]:
        while True:
            connection, synthesis = self.connection, self.connection.synthesis
            if synthesis.due:
                synthesis.due -= 1
                yield FLUSHED
            elif synthesis.in_flight:
                if pcm := await connection.receive():
                    yield pcm
            else:
                await self._flush_when_allowed(connection)

    @override
    async def clear(self, *, unplayed: Samples | None = None) -> None:
        connection = self.connection
        if connection.synthesis.forget() and not connection.lost:
            with suppress(ServiceError):
                await connection.send("Clear")

    @override
    async def cleared(self) -> str | None:
        connection, limit = self.connection, self.settings.first_audio_timeout
        try:
            async with asyncio.timeout(limit):
                while connection.synthesis.clearing:
                    await connection.receive()
        except TimeoutError as error:
            raise ServiceError("tts", f"no Cleared within {limit:g} s", temporary=True) from error
        return None

    async def _flush_when_allowed(self, connection: Connection) -> None:
        """Send the waiting Flush as soon as it is allowed; wait for one if there is none."""
        self._asked.clear()
        with suppress(TimeoutError):
            allowed = connection.synthesis.flush_at(clock.now())
            if allowed is None or allowed > clock.now():
                async with asyncio.timeout_at(allowed):
                    await self._asked.wait()
        await connection.flush()

    async def _replace(self) -> None:
        """Close the connection, and open another one with a budget of its own."""
        self.connection.retired = True
        await self._reopen()

    async def _reopen(self) -> None:
        """Replace a connection that is lost, retired or too old, by the spare or a new one.

        The old one is closed first: the service may not accept both.
        """
        async with self._opening:
            old, spare = self.connection, self._spare
            if old.usable:  # meanwhile
                return
            if spare is not None and spare.usable:
                self.connection, self._spare = spare, None
                await old.close()
                return
            await old.close()
            old.lost = True  # should opening fail
            self.connection = await _open_connection(self.settings, self.address, self.max_age)

    async def close(self) -> None:
        """Say Close on both connections, and close them."""
        await asyncio.gather(self.connection.close(), self._close_spare())


@asynccontextmanager
async def open_aura(
    settings: AuraSettings, address: ServiceAddress, *, max_age: Seconds = MAX_AGE
) -> AsyncGenerator[Aura, None]:
    """Connect to Aura-2; leaving says Close.  Raises as ``open_socket`` does."""
    connection = await _open_connection(settings, address, max_age)
    aura = Aura(settings, address, connection, max_age)
    try:
        yield aura
    finally:
        await aura.close()


def _handshake(settings: AuraSettings, address: ServiceAddress) -> Handshake:
    path = "/v1/speak?" + urlencode(build_query(settings))
    return create_handshake(path, address, settings.connect_timeout)


AURA = TtsProvider(
    settings=AuraSettings,
    open=open_aura,
    handshake=_handshake,
    connections=15,  # pay as you go; developers.deepgram.com/reference/api-rate-limits
    url=API_URL,
    url_env=URL_ENV,
    standin="deepgram",
    list_price=lambda settings: (0.030,) if settings.model.startswith("aura-2-") else None,
    capabilities=CAPABILITIES,
)
