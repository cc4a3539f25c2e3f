"""The stand-in of ``/v1/speak``: audio at exact times, and the service's own limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.support.speak_client import Received, converse
from voicecli import clock
from voicecli.audio.pcm import find_audible, samples_of
from voicecli.standin import Fault, serve
from voicecli.standin.engines.scripted import create_scripted_engines
from voicecli.standin.script import Latency, Script, TtsScript

RATE = 24_000
FLUSH = '{"type":"Flush"}'
CLEAR = '{"type":"Clear"}'
CLOSE = '{"type":"Close"}'


def speak(text: str) -> str:
    return json.dumps({"type": "Speak", "text": text})


@asynccontextmanager
async def speaking(
    tts: TtsScript | None = None, faults: tuple[Fault, ...] = (), **query: Any
) -> AsyncGenerator[ClientConnection, None]:
    async with serve(
        create_scripted_engines(Script(tts=tts or TtsScript())), faults=faults
    ) as endpoints:
        asked = {"model": "aura-2-thalia-en", "sample_rate": RATE} | query
        url = f"{endpoints.deepgram}/v1/speak?{urlencode(asked)}"
        async with connect(url, compression=None, ping_timeout=None) as socket:
            yield socket


def say(
    *moves: str | bytes | float,
    tts: TtsScript | None = None,
    faults: tuple[Fault, ...] = (),
    **query: Any,
) -> Received:
    async def main() -> Received:
        async with speaking(tts, faults, **query) as socket:
            return await converse(socket, *moves)

    return clock.run(main(), virtual=True)


# ── when ─────────────────────────────────────────────────────────────────────


def test_metadata_comes_first_and_nothing_is_said_before_a_flush() -> None:
    received = say(speak("Hello there."), 5.0, CLOSE)

    ((_, metadata),) = received.messages
    assert (metadata["type"], metadata["model_name"]) == ("Metadata", "aura-2-thalia-en")
    assert received.frames == []
    assert (received.code, received.reason) == (1000, "Connection was closed successfully.")


def test_audio_comes_exactly_when_the_script_says() -> None:
    text = "Twenty-five characters ok"  # 25 of 60 ms: 1.5 s of speech

    received = say(speak(text), 0.3, FLUSH, 5.0, CLOSE)

    step = 0.08 / 4
    assert len(received.pcm) == 2 * RATE * 1.5
    assert [at for at, _ in received.frames] == [
        pytest.approx(0.3 + 0.12 + index * step) for index in range(19)
    ]
    ((at, flushed),) = received.of("Flushed")
    assert flushed["sequence_id"] == 0
    assert at == pytest.approx(received.frames[-1][0])


def test_the_first_sample_is_audible_unless_a_lead_is_wanted() -> None:
    moves = (speak("Hello."), FLUSH, 5.0, CLOSE)

    assert find_audible(samples_of(say(*moves).pcm)) == 0
    assert find_audible(samples_of(say(*moves, tts=TtsScript(lead=0.05)).pcm)) == 0.05 * RATE


def test_texts_are_joined_as_they_stand() -> None:
    tts = TtsScript(char=0.1)

    together = say(speak("One "), speak("two."), FLUSH, 5.0, CLOSE, tts=tts)

    assert len(together.pcm) == 2 * RATE * 0.8


def test_flushes_are_spoken_one_after_the_other() -> None:
    received = say(speak("One."), FLUSH, speak("Two."), FLUSH, 5.0, CLOSE)

    (first, _), (second, _) = received.of("Flushed")
    assert [message["sequence_id"] for _, message in received.of("Flushed")] == [0, 1]
    later = [at for at, _ in received.frames if at > first]
    assert later[0] == pytest.approx(first + 0.12)
    assert later[-1] == pytest.approx(second)


def test_a_flush_of_nothing_is_done_at_once() -> None:
    received = say(FLUSH, 1.0, CLOSE)

    assert received.frames == []
    assert [at for at, _ in received.of("Flushed")] == [0.0]


# ── Clear ────────────────────────────────────────────────────────────────────


def test_clear_stops_the_audio_and_no_flushed_follows() -> None:
    text = "A long sentence that takes its time, and is never heard to its end."

    received = say(speak(text), FLUSH, speak(" More."), 0.3, CLEAR, 5.0, CLOSE)

    ((cleared, message),) = received.of("Cleared")
    assert cleared == pytest.approx(0.3)
    assert message["sequence_id"] == 0
    assert max(at for at, _ in received.frames) <= cleared
    assert received.of("Flushed") == []


def test_clear_also_drops_the_flushes_that_wait() -> None:
    received = say(speak("One."), FLUSH, speak("Two."), FLUSH, 0.05, CLEAR, 5.0, CLOSE)

    assert received.frames == []
    assert received.of("Flushed") == []


def test_after_clear_only_new_text_is_spoken() -> None:
    tts = TtsScript(char=0.1)

    received = say(speak("Forget this."), CLEAR, speak("Now."), FLUSH, 5.0, CLOSE, tts=tts)

    assert len(received.pcm) == 2 * RATE * 0.4
    assert [message["type"] for _, message in received.messages] == [
        "Metadata",
        "Cleared",
        "Flushed",
    ]


# ── limits ───────────────────────────────────────────────────────────────────


def test_the_twenty_first_flush_in_a_minute_is_refused_and_its_text_kept() -> None:
    moves: list[str | bytes | float] = []
    for _ in range(21):
        moves += [speak("Yes."), FLUSH, 1.0]

    received = say(*moves, 40.0, FLUSH, 5.0, CLOSE, tts=TtsScript(char=0.1))

    ((at, warning),) = received.of("Warning")
    assert at == pytest.approx(20.0)
    assert warning["warn_code"] == "EXCESSIVE_FLUSH"
    assert "flushes" in warning["warn_msg"]
    assert [message["sequence_id"] for _, message in received.of("Flushed")] == [*range(21)]
    assert len(received.pcm) == 21 * 2 * RATE * 0.4


@pytest.mark.parametrize(
    ("moves", "code", "reason"),
    [
        ([speak("x" * 2001)], 1009, "BIG-0001"),
        ([speak("x" * 1300), speak("x" * 1101)], 1008, "DATA-0001"),
        ([speak("")], 1008, "DATA-0000"),
        (['{"type":"KeepAlive"}'], 1008, "DATA-0000"),
        (['{"type":"Reset"}'], 1008, "DATA-0000"),
        (["Flush"], 1008, "DATA-0000"),
        ([b"audio"], 1003, "MESSAGE-0000"),
        ([3600.0], 1011, "NET-0003"),
    ],
)
def test_a_breach_of_the_protocol_closes_the_connection(
    moves: list[str | bytes | float], code: int, reason: str
) -> None:
    received = say(*moves)

    assert (received.code, received.reason) == (code, reason)


def test_2400_characters_a_minute_are_allowed() -> None:
    received = say(speak("x" * 1300), speak("x" * 1100), 60.0, speak("x" * 1500), CLOSE)

    assert received.code == 1000


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            {"sample_rate": 44100},
            "Unsupported audio format: `sample_rate` must be [8000, 16000, 24000, 32000, 48000] "
            "when `encoding=linear16`",
        ),
        (
            {"encoding": "mulaw"},
            "Unsupported audio format: `sample_rate` must be [8000, 16000] when `encoding=mulaw`",
        ),
        ({"encoding": "mp3"}, "`encoding` must be one of"),
        ({"container": "wav"}, "`container` must be none"),
        ({"speed": 2}, "speed: must be between 0.7 and 1.5"),
        ({"speed": "fast"}, "speed: invalid float literal"),
        ({"model": "nova-3"}, "No such model/version combination found."),
    ],
)
def test_a_bad_parameter_is_refused_before_the_upgrade(query: dict[str, Any], message: str) -> None:
    async def main() -> InvalidStatus:
        with pytest.raises(InvalidStatus) as caught:
            async with speaking(**query):
                pass
        return caught.value

    response = clock.run(main(), virtual=True).response

    assert response.status_code == 400
    assert message in response.headers["dg-error"]
    assert json.loads(response.body or b"")["err_msg"] == response.headers["dg-error"]


# ── faults ───────────────────────────────────────────────────────────────────


TWO = (speak("One sentence."), FLUSH, 2.0, speak("Two sentences."), FLUSH, 2.0, CLOSE)


def test_a_flush_can_stall_in_the_middle() -> None:
    plain = say(*TWO)
    stalled = say(*TWO, faults=(Fault("tts", "stall", on=2, after=0.15, lasts=1.0),))

    assert stalled.pcm == plain.pcm
    late = [
        at for (at, _), (usual, _) in zip(stalled.frames, plain.frames, strict=True) if at > usual
    ]
    assert late[0] == pytest.approx(2.0 + 0.15 + 1.0)
    assert stalled.of("Flushed")[0] == plain.of("Flushed")[0]


def test_a_flush_can_cut_the_connection() -> None:
    received = say(*TWO, faults=(Fault("tts", "drop", on=2, after=0.15),))

    assert received.code == 1006
    assert received.closed_at == pytest.approx(2.15)
    assert len(received.of("Flushed")) == 1


def test_a_flush_can_leave_the_connection_half_open() -> None:
    async def main() -> list[float]:
        arrivals: list[float] = []
        fault = Fault("tts", "half_open", after=0.15)
        async with speaking(faults=(fault,)) as socket:
            await socket.recv()
            await socket.send(speak("One sentence."))
            await socket.send(FLUSH)
            began = clock.now()
            with suppress(TimeoutError):
                async with asyncio.timeout(60):
                    while True:
                        await socket.recv()
                        arrivals.append(clock.now() - began)
        return arrivals

    assert clock.run(main(), virtual=True) == [pytest.approx(0.12), pytest.approx(0.14)]


def test_the_first_close_may_be_lost() -> None:
    received = say(CLOSE, 1.0, CLOSE, faults=(Fault("tts", "close_lost"),))
    assert (received.code, received.closed_at) == (1000, pytest.approx(1.0))


def test_a_flush_can_be_refused_in_the_specifications_spelling() -> None:
    received = say(*TWO, faults=(Fault("tts", "warning"),))

    ((_, warning),) = received.of("Warning")
    assert (warning["code"], "description" in warning) == ("EXCESSIVE_FLUSH", True)
    assert [message["sequence_id"] for _, message in received.of("Flushed")] == [0]
    assert len(received.pcm) == len(say(*TWO).pcm)  # the text was kept


def test_audio_can_be_cut_in_the_middle_of_samples() -> None:
    received = say(*TWO, faults=(Fault("tts", "odd_frames", on="every"),))

    assert sum(len(frame) % 2 for _, frame in received.frames) > 10
    assert received.pcm == say(*TWO).pcm


def test_latencies_are_drawn_from_the_seed() -> None:
    tts = TtsScript(ttfb=Latency(0.15, 0.4))

    first, again = (say(*TWO, tts=tts).frames for _ in range(2))

    assert first == again
    assert first[0][0] != pytest.approx(0.15)
