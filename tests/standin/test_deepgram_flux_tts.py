"""The stand-in of ``/v2/speak``: turns that are spoken as they are written, and interrupted."""

from __future__ import annotations

import json
import math
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support.speak_client import Received, converse
from voicecli import clock
from voicecli.standin import Fault, serve
from voicecli.standin.deepgram_flux_tts import find_heard
from voicecli.standin.engines.scripted import create_scripted_engines
from voicecli.standin.script import FaultKind, Script, TtsScript

RATE = 24_000
CHARACTER = 0.06
FLUSH = '{"type":"Flush"}'
CLOSE = '{"type":"Close"}'
INTERRUPT = '{"type":"Interrupt"}'

FIRST, SECOND = "It is sunny today,", " and it will be warm."


def speak(text: str) -> str:
    return json.dumps({"type": "Speak", "text": text})


def interrupt(milliseconds: int) -> str:
    offset = {"type": "time_ms", "value": milliseconds}
    return json.dumps({"type": "Interrupt", "playback_offset": offset})


def say(
    *moves: str | bytes | float,
    tts: TtsScript | None = None,
    fault: FaultKind | None = None,
    after: float = 0.0,
    ping: float | None = None,
    **query: Any,
) -> Received:
    """Send messages at once, wait where there is a number; return what came back."""
    faults = () if fault is None else (Fault("tts", fault, after=after),)

    async def main() -> Received:
        engines = create_scripted_engines(Script(tts=tts or TtsScript()))
        async with serve(engines, faults=faults) as endpoints:
            asked = {"model": "flux-alexis-en", "sample_rate": RATE} | query
            url = f"{endpoints.deepgram}/v2/speak?{urlencode(asked)}"
            async with connect(
                url, compression=None, ping_interval=ping, ping_timeout=None
            ) as socket:
                return await converse(socket, *moves)

    return clock.run(main(), virtual=True)


def kinds(received: Received) -> list[str]:
    return [message["type"] for _, message in received.messages]


def only(received: Received, kind: str) -> dict[str, Any]:
    ((_, message),) = received.of(kind)
    return message


# ── when ─────────────────────────────────────────────────────────────────────


def test_a_clause_is_spoken_without_a_flush_and_the_rest_after_it() -> None:
    received = say(
        speak("It is sunny"), 0.1, speak(" today,"), speak(" and"), 2.0, FLUSH, 1.0, CLOSE
    )
    assert kinds(received) == [
        *("Connected", "SpeechStarted", "Flushed", "SpeechMetadata", "SessionMetadata")
    ]
    clause = math.ceil(len(FIRST) * CHARACTER / 0.08)
    times = [at for at, _ in received.frames]
    assert times[0] == pytest.approx(0.1 + 0.12)
    assert times[clause] == pytest.approx(2.1 + 0.12)
    said = len("It is sunny today,") + len("and")
    assert len(received.pcm) == pytest.approx(2 * RATE * CHARACTER * said, abs=2 * RATE * 0.001)
    metadata = only(received, "SpeechMetadata")
    assert metadata["audio_duration_ms"] == round(1000 * CHARACTER * said)
    assert metadata["input_character_count"] == len("It is sunny today, and")
    assert only(received, "Flushed")["speech_id"] == metadata["speech_id"]
    assert received.of("Flushed")[0][0] < times[-1]
    assert (received.code, only(received, "SessionMetadata")["total_input_character_count"]) == (
        1000,
        metadata["input_character_count"],
    )


def test_close_speaks_the_rest_first() -> None:
    received = say(speak("Hello there"), CLOSE)
    assert kinds(received) == ["Connected", "SpeechStarted", "SpeechMetadata", "SessionMetadata"]
    assert received.code == 1000


def test_turns_are_spoken_one_after_the_other() -> None:
    received = say(speak("One."), FLUSH, speak("Two."), FLUSH, 2.0, CLOSE)
    (first, one), (second, two) = received.of("SpeechMetadata")
    assert (one["speech_id"], two["speech_id"]) == ("dg_sp_000000000001", "dg_sp_000000000002")
    assert min(at for at, _ in received.frames if at > first) == pytest.approx(first + 0.12)
    assert second > first


