"""Deepgram Nova-3: microphone audio in, transcripts out (``/v1/listen``).

https://developers.deepgram.com/reference/speech-to-text/listen-streaming
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

from voicecli import clock
from voicecli.events import ConnectionOpened, Event, Warned
from voicecli.services.deepgram.socket import API_URL, KEY_ENV, Closed, Socket, open_socket
from voicecli.services.deepgram.transcript import SentAudio, decode
from voicecli.services.endpoint import check_url
from voicecli.units import AudioBlock, Seconds

KEEP_ALIVE: Seconds = 4.0
"""Silence on the wire before a KeepAlive; the service hangs up after 10 s and advises 3 to 5."""

DRAIN: Seconds = 5.0
"""How long the last transcripts may take after CloseStream; must exceed KEEP_ALIVE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaOptions:
    """What to ask of the service.  Durations in seconds; None switches a feature off.

    endpointing: silence after which the service ends an utterance (``speech_final``).
    utterance_end: time without a word after which it says so; at least 1, needs interim_results.
    extra: further query parameters, passed as they are.
    """

    url: str = API_URL
    key: str = field(default="", repr=False)
    key_env: str = KEY_ENV
    model: str = "nova-3"
    language: str = "en"
    sample_rate: int = 16_000
    interim_results: bool = True
    endpointing: Seconds | None = 0.3
    utterance_end: Seconds | None = 1.0
    vad_events: bool = False
    smart_format: bool = True
    punctuate: bool = True
    no_delay: bool = True
    numerals: bool = False
    keyterms: tuple[str, ...] = ()
    tag: str | None = None
    mip_opt_out: bool = False
    extra: tuple[tuple[str, str], ...] = ()
    connect_timeout: Seconds = 5.0


_SWITCHES = (
    "interim_results",
    "vad_events",
    "smart_format",
    "punctuate",
    "no_delay",
    "numerals",
    "mip_opt_out",
)


def build_nova_query(options: NovaOptions) -> list[tuple[str, str]]:
    """The query parameters, in order; a parameter with several values is repeated."""
    query = [
        ("model", options.model),
        ("language", options.language),
        ("encoding", "linear16"),
        ("sample_rate", str(options.sample_rate)),
        ("channels", "1"),
    ]
    query += [(name, "true" if getattr(options, name) else "false") for name in _SWITCHES]
    query.append(
        ("endpointing", _ms(options.endpointing) if options.endpointing is not None else "false")
    )
    if options.utterance_end is not None and options.interim_results:  # else a 400
        query.append(("utterance_end_ms", _ms(options.utterance_end)))
    query += [("keyterm", term) for term in options.keyterms]
    if options.tag is not None:
        query.append(("tag", options.tag))
    return [*query, *options.extra]


def _ms(duration: Seconds) -> str:
    return str(round(duration * 1000))


class Nova:
    """An open connection to Nova-3; see ``stages.Transcriber``.

    opened: how long opening took, and the service's id of the connection.
    """

    def __init__(self, socket: Socket, rate: int) -> None:
        self.opened = ConnectionOpened(
            at=clock.now(), service="stt", took=socket.took, request_id=socket.request_id
        )
        self._socket = socket
        self._sent = SentAudio(rate)
        self._heard_audio = False
        self._last_sent = clock.now()
        self._finished_at: Seconds | None = None

    async def send(self, block: AudioBlock) -> None:
        """Send ``block``; its place in time is remembered for the transcripts' times."""
        if not block.pcm:  # an empty frame would end the stream
            return
        self._sent.add(block)
        self._heard_audio = True
        await self._send(block.pcm)

    async def finalize(self) -> None:
        """Ask for the final text of all that was sent; where that is little, none may come."""
        await self._send('{"type":"Finalize"}')

    async def finish(self) -> None:
        """No more audio follows; ``events`` ends after the last transcript."""
        self._finished_at = clock.now()
        await self._send('{"type":"CloseStream"}')

    async def events(self) -> AsyncGenerator[Event, None]:
        """Transcripts, ends of utterances and warnings, until the close that ``finish`` asks for.

        Keeps the connection alive while iterated.  Raises ServiceError when it ends otherwise.
        """
        while True:
            try:
                # Never waits longer than KEEP_ALIVE, so that ``finish`` need not wake it.
                async with asyncio.timeout_at(self._wakes_at()):
                    message = await self._socket.receive()
            except TimeoutError:
                if self._finished_at is None:
                    await self._keep_alive()
                elif clock.now() >= self._finished_at + DRAIN:
                    yield Warned(
                        at=clock.now(), service="stt", text="the last transcript may be missing"
                    )
                    return
                continue
            except Closed:
                if self._finished_at is not None:
                    return
                raise
            event = decode(message, self._sent, at=clock.now())
            if event is not None:
                yield event

    def _wakes_at(self) -> Seconds:
        if self._finished_at is not None:
            return self._finished_at + DRAIN
        return (self._last_sent if self._heard_audio else clock.now()) + KEEP_ALIVE

    async def _keep_alive(self) -> None:
        # Before the first audio it does not help: the service wants audio within 10 s of opening.
        if self._heard_audio and clock.now() >= self._last_sent + KEEP_ALIVE:
            await self._send('{"type":"KeepAlive"}')

    async def _send(self, message: str | bytes) -> None:
        self._last_sent = clock.now()
        await self._socket.send(message)


@asynccontextmanager
async def open_nova(options: NovaOptions) -> AsyncGenerator[Nova, None]:
    """Connect to Nova-3; leaving closes the connection.  Raises as ``open_socket`` does."""
    async with open_socket(
        "stt",
        check_url("stt", options.url),
        "/v1/listen?" + urlencode(build_nova_query(options)),
        key=options.key,
        key_env=options.key_env,
        connect_timeout=options.connect_timeout,
    ) as socket:
        yield Nova(socket, options.sample_rate)
