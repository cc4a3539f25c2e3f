"""What Nova-3 is asked, what its frames become, and how the connection is kept and ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.deepgram_frames import results
from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import Event, FinalTranscript, InterimTranscript, Warned
from voicecli.services.deepgram.nova import (
    Nova,
    NovaSettings,
    build_query,
    open_nova,
)
from voicecli.services.provider import ServiceAddress
from voicecli.units import AudioBlock, AudioFormat

RATE = 16_000
FORMAT = AudioFormat(RATE)


def block(at: float, duration: float = 0.1) -> AudioBlock:
    return AudioBlock(FORMAT.silence(duration), at)


# ── the question ─────────────────────────────────────────────────────────────


def test_the_query_is_spelt_as_the_service_wants_it() -> None:
    settings = NovaSettings(
        model="nova-3",
        language="en-GB",
        vad_events=False,
        endpointing=0.25,
        utterance_end=1.2,
        numerals=True,
        keyterms=("Aura", "customer service"),
        tag="test",
        mip_opt_out=True,
        extra={"filler_words": True, "redact": ["pci", "ssn"], "n": 2},
    )
    assert build_query(settings, 48_000) == [
        ("model", "nova-3"),
        ("language", "en-GB"),
        ("encoding", "linear16"),
        ("sample_rate", "48000"),
        ("channels", "1"),
        ("interim_results", "true"),
        ("vad_events", "false"),
        ("smart_format", "true"),
        ("punctuate", "true"),
        ("no_delay", "true"),
        ("numerals", "true"),
        ("mip_opt_out", "true"),
        ("endpointing", "250"),
        ("utterance_end_ms", "1200"),
        ("keyterm", "Aura"),
        ("keyterm", "customer service"),
        ("tag", "test"),
        ("filler_words", "true"),
        ("redact", "pci"),
        ("redact", "ssn"),
        ("n", "2"),
    ]


def test_endpointing_can_be_switched_off() -> None:
    assert ("endpointing", "false") in build_query(NovaSettings(endpointing=None), RATE)


def test_the_end_of_utterances_is_asked_for_only_with_interims() -> None:
    assert "utterance_end_ms" in dict(build_query(NovaSettings(), RATE))
    assert "utterance_end_ms" not in dict(build_query(NovaSettings(utterance_end=None), RATE))
    assert "utterance_end_ms" not in dict(build_query(NovaSettings(interim_results=False), RATE))


def test_the_key_is_not_in_the_addresss_repr() -> None:
    assert "secret" not in repr(ServiceAddress(url="", key="secret", key_env=""))


# ── the connection ───────────────────────────────────────────────────────────

Handler = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def listening(handler: Handler, **options: Any) -> AsyncGenerator[Nova, None]:
    async with serve(handler, "127.0.0.1", 0, ping_interval=None) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with open_nova(
            NovaSettings(**options), ServiceAddress(url=url, key="", key_env=""), RATE
        ) as listen:
            yield listen


class Recorder:
    """A server that writes down what arrives and when, and may close at CloseStream."""

    def __init__(self, *, answers: dict[str, list[dict[str, Any]]], closes: bool = True) -> None:
        self.received: list[tuple[float, str | bytes]] = []
        self.path = ""
        self._answers = answers
        self._closes = closes

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.path = connection.request.path
        try:
            async for message in connection:
                self.received.append((clock.now(), message))
                name = json.loads(message)["type"] if isinstance(message, str) else "audio"
                for frame in self._answers.get(name, []):
                    await connection.send(json.dumps(frame))
                if name == "CloseStream" and self._closes:
                    await connection.close()
        except ConnectionClosed:
            pass


def test_a_conversation_from_first_block_to_last_transcript() -> None:
    server = Recorder(
        answers={
            "audio": [results("Yes", (0.0, 0.05))],
            "Finalize": [results("Yes.", (0.0, 0.05), is_final=True, from_finalize=True)],
            "CloseStream": [
                results("", start=0.05, duration=0.05, is_final=True),
                {"type": "Metadata"},
            ],
        }
    )

    async def main() -> list[Event]:
        async with listening(server, keyterms=("a b",)) as listen:
            assert listen.opened.service == "stt"
            await asyncio.sleep(1.0)
            await listen.send(block(0.9))
            await listen.send(AudioBlock(b"", 1.0))
            await listen.finalize()
            await listen.finish()
            return [event async for event in listen.events()]

    events = clock.run(main(), virtual=True)
    assert [message for _, message in server.received] == [
        block(0.9).pcm,
        '{"type":"Finalize"}',
        '{"type":"CloseStream"}',
    ]
    assert [type(event) for event in events] == [
        InterimTranscript,
        FinalTranscript,
        FinalTranscript,
    ]
    assert events[0] == InterimTranscript(
        at=1.0, text="Yes", speech_start=0.9, speech_end=pytest.approx(0.95)
    )
    url = urlsplit(server.path)
    assert url.path == "/v1/listen"
    assert ("keyterm", "a b") in parse_qsl(url.query)


def test_the_connection_is_kept_alive_while_the_microphone_is_muted() -> None:
    server = Recorder(answers={})

    async def main() -> None:
        async with listening(server) as listen, asyncio.TaskGroup() as tasks:
            events = tasks.create_task(exhaust(listen))
            await listen.send(block(0.0))
            await asyncio.sleep(3.0)
            await listen.send(block(3.0))
            await asyncio.sleep(9.0)
            await listen.finish()
            await events

    clock.run(main(), virtual=True)
    assert [(at, message) for at, message in server.received if isinstance(message, str)] == [
        (pytest.approx(7.0), '{"type":"KeepAlive"}'),
        (pytest.approx(11.0), '{"type":"KeepAlive"}'),
        (pytest.approx(12.0), '{"type":"CloseStream"}'),
    ]


async def exhaust(listen: Nova) -> list[Event]:
    return [event async for event in listen.events()]


def test_before_the_first_audio_nothing_is_kept_alive() -> None:
    server = Recorder(answers={})

    async def main() -> None:
        async with listening(server) as listen, asyncio.TaskGroup() as tasks:
            events = tasks.create_task(exhaust(listen))
            await asyncio.sleep(30.0)
            await listen.finish()
            await events

    clock.run(main(), virtual=True)
    assert [message for _, message in server.received] == ['{"type":"CloseStream"}']


@pytest.mark.parametrize("spoken", [True, False])
def test_a_service_that_never_closes_is_waited_for_five_seconds(spoken: bool) -> None:
    server = Recorder(answers={}, closes=False)

    async def main() -> tuple[list[Event], float]:
        async with listening(server) as listen, asyncio.TaskGroup() as tasks:
            events = tasks.create_task(exhaust(listen))
            if spoken:
                await listen.send(block(0.0))
            await asyncio.sleep(1.0)
            await listen.finish()
            return await events, clock.now()

    events, ended = clock.run(main(), virtual=True)
    assert ended == pytest.approx(6.0)
    assert events == [
        Warned(at=pytest.approx(6.0), service="stt", text="the last transcript may be missing")
    ]


@pytest.mark.parametrize(("code", "cause"), [(1000, "closed the connection"), (1011, "failed")])
def test_an_end_nobody_asked_for_is_an_error(code: int, cause: str) -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.close(code)

    async def main() -> None:
        async with listening(close) as listen:
            await listen.send(block(0.0))
            with pytest.raises(ServiceError, match=cause) as caught:
                await exhaust(listen)
            assert caught.value.temporary

    clock.run(main(), virtual=True)


def test_an_abnormal_end_after_finish_is_an_error_too() -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.close(1011, "NET-0000")

    async def main() -> None:
        async with listening(close) as listen:
            await listen.finish()
            with pytest.raises(ServiceError, match="failed to answer in time"):
                await exhaust(listen)

    clock.run(main(), virtual=True)


def test_listening_can_be_cancelled_at_once() -> None:
    server = Recorder(answers={})

    async def main() -> float:
        async with listening(server) as listen:
            events = asyncio.create_task(exhaust(listen))
            await asyncio.sleep(1.0)
            events.cancel()
            await asyncio.wait([events])
            assert events.cancelled()
            return clock.now()

    assert clock.run(main(), virtual=True) == pytest.approx(1.0)
