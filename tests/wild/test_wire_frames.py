"""Frames of the STT and the TTS that are not as Deepgram's reference says.

Each is sent before a good answer: it is ignored with one warning, and the connection goes on.
Sources: an empty list of alternatives and null fields break clients (deepgram_speech_to_text #33,
deepgram-python-sdk #243); .NET servers begin their texts with a byte order mark; messages with the
wrong opcode (deepgram-dotnet-sdk #132).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support.conversations import converse, profile
from tests.support.deepgram_frames import results
from tests.support.speech_like import alternate_speech
from tests.wild import Case
from voicecli import clock
from voicecli.errors import ServiceError, StalledError
from voicecli.events import ConnectionOpened, FinalTranscript, InterimTranscript, Warned
from voicecli.services.deepgram.aura import AuraSettings, open_aura
from voicecli.services.deepgram.nova import NovaSettings, open_nova
from voicecli.services.interfaces import FLUSHED
from voicecli.services.provider import ServiceAddress
from voicecli.standin.script import LlmScript, Script, SttScript
from voicecli.units import AudioBlock, AudioFormat, Seconds

KIND = "odd frames"

RATE = 16_000
SECOND = AudioBlock(AudioFormat(RATE).silence(1.0), 0.0)
GOOD = json.dumps(results("Yes.", (0.2, 0.7), start=0.0, duration=1.0, is_final=True))
USED = "used"
NOTHING = "ignored"


@dataclass(frozen=True)
class FrameCase(Case):
    """frame: arrives before a good one."""

    frame: str | bytes = ""


def odd_results(**changes: Any) -> str:
    frame = results("No.", (0.2, 0.7), start=0.0, duration=1.0, is_final=True) | changes
    return json.dumps(frame)


def odd_alternative(**changes: Any) -> str:
    frame = results("No.", (0.2, 0.7), start=0.0, duration=1.0, is_final=True)
    alternative = frame["channel"]["alternatives"][0]
    return odd_results(channel={"alternatives": [alternative | changes]})


def control(type: str, **fields: Any) -> str:
    return json.dumps({"type": type, **fields})


LOST = "the connection is closed and opened again"
CRASH = "ends with 70, an internal error"
NO_JSON = "ignored a frame that is not JSON"
NO_TYPE = "ignored a frame without a type"
NO_TEXT = "ignored a Results frame without a transcript"
NO_TIMES = "ignored the times of a transcript: they are not in the audio sent"
NO_END = "ignored the time of an UtteranceEnd: it is not in the audio sent"

# What the STT sends besides a good final.  ``after``: the warning, or what comes of it.
STT_CASES: list[Case] = [
    FrameCase(
        KIND, "STT: no alternatives", LOST, NO_TEXT, odd_results(channel={"alternatives": []})
    ),
    FrameCase(
        KIND, "STT: alternatives null", LOST, NO_TEXT, odd_results(channel={"alternatives": None})
    ),
    FrameCase(KIND, "STT: channel null", LOST, NO_TEXT, odd_results(channel=None)),
    FrameCase(KIND, "STT: channel a list", LOST, NO_TEXT, odd_results(channel=[0, 1])),
    FrameCase(KIND, "STT: transcript null", LOST, NO_TEXT, odd_alternative(transcript=None)),
    FrameCase(KIND, "STT: transcript a number", LOST, NO_TEXT, odd_alternative(transcript=7)),
    FrameCase(KIND, "STT: words null", USED, USED, odd_alternative(words=None)),
    FrameCase(
        KIND, "STT: words missing times", LOST, NO_TIMES, odd_alternative(words=[{"word": "no"}])
    ),
    FrameCase(KIND, "STT: words a text", LOST, NO_TIMES, odd_alternative(words="no")),
    FrameCase(KIND, "STT: words numbers", LOST, NO_TIMES, odd_alternative(words=[1, 2])),
    FrameCase(
        KIND,
        'STT: is_final "true"',
        "an interim",
        USED,
        odd_results(is_final="true"),
    ),
    FrameCase(
        KIND,
        "STT: is_final 1",
        "an interim",
        USED,
        odd_results(is_final=1),
    ),
    FrameCase(KIND, "STT: is_final null", "an interim", "an interim", odd_results(is_final=None)),
    FrameCase(KIND, "STT: confidence NaN", USED, USED, odd_alternative(confidence=float("nan"))),
    FrameCase(
        KIND, "STT: half a surrogate pair", USED, USED, odd_alternative(transcript="a\ud83d")
    ),
    FrameCase(KIND, "STT: a byte order mark", LOST, USED, "\ufeff" + odd_results()),
    FrameCase(KIND, "STT: Results as binary", USED, USED, odd_results().encode()),
    FrameCase(KIND, "STT: binary that is no text", LOST, NO_JSON, b"\x00\xff\x80\x01"),
    FrameCase(KIND, "STT: an empty text", LOST, NO_JSON, ""),
    FrameCase(KIND, "STT: an empty binary", LOST, NO_JSON, b""),
    FrameCase(KIND, "STT: half a frame", LOST, NO_JSON, odd_results()[:80]),
    FrameCase(KIND, "STT: two frames in one", LOST, NO_JSON, odd_results() * 2),
    FrameCase(KIND, "STT: HTML", LOST, NO_JSON, "<html>502 Bad Gateway</html>"),
    FrameCase(KIND, "STT: nested 100,000 deep", LOST, NO_JSON, "[" * 100_000 + "]" * 100_000),
    FrameCase(
        KIND,
        "STT: a number of 5,000 digits",
        LOST,
        NO_JSON,
        '{"type":"Results","start":' + "1" * 5000 + "}",
    ),
    FrameCase(KIND, "STT: null", LOST, NO_TYPE, "null"),
    FrameCase(KIND, "STT: a list", LOST, NO_TYPE, "[]"),
    FrameCase(KIND, "STT: no type", LOST, NO_TYPE, '{"is_final":true}'),
    FrameCase(KIND, "STT: type null", LOST, NO_TYPE, '{"type":null}'),
    FrameCase(KIND, "STT: type a number", LOST, NO_TYPE, '{"type":5}'),
    FrameCase(KIND, "STT: an unknown type", NOTHING, NOTHING, control("OfNextYear")),
    FrameCase(
        KIND, "STT: SpeechStarted without fields", NOTHING, NOTHING, control("SpeechStarted")
    ),
    FrameCase(KIND, "STT: Metadata null", NOTHING, NOTHING, control("Metadata", duration=None)),
    FrameCase(KIND, "STT: UtteranceEnd without fields", LOST, NO_END, control("UtteranceEnd")),
    FrameCase(
        KIND,
        "STT: Error without fields",
        "a warning each time",
        "an error it does not explain",
        control("Error"),
    ),
]


def follow_stt(frame: str | bytes) -> str:
    """What comes of ``frame``: the first warning, or what else; a good final follows it, twice."""

    async def serve_frames(connection: ServerConnection) -> None:
        try:
            await connection.recv()
            for message in (frame, frame, GOOD):
                await connection.send(message)
            await connection.wait_closed()
        except ConnectionClosed:
            pass

    async def main() -> str:
        async with serve(serve_frames, "127.0.0.1", 0, ping_interval=None) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            address = ServiceAddress(url=url, key="", key_env="")
            async with open_nova(NovaSettings(), address, RATE) as stt:
                await stt.send(SECOND)
                return await summarize_stt(stt.events())

    return clock.run(main(), virtual=True)


async def summarize_stt(events: Any) -> str:
    warnings, others = [], []
    try:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, FinalTranscript) and event.text == "Yes.":
                    break
                (warnings if isinstance(event, Warned) else others).append(event)
    except ServiceError:
        return LOST
    assert len(warnings) <= 1, warnings
    if warnings:
        return str(warnings[0].text)
    if not others:
        return NOTHING
    return "an interim" if isinstance(others[0], InterimTranscript) else USED


@pytest.mark.parametrize("case", STT_CASES, ids=lambda case: case.name)
def test_an_odd_frame_of_the_stt_costs_no_connection(case: FrameCase) -> None:
    assert follow_stt(case.frame) == case.after


# ── the TTS ──────────────────────────────────────────────────────────────────

SOUND = b"\x01\x02" * 100

# What the TTS sends before its audio.  ``after``: the warning, or what comes of it.
TTS_CASES: list[Case] = [
    FrameCase(KIND, "TTS: half a frame", LOST, NO_JSON, '{"type":"Flu'),
    FrameCase(KIND, "TTS: an empty text", LOST, NO_JSON, ""),
    FrameCase(KIND, "TTS: nested 100,000 deep", LOST, NO_JSON, "[" * 100_000),
    FrameCase(KIND, "TTS: null", LOST, NO_TYPE, "null"),
    FrameCase(KIND, "TTS: no type", LOST, NO_TYPE, '{"sequence_id":0}'),
    FrameCase(KIND, "TTS: type a number", LOST, NO_TYPE, '{"type":5}'),
    FrameCase(KIND, "TTS: an unknown type", NOTHING, NOTHING, control("OfNextYear")),
    FrameCase(KIND, "TTS: an empty binary", NOTHING, NOTHING, b""),
    FrameCase(KIND, "TTS: a byte order mark", LOST, NOTHING, "\ufeff" + control("Metadata")),
    FrameCase(
        KIND, "TTS: Metadata as binary", "played as noise", NOTHING, control("Metadata").encode()
    ),
    FrameCase(
        KIND,
        "TTS: Metadata with odd fields",
        NOTHING,
        NOTHING,
        control("Metadata", request_id=[1], model_name=None),
    ),
    FrameCase(KIND, "TTS: a Cleared nobody asked for", NOTHING, NOTHING, control("Cleared")),
    FrameCase(
        KIND,
        "TTS: Warning without fields",
        "a warning each time",
        "it does not say why",
        control("Warning"),
    ),
]


def follow_tts(frame: str | bytes, flushed: str | bytes = control("Flushed")) -> str:
    async def serve_frames(connection: ServerConnection) -> None:
        try:
            async for message in connection:
                if json.loads(message)["type"] == "Flush":
                    for sent in (frame, frame, SOUND, flushed):
                        await connection.send(sent)
        except ConnectionClosed:
            pass

    async def main() -> str:
        async with serve(serve_frames, "127.0.0.1", 0, ping_interval=None) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            address = ServiceAddress(url=url, key="", key_env="")
            async with open_aura(AuraSettings(), address) as tts:
                await tts.send("Hello.", flush=True)
                heard = b""
                try:
                    async with aclosing(tts.audio()) as audio:
                        while (piece := await anext(audio)) is not FLUSHED:
                            heard += piece
                except ServiceError:
                    return LOST
                return NOTHING if heard == SOUND else "played as noise"

    return clock.run(main(), virtual=True)


@pytest.mark.parametrize("case", TTS_CASES, ids=lambda case: case.name)
def test_an_odd_frame_of_the_tts_costs_no_connection(
    case: FrameCase, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    outcome = follow_tts(case.frame)
    warnings = [record.getMessage() for record in caplog.records]
    assert (outcome, warnings) in [(case.after, []), (NOTHING, [f"TTS: {case.after}"])]


def test_a_flushed_as_binary_ends_the_reply() -> None:
    assert follow_tts(control("Metadata"), control("Flushed").encode()) == NOTHING


# ── what makes it impossible to go on ────────────────────────────────────────

REOPENED = "opened again: the service "
BROKEN_CASES: list[Case] = [
    FrameCase(
        KIND,
        "text that is not UTF-8",
        "opened again: the service closed the connection",
        REOPENED + "sent text that is not UTF-8",
        b"\xff\xfe",
    ),
    FrameCase(
        KIND,
        "a message of 17 MB",
        "ends with 5: a message was too long. This is a fault of voicecli",
        REOPENED + "sent a message of more than 16 MB",
        b" " * 17 * 2**20,
    ),
]


@pytest.mark.parametrize("case", BROKEN_CASES, ids=lambda case: case.name)
def test_what_breaks_the_protocol_is_named_and_another_connection_tried(case: FrameCase) -> None:
    async def send_text(connection: ServerConnection) -> None:
        try:
            await connection.recv()
            await connection.send(case.frame, text=True)
            await connection.wait_closed()
        except ConnectionClosed:
            pass

    async def main() -> ServiceError:
        silent = logging.Logger("server", logging.CRITICAL)
        async with serve(send_text, "127.0.0.1", 0, ping_interval=None, logger=silent) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            address = ServiceAddress(url=url, key="", key_env="")
            async with open_nova(NovaSettings(), address, RATE) as stt:
                await stt.send(SECOND)
                with pytest.raises(ServiceError) as caught:
                    await anext(stt.events())
                return caught.value

    error = clock.run(main(), virtual=True)
    assert error.temporary  # reconnects
    assert case.after.removeprefix("opened again: ") in error.cause


@pytest.mark.parametrize("frame", ["", control("Ping")])
def test_odd_frames_hide_no_stall(frame: str) -> None:
    """A service that sends them for ever, and no audio, has stalled."""

    async def chatter(connection: ServerConnection) -> None:
        try:
            while json.loads(await connection.recv())["type"] != "Flush":
                pass
            for _ in range(100):
                await connection.send(frame)
                await asyncio.sleep(1.0)
        except ConnectionClosed:
            pass

    async def main() -> float:
        async with serve(chatter, "127.0.0.1", 0, ping_interval=None, close_timeout=0.1) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            address = ServiceAddress(url=url, key="", key_env="")
            async with open_aura(AuraSettings(), address) as tts:
                await tts.send("Hello.", flush=True)
                with pytest.raises(StalledError):
                    await anext(tts.audio())
                return clock.now()

    assert clock.run(main(), virtual=True) == pytest.approx(3.0, abs=0.1)


CASES = [*STT_CASES, *TTS_CASES, *BROKEN_CASES]


# ── whole conversations ──────────────────────────────────────────────────────


def test_a_conversation_among_odd_frames_goes_on() -> None:
    """Every frame of both services comes after odd ones of all kinds."""
    speech, _ = alternate_speech(0.5, 1.2, 4.0, 1.2, 3.0)
    questions = ("What is the time?", "And in Sydney?")

    def surround(cases: Iterable[Case]) -> Any:
        odd = [case.frame for case in cases if isinstance(case, FrameCase)]
        odd = [
            one for one, case in zip(odd, cases, strict=True) if case.after.startswith("ignored")
        ]

        def rewrite(message: str | bytes) -> Iterator[tuple[Seconds, str | bytes]]:
            yield from ((0.0, one) for one in odd)
            yield 0.0, message

        return rewrite

    talk = converse(
        profile("limits.idle_s=60"),
        Script(
            stt=SttScript(hears=questions, gap=0.3, words_per_second=10.0),
            llm=LlmScript(says=("It is noon.", "It is ten.")),
        ),
        speech,
        recorded=False,
        rewrites={"stt": surround(STT_CASES[:6]), "tts": surround(TTS_CASES)},
    )
    assert talk.error is None
    assert [turn.user_text for turn in talk.turns if turn.outcome == "answered"] == [*questions]
    assert [one.service for one in talk.all(ConnectionOpened)] == ["stt", "tts"]
    texts = [one.text for one in talk.all(Warned)]
    assert texts == [NO_TEXT]