@pytest.mark.parametrize("text", [" … ", "\n"])
def test_a_turn_without_words_ends_without_audio(text: str) -> None:
    received = say(speak(text), FLUSH, 1.0, CLOSE)
    assert kinds(received)[1:-1] == ["Flushed", "Warning", "SpeechMetadata"]
    assert only(received, "Warning")["code"] == "NO_SYNTHESIZABLE_TEXT"
    assert only(received, "SpeechMetadata")["audio_duration_ms"] == 0
    assert received.frames == []


def test_flushed_may_trail() -> None:
    received = say(speak("One."), FLUSH, 1.0, CLOSE, fault="flushed_late")
    assert kinds(received)[-3:] == ["SpeechMetadata", "Flushed", "SessionMetadata"]


# ── Interrupt ────────────────────────────────────────────────────────────────


def test_an_interrupt_ends_the_turn_and_tells_what_was_heard() -> None:
    heard = round(1000 * CHARACTER * len("It is "))
    received = say(
        speak(FIRST + SECOND), FLUSH, 0.5, interrupt(heard), speak("Yes."), FLUSH, 1.0, CLOSE
    )
    answer = only(received, "SpeechInterrupted")
    assert (answer["text_spoken"], answer["text_remaining"]) == ("It is", f" sunny today,{SECOND}")
    assert answer["audio_played_ms"] == heard
    assert answer["metadata"]["input_character_count"] == len(FIRST + SECOND)
    (at, end), *rest = received.of("SpeechMetadata")
    assert (rest, end["speech_id"]) == ([], "dg_sp_000000000002")
    assert at > 0.5
    total = only(received, "SessionMetadata")["total_audio_duration_ms"]
    assert total == heard + end["audio_duration_ms"]  # rebased onto what was played


def test_without_an_offset_there_are_no_words_and_a_new_baseline() -> None:
    received = say(
        speak(FIRST), FLUSH, 0.3, INTERRUPT, speak(FIRST), FLUSH, 0.3, interrupt(1), CLOSE
    )
    answer = only(received, "SpeechInterrupted")
    assert "text_spoken" not in answer
    sent = sum(len(pcm) for at, pcm in received.frames if at <= 0.3)
    assert answer["audio_played_ms"] == round(sent / (2 * RATE) * 1000)
    assert only(received, "Warning")["code"] == "INVALID_INTERRUPT_OFFSET"


@pytest.mark.parametrize(
    ("moves", "code"),
    [
        ((INTERRUPT,), "NO_AUDIO_GENERATED"),
        ((speak("Hello."), FLUSH, 0.05, interrupt(1)), "NO_AUDIO_GENERATED"),
        ((speak("Hello."), FLUSH, 2.0, interrupt(1)), "NO_ACTIVE_SPEECH"),
        ((FLUSH,), "NO_ACTIVE_SPEECH"),
    ],
)
def test_an_interrupt_of_nothing_is_ignored_with_a_warning(
    moves: tuple[str | float, ...], code: str
) -> None:
    received = say(*moves, 2.0, CLOSE)
    assert only(received, "Warning")["code"] == code
    assert received.of("SpeechInterrupted") == []


@pytest.mark.parametrize(
    ("fault", "answers"),
    [
        ("interrupt_lost", []),
        ("interrupt_busy", ["INTERRUPT_IN_PROGRESS"]),
        ("stale_offset", ["INVALID_INTERRUPT_OFFSET"]),
    ],
)
def test_an_interrupt_can_be_ignored(fault: FaultKind, answers: list[str]) -> None:
    received = say(speak(FIRST), FLUSH, 0.2, interrupt(30), 2.0, CLOSE, fault=fault)
    assert [message["code"] for _, message in received.of("Warning")] == answers
    assert only(received, "SpeechMetadata")["audio_duration_ms"] == 1000 * CHARACTER * len(FIRST)


def test_the_words_can_be_missing() -> None:
    received = say(speak(FIRST), FLUSH, 0.2, interrupt(30), 1.0, CLOSE, fault="text_missing")
    answer = only(received, "SpeechInterrupted")
    assert answer["audio_played_ms"] == 30
    assert "text_spoken" not in answer


@given(
    st.lists(st.tuples(st.from_regex(r"[a-z ,.]{1,12}", fullmatch=True), st.integers(0, 900))),
    st.integers(-10, 4000),
)
@example([("…", 0)], -1)  # the turn began with a mark, and the one before it was still heard
def test_what_was_heard_is_a_beginning_that_grows_in_whole_words(
    spoken: list[tuple[str, int]], played: int
) -> None:
    text = "".join(piece for piece, _ in spoken)
    heard = find_heard(spoken, played)
    assert text.startswith(heard)
    assert find_heard(spoken, played + 100).startswith(heard)
    assert not text[len(heard) :][:1].isalpha() or not heard[-1:].isalpha() or heard in {
        "".join(piece for piece, _ in spoken[:count]) for count in range(len(spoken) + 1)
    }  # fmt: skip
    if played >= sum(samples for _, samples in spoken):
        assert heard == text


