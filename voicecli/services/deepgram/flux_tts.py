"""Deepgram Flux TTS: words in as the LLM writes them, audio out (``/v2/speak``).

It differs from Aura-2 (``aura``) in what the pipeline sees of it
(https://developers.deepgram.com/docs/flux-tts/overview and the pages beside it):

- It speaks as text comes, at boundaries that it places itself, and takes any number of messages.
  One Flush ends a reply; SpeechMetadata, not Flushed, tells that all audio was sent.
- Interrupt ends a reply and keeps the connection, whose voice carries over from reply to reply.
  Told how much was played, the service answers with the words that were heard.  Before it has
  answered, text would join the interrupted speech: ``send`` waits, usually for less than the LLM
  needs for its first token.  A first reply that is cancelled before it has audio cannot be
  interrupted: its audio is awaited, and dropped.
- A connection lasts an hour, and a minute without a message; the WebSocket's pings count as such.
  ``warm`` replaces one that is old or closed, between replies.
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
from voicecli.services.deepgram.flux_speech import SpeechLedger
from voicecli.services.endpoint import declare_key_env, declare_url
from voicecli.services.interfaces import Flushed, Synthesizer, TtsCapabilities, TtsSettings
from voicecli.services.provider import Handshake, ServiceAddress, TtsProvider
from voicecli.settings import SettingsConflict, setting, timeout
from voicecli.units import Samples, Seconds

if TYPE_CHECKING:
    from voicecli.services.deepgram.flux_tts_connection import Connection

CAPABILITIES = TtsCapabilities(
    sample_rates=(8000, 16_000, 24_000, 32_000, 48_000),
    flushes=None,
    characters=None,
    window=0.0,
    seconds_per_character=0.06,  # as Aura-2; the first replies teach it better
    word_timestamps=False,
    speaks_unflushed=True,
    reports_heard=True,
)

SPEED_STEP = 0.05

MAX_AGE: Seconds = 55 * 60.0
"""Age at which an idle connection is replaced; the service ends it after 60 minutes (NET-0003)."""

ANSWER_TIMEOUT: Seconds = 1.0
"""How long an Interrupt may be unanswered: several round trips.  Then history keeps the estimate of
what was heard, and the next reply uses another connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxTtsSettings(TtsSettings):
    """Text to speech: Deepgram's /v2/speak."""

    base_url: str | None = declare_url(URL_ENV, "wss://api.deepgram.com")
    key_env: str = declare_key_env(KEY_ENV)
    model: str = setting("flux-alexis-en", "Name of the voice: flux-NAME-LANGUAGE.")
    speed: float | None = setting(
        None, "1 is the voice's own pace; in steps of 0.05; null: not sent.", ge=0.5, le=1.5
    )
    expressivity: int | None = setting(
        None, "From flat to lively; beta; null: not sent.", ge=-2, le=2
    )
    first_audio_timeout: Seconds = timeout(
        3000, "From a flush to its first audio, and from one frame to the next."
    )
    connect_timeout: Seconds = timeout(5000, "Time to open the connection.")
    mip_opt_out: bool = setting(
        False, "Keep the text out of the service's model improvement; may change the price."
    )
    tag: str | None = setting(None, "Label in the service's usage reports.", max_length=128)

    @property
    @override
    def language(self) -> str:
        return self.model[-2:]

    def check(self) -> None:
        """Raise SettingsConflict for what the service refuses."""
        if not re.fullmatch("flux-[a-z]+-[a-z]{2}", self.model):
            rule = f"model must be a Flux voice, such as flux-alexis-en, not {self.model}"
            raise SettingsConflict(rule, "model", "provider")
        if self.speed is not None:
            steps = self.speed / SPEED_STEP
            if abs(steps - round(steps)) > 1e-6:
                raise SettingsConflict(f"speed goes in steps of {SPEED_STEP}", "speed")


def build_query(settings: FluxTtsSettings) -> list[tuple[str, str]]:
    """The query parameters, in order."""
    query = [
        ("model", settings.model),
        ("encoding", "linear16"),
        ("sample_rate", str(settings.sample_rate)),
    ]
    if settings.speed is not None:
        query.append(("speed", f"{settings.speed:g}"))
    if settings.expressivity is not None:
        query.append(("expressivity", str(settings.expressivity)))
    query.append(("mip_opt_out", "true" if settings.mip_opt_out else "false"))
    return query if settings.tag is None else [*query, ("tag", settings.tag)]


