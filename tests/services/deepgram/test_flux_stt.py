"""What Flux is asked, what its frames become, and how a connection is kept, and ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from voicecli import clock
from voicecli.errors import ProfileError, ServiceError, StalledError
from voicecli.events import (
    EndOfTurnDetected,
    EndOfTurnPredicted,
    Event,
    FinalTranscript,
    InterimTranscript,
    TurnResumed,
    TurnStarted,
    Warned,
)
from voicecli.profile import load_profile
from voicecli.services.deepgram.flux_stt import FluxSttSettings, build_query, open_flux_stt
from voicecli.services.deepgram.flux_stt_connection import (
    CHUNK,
    CONFIGURE_TIMEOUT,
    SILENCE_AFTER,
    STALLED_AFTER,
    FluxListener,
)
from voicecli.services.deepgram.flux_turns import TurnDecoder
from voicecli.services.deepgram.frames import SentAudio
from voicecli.services.provider import ServiceAddress
from voicecli.units import AudioBlock, AudioFormat, Seconds

T = TypeVar("T")
RATE = 16_000
FORMAT = AudioFormat(RATE)


def run(main: Coroutine[Any, Any, T]) -> T:
    return clock.run(main, virtual=True)


def block(at: Seconds, duration: Seconds = 0.02) -> AudioBlock:
    return AudioBlock(FORMAT.silence(duration), at)


# ── the question ─────────────────────────────────────────────────────────────


def test_the_query_is_spelt_as_the_service_wants_it() -> None:
    settings = FluxSttSettings(
        model="flux-general-multi",
        eot_threshold=0.8,
        eager_eot_threshold=0.45,
        eot_timeout=6.0,
        keyterms=("Aura", "customer service"),
        language_hints=("en", "de"),
        numerals=True,
        profanity_filter=True,
        redact="numbers",
        mip_opt_out=True,
        tag="test",
    )
    assert build_query(settings, 48_000) == [
        ("model", "flux-general-multi"),
        ("encoding", "linear16"),
        ("sample_rate", "48000"),
        ("eot_threshold", "0.8"),
        ("eot_timeout_ms", "6000"),
        ("eager_eot_threshold", "0.45"),
        ("keyterm", "Aura"),
        ("keyterm", "customer service"),
        ("language_hint", "en"),
        ("language_hint", "de"),
        ("numerals", "true"),
        ("profanity_filter", "true"),
        ("mip_opt_out", "true"),
        ("redact", "numbers"),
        ("tag", "test"),
    ]


def test_only_what_is_set_is_asked_for() -> None:
    names = [name for name, _ in build_query(FluxSttSettings(eager_eot_threshold=None), RATE)]
    assert names == ["model", "encoding", "sample_rate", "eot_threshold", "eot_timeout_ms"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (("stt.model=flux",), "stt.model should be flux-general-en or flux-general-multi"),
        (("stt.eot_threshold=0.4",), "stt.eot_threshold should be a number from 0.5 to 1"),
        (
            ("stt.eager_eot_threshold=0.8",),
            "stt.eager_eot_threshold must be at most eot_threshold, 0.7",
        ),
        (("stt.eot_timeout_ms=499",), "stt.eot_timeout_ms should be a whole number from 500"),
        (("stt.language_hints=[en]",), "stt.language_hints need flux-general-multi"),
        (
            ("stt.model=flux-general-multi", "stt.language_hints=[xx]"),
            r"stt.language_hints\[0\] should be de, en, es",
        ),
        ((f"stt.keyterms={['a'] * 101}",), "stt.keyterms are more than 100"),
        ((f"stt.keyterms=[{'a' * 2001}]",), "stt.keyterms are more than about 500 tokens"),
        ((f"stt.tag={'a' * 129}",), "stt.tag should be text of at most 128 characters"),
        (("stt.endpointing_ms=200",), "unknown key stt.endpointing_ms"),
        (("audio.sample_rate=22050",), "audio.sample_rate must be one that deepgram-flux takes"),
    ],
)
def test_what_the_service_would_refuse_is_refused_before_anything_opens(
    settings: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(ProfileError, match=problem):
        load_profile("flux-stt", overrides=settings, environ={})


def test_a_service_that_ends_no_turns_cannot_decide() -> None:
    with pytest.raises(
        ProfileError, match=r"--set turn\.detect: turn\.detect: service needs an STT"
    ):
        load_profile("default", overrides=["turn.detect=service"], environ={})


# ── frames ───────────────────────────────────────────────────────────────────


def turn_info(event: str, text: str, until: Seconds = 1.0, **other: Any) -> dict[str, Any]:
    words = [
        {"word": word, "confidence": 0.9, "start": until / 4 + index / 100, "end": until - 0.2}
        for index, word in enumerate(text.split())
    ]
    return {
        "type": "TurnInfo",
        "request_id": "r",
        "sequence_id": 1,
        "event": event,
        "turn_index": 0,
        "audio_window_start": 0.0,
        "audio_window_end": until,
        "transcript": text,
        "words": words,
        "end_of_turn_confidence": 0.5,
        **other,
    }


def decoder(seconds: Seconds = 10.0, at: Seconds = 0.0) -> TurnDecoder:
    """A decoder whose connection was sent audio that began at ``at``."""
    sent = SentAudio(RATE)
    sent.add(block(at, seconds))
    return TurnDecoder(sent)


def test_a_turn_from_its_first_words_to_its_end() -> None:
    decode = decoder(at=100.0).decode
    found = [
        *decode(turn_info("Update", "", 0.25), at=1),
        *decode(turn_info("StartOfTurn", "Hi I", 0.6), at=2),
        *decode(turn_info("EagerEndOfTurn", "Hi I see.", 1.1), at=3),
        *decode(turn_info("TurnResumed", "Hi I see you", 1.4), at=4),
        *decode(turn_info("EndOfTurn", "Hi I see you.", 2.0, trigger="model"), at=5),
    ]

    def interim(at: float, text: str, window: float) -> InterimTranscript:
        start, end = pytest.approx(100 + window / 4), pytest.approx(100 + window - 0.2)
        return InterimTranscript(at=at, text=text, speech_start=start, speech_end=end)

    assert found == [
        InterimTranscript(at=1, text="", speech_start=100.0, speech_end=100.0),
        TurnStarted(at=2),
        interim(2, "Hi I", 0.6),
        interim(3, "Hi I see.", 1.1),
        EndOfTurnPredicted(at=3, confidence=0.5),
        TurnResumed(at=4, confidence=0.5),
        interim(4, "Hi I see you", 1.4),
        FinalTranscript(
            at=5,
            text="Hi I see you.",
            speech_start=pytest.approx(100.5),
            speech_end=pytest.approx(101.8),
            speech_final=True,
        ),
        EndOfTurnDetected(at=5, confidence=0.5, trigger="model"),
    ]


def kinds(found: list[Event]) -> list[str]:
    return [type(event).__name__ for event in found]


def test_words_before_the_start_of_the_turn_count() -> None:
    turn = decoder()
    (interim,) = turn.decode(turn_info("Update", "Please stop"), at=1)
    assert isinstance(interim, InterimTranscript)
    assert interim.text == "Please stop"
    assert turn.text == "Please stop"


def test_a_forced_end_answers_what_was_asked() -> None:
    turn = decoder()
    turn.ends_turn = True
    final, found = turn.decode(turn_info("EndOfTurn", "Yes.", trigger="manual"), at=1)
    assert isinstance(final, FinalTranscript)
    assert (final.from_finalize, final.speech_final) == (True, False)
    assert found == EndOfTurnDetected(at=1, confidence=0.5, trigger="manual")
    assert not turn.ends_turn


def test_an_end_without_a_trigger_answers_what_was_asked() -> None:
    turn = decoder()
    turn.ends_turn = True
    final = turn.decode(turn_info("EndOfTurn", "Yes."), at=1)[0]
    assert isinstance(final, FinalTranscript)
    assert final.from_finalize
    final = turn.decode(turn_info("EndOfTurn", "No.", 2.0, turn_index=1), at=2)[0]
    assert isinstance(final, FinalTranscript)
    assert final.speech_final


def test_a_turn_that_had_ended_answers_with_no_further_words() -> None:
    turn = decoder()
    turn.decode(turn_info("EndOfTurn", "Yes.", trigger="model"), at=1)
    turn.ends_turn = True
    warning = {"type": "Warning", "code": "FORCE_END_TURN_NO_ACTIVE_TURN", "description": "No."}
    assert turn.decode(warning, at=2) == [
        FinalTranscript(at=2, text="", speech_start=1.0, speech_end=1.0, from_finalize=True)
    ]
    assert turn.decode(warning, at=3) == [
        Warned(at=3, service="stt", text="FORCE_END_TURN_NO_ACTIVE_TURN: No.")
    ]


def test_words_without_times_end_before_the_window_that_first_had_them() -> None:
    """An older deployment: a later end would make mouth-to-ear too short."""
    turn = decoder()

    def bare(event: str, text: str, until: Seconds) -> Any:
        words = [{"word": word, "confidence": 0.9} for word in text.split()]
        found = turn.decode(turn_info(event, text, until, words=words), at=until)
        return next(one for one in found if isinstance(one, InterimTranscript | FinalTranscript))

    assert bare("Update", "", 0.25).speech_end == 0.0
    assert bare("StartOfTurn", "Hello", 0.5).speech_end == 0.25
    assert bare("Update", "Hello there.", 0.75).speech_end == 0.5
    assert bare("EagerEndOfTurn", "Hello there.", 1.0).speech_end == 0.5
    assert bare("EndOfTurn", "Hello there.", 1.25).speech_end == 0.5
    second = bare("Update", "Again", 2.0)
    assert (second.speech_start, second.speech_end) == (1.25, 1.25)


def test_a_repeated_end_is_heard_once() -> None:
    turn = decoder()
    assert len(turn.decode(turn_info("EndOfTurn", "Yes.", trigger="model"), at=1)) == 2
    assert turn.decode(turn_info("EndOfTurn", "Yes.", trigger="model"), at=2) == []


def test_a_server_that_counts_no_turns_is_understood() -> None:
    turn = decoder()
    turn.decode(turn_info("EndOfTurn", "Yes.", 1.0), at=1)
    assert kinds(turn.decode(turn_info("StartOfTurn", "No.", 2.0), at=2)) == [
        "TurnStarted",
        "InterimTranscript",
    ]


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "Surprise"},
        {"type": "Metadata"},
        turn_info("SpeakerChanged", "Hello"),
        turn_info("Update", "Hello", trigger=7) | {"event": ["Update"]},
    ],
)
def test_unknown_types_and_events_mean_nothing(frame: dict[str, Any]) -> None:
    turn = decoder()
    assert turn.decode(frame, at=1) == []
    assert turn.text == ""


@pytest.mark.parametrize("transcript", [None, 3, ["Hello"]])
def test_a_turn_without_a_transcript_is_ignored(transcript: Any) -> None:
    frame = turn_info("Update", "") | {"transcript": transcript}
    assert decoder().decode(frame, at=1) == [
        Warned(at=1, service="stt", text="ignored a TurnInfo frame without a transcript")
    ]


def test_times_that_are_not_in_the_audio_are_ignored() -> None:
    warned, interim = decoder(2.0).decode(turn_info("Update", "Hello", 900.0), at=1)
    assert isinstance(warned, Warned)
    assert isinstance(interim, InterimTranscript)
    assert 0 <= interim.speech_start <= interim.speech_end <= 2.0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("event", "turn_index", "audio_window_start", "audio_window_end", "transcript", "words")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["Update", "StartOfTurn", "EagerEndOfTurn", "TurnResumed", "EndOfTurn"]
            ),
            st.sampled_from(["", "Hello", "Hello there."]),
            st.floats(0, 12),
            st.dictionaries(st.sampled_from([*FIELDS, "trigger", "end_of_turn_confidence"]), JSON),
        ),
        max_size=8,
    )
)
def test_whatever_a_frame_says_times_lie_in_the_audio_and_in_order(
    frames: list[tuple[str, str, float, dict[str, Any]]],
) -> None:
    turn, until = decoder(10.0), 0.0
    for event, text, end, other in frames:
        for found in turn.decode(turn_info(event, text, end) | other, at=1):
            if isinstance(found, InterimTranscript | FinalTranscript):
                assert -1e-6 <= found.speech_start <= found.speech_end + 1e-6
                assert found.speech_end <= 10.0
            confidence = getattr(found, "confidence", None)
            assert confidence is None or 0 <= confidence <= 1
        assert turn._sent.final_until >= until
        until = turn._sent.final_until


# ── the connection ───────────────────────────────────────────────────────────

Answers = Callable[[str | bytes], list[dict[str, Any]]]


@dataclass
class Server:
    """A server that keeps what arrives, and answers.

    answers: frames for a message; ``connected``: what it says at once.
    """

    answers: Answers = lambda message: []
    connected: tuple[dict[str, Any], ...] = ({"type": "Connected", "sequence_id": 0},)
    received: list[tuple[Seconds, str | bytes]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        try:
            for frame in self.connected:
                await self._say(connection, frame)
            async for message in connection:
                self.received.append((clock.now(), message))
                for frame in self.answers(message):
                    await self._say(connection, frame)
        except ConnectionClosed:
            pass

    async def _say(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        if (code := frame.get("close")) is not None:
            await connection.close(code)
        else:
            await connection.send(json.dumps(frame))

    @property
    def asked(self) -> list[str]:
        return [json.loads(one)["type"] for _, one in self.received if isinstance(one, str)]

    @property
    def configured(self) -> list[dict[str, float]]:
        texts = [json.loads(one) for _, one in self.received if isinstance(one, str)]
        return [one["thresholds"] for one in texts if one["type"] == "Configure"]

    @property
    def audio(self) -> list[tuple[Seconds, Seconds]]:
        """When each chunk came, and how long it is."""
        chunks = [(at, one) for at, one in self.received if isinstance(one, bytes)]
        return [(at, FORMAT.seconds(len(chunk))) for at, chunk in chunks]


@asynccontextmanager
async def listening(
    server: Server, refused: set[str] | None = None, **settings: Any
) -> AsyncGenerator[FluxListener, None]:
    async with serve(server, "127.0.0.1", 0, ping_interval=None) as listening:
        url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        address = ServiceAddress(
            url=url, key="", key_env="", refused=set() if refused is None else refused
        )
        async with open_flux_stt(FluxSttSettings(**settings), address, RATE) as listener:
            yield listener


def hold(
    server: Server,
    say: Callable[[FluxListener], Coroutine[Any, Any, None]],
    refused: set[str] | None = None,
    **settings: Any,
) -> tuple[list[Event], ServiceError | None]:
    """Send what ``say`` sends while listening; return the events and how it ended."""

    async def main() -> tuple[list[Event], ServiceError | None]:
        found: list[Event] = []
        failure: ServiceError | None = None

        async def listen(listener: FluxListener) -> None:
            nonlocal failure
            try:
                async with aclosing(listener.events()) as heard:
                    async for event in heard:
                        found.append(event)
            except ServiceError as error:
                failure = error

        async with listening(server, refused, **settings) as listener:
            task = asyncio.ensure_future(listen(listener))
            await say(listener)
            await task
        return found, failure

    return run(main())


async def speak(listener: FluxListener, duration: Seconds, size: Seconds = 0.02) -> None:
    """Send audio in real time."""
    for _ in range(round(duration / size)):
        at = clock.now()
        await asyncio.sleep(size)
        await listener.send(block(at, size))


def each_update(event: str = "Update", text: str = "Hello") -> Answers:
    """Answer each chunk of audio with an Update."""
    sent = 0.0

    def answer(message: str | bytes) -> list[dict[str, Any]]:
        nonlocal sent
        if isinstance(message, str):
            return [{"close": 1000}] if "CloseStream" in message else []
        sent += FORMAT.seconds(len(message))
        return [turn_info(event, text, sent)]

    return answer


def test_audio_is_sent_in_chunks_of_80_ms_and_none_is_kept_back() -> None:
    server = Server(each_update(text=""))

    async def say(listener: FluxListener) -> None:
        await speak(listener, 1.0)
        await listener.finish()

    _, failure = hold(server, say)
    assert failure is None
    assert [round(length, 6) for _, length in server.audio] == [CHUNK] * 12 + [0.04]
    assert server.asked == ["CloseStream"]
    assert urlsplit(server.paths[0]).path == "/v2/listen"
    assert dict(parse_qsl(urlsplit(server.paths[0]).query))["eager_eot_threshold"] == "0.4"


def test_all_audio_is_sent_before_the_turn_is_ended() -> None:
    server = Server(each_update())

    async def say(listener: FluxListener) -> None:
        await speak(listener, 0.1)
        await listener.finalize()
        await listener.finish()

    hold(server, say)
    assert sum(length for _, length in server.audio) == pytest.approx(0.1)
    kinds = [
        "audio" if isinstance(one, bytes) else json.loads(one)["type"] for _, one in server.received
    ]
    assert kinds == ["audio", "audio", "ForceEndTurn", "CloseStream"]


def test_within_a_turn_silence_takes_the_place_of_audio_that_does_not_come() -> None:
    """Muted, or half duplex: the service counts audio, and would never end the turn."""
    server = Server(each_update())

    async def say(listener: FluxListener) -> None:
        await speak(listener, 0.8)
        await asyncio.sleep(3.0)
        await speak(listener, 0.8)
        await listener.finish()

    _, failure = hold(server, say)
    assert failure is None
    sent = 0.0
    for at, length in server.audio:
        sent += length
        assert at - SILENCE_AFTER - CHUNK <= sent <= at + 1e-6
    assert sent == pytest.approx(0.8 + 3.0 + 0.8, abs=CHUNK)


def test_between_turns_nothing_is_sent_in_its_place() -> None:
    server = Server(each_update(text=""))

    async def say(listener: FluxListener) -> None:
        await speak(listener, 0.8)
        await asyncio.sleep(60.0)
        await listener.finish()

    hold(server, say)
    assert sum(length for _, length in server.audio) == pytest.approx(0.8)
    assert server.asked == ["CloseStream"]


def test_words_after_silence_was_sent_keep_their_time() -> None:
    def answer(message: str | bytes) -> list[dict[str, Any]]:
        nonlocal sent
        if isinstance(message, str):
            return [{"close": 1000}]
        sent += FORMAT.seconds(len(message))
        return [turn_info("Update", "Hello", sent)]

    sent = 0.0

    async def say(listener: FluxListener) -> None:
        await speak(listener, 0.8)
        await asyncio.sleep(2.0)
        await speak(listener, 0.8)
        await listener.finish()

    found, _ = hold(Server(answer), say)
    last = [event for event in found if isinstance(event, InterimTranscript)][-1]
    assert last.at - last.speech_end == pytest.approx(0.2, abs=CHUNK)


@pytest.mark.parametrize("muted", [False, True])
def test_a_turn_in_which_the_service_falls_silent_ends_the_connection(muted: bool) -> None:
    heard = 0

    def answer(message: str | bytes) -> list[dict[str, Any]]:
        nonlocal heard
        heard += 1
        return [turn_info("Update", "Hello", 0.08 * heard)] if heard <= 5 else []

    async def say(listener: FluxListener) -> None:
        await speak(listener, 0.4)
        if not muted:
            await speak(listener, 4.0)

    found, failure = hold(Server(answer), say)
    assert isinstance(failure, StalledError)
    assert failure.temporary
    last = [event for event in found if isinstance(event, InterimTranscript)][-1]
    assert last.at == pytest.approx(0.4)
    assert "silent for 2 s within a turn" in str(failure)


def test_without_a_turn_the_service_may_be_silent() -> None:
    server = Server(lambda message: [{"close": 1000}] if isinstance(message, str) else [])

    async def say(listener: FluxListener) -> None:
        await speak(listener, 2 * STALLED_AFTER + 1)
        await listener.finish()

    assert hold(server, say) == ([], None)


UNPARSABLE = {
    "type": "Error",
    "sequence_id": 9,
    "code": "UNPARSABLE_CLIENT_MESSAGE",
    "description": "ForceEndTurn is not enabled on this deployment.",
}


def test_a_deployment_that_takes_no_force_end_turn_is_asked_once() -> None:
    def answer(message: str | bytes) -> list[dict[str, Any]]:
        if isinstance(message, str) and "ForceEndTurn" in message:
            return [UNPARSABLE, {"close": 1011}]
        return [{"close": 1000}] if isinstance(message, str) else []

    async def say(listener: FluxListener) -> None:
        await speak(listener, 0.1)
        await listener.finalize()

    async def say_again(listener: FluxListener) -> None:
        await say(listener)
        await listener.finish()

    refused: set[str] = set()
    _, failure = hold(Server(answer), say, refused)
    assert failure is not None
    assert failure.temporary
    assert "takes no ForceEndTurn" in str(failure)
    assert refused == {"ForceEndTurn"}

    server = Server(answer)
    _, failure = hold(server, say_again, refused)
    assert failure is None
    assert server.asked == ["CloseStream"]
    assert sum(length for _, length in server.audio) == pytest.approx(0.1)


def test_another_error_is_temporary_and_in_the_services_words() -> None:
    error = {"type": "Error", "code": "INTERNAL_SERVER_ERROR", "description": "Sorry \x1b[31m."}
    server = Server(lambda message: [error, {"close": 1011}])
    _, failure = hold(server, lambda listener: speak(listener, 0.1))
    assert failure is not None
    assert failure.temporary
    assert "INTERNAL_SERVER_ERROR: Sorry" in str(failure)
    assert "\x1b" not in str(failure)


def test_a_message_that_was_not_asked_for_is_reported_as_our_fault() -> None:
    server = Server(lambda message: [UNPARSABLE, {"close": 1011}])
    _, failure = hold(server, lambda listener: speak(listener, 0.1))
    assert failure is not None
    assert not failure.temporary


# ── thresholds ───────────────────────────────────────────────────────────────

NUMBER = "My number is 555"
USUAL = {"eot_threshold": 0.7, "eot_timeout_ms": 5000}
WAITING = {"eot_threshold": 1.0, "eot_timeout_ms": 2000}


def dictate(*texts: str, success: bool | None = True) -> Answers:
    """Answer each chunk with the next text, and each Configure."""
    left, sent = list(texts), 0.0

    def answer(message: str | bytes) -> list[dict[str, Any]]:
        nonlocal sent
        if isinstance(message, bytes):
            sent += FORMAT.seconds(len(message))
            return [turn_info("Update", left.pop(0), sent)] if left else []
        if "CloseStream" in message:
            return [{"close": 1000}]
        if success is None:
            return []
        kind = "ConfigureSuccess" if success else "ConfigureFailure"
        return [{"type": kind, "thresholds": json.loads(message)["thresholds"], "keyterms": []}]

    return answer


async def say_six_chunks(listener: FluxListener) -> None:
    await speak(listener, 6 * CHUNK)
    await asyncio.sleep(0.01)
    await listener.finish()


def test_within_a_number_the_service_waits_longer_and_then_as_usual() -> None:
    server = Server(dictate("My", NUMBER, NUMBER, f"{NUMBER} 123 4567", "", ""))
    _, failure = hold(server, say_six_chunks)
    assert failure is None
    assert server.configured == [WAITING, USUAL]


def test_the_wait_can_be_the_same() -> None:
    server = Server(dictate(NUMBER, NUMBER))
    hold(server, say_six_chunks, dictation_timeout=None)
    assert server.configured == []


def test_one_change_is_under_way_at_a_time() -> None:
    server = Server(dictate(NUMBER, "", NUMBER, "", NUMBER, success=None))

    async def say(listener: FluxListener) -> None:
        await speak(listener, 6 * CHUNK)
        await listener.finish()

    hold(server, say)
    assert server.configured == [WAITING]


def test_an_unanswered_change_is_given_up_after_a_while() -> None:
    texts = [NUMBER] * round((CONFIGURE_TIMEOUT + 1) / CHUNK)
    server = Server(dictate(*texts, success=None))

    async def say(listener: FluxListener) -> None:
        await speak(listener, len(texts) * CHUNK)
        await listener.finish()

    hold(server, say)
    assert server.configured == [WAITING, WAITING]


def test_a_refused_change_is_told_and_not_tried_again() -> None:
    server = Server(dictate(NUMBER, "", NUMBER, "", success=False))
    refused: set[str] = set()
    found, failure = hold(server, say_six_chunks, refused)
    assert failure is None
    warnings = [event.text for event in found if isinstance(event, Warned)]
    assert warnings == ["refused to change the thresholds: ConfigureFailure without an explanation"]
    assert len(server.configured) == 1
    assert refused == {"Configure"}


# ── opening ──────────────────────────────────────────────────────────────────


async def nothing(listener: FluxListener) -> None:
    await listener.finish()


@pytest.mark.parametrize(
    ("connected", "problem"),
    [
        (({"close": 1011},), "closed before it was ready: .*It may refuse a setting"),
        (({"type": "Error", "code": "X", "description": "No."},), "closed before .*X: No"),
        ((), "not ready within 5 s"),
    ],
)
def test_a_connection_that_does_not_become_ready_is_reported_when_it_opens(
    connected: tuple[dict[str, Any], ...], problem: str
) -> None:
    with pytest.raises(ServiceError, match=problem) as caught:
        hold(Server(connected=connected), nothing)
    assert caught.value.temporary


def test_what_comes_before_the_connection_is_ready_is_not_lost() -> None:
    early = {"type": "Warning", "code": "EARLY", "description": "Hello."}
    server = Server(lambda message: [{"close": 1000}], connected=(early, {"type": "Connected"}))
    found, _ = hold(server, nothing)
    assert [event.text for event in found if isinstance(event, Warned)] == ["EARLY: Hello."]