# ── Configure, and what is refused ───────────────────────────────────────────


@pytest.mark.parametrize(
    ("speed", "answer"),
    [
        (1.1, {"type": "ConfigureSuccess", "applied": {"speed": 1.1}}),
        (2.0, {"type": "ConfigureFailure", "code": "SPEED_OUT_OF_RANGE"}),
        (1.02, {"type": "ConfigureFailure", "code": "SPEED_INCREMENT_INVALID"}),
    ],
)
def test_the_speed_can_be_changed(speed: float, answer: dict[str, Any]) -> None:
    received = say(json.dumps({"type": "Configure", "speed": speed}), CLOSE)
    _, (_, got), _ = received.messages
    assert got | answer == got


@pytest.mark.parametrize(
    ("moves", "closed", "code"),
    [
        (['{"type":"Clear"}'], 1008, "MESSAGE-0000"),
        (['{"type":"KeepAlive"}'], 1008, "MESSAGE-0000"),
        (['{"type":"Interrupt","playback_offset":7}'], 1008, "MESSAGE-0000"),
        (["Flush"], 1008, "MESSAGE-0000"),
        ([b"audio"], 1008, "MESSAGE-0000"),
        ([70.0], 1011, "NET-0004"),
        ([*[50.0, speak("Hi"), FLUSH] * 80], 1011, "NET-0003"),
    ],
)
def test_an_error_closes_the_connection(
    moves: list[str | bytes | float], closed: int, code: str
) -> None:
    received = say(*moves)
    assert (only(received, "Error")["code"], received.code) == (code, closed)


def test_pings_keep_a_connection_alive_for_an_hour() -> None:
    received = say(4000.0, ping=20.0)
    assert only(received, "Error")["code"] == "NET-0003"
    assert received.closed_at == pytest.approx(3600.0)


def test_a_connection_can_expire() -> None:
    received = say(5.0, fault="expired", after=2.0)
    assert only(received, "Error")["code"] == "NET-0003"
    assert received.closed_at == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"model": "aura-2-thalia-en"}, "No such model/version combination found."),
        ({"model": ""}, "No such model/version combination found."),
        ({"sample_rate": 22050}, "`sample_rate` must be"),
        ({"encoding": "mp3"}, "`encoding` must be one of"),
        ({"encoding": "mulaw", "sample_rate": 8000}, "speaks linear16 only"),
        ({"speed": 1.6}, "SPEED_OUT_OF_RANGE"),
        ({"speed": 1.02}, "SPEED_INCREMENT_INVALID"),
        ({"expressivity": 3}, "EXPRESSIVITY_OUT_OF_RANGE"),
        ({"expressivity": 0.5}, "EXPRESSIVITY_INCREMENT_INVALID"),
    ],
)
def test_a_bad_parameter_is_refused_before_the_upgrade(query: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        say(**query)
    response = caught.value.response
    body = json.loads(response.body or b"")
    assert response.status_code == 400
    assert error in body["err_msg"] or error == body["err_code"]


# ── faults of a turn ─────────────────────────────────────────────────────────


def test_a_turn_can_cut_the_connection_before_its_flush() -> None:
    received = say(speak(FIRST), 5.0, fault="drop", after=0.2)
    assert (received.code, received.closed_at) == (1006, pytest.approx(0.2))
    assert received.frames != []


def test_a_turn_can_stall_and_be_retried() -> None:
    moves = (speak(FIRST), FLUSH, 3.0, CLOSE)
    late, retried = say(*moves, fault="stall", after=0.15), say(*moves, fault="warning")
    assert late.pcm == retried.pcm
    assert max(at for at, _ in late.frames) == pytest.approx(5.15)
    assert only(retried, "Warning")["code"] == "SYNTHESIS_RETRYING"


def test_odd_frames_lose_nothing() -> None:
    moves = (speak(FIRST), FLUSH, 1.0, CLOSE)
    odd = say(*moves, fault="odd_frames")
    assert odd.pcm == say(*moves).pcm
    assert len(odd.frames[0][1]) % 2 == 1
