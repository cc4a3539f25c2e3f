"""The stand-in of ``/v1/listen``: transcripts at exact times, and the service's own rules."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.speech_like import alternate_speech, silence, voice
from voicecli import clock
from voicecli.standin import Fault, serve
from voicecli.standin.deepgram_stt import place_words
from voicecli.standin.engines import SttEngine
from voicecli.standin.engines.scripted import create_scripted_engines
from voicecli.standin.script import Latency, Script, SttScript
from voicecli.standin.segmenter import ResultDue, Segmenter

RATE = 16_000
QUERY = {
    "model": "nova-3",
    "encoding": "linear16",
    "sample_rate": RATE,
    "interim_results": "true",
    "endpointing": 300,
    "punctuate": "true",
}
CLOSE = '{"type":"CloseStream"}'
FINALIZE = '{"type":"Finalize"}'
KEEP_ALIVE = '{"type":"KeepAlive"}'

Moves = str | bytes | float


@dataclass
class Received:
    """What came back: frames with their times since the first block, and how it ended."""

    frames: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    code: int | None = None
    reason: str = ""
    closed_at: float = 0.0

    def of(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        return [(at, frame) for at, frame in self.frames if frame["type"] == kind]

    @property
    def results(self) -> list[tuple[float, dict[str, Any]]]:
        return self.of("Results")

    @property
    def finals(self) -> list[tuple[float, dict[str, Any]]]:
        return [(at, frame) for at, frame in self.results if frame["is_final"]]

    @property
    def worded(self) -> list[tuple[float, dict[str, Any]]]:
        return [(at, frame) for at, frame in self.finals if text(frame)]


def text(frame: dict[str, Any]) -> str:
    transcript: str = frame["channel"]["alternatives"][0]["transcript"]
    return transcript


def words(frame: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = frame["channel"]["alternatives"][0]["words"]
    return found


@asynccontextmanager
async def listening(
    stt: SttScript | None = None,
    faults: tuple[Fault, ...] = (),
    engine: Callable[[], SttEngine] | None = None,
    **query: Any,
) -> AsyncGenerator[ClientConnection, None]:
    engines = create_scripted_engines(Script(stt=stt or SttScript()))
    engines = replace(engines, stt=engine or engines.stt)
    async with serve(engines, faults=faults) as endpoints:
        asked = {name: value for name, value in (QUERY | query).items() if value is not None}
        url = f"{endpoints.deepgram}/v1/listen?{urlencode(asked, doseq=True)}"
        async with connect(url, compression=None) as socket:
            yield socket


async def converse(socket: ClientConnection, *moves: Moves, block: float = 0.02) -> Received:
    """Send audio at the pace of a microphone, text at once, wait where there is a number."""
    received = Received()
    began = clock.now()

    async def receive() -> None:
        try:
            while True:
                frame = json.loads(await socket.recv())
                received.frames.append((clock.now() - began, frame))
        except ConnectionClosed:
            received.code, received.reason = socket.close_code, socket.close_reason or ""
            received.closed_at = clock.now() - began

    async def send() -> None:
        with suppress(ConnectionClosed):  # the receiving task notes why
            await play()

    async def play() -> None:
        position = began
        for move in moves:
            if isinstance(move, float):
                position += move
                await asyncio.sleep(position - clock.now())
                continue
            for piece in [move] if isinstance(move, str) or not move else cut(move, block):
                if isinstance(piece, bytes):
                    position += len(piece) / 2 / RATE
                    await asyncio.sleep(position - clock.now())
                await socket.send(piece)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(receive())
        tasks.create_task(send())
    return received


def cut(pcm: bytes, block: float) -> Iterator[bytes]:
    size = 2 * round(block * RATE)
    return (pcm[start : start + size] for start in range(0, len(pcm), size))


def listen(
    *moves: Moves,
    stt: SttScript | None = None,
    faults: tuple[Fault, ...] = (),
    engine: Callable[[], SttEngine] | None = None,
    block: float = 0.02,
    **query: Any,
) -> Received:
    async def main() -> Received:
        async with listening(stt, faults, engine, **query) as socket:
            return await converse(socket, *moves, block=block)

    return clock.run(main(), virtual=True)


# ── when ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("block", [0.01, 0.02, 0.05, 0.1])
@pytest.mark.parametrize("pause_before", [0.5, 0.507, 0.513])
def test_a_final_comes_exactly_when_the_script_says(block: float, pause_before: float) -> None:
    audio, (end,) = alternate_speech(pause_before, 1.2, 1.0)

    received = listen(audio, CLOSE, block=block)

    ((at, final),) = received.worded
    assert at == pytest.approx(end + 0.300 + 0.100, abs=1e-6)
    assert final["speech_final"] is True
    assert final["from_finalize"] is False
    assert final["start"] + final["duration"] == pytest.approx(end + 0.300, abs=1e-6)


def test_a_final_is_late_by_no_more_than_its_block() -> None:
    audio, (end,) = alternate_speech(0.5, 1.2, 1.5)

    received = listen(audio, CLOSE, block=0.25, stt=SttScript(final=Latency(0.0)))

    ((at, _),) = received.worded
    assert end + 0.3 == pytest.approx(2.0)
    assert at == pytest.approx(2.0)  # the block that ends there


def create_segmenter(
    *, interim: float | None = None, pause: float | None = None, longest: float = 5.0
) -> Segmenter:
    return Segmenter(
        RATE, endpointing=0.3, utterance_end=None, interim=interim, pause=pause, longest=longest
    )


def test_where_the_endpoint_lies_does_not_depend_on_the_frames() -> None:
    audio, ends = alternate_speech(0.4, 0.9, 0.7, 1.234, 0.8)

    def endpoints(size: int) -> list[tuple[int, int]]:
        segmenter = create_segmenter()
        marks = [
            mark
            for start in range(0, len(audio), size)
            for mark in segmenter.feed(audio[start : start + size])
        ]
        return [(mark.start, mark.at) for mark in marks if isinstance(mark, ResultDue)]

    whole = endpoints(len(audio))
    assert [at / RATE for _, at in whole] == [pytest.approx(end + 0.3) for end in ends]
    assert all(endpoints(size) == whole for size in (2, 34, 320, 1000, 5344))


def test_interims_restate_the_segment_once_a_second() -> None:
    stt = SttScript(hears=("One two three four five six seven eight.",))
    audio, _ = alternate_speech(0.0, 2.5, 1.0)

    received = listen(audio, CLOSE, stt=stt)

    interims = [(at, text(f), f["duration"]) for at, f in received.results if not f["is_final"]]
    assert interims == [
        (pytest.approx(1.0), "One two three", 1.0),
        (pytest.approx(2.0), "One two three four five six", 2.0),
    ]
    assert [text(final) for _, final in received.worded] == [
        "One two three four five six seven eight."
    ]


def test_without_interim_results_only_finals_come() -> None:
    audio, _ = alternate_speech(0.0, 2.5, 1.0)

    received = listen(audio, CLOSE, interim_results="false")

    assert all(frame["is_final"] for _, frame in received.results)


def test_what_comes_late_gives_no_interims() -> None:
    audio, _ = alternate_speech(0.0, 3.5, 0.6)

    received = listen(audio, CLOSE, block=4.1)

    assert [frame["is_final"] for _, frame in received.results] == [True, True]


@pytest.mark.parametrize("interim", [1.0, None])
def test_an_engine_may_ask_for_a_look_at_each_pause(interim: float | None) -> None:
    audio, ends = alternate_speech(0.2, 0.5, 0.2, 0.5, 0.6)
    segmenter = create_segmenter(interim=interim, pause=0.1)

    marks = [mark for mark in segmenter.feed(audio) if isinstance(mark, ResultDue)]

    looks = [mark for mark in marks if mark.result == "interim" and mark.at != RATE]
    assert [mark.at / RATE for mark in looks] == [pytest.approx(end + 0.1) for end in ends]
    assert looks[-1].segment.voiced == marks[-1].segment.voiced
    assert all(mark.shown == (interim is not None) for mark in looks)


def test_there_is_no_look_at_a_pause_that_was_finalised() -> None:
    segmenter = create_segmenter(pause=0.1)

    before = [*segmenter.feed(voice(0.5) + silence(0.05))]
    final = segmenter.cut(segmenter.cursor, from_finalize=True)
    after = [*segmenter.feed(silence(1.0))]

    assert len(before) == 1  # the voice has started
    assert final.segment.voiced[-1][1] == 0.5
    assert after == []


def test_finals_cover_the_audio_without_a_gap() -> None:
    audio, _ = alternate_speech(0.3, 1.0, 0.8, 7.3, 6.4, 0.7, 0.1)

    received = listen(audio, FINALIZE, silence(0.5), CLOSE)

    cursor = 0.0
    for _, final in received.finals:
        assert final["start"] == pytest.approx(cursor, abs=1e-4)
        cursor = final["start"] + final["duration"]
    assert cursor == pytest.approx(len(audio) / 2 / RATE + 0.5, abs=1e-4)


def test_a_short_pause_does_not_end_the_utterance() -> None:
    audio, ends = alternate_speech(0.2, 0.8, 0.25, 0.8, 1.0)

    received = listen(audio, CLOSE)

    assert [at for at, _ in received.worded] == [pytest.approx(ends[1] + 0.4)]


def test_silence_gives_empty_results_and_after_five_seconds_an_empty_final() -> None:
    received = listen(silence(5.5), CLOSE)

    first = received.results[:6]
    assert [round(at, 3) for at, _ in first] == [1.0, 2.0, 3.0, 4.0, 5.1, 5.5 + 0.05]
    assert [frame["is_final"] for _, frame in first] == [False] * 4 + [True, True]
    alternative = first[0][1]["channel"]["alternatives"][0]
    assert alternative == {"transcript": "", "confidence": 0.0, "words": []}
    assert first[4][1]["speech_final"] is True


def test_long_speech_is_cut_between_two_words_and_no_word_is_lost() -> None:
    item = " ".join(f"word{n}" for n in range(30))
    audio, (end,) = alternate_speech(0.0, 11.0, 1.0)

    received = listen(audio, CLOSE, stt=SttScript(hears=(item,)))

    *forced, last = received.worded
    assert len(forced) == 2
    assert all(final["speech_final"] is False for _, final in forced)
    assert all(4.5 < final["duration"] < 5.3 for _, final in forced)
    assert last[1]["speech_final"] is True
    assert last[0] == pytest.approx(end + 0.4)
    assert " ".join(text(final) for _, final in received.worded) == item


@pytest.mark.parametrize("longest", [5.0, 6.0])
def test_a_voice_without_a_gap_is_cut_at_last(longest: float) -> None:
    segmenter = create_segmenter(longest=longest)
    syllables = voice(0.2) * 2  # dips that a detector bridges, or it would take it for noise
    tone = b"".join(syllables[:-640] + silence(0.02) for _ in range(25))

    (mark,) = (mark for mark in segmenter.feed(tone) if isinstance(mark, ResultDue))

    assert mark.result == "forced"
    assert mark.at == pytest.approx((longest + 3.5) * RATE, abs=0.05 * RATE)


def test_utterance_end_comes_a_second_after_the_last_word_whatever_was_final() -> None:
    audio, (end,) = alternate_speech(0.5, 1.2, 2.0)

    received = listen(audio, CLOSE, utterance_end_ms=1000)

    ((at, frame),) = received.of("UtteranceEnd")
    assert at == pytest.approx(end + 1.0)
    assert frame == {
        "type": "UtteranceEnd",
        "channel": [0, 1],
        "last_word_end": pytest.approx(end, abs=1e-5),
    }
    assert received.worded[0][0] < at


def test_no_utterance_ends_while_the_words_go_on() -> None:
    audio, ends = alternate_speech(0.5, 0.8, 0.9, 0.8, 1.5)

    received = listen(audio, CLOSE, utterance_end_ms=1000)

    assert [at for at, _ in received.of("UtteranceEnd")] == [pytest.approx(ends[1] + 1.0)]


def test_noise_without_words_ends_no_utterance() -> None:
    audio, ends = alternate_speech(0.5, 0.8, 1.5, 0.8, 1.5)

    class Once:
        words = "Hello."

        async def recognise(self, *_: Any) -> str:
            words, self.words = self.words, ""
            return words

    received = listen(audio, CLOSE, engine=Once, utterance_end_ms=1000)

    assert [at for at, _ in received.of("UtteranceEnd")] == [pytest.approx(ends[0] + 1.0)]


def test_the_start_of_speech_is_told_on_request() -> None:
    audio, _ = alternate_speech(0.5, 0.8, 1.0, 0.8, 1.0)

    received = listen(audio, CLOSE, vad_events="true")

    assert [frame["timestamp"] for _, frame in received.of("SpeechStarted")] == [0.5, 2.3]
    assert listen(audio, CLOSE).of("SpeechStarted") == []


# ── what ─────────────────────────────────────────────────────────────────────


def test_each_stretch_of_voice_says_the_next_item_and_then_the_first_again() -> None:
    stt = SttScript(hears=("One.", "Two."))
    audio, _ = alternate_speech(0.2, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6)

    received = listen(audio, CLOSE, stt=stt)

    assert [text(final) for _, final in received.worded] == ["One.", "Two.", "One."]


def test_one_final_may_cover_several_stretches() -> None:
    stt = SttScript(hears=("One.", "Two."), gap=0.4)
    audio, _ = alternate_speech(0.2, 0.6, 0.45, 0.6, 1.2)

    received = listen(audio, CLOSE, stt=stt, endpointing=600)

    assert [text(final) for _, final in received.worded] == ["One. Two."]


def test_words_lie_where_the_voice_is() -> None:
    stt = SttScript(hears=("What is it?", "Tell me."), gap=0.4)
    audio, ends = alternate_speech(0.5, 0.9, 0.5, 0.6, 1.0)

    received = listen(audio, CLOSE, stt=stt, endpointing=700)

    found = words(received.worded[0][1])
    assert [word["word"] for word in found] == ["what", "is", "it", "tell", "me"]
    assert [word["punctuated_word"] for word in found] == ["What", "is", "it?", "Tell", "me."]
    assert found[0]["start"] == pytest.approx(0.5)
    assert found[-1]["end"] == pytest.approx(ends[1], abs=1e-5)
    assert all(word["start"] < word["end"] for word in found)
    assert all(a["end"] <= b["start"] for a, b in pairwise(found))


def test_no_word_begins_or_ends_within_a_pause() -> None:
    placed = [*place_words(["one", "two", "three", "four"], ((0.5, 1.5), (2.0, 3.0)))]

    assert placed == [
        ("one", 0.5, 1.0),
        ("two", 1.0, 1.5),
        ("three", 2.0, 2.5),
        ("four", 2.5, 3.0),
    ]


def test_without_punctuation_words_are_plain() -> None:
    audio, _ = alternate_speech(0.2, 0.8, 0.6)

    received = listen(audio, CLOSE, stt=SttScript(hears=("What, me?",)), punctuate="false")

    assert text(received.worded[0][1]) == "what me"
    assert "punctuated_word" not in words(received.worded[0][1])[0]


# ── Finalize and the end ─────────────────────────────────────────────────────


def test_finalize_is_answered_with_all_the_words() -> None:
    stt = SttScript(hears=("What is the time?", "Never."))
    received = listen(silence(0.2), voice(1.0), FINALIZE, silence(1.0), CLOSE, stt=stt)

    ((at, final),) = received.worded
    assert at == pytest.approx(1.2 + 0.05)
    assert text(final) == "What is the time?"
    assert (final["from_finalize"], final["speech_final"]) == (True, True)
    assert final["duration"] == pytest.approx(1.2)


def test_finalize_of_silence_is_answered_empty_or_not_at_all() -> None:
    audio = silence(0.3)

    answered = listen(audio, FINALIZE, silence(0.3), CLOSE)
    ignored = listen(audio, FINALIZE, silence(0.3), CLOSE, stt=SttScript(finalize_silence=False))

    assert [frame["from_finalize"] for _, frame in answered.finals] == [True, False]
    assert text(answered.finals[0][1]) == ""
    assert [frame["from_finalize"] for _, frame in ignored.finals] == [False]


def test_a_finalize_can_get_lost() -> None:
    lost = Fault("stt", "finalize_lost", on=1)
    moves = (voice(0.6), FINALIZE, silence(0.5), voice(0.6), FINALIZE, silence(0.5), CLOSE)

    received = listen(*moves, faults=(lost,), endpointing="false")

    answers = [at for at, frame in received.finals if frame["from_finalize"]]
    assert answers == [pytest.approx(1.7 + 0.05)]


@pytest.mark.parametrize("end", [CLOSE, b""])
def test_the_stream_ends_with_the_last_words_the_metadata_and_a_good_bye(end: Moves) -> None:
    audio = silence(0.2) + voice(0.8)

    received = listen(audio, end)

    *_, final, metadata = (frame for _, frame in received.frames)
    assert text(final) == "Hello."
    assert metadata["type"] == "Metadata"
    assert metadata["duration"] == 1.0
    assert metadata["sha256"] == hashlib.sha256(audio).hexdigest()
    assert received.code == 1000


def test_a_stream_without_audio_has_the_metadata_of_nothing() -> None:
    received = listen(CLOSE)

    ((_, metadata),) = received.frames
    assert metadata["sha256"] == hashlib.sha256(b"").hexdigest()
    assert (metadata["duration"], metadata["channels"]) == (0.0, 0)


# ── patience ─────────────────────────────────────────────────────────────────


def test_ten_seconds_of_nothing_close_the_connection() -> None:
    received = listen(silence(0.5))

    metadata = received.frames[-1][1]
    assert (metadata["sha256"], metadata["duration"]) == ("incomplete", 0.5)
    assert received.code == 1011
    assert received.reason.endswith("within the timeout window. See https://dpgr.am/net0001")
    assert received.closed_at == pytest.approx(10.5)


def test_a_keep_alive_keeps_the_connection_and_moves_no_time() -> None:
    received = listen(silence(0.1), 8.0, KEEP_ALIVE, 8.0, KEEP_ALIVE, silence(0.1), CLOSE)

    assert received.code == 1000
    assert received.frames[-1][1]["duration"] == pytest.approx(0.2)


def test_a_keep_alive_before_any_audio_helps_nothing() -> None:
    received = listen(5.0, KEEP_ALIVE)

    assert received.code == 1011
    assert received.closed_at == pytest.approx(10.0)


def test_a_binary_keep_alive_is_taken_for_audio() -> None:
    received = listen(silence(0.1), KEEP_ALIVE.encode(), CLOSE)

    assert received.frames[-1][1]["duration"] > 0.1


# ── mistakes of the client ───────────────────────────────────────────────────


def refusal(key: str | None = None, *, require_key: bool = False, **query: Any) -> InvalidStatus:
    async def main() -> InvalidStatus:
        async with serve(create_scripted_engines(Script()), require_key=require_key) as endpoints:
            asked = {name: value for name, value in (QUERY | query).items() if value is not None}
            url = f"{endpoints.deepgram}/v1/listen?{urlencode(asked, doseq=True)}"
            headers = {} if key is None else {"Authorization": key}
            with pytest.raises(InvalidStatus) as caught:
                await connect(url, compression=None, additional_headers=headers)
            return caught.value

    return clock.run(main(), virtual=True)


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"utterance_end_ms": 999}, 400, "Invalid 'utterance_end_ms' value of '999'."),
        (
            {"utterance_end_ms": 1000, "interim_results": "false"},
            400,
            "utterance_end_ms: requires interim_results=true",
        ),
        ({"interim_results": "True"}, 400, "interim_results: provided string was not"),
        ({"endpointing": "soon"}, 400, "endpointing: invalid digit"),
        ({"encoding": "mp3"}, 400, "encoding: unknown variant `mp3`"),
        ({"sample_rate": None}, 400, "sample_rate: required with encoding"),
        ({"channels": 2}, 400, "channels: "),
        ({"model": "nova-4"}, 403, "Project does not have access to the requested model."),
        ({"model": "whsiper"}, 403, "Project does not have access to the requested model."),
        ({"language": "English"}, 400, "No such model/language/tier combination found."),
        ({"keywords": "Deepgram:2"}, 400, "keywords: not supported by Nova-3"),
        ({"model": "nova-2", "keyterm": "Deepgram"}, 400, "keyterm: only supported by Nova-3"),
        ({"keyterm": ["two words"] * 251}, 400, "Keyterm limit exceeded."),
        ({"diarize": "true", "diarize_model": "v1"}, 400, "diarize_model cannot be used"),
        ({"summarize": "v2"}, 400, "Summarization is not available for streaming."),
        ({"tag": "x" * 129}, 400, "tag: longer than 128 characters"),
    ],
)
def test_a_bad_parameter_is_refused_before_the_upgrade(
    query: dict[str, Any], status: int, message: str
) -> None:
    response = refusal(**query).response

    body = json.loads(response.body or b"")
    assert response.status_code == status
    assert message in body["err_msg"]
    assert response.headers["dg-error"] == body["err_msg"]
    assert response.headers["dg-request-id"] == body["request_id"]
    assert body["err_code"] in (
        "INVALID_QUERY_PARAMETER",
        "Bad Request",
        "INSUFFICIENT_PERMISSIONS",
    )


@pytest.mark.parametrize("key", [None, "Token ", "Bearer 0123456789abcdef", "Basic abc"])
def test_a_missing_or_misplaced_key_is_refused(key: str | None) -> None:
    response = refusal(key, require_key=True).response

    assert response.status_code == 401
    assert json.loads(response.body or b"")["err_code"] == "INVALID_AUTH"


@pytest.mark.parametrize("key", ["Token abc", "token abc", "Bearer a.b.c"])
def test_any_key_is_accepted(key: str) -> None:
    async def main() -> str:
        async with serve(create_scripted_engines(Script()), require_key=True) as endpoints:
            url = f"{endpoints.deepgram}/v1/listen?{urlencode(QUERY)}"
            headers = {"Authorization": key}
            async with connect(url, compression=None, additional_headers=headers) as socket:
                assert socket.response
                return socket.response.headers["dg-request-id"]

    assert len(clock.run(main(), virtual=True)) == 36


def test_a_browser_sends_its_key_as_a_sub_protocol() -> None:
    async def main() -> str | None:
        async with serve(create_scripted_engines(Script()), require_key=True) as endpoints:
            url = f"{endpoints.deepgram}/v1/listen?{urlencode(QUERY)}"
            async with connect(url, subprotocols=["token", "abc"]) as socket:  # type: ignore[list-item]
                return socket.subprotocol

    assert clock.run(main(), virtual=True) == "token"


def test_raw_audio_without_an_encoding_is_no_audio() -> None:
    received = listen(silence(0.1), encoding=None)

    assert (received.code, received.reason) == (1008, "DATA-0000")


def test_a_text_that_is_no_command_is_answered_with_an_error() -> None:
    received = listen("hello", CLOSE)

    error = received.frames[0][1]
    assert (error["type"], error["variant"], error["message"]) == ("Error", "SchemaError", "hello")


def test_keyterms_can_be_changed_on_nova_3_only() -> None:
    configure = '{"type":"Configure","keyterms":["Deepgram"]}'

    nova_3, nova_2 = (listen(configure, CLOSE, model=model) for model in ("nova-3", "nova-2"))

    assert nova_3.of("ConfigureSuccess")[0][1]["keyterms"] == ["Deepgram"]
    assert nova_2.of("ConfigureFailure")[0][1]["code"] == "CONFIGURE_KEYTERMS_NOT_SUPPORTED"


# ── faults ───────────────────────────────────────────────────────────────────


def test_a_connection_can_be_dropped() -> None:
    received = listen(voice(0.5), faults=(Fault("stt", "drop", after=1.5),))

    assert received.code == 1006
    assert received.closed_at == pytest.approx(1.5)


def test_a_stalled_connection_says_everything_later() -> None:
    audio, _ = alternate_speech(0.2, 0.6, 3.0)
    stall = Fault("stt", "stall", after=0.5, lasts=2.0)

    received = listen(audio, CLOSE, faults=(stall,))

    assert received.worded[0][0] == pytest.approx(2.5)
    assert min(at for at, _ in received.frames) == pytest.approx(2.5)


def test_a_half_open_connection_stays_silent_and_only_a_ping_finds_out() -> None:
    received = listen(voice(1.2), faults=(Fault("stt", "half_open", after=1.1),))

    assert [frame["type"] for _, frame in received.frames] == ["Results"]  # at 1.0
    assert received.code == 1006
    # The client's own ping after 20 s, 20 s for its answer, 10 s for a good-bye.
    assert received.closed_at == pytest.approx(50.0)


def test_a_frame_can_leave_torn() -> None:
    async def main() -> list[bool]:
        async with listening(faults=(Fault("stt", "malformed"),)) as socket:
            await socket.send(silence(1.0))
            await socket.send(silence(1.0))
            return [is_json(str(await socket.recv())) for _ in range(2)]

    assert clock.run(main(), virtual=True) == [False, True]


def is_json(frame: str) -> bool:
    try:
        json.loads(frame)
    except ValueError:
        return False
    return True


def test_a_handshake_can_be_refused_and_the_next_one_not() -> None:
    async def main() -> list[int]:
        fault = Fault("stt", "refuse", status=429, on=2)
        statuses = []
        async with serve(create_scripted_engines(Script()), faults=(fault,)) as endpoints:
            for _ in range(3):
                try:
                    async with connect(f"{endpoints.deepgram}/v1/listen?{urlencode(QUERY)}"):
                        statuses.append(101)
                except InvalidStatus as refused:
                    statuses.append(refused.response.status_code)
        return statuses

    assert clock.run(main(), virtual=True) == [101, 429, 101]
