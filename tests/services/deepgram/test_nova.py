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

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import Event, FinalTranscript, InterimTranscript, UtteranceEnded, Warned
from voicecli.services.deepgram.nova import (
    Nova,
    NovaSettings,
    SentAudio,
    build_query,
    decode,
    open_nova,
)
from voicecli.services.interfaces import ServiceAddress
from voicecli.units import AudioBlock, AudioFormat

RATE = 16_000
FORMAT = AudioFormat(RATE)


def block(at: float, duration: float = 0.1) -> AudioBlock:
    return AudioBlock(FORMAT.silence(duration), at)


def sent(*pieces: tuple[float, float]) -> SentAudio:
    """Audio sent in blocks of 0.1 s: (start on the session's clock, duration)."""
    audio = SentAudio(RATE)
    for start, duration in pieces:
        for index in range(round(duration * 10)):
            audio.add(block(start + index / 10))
    return audio


def results(text: str, *words: tuple[float, float], **changes: Any) -> dict[str, Any]:
    spelt = text.split() or [""]
    frame: dict[str, Any] = {
        "type": "Results",
        "channel_index": [0, 1],
        "duration": 1.5,
        "start": 0.5,
        "is_final": False,
        "speech_final": False,
        "channel": {
            "alternatives": [
                {
                    "transcript": text,
                    "confidence": 0.98,
                    "words": [
                        {"word": spelt[0].lower(), "start": start, "end": end, "confidence": 0.9}
                        for start, end in words
                    ],
                }
            ]
        },
        "metadata": {"request_id": "id", "model_info": {"name": "general-nova-3"}},
        "from_finalize": False,
    }
    return frame | changes


def heard(frame: object, audio: SentAudio | None = None) -> Event | None:
    return decode(json.dumps(frame), audio or sent((0.0, 10.0)), at=9.0)


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


# ── the frames ───────────────────────────────────────────────────────────────


def test_an_interim_speaks_from_its_first_word_to_its_last() -> None:
    assert heard(results("Paris at a moment", (0.25, 0.39999998), (0.79999995, 0.96))) == (
        InterimTranscript(
            at=9.0, text="Paris at a moment", speech_start=0.25, speech_end=pytest.approx(0.96)
        )
    )


def test_a_final_carries_why_it_is_final() -> None:
    words = ((0.5, 0.75), (1.25, 1.5))
    assert heard(results("Yes.", *words, is_final=True)) == FinalTranscript(
        at=9.0, text="Yes.", speech_start=0.5, speech_end=1.5
    )
    assert heard(results("Yes.", *words, is_final=True, speech_final=True)) == FinalTranscript(
        at=9.0, text="Yes.", speech_start=0.5, speech_end=1.5, speech_final=True
    )
    finalized = results("Yes.", *words, is_final=True, speech_final=True, from_finalize=True)
    assert heard(finalized) == FinalTranscript(
        at=9.0,
        text="Yes.",
        speech_start=0.5,
        speech_end=1.5,
        speech_final=True,
        from_finalize=True,
    )


def test_speech_final_alone_is_final_too() -> None:
    assert isinstance(heard(results("Yes.", (0, 1), speech_final=True)), FinalTranscript)


def test_silence_has_the_times_of_its_segment() -> None:
    assert heard(results("", is_final=True, speech_final=True)) == FinalTranscript(
        at=9.0, text="", speech_start=0.5, speech_end=2.0, speech_final=True
    )


def test_the_end_of_an_utterance_may_have_no_word() -> None:
    end = {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 8.5}
    assert heard(end) == UtteranceEnded(at=9.0, last_word_end=8.5)
    assert heard(end | {"last_word_end": -1}) == UtteranceEnded(at=9.0, last_word_end=None)


def test_an_error_frame_is_a_warning_fit_for_the_terminal() -> None:
    error = {
        "type": "Error",
        "variant": "SchemaError",
        "description": "unknown\x1b[31m variant",
        "message": '{"type":"Nonsense"}',
    }
    assert heard(error) == Warned(
        at=9.0, service="stt", text='SchemaError: unknown variant: {"type":"Nonsense"}'
    )
    assert heard({"type": "Error"}) == Warned(
        at=9.0, service="stt", text="an error it does not explain"
    )


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 9.54},
        {"type": "Metadata", "sha256": "incomplete", "duration": 4.08},
        {"type": "ConfigureSuccess", "keyterms": []},
        {"type": "SomethingOfNextYear"},
    ],
)
def test_what_tells_nothing_new_is_no_event(frame: dict[str, Any]) -> None:
    assert heard(frame) is None