async def _open_connection(
    settings: FluxTtsSettings, address: ServiceAddress, max_age: Seconds
) -> Connection:
    # websockets: 25 ms
    from voicecli.services.deepgram.flux_tts_connection import Connection
    from voicecli.services.deepgram.socket import open_socket

    stack = AsyncExitStack()
    socket = await stack.enter_async_context(
        open_socket("tts", address, _handshake(settings, address))
    )
    ledger = SpeechLedger(settings.sample_rate)
    return Connection(ledger, socket, stack, max_age=max_age, stall=settings.first_audio_timeout)


@dataclass(eq=False)
class FluxTts(Synthesizer):
    """Flux TTS over one connection at a time, which is replaced when it fails or grows old."""

    settings: FluxTtsSettings
    address: ServiceAddress
    connection: Connection
    max_age: Seconds
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _sent: asyncio.Event = field(default_factory=asyncio.Event, init=False)

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
    def flushes_left(self) -> int | None:
        return None

    @override
    def flush_allowed_at(self, characters: int) -> Seconds:
        return clock.now()

    @override
    async def send(self, text: str, *, flush: bool) -> None:
        with suppress(ServiceError):  # then it is lost
            await self._wait_for_answer()
        if not self.connection.usable:
            await self._reopen()
        await self.connection.speak(text)
        if flush:
            await self.connection.flush()
        self._sent.set()

    @override
    async def audio(self) -> AsyncGenerator[bytes | Flushed, None]:
        while True:
            connection, ledger = self.connection, self.connection.ledger
            if ledger.items:
                yield ledger.items.popleft()
            elif ledger.speeches:
                await connection.receive_audio()
            else:
                self._sent.clear()
                await self._sent.wait()

    @override
    async def warm(self) -> None:
        if not self.connection.usable:
            with suppress(ServiceError):  # ``send`` tries again, and raises
                await self._reopen()

    @override
    async def clear(self, *, unplayed: Samples | None = None) -> None:
        with suppress(ServiceError):
            await self.connection.interrupt(unplayed)

    @override
    async def cleared(self) -> str | None:
        connection = self.connection
        interruption = connection.ledger.interruption
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await connection.receive_until(lambda: interruption.done)
        except TimeoutError as error:
            cause = f"no answer to Interrupt within {ANSWER_TIMEOUT:g} s"
            raise ServiceError("tts", cause, temporary=True) from error
        return interruption.text

    async def _wait_for_answer(self) -> None:
        """Wait until new text cannot become part of an interrupted speech; raises ServiceError."""
        connection, ledger = self.connection, self.connection.ledger
        if connection.lost or not ledger.is_blocked:
            return
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await connection.receive_until(lambda: not ledger.is_blocked)
        except TimeoutError:
            cause = f"no answer to Interrupt within {ANSWER_TIMEOUT:g} s"
            connection.give_up(ServiceError("tts", cause, temporary=True))

    async def _reopen(self) -> None:
        """Replace a connection that is lost or too old.

        The old one is closed first: the service may not accept both.
        """
        async with self._opening:
            old = self.connection
            if old.usable:  # meanwhile
                return
            await old.close()
            self.connection = await _open_connection(self.settings, self.address, self.max_age)

    async def close(self) -> None:
        """Say Close, and close the connection."""
        await self.connection.close()


@asynccontextmanager
async def open_flux_tts(
    settings: FluxTtsSettings, address: ServiceAddress, *, max_age: Seconds = MAX_AGE
) -> AsyncGenerator[FluxTts, None]:
    """Connect to Flux TTS; leaving says Close.  Raises as ``open_socket`` does."""
    connection = await _open_connection(settings, address, max_age)
    flux = FluxTts(settings, address, connection, max_age)
    try:
        yield flux
    finally:
        await flux.close()


def _handshake(settings: FluxTtsSettings, address: ServiceAddress) -> Handshake:
    path = "/v2/speak?" + urlencode(build_query(settings))
    return create_handshake(path, address, settings.connect_timeout)


FLUX_TTS = TtsProvider(
    settings=FluxTtsSettings,
    open=open_flux_tts,
    handshake=_handshake,
    url=API_URL,
    url_env=URL_ENV,
    standin="deepgram",
    list_price=lambda settings: None,  # not found in the sources of the other prices
    capabilities=CAPABILITIES,
)
