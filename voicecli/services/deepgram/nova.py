"""Deepgram Nova-3: microphone audio in, transcripts out (``/v1/listen``).

https://developers.deepgram.com/reference/speech-to-text/listen-streaming
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from typing_extensions import override

from voicecli import clock, events
from voicecli.events import Event
from voicecli.services.deepgram import API_URL, KEY_ENV, URL_ENV, create_handshake
from voicecli.services.deepgram.frames import SentAudio, WarningFilter, decode
from voicecli.services.endpoint import CloseError, declare_key_env, declare_url
from voicecli.services.interfaces import SttCapabilities, SttSettings, Transcriber
from voicecli.services.provider import Handshake, ServiceAddress, SttProvider
from voicecli.settings import SettingsConflict, milliseconds, setting, timeout
from voicecli.units import AudioBlock, Seconds, ms

if TYPE_CHECKING:
    from voicecli.services.deepgram.socket import Socket

CLOSE = '{"type":"CloseStream"}'

KEEP_ALIVE: Seconds = 4.0
"""Silence on the wire before a KeepAlive; the service hangs up after 10 s and advises 3 to 5."""

LAST_TRANSCRIPTS: Seconds = 5.0
"""How long the last transcripts may take after CloseStream; must exceed KEEP_ALIVE."""

KEYTERM_TOKENS = 500
CHARACTERS_PER_TOKEN = 4
"""Usual in English; the service counts exactly, and refuses the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaSettings(SttSettings):
    """Speech to text: Deepgram's /v1/listen."""

    base_url: str | None = declare_url(URL_ENV, "wss://api.deepgram.com")
    key_env: str = declare_key_env(KEY_ENV)
    model: str = setting("nova-3", "Name of the model.")
    language: str = setting("en", "BCP-47 tag, or multi.")
    interim_results: bool = setting(True, "Send transcripts while a segment is still open.")
    endpointing: Seconds | None = milliseconds(
        200,
        "Silence after which the service ends a segment; false: it does not decide.",
        ge=10,
        le=5000,
        off=False,
    )
    utterance_end: Seconds | None = milliseconds(
        1000, "Time without a word that ends an utterance, also in noise; null: off.", ge=1000
    )
    vad_events: bool = setting(True, "Have the service report when it detects a voice.")
    smart_format: bool = setting(True, "Write dates, numbers and the like as people do.")
    punctuate: bool = setting(True, "Punctuation and capitals.")
    no_delay: bool = setting(
        True, "Do not hold a final back to format it better (up to 3 s after numbers)."
    )
    numerals: bool = setting(False, "Digits for number words.")
    keyterms: tuple[str, ...] = setting(
        (), "Words to listen for, nova-3 only; together about 500 tokens."
    )
    mip_opt_out: bool = setting(
        False, "Keep the audio out of the service's model improvement; may change the price."
    )
    tag: str | None = setting(None, "Label in the service's usage reports.", max_length=128)
    extra: Mapping[str, str | int | float | bool | list[str | int | float | bool]] = setting(
        {}, "Further query parameters, passed as they are."
    )
    connect_timeout: Seconds = timeout(5000, "Time to open the connection.")

    @property
    @override
    def sends_interims(self) -> bool:
        return self.interim_results

    @property
    @override
    def silence_limit(self) -> Seconds | None:
        return self.endpointing

    def check(self) -> None:
        """Raise SettingsConflict for combinations that the service refuses."""
        if self.utterance_end is not None and not self.interim_results:
            rule = "utterance_end_ms needs interim_results: true"
            raise SettingsConflict(rule, "utterance_end_ms", "interim_results")
        if self.keyterms and not self.model.startswith("nova-3"):
            raise SettingsConflict(f"keyterms need nova-3, not {self.model}", "keyterms", "model")
        if sum(map(len, self.keyterms)) > KEYTERM_TOKENS * CHARACTERS_PER_TOKEN:
            rule = f"keyterms are more than about {KEYTERM_TOKENS} tokens"
            raise SettingsConflict(rule, "keyterms")


_SWITCHES = (
    "interim_results", "vad_events", "smart_format", "punctuate", "no_delay", "numerals",
    "mip_opt_out",
)  # fmt: skip


