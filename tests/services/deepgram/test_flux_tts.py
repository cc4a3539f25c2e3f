"""What Flux TTS is sent, when a reply is over, and what becomes of one that is interrupted."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from voicecli import clock
from voicecli.errors import ServiceError, StalledError
from voicecli.services.deepgram.flux_speech import LONGEST_TEXT, SpeechLedger
from voicecli.services.deepgram.flux_tts import (
    ANSWER_TIMEOUT,
    MAX_AGE,
    FluxTts,
    FluxTtsSettings,
    build_query,
    open_flux_tts,
)
from voicecli.services.interfaces import FLUSHED, Flushed
from voicecli.services.provider import ServiceAddress
from voicecli.settings import SettingsConflict

RATE = 8000

Frames = Iterable[dict[str, Any] | bytes | float]
"""What a server sends; a number is a pause in seconds."""


def audio(milliseconds: int, value: int = 1) -> bytes:
    return value.to_bytes(2, "little") * (RATE * milliseconds // 1000)


def metadata(speech: str = "dg_sp_1", milliseconds: int = 0) -> dict[str, Any]:
    return {
        "type": "SpeechMetadata",
        "speech_id": speech,
        "audio_duration_ms": milliseconds,
        "input_character_count": 5,
        "billable_character_count": 5,
        "controls_applied": {},
    }


def interrupted(played: int, speech: str = "dg_sp_1", **text: str) -> dict[str, Any]:
    about = {"metadata": {"speech_id": speech}, "audio_played_ms": played}
    return {"type": "SpeechInterrupted", **about, **text}


def warning(code: str) -> dict[str, Any]:
    return {"type": "Warning", "code": code, "description": "So it is."}


STARTED = {"type": "SpeechStarted", "speech_id": "dg_sp_1"}
FLUSH_CAME = {"type": "Flushed", "speech_id": "dg_sp_1"}


class FluxServer:
    """A server that answers each message with the frames planned for it, in order.

    plans: for a message's type, what follows it the first time, the second time …; after the last
    plan nothing does.
    """

    def __init__(self, **plans: list[Frames]) -> None:
        self._plans = {kind: list(frames) for kind, frames in plans.items()}
        self.received: list[tuple[float, dict[str, Any]]] = []
        self.paths: list[str] = []
        self.connections: list[ServerConnection] = []

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        self.connections.append(connection)
        try:
            await connection.send('{"type":"Connected","request_id":"id","model_name":"m"}')
            async for message in connection:
                frame = json.loads(message)
                self.received.append((clock.now(), frame))
                if frame["type"] == "Close":
                    await connection.close()
                elif plans := self._plans.get(frame["type"]):
                    await self._send(connection, plans.pop(0))
        except ConnectionClosed:
            pass

    async def _send(self, connection: ServerConnection, frames: Frames) -> None:
        for frame in frames:
            if isinstance(frame, float):
                await asyncio.sleep(frame)
            else:
                await connection.send(frame if isinstance(frame, bytes) else json.dumps(frame))

    @property
    def notes(self) -> list[Any]:
        """The messages, in short."""
        return [frame.get("text", frame["type"]) for _, frame in self.received]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame for _, frame in self.received if frame["type"] == kind]


@asynccontextmanager
async def speaking(
    server: Any, *, max_age: float = MAX_AGE, **options: Any
) -> AsyncGenerator[FluxTts, None]:
    async with serve(server, "127.0.0.1", 0, ping_interval=None, close_timeout=0.1) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        settings = FluxTtsSettings(sample_rate=RATE, **options)
        address = ServiceAddress(url=url, key="", key_env="")
        async with open_flux_tts(settings, address, max_age=max_age) as flux:
            yield flux


async def take(flux: FluxTts, flushes: int = 1) -> list[bytes | Flushed]:
    """What a reply of so many flushes sounds like; adjacent audio joined."""
    pieces: list[bytes | Flushed] = []
    async with aclosing(flux.audio()) as arriving:
        while flushes:
            piece = await anext(arriving)
            flushes -= piece is FLUSHED
            if isinstance(piece, bytes) and pieces and isinstance(pieces[-1], bytes):
                piece = pieces.pop() + piece  # type: ignore[operator]
            pieces.append(piece)
    return pieces


async def take_audio(flux: FluxTts, milliseconds: int) -> bytes:
    """Take so much audio of a reply that goes on."""
    pcm = b""
    async with aclosing(flux.audio()) as arriving:
        while len(pcm) < len(audio(milliseconds)):
            piece = await anext(arriving)
            assert isinstance(piece, bytes)
            pcm += piece
    return pcm


def say_one(server: FluxServer, text: str = "One.", **options: Any) -> list[bytes | Flushed]:
    async def main() -> list[bytes | Flushed]:
        async with speaking(server, **options) as flux:
            await flux.send(text, flush=True)
            return await take(flux)

    return clock.run(main(), virtual=True)


# ── the question, and the settings ───────────────────────────────────────────


def test_the_query_has_what_is_set_and_nothing_else() -> None:
    server = FluxServer(Flush=[[audio(1), metadata()]])
    say_one(server, model="flux-heather-en", speed=1.05, expressivity=-2, tag="a tag")
    parts = urlsplit(server.paths[0])
    assert parts.path == "/v2/speak"
    assert dict(parse_qsl(parts.query)) == {
        "model": "flux-heather-en",
        "encoding": "linear16",
        "sample_rate": "8000",
        "speed": "1.05",
        "expressivity": "-2",
        "mip_opt_out": "false",
        "tag": "a tag",
    }
    names = [name for name, _ in build_query(FluxTtsSettings())]
    assert names == ["model", "encoding", "sample_rate", "mip_opt_out"]


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"model": "aura-2-thalia-en"}, "model must be a Flux voice"),
        ({"model": "flux"}, "model must be a Flux voice"),
        ({"speed": 1.02}, "speed goes in steps of 0.05"),
    ],
)
def test_what_the_service_refuses_is_known_before_it_is_asked(
    settings: dict[str, Any], rule: str
) -> None:
    with pytest.raises(SettingsConflict, match=rule):
        FluxTtsSettings(**settings).check()


@given(st.integers(10, 30))
def test_every_step_of_speed_is_accepted(steps: int) -> None:
    FluxTtsSettings(speed=steps * 0.05).check()


# ── a reply ──────────────────────────────────────────────────────────────────


def test_words_are_passed_on_as_they_are_and_flushed_once() -> None:
    server = FluxServer(Flush=[[STARTED, audio(20), FLUSH_CAME, audio(10), metadata()]])

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as flux:
            for token in ("Hello", ", ", "\n there", ".", ""):
                await flux.send(token, flush=False)
            await flux.send("", flush=True)
            return await take(flux)

    assert clock.run(main(), virtual=True) == [audio(30), FLUSHED]
    assert server.notes == ["Hello", ", ", "\n there", ".", "Flush", "Close"]


def test_audio_is_heard_before_the_flush() -> None:
    server = FluxServer(Speak=[[0.1, STARTED, audio(20)]], Flush=[[audio(10), metadata()]])

    async def main() -> float:
        async with speaking(server) as flux:
            await flux.send("Hello, ", flush=False)
            assert await take_audio(flux, 20) == audio(20)
            at = clock.now()
            await flux.send("there.", flush=True)
            assert await take(flux) == [audio(10), FLUSHED]
            return at

    assert clock.run(main(), virtual=True) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "frames",
    [
        [FLUSH_CAME, 0.5, STARTED, audio(20), 0.5, audio(10), metadata()],
        [STARTED, audio(30), metadata(), FLUSH_CAME],
        [STARTED, audio(20), FLUSH_CAME, audio(10), metadata(), FLUSH_CAME],
        [STARTED, audio(30), metadata()],
        [audio(20)[:-1], audio(20)[-1:] + audio(10), metadata()],
        [warning("SYNTHESIS_RETRYING"), 0.5, audio(30), metadata()],
        [{"type": "New", "speech_id": 7}, audio(30), metadata()],
        [audio(30), {"type": "SpeechMetadata"}],
        [audio(30), {"type": "SpeechMetadata", "speech_id": None}],
    ],
    ids=["early", "trailing", "twice", "none", "odd", "retried", "unknown", "bare", "null"],
)
def test_speech_metadata_ends_a_reply_and_flushed_does_not(frames: Frames) -> None:
    server = FluxServer(Flush=[frames, [audio(7, 2), metadata("dg_sp_2")]])

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as flux:
            await flux.send("One.", flush=True)
            first = await take(flux)
            await flux.send("Two.", flush=True)
            return first + await take(flux)

    assert clock.run(main(), virtual=True) == [audio(30), FLUSHED, audio(7, 2), FLUSHED]
    assert len(server.connections) == 1


def test_a_reply_without_anything_to_say_is_over_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = FluxServer(Flush=[[FLUSH_CAME, warning("NO_SYNTHESIZABLE_TEXT"), metadata()]])
    assert say_one(server, " … ") == [FLUSHED]
    assert caplog.messages == []


def test_a_flush_without_text_is_not_sent() -> None:
    server = FluxServer()

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as flux:
            await flux.send("", flush=True)
            return await take(flux)

    assert clock.run(main(), virtual=True) == [FLUSHED]
    assert server.notes == ["Close"]


def test_a_second_flush_of_the_same_text_is_answered_with_the_first() -> None:
    server = FluxServer(Flush=[[0.1, audio(10), metadata()]])

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as flux:
            await flux.send("One.", flush=True)
            await flux.send("", flush=True)
            return await take(flux, 2)

    assert clock.run(main(), virtual=True) == [audio(10), FLUSHED, FLUSHED]
    assert server.notes == ["One.", "Flush", "Close"]


def test_two_speeches_may_be_under_way() -> None:
    server = FluxServer(Flush=[[0.2, audio(10), metadata()], [audio(20), metadata("dg_sp_2")]])

    async def main() -> list[bytes | Flushed]:
        async with speaking(server) as flux:
            await flux.send("One.", flush=True)
            await flux.send("Two.", flush=True)
            return await take(flux, 2)

    assert clock.run(main(), virtual=True) == [audio(10), FLUSHED, audio(20), FLUSHED]


def test_long_text_is_cut_at_spaces_and_nowhere_else() -> None:
    text = "word " * 900
    messages = list(SpeechLedger(RATE).speak(text))
    assert "".join(message["text"] for message in messages) == text
    assert [len(message["text"]) for message in messages] == [2000, 2000, 500]
    assert [len(one["text"]) for one in SpeechLedger(RATE).speak("x" * 2001)] == [LONGEST_TEXT, 1]


def test_a_warning_is_logged_once_and_without_its_escapes(caplog: pytest.LogCaptureFixture) -> None:
    odd = {"type": "Warning", "code": "ODD", "description": "A\x1b[1m word."}
    refused = {"type": "ConfigureFailure", "code": "SPEED_NOT_SUPPORTED", "description": "No."}
    server = FluxServer(Flush=[[odd, odd, refused, b"{", audio(10), metadata()]])
    with caplog.at_level(logging.WARNING):
        pcm, end = say_one(server)
    assert (end, len(pcm)) == (FLUSHED, len(audio(10)))  # half a sample is dropped
    assert caplog.messages == ["TTS: ODD: A word.", "TTS: SPEED_NOT_SUPPORTED: No."]


# ── barge-in ─────────────────────────────────────────────────────────────────


def barge_in(
    server: FluxServer, *, taken: int = 30, unplayed: int | None = 10, flush: bool = True
) -> tuple[str | None, list[bytes | Flushed], float]:
    """Interrupt a reply of which ``taken`` ms were taken; return the words heard, the next reply,
    and how long that had to wait to be sent."""

    async def main() -> tuple[str | None, list[bytes | Flushed], float]:
        async with speaking(server) as flux:
            await flux.send("One two three.", flush=flush)
            if taken:
                await take_audio(flux, taken)
            await flux.clear(unplayed=None if unplayed is None else RATE * unplayed // 1000)
            began = clock.now()
            async with asyncio.TaskGroup() as tasks:
                heard = tasks.create_task(flux.cleared())
                await flux.send("Four.", flush=True)
                waited = clock.now() - began
                said = await take(flux)
            return heard.result(), said, waited

    return clock.run(main(), virtual=True)


def test_an_interrupt_tells_what_was_played_and_is_told_what_was_heard() -> None:
    server = FluxServer(
        Flush=[[STARTED, audio(30)], [audio(7, 2), metadata("dg_sp_2")]],
        Interrupt=[
            [
                audio(5),  # was on its way
                0.1,
                audio(5),
                interrupted(20, text_spoken="One two", text_remaining=" three."),
                FLUSH_CAME,
                metadata("dg_sp_1"),  # of the speech that is over
            ]
        ],
    )
    heard, said, waited = barge_in(server)
    assert heard == "One two"
    assert said == [audio(7, 2), FLUSHED]
    assert waited == pytest.approx(0.1)  # else "Four." could join the interrupted speech
    offset = {"playback_offset": {"type": "time_ms", "value": 20}}
    assert server.of("Interrupt") == [{"type": "Interrupt", **offset}]
    assert len(server.connections) == 1


def test_the_offset_counts_from_the_start_of_the_session() -> None:
    server = FluxServer(
        Flush=[[audio(100), metadata()], [audio(50)], [audio(60)]],
        Interrupt=[[interrupted(120, "dg_sp_2")], [interrupted(130, "dg_sp_3")]],
    )

    async def main() -> None:
        async with speaking(server) as flux:
            await flux.send("One.", flush=True)
            await take(flux)
            for unplayed in (30, 50):
                await flux.send("More.", flush=True)
                await take_audio(flux, 50)
                await flux.clear(unplayed=RATE * unplayed // 1000)
                await flux.cleared()

    clock.run(main(), virtual=True)
    offsets = [one["playback_offset"]["value"] for one in server.of("Interrupt")]
    assert offsets == [100 + 20, 120 + 10]  # what was not played does not count


def test_a_draft_is_interrupted_without_an_offset_and_the_connection_is_kept() -> None:
    server = FluxServer(
        Speak=[[audio(30)]],
        Interrupt=[[interrupted(30)]],
        Flush=[[audio(7, 2), metadata("dg_sp_2")]],
    )
    heard, said, _ = barge_in(server, unplayed=None, flush=False)
    assert (heard, said) == (None, [audio(7, 2), FLUSHED])
    assert server.of("Interrupt") == [{"type": "Interrupt"}]
    assert len(server.connections) == 1


def test_what_was_played_of_a_speech_that_is_complete_may_still_be_told() -> None:
    """Audio arrives faster than it sounds: the service has often finished before the user speaks.

    Whether it then says what was heard is its decision; the next reply does not wait for that."""
    server = FluxServer(
        Flush=[[audio(30), metadata()], [audio(7, 2), metadata("dg_sp_2")]],
        Interrupt=[[0.2, warning("NO_ACTIVE_SPEECH")]],
    )
    heard, said, waited = barge_in(server)
    assert (heard, said, waited) == (None, [audio(7, 2), FLUSHED], 0.0)
    assert server.of("Interrupt")[0]["playback_offset"]["value"] == 20


def test_audio_that_nobody_has_taken_was_not_played() -> None:
    ledger = SpeechLedger(RATE)
    assert [message["type"] for message in ledger.speak("One two.")] == ["Speak"]
    for _ in range(2):
        assert list(ledger.receive(audio(30), 0.0)) == []
    assert ledger.items.popleft() == audio(30)
    (sent,) = ledger.interrupt(RATE * 10 // 1000)
    assert sent["playback_offset"]["value"] == 20


def test_nothing_is_interrupted_after_the_end() -> None:
    server = FluxServer(Flush=[[audio(30), metadata()]])

    async def main() -> str | None:
        async with speaking(server) as flux:
            await flux.send("One.", flush=True)
            await take(flux)
            await flux.clear(unplayed=0)
            return await flux.cleared()

    assert clock.run(main(), virtual=True) is None
    assert server.of("Interrupt") == []


@pytest.mark.parametrize(
    ("answers", "sent"),
    [
        (
            [[warning("INVALID_INTERRUPT_OFFSET")], [interrupted(30, text_spoken="never asked")]],
            [20, None],
        ),
        ([[warning("INTERRUPT_IN_PROGRESS"), interrupted(30)], [interrupted(30)]], [20, None]),
        ([[interrupted(20)]], [20]),
        ([[metadata(), warning("NO_ACTIVE_SPEECH")]], [20]),
        ([[{"type": "SpeechInterrupted"}]], [20]),
        ([[interrupted(-5) | {"text_spoken": 7, "audio_played_ms": "x"}]], [20]),
    ],
    ids=["stale", "busy", "without words", "too late", "bare", "odd"],
)
def test_without_an_account_of_the_service_the_estimate_stays(
    answers: list[Frames], sent: list[int | None], caplog: pytest.LogCaptureFixture
) -> None:
    server = FluxServer(Flush=[[audio(30)], [audio(7, 2), metadata("dg_sp_2")]], Interrupt=answers)
    heard, said, _ = barge_in(server)
    assert (heard, said) == (None, [audio(7, 2), FLUSHED])
    offsets = [one.get("playback_offset", {}).get("value") for one in server.of("Interrupt")]
    assert offsets == sent
    assert len(server.connections) == 1
    assert caplog.messages == []


def test_an_offset_that_has_not_advanced_is_not_sent() -> None:
    server = FluxServer(
        Flush=[[audio(30)], [audio(7, 2), metadata("dg_sp_2")]], Interrupt=[[interrupted(0)]]
    )
    barge_in(server, unplayed=30)
    assert server.of("Interrupt") == [{"type": "Interrupt"}]


@pytest.mark.parametrize("flush", [False, True])
def test_a_first_reply_that_has_no_audio_yet_is_awaited_and_dropped(flush: bool) -> None:
    """It cannot be interrupted, and the next reply must not become a part of it."""
    ignored = [warning("NO_AUDIO_GENERATED"), *([0.1, audio(20)] if flush else [])]
    old, new = [0.1, audio(20)], [audio(7, 2), metadata("dg_sp_2")]
    server = FluxServer(
        Flush=[[], new] if flush else [old, new],
        Interrupt=[ignored, [audio(20), interrupted(40)]],
    )
    heard, said, waited = barge_in(server, taken=0, unplayed=None, flush=flush)
    assert (heard, said) == (None, [audio(7, 2), FLUSHED])
    assert waited == pytest.approx(0.1)
    assert server.notes == [
        "One two three.",
        *(["Flush", "Interrupt"] if flush else ["Interrupt", "Flush"]),
        *("Interrupt", "Four.", "Flush", "Close"),
    ]
    assert len(server.connections) == 1


def test_a_first_reply_without_any_audio_is_over_by_itself() -> None:
    server = FluxServer(
        Flush=[[], [audio(7, 2), metadata("dg_sp_2")]],
        Interrupt=[[warning("NO_AUDIO_GENERATED"), 0.1, metadata()]],
    )
    heard, said, _ = barge_in(server, taken=0, unplayed=None)
    assert (heard, said) == (None, [audio(7, 2), FLUSHED])
    assert len(server.connections) == 1


def test_an_interrupt_that_is_not_answered_costs_a_connection_and_no_reply() -> None:
    server = FluxServer(Flush=[[audio(30)], [audio(7, 2), metadata()]])

    async def main() -> tuple[list[bytes | Flushed], float]:
        async with speaking(server) as flux:
            await flux.send("One.", flush=True)
            await take_audio(flux, 30)
            await flux.clear(unplayed=80)
            began = clock.now()
            with pytest.raises(ServiceError, match="no answer to Interrupt within 1 s"):
                await flux.cleared()
            await flux.send("Two.", flush=True)
            return await take(flux), clock.now() - began

    said, waited = clock.run(main(), virtual=True)
    assert said == [audio(7, 2), FLUSHED]
    assert waited <= 2 * ANSWER_TIMEOUT
    assert len(server.connections) == 2


# ── the end of a connection ──────────────────────────────────────────────────


def test_an_idle_connection_is_kept_by_pings() -> None:
    server = FluxServer(Flush=[[audio(10), metadata()]] * 2)

    async def main() -> None:
        async with speaking(server) as flux:
            for _ in range(2):
                await flux.send("One.", flush=True)
                await take(flux)
                await asyncio.sleep(600.0)

    clock.run(main(), virtual=True)
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("code", "temporary"),
    [("NET-0003", True), ("NET-0004", True), ("NET-0000", True), ("DATA-0002", False)],
)
def test_an_error_says_what_it_means_and_the_next_reply_has_another_connection(
    code: str, temporary: bool
) -> None:
    error = {"type": "Error", "code": code, "description": "Something\x1b[2J ended."}
    server = FluxServer(Flush=[[audio(10), error], [audio(20), metadata()]])

    async def main() -> tuple[ServiceError, list[bytes | Flushed]]:
        async with speaking(server) as flux:
            await flux.send("One.", flush=True)
            with pytest.raises(ServiceError) as caught:
                await take(flux)
            await flux.clear()
            await flux.send("Two.", flush=True)
            return caught.value, await take(flux)

    caught, said = clock.run(main(), virtual=True)
    assert said == [audio(20), FLUSHED]
    assert f"({code}: Something ended.)" in caught.cause
    assert (caught.temporary, caught.exit_code) == (temporary, 5)


def test_an_old_connection_is_replaced_between_replies_by_warm() -> None:
    server = FluxServer(Flush=[[audio(10), metadata()]] * 3)

    async def main() -> None:
        async with speaking(server, max_age=100.0) as flux:
            await flux.send("One.", flush=True)
            await take(flux)
            await flux.warm()
            assert len(server.connections) == 1
            await asyncio.sleep(101.0)
            await flux.warm()
            assert len(server.connections) == 2
            await flux.send("Two.", flush=True)
            await take(flux)
            server.connections[1].transport.abort()  # as after a minute without pings
            await asyncio.sleep(1.0)
            await flux.warm()
            at = clock.now()
            await flux.send("Three.", flush=True)
            await take(flux)
            assert clock.now() == at

    clock.run(main(), virtual=True)
    assert len(server.connections) == 3


def test_silence_after_the_flush_is_a_stall_and_silence_before_it_is_not() -> None:
    server = FluxServer(Flush=[[], [audio(10), metadata()]])

    async def main() -> list[bytes | Flushed]:
        async with speaking(server, first_audio_timeout=2.0) as flux:
            await flux.send("One ", flush=False)
            async with asyncio.TaskGroup() as tasks:
                listener = tasks.create_task(take_failure(flux))
                await asyncio.sleep(30.0)  # the LLM is slow
                await flux.send("two.", flush=True)
                assert "no audio for 2 s" in (await listener).cause
            assert clock.now() == pytest.approx(32.0)
            await flux.clear()
            await flux.send("Two.", flush=True)
            return await take(flux)

    assert clock.run(main(), virtual=True) == [audio(10), FLUSHED]
    assert len(server.connections) == 2


async def take_failure(flux: FluxTts) -> StalledError:
    with pytest.raises(StalledError) as caught:
        await take(flux)
    return caught.value


def test_leaving_in_the_middle_of_a_speech_does_not_wait_for_the_rest_of_it() -> None:
    server = FluxServer(Flush=[[audio(10)]])

    async def main() -> float:
        async with speaking(server) as flux:
            await flux.send("One.", flush=True)
            await take_audio(flux, 10)
            at = clock.now()
        return clock.now() - at

    assert clock.run(main(), virtual=True) < 0.5
    assert server.of("Close") == []


# ── the bookkeeping, whatever comes ──────────────────────────────────────────

FRAMES: list[dict[str, Any] | bytes] = [
    audio(10),
    b"\1",
    STARTED,
    FLUSH_CAME,
    metadata(),
    metadata("dg_sp_2"),
    interrupted(5, text_spoken="One"),
    {"type": "SpeechInterrupted", "metadata": 7},
    {"type": "SpeechMetadata", "speech_id": None},
    *map(warning, ("NO_ACTIVE_SPEECH", "NO_AUDIO_GENERATED", "INTERRUPT_IN_PROGRESS")),
    warning("INVALID_INTERRUPT_OFFSET"),
]

MOVES = st.one_of(st.sampled_from(["speak", "flush", "interrupt", "take"]), st.sampled_from(FRAMES))


@given(st.lists(MOVES, max_size=40))
def test_each_flush_has_its_end_and_offsets_advance(moves: list[Any]) -> None:
    """Without interruptions, every flush is answered; offsets grow whatever the service says."""
    ledger = SpeechLedger(RATE)
    asked = taken = 0
    offsets: list[int] = []
    for at, move in enumerate(moves):
        sent: list[dict[str, Any]] = []
        if move == "speak" and not ledger.is_blocked:
            sent = list(ledger.speak("Word "))
        elif move == "flush" and not ledger.is_blocked:
            sent, asked = list(ledger.flush(float(at))), asked + 1
        elif move == "interrupt":
            sent, asked, taken = list(ledger.interrupt(0)), 0, 0
            assert not ledger.items
            assert not ledger.speeches
        elif move == "take" and ledger.items:
            taken += ledger.items.popleft() is FLUSHED
        elif not isinstance(move, str):
            before = len(ledger.items)
            frame = move if isinstance(move, bytes) else json.dumps(move)
            sent = list(ledger.receive(frame, float(at)))
            if ledger.is_blocked:
                assert len(ledger.items) == before  # nothing of an interrupted speech is heard
        offsets += [one["playback_offset"]["value"] for one in sent if "playback_offset" in one]
        due = sum(one is FLUSHED for one in ledger.items)
        assert asked == taken + due + sum(speech.asked for speech in ledger.speeches)
    assert all(offset > 0 for offset in offsets)