BROKEN = [
    ("", "not JSON"),
    ("{", "not JSON"),
    ("[" * 100_000, "not JSON"),
    (b"\x00\xff", "not JSON"),
    ("[]", "without a type"),
    ("{}", "without a type"),
    ('{"type":5}', "without a type"),
    ('{"type":"Results"}', "without a transcript"),
    ('{"type":"Results","channel":{"alternatives":[]}}', "without a transcript"),
    ('{"type":"Results","channel":{"alternatives":[{"transcript":null}]}}', "a transcript"),
    ('{"type":"Results","channel":{"alternatives":[{"transcript":""}]}}', "start is no number"),
    ('{"type":"UtteranceEnd"}', "last_word_end is no number"),
    ('{"type":"UtteranceEnd","last_word_end":"8"}', "last_word_end is no number"),
    ('{"type":"UtteranceEnd","last_word_end":NaN}', "last_word_end is no number"),
    ('{"type":"UtteranceEnd","last_word_end":1e999}', "last_word_end is no number"),
    ('{"type":"UtteranceEnd","last_word_end":true}', "last_word_end is no number"),
]


@pytest.mark.parametrize(("message", "what"), BROKEN)
def test_a_frame_of_the_wrong_shape_is_one_sentence(message: str | bytes, what: str) -> None:
    with pytest.raises(ServiceError, match=what):
        decode(message, sent(), at=0.0)


@pytest.mark.parametrize("words", [5, "words", [5], [{}], [{"start": 1}], [{"end": 1}]])
def test_words_of_the_wrong_shape_are_one_sentence(words: object) -> None:
    frame = results("x")
    frame["channel"]["alternatives"][0]["words"] = words
    with pytest.raises(ServiceError, match="STT: the service sent a"):
        heard(frame)


def test_half_a_character_is_replaced() -> None:
    event = heard(results("a\ud83d"))
    assert isinstance(event, InterimTranscript)
    assert event.text == "a?"


# ── time ─────────────────────────────────────────────────────────────────────


def test_a_muted_microphone_moves_later_words_only() -> None:
    audio = sent((5.0, 2.0), (60.0, 2.0))
    assert audio.start(0.0) == 5.0
    assert audio.end(1.5) == 6.5
    assert audio.start(2.5) == 60.5
    assert audio.end(4.0) == 62.0


def test_words_at_the_edges_of_a_gap_stay_on_their_side() -> None:
    audio = sent((5.0, 2.0), (60.0, 2.0))
    for noise in (-2e-7, 0.0, 2e-7):  # 32-bit floats
        assert audio.end(2.0 + noise) == pytest.approx(7.0, abs=1e-6)
        assert audio.start(2.0 + noise) == pytest.approx(60.0, abs=1e-6)


def test_the_lag_of_an_interim_is_the_audio_sent_that_it_does_not_cover() -> None:
    audio = SentAudio(RATE)
    interim = results("Hello", (0.5, 1.2), start=0.5, duration=0.7)
    assert audio.interim_lag is None
    audio.add(AudioBlock(bytes(2 * round(1.5 * RATE)), 0.0))
    heard(interim, audio)
    assert audio.interim_lag == pytest.approx(0.3)
    audio.add(AudioBlock(bytes(2 * round(0.5 * RATE)), 1.5))
    heard(interim | {"is_final": True}, audio)
    assert audio.interim_lag == pytest.approx(0.3)
    heard(interim, audio)
    assert audio.interim_lag == pytest.approx(0.8)


def test_a_drifting_microphone_is_followed_to_the_millisecond() -> None:
    audio = SentAudio(RATE)
    for index in range(1000):
        audio.add(block(index * 0.10001))  # 100 ppm
    assert audio.end(50.0) == pytest.approx(50.005, abs=0.001)
    assert audio.end(99.9) == pytest.approx(99.90999, abs=0.001)


def test_what_is_long_past_is_forgotten() -> None:
    audio = SentAudio(RATE)
    for index in range(4000):
        audio.add(block(index * 0.2))  # a gap after every block
    assert audio.anchors < 1300
    assert audio.start(390.02) == pytest.approx(780.02)
    assert audio.start(280.02) == pytest.approx(560.02)


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
            "CloseStream": [results("", is_final=True), {"type": "Metadata"}],
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