def build_query(settings: NovaSettings, sample_rate: int) -> list[tuple[str, str]]:
    """The query parameters, in order; a parameter with several values is repeated."""
    query = [
        ("model", settings.model),
        ("language", settings.language),
        ("encoding", "linear16"),
        ("sample_rate", str(sample_rate)),
        ("channels", "1"),
    ]
    query += [(name, _text(getattr(settings, name))) for name in _SWITCHES]
    query.append(("endpointing", _milliseconds(settings.endpointing)))
    if settings.utterance_end is not None and settings.interim_results:  # else a 400
        query.append(("utterance_end_ms", _milliseconds(settings.utterance_end)))
    query += [("keyterm", term) for term in settings.keyterms]
    if settings.tag is not None:
        query.append(("tag", settings.tag))
    for name, value in settings.extra.items():
        query += [(name, _text(one)) for one in (value if isinstance(value, list) else [value])]
    return query


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _milliseconds(duration: Seconds | None) -> str:
    return "false" if duration is None else str(round(ms(duration)))


class Nova(Transcriber):
    """An open connection to Nova-3."""

    def __init__(self, socket: Socket, rate: int) -> None:
        self._opened = events.ConnectionOpened(
            at=clock.now(), service="stt", took=socket.took, request_id=socket.request_id
        )
        self._socket = socket
        self._sent = SentAudio(rate)
        self._has_audio = False
        self._last_sent = clock.now()
        self._finished_at: Seconds | None = None
        self._warnings = WarningFilter()

    @property
    @override
    def opened(self) -> events.ConnectionOpened:
        return self._opened

    @property
    @override
    def interim_lag(self) -> Seconds | None:
        return self._sent.interim_lag

    @property
    @override
    def final_until(self) -> Seconds:
        return self._sent.end(self._sent.final_until)

    @override
    async def send(self, block: AudioBlock) -> None:
        if not block.pcm:  # an empty frame would end the stream
            return
        self._sent.add(block)
        self._has_audio = True
        await self._send(block.pcm)

    @override
    async def finalize(self) -> None:
        await self._send('{"type":"Finalize"}')

    @override
    async def finish(self) -> None:
        self._finished_at = clock.now()
        await self._send(CLOSE)

    @override
    async def events(self) -> AsyncGenerator[Event, None]:
        while True:
            try:
                # Never waits longer than KEEP_ALIVE, so that ``finish`` need not wake it.
                async with asyncio.timeout_at(self._wakes_at()):
                    message = await self._socket.receive()
            except TimeoutError:
                if self._finished_at is None:
                    await self._keep_alive()
                elif clock.now() >= self._finished_at + LAST_TRANSCRIPTS:
                    yield events.Warned(
                        at=clock.now(), service="stt", text="the last transcript may be missing"
                    )
                    return
                continue
            except CloseError:
                if self._finished_at is not None:
                    return
                raise
            for event in decode(message, self._sent, at=clock.now()):
                if self._warnings.passes(event):
                    yield event

    def _wakes_at(self) -> Seconds:
        if self._finished_at is not None:
            return self._finished_at + LAST_TRANSCRIPTS
        return (self._last_sent if self._has_audio else clock.now()) + KEEP_ALIVE

    async def _keep_alive(self) -> None:
        # Before the first audio it does not help: the service wants audio within 10 s of opening.
        if self._has_audio and clock.now() >= self._last_sent + KEEP_ALIVE:
            await self._send('{"type":"KeepAlive"}')

    async def _send(self, message: str | bytes) -> None:
        self._last_sent = clock.now()
        await self._socket.send(message)


@asynccontextmanager
async def open_nova(
    settings: NovaSettings, address: ServiceAddress, sample_rate: int
) -> AsyncGenerator[Nova, None]:
    """Connect to Nova-3; leaving closes the connection.  Raises as ``open_socket`` does."""
    from voicecli.services.deepgram.socket import open_socket  # websockets: 25 ms

    handshake = _handshake(settings, address, sample_rate)
    async with open_socket("stt", address, handshake) as socket:
        yield Nova(socket, sample_rate)


def _handshake(settings: NovaSettings, address: ServiceAddress, sample_rate: int) -> Handshake:
    path = "/v1/listen?" + urlencode(build_query(settings, sample_rate))
    return create_handshake(path, address, settings.connect_timeout, goodbye=CLOSE)


def _list_price(settings: NovaSettings) -> tuple[float, ...] | None:
    """The regular price; Deepgram's page shows a promotional one of 0.0048 beside it."""
    if not settings.model.startswith("nova-3"):
        return None
    return (0.0092 if settings.language == "multi" else 0.0077,)


NOVA = SttProvider(
    settings=NovaSettings,
    open=open_nova,
    handshake=_handshake,
    connections=50,  # pay as you go; developers.deepgram.com/reference/api-rate-limits
    url=API_URL,
    url_env=URL_ENV,
    standin="deepgram",
    list_price=_list_price,
    capabilities=SttCapabilities(
        sample_rates=range(8000, 48_001), word_timestamps=True, end_of_turn_events=False
    ),
)
