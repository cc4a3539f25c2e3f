"""Whole turns over Deepgram's wires, on which a relay sends odd frames."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.conversations import Conversation, converse
from tests.support.deepgram_frames import results
from tests.wild.fuzz_conversation import LATEST, SCRIPT, SPEECH, check_conversation, load
from tests.wild.fuzz_target import (
    MEANINGFUL,
    Target,
    blobs,
    json_values,
    mutated_bytes,
    odd_objects,
    raw_texts,
)
from voicecli.events import Service
from voicecli.profile import Profile
from voicecli.standin import Endpoints

FLUX_STT = "stt.provider=deepgram-flux"
FLUX_TTS = ("tts.provider=deepgram-flux", "tts.model=flux-alexis-en")
FLUX_SCRIPT = replace(
    SCRIPT, stt=replace(SCRIPT.stt, hears=("My number is four two", "How far is it?"))
)
"""The user dictates a number, within which Flux is told to wait longer."""

RELAY = logging.Logger("relay", logging.CRITICAL + 1)
"""Keeps the relay's errors apart from those of the stand-ins, which are findings."""

PlainFrame = str | bytes


@dataclass(frozen=True)
class Huge:
    """A message with a part that is repeated, which is short where it is printed."""

    before: str
    part: str
    times: int
    after: str = ""

    def spell(self) -> str:
        return self.before + self.part * self.times + self.after


Frame = PlainFrame | Huge


@dataclass(frozen=True)
class Action:
    """What becomes of the ``on``-th message of a service.

    kind: "drop", "twice", "late" (after the ``by`` next ones), "change" (some fields), "send"
        (``frames`` in its place), "add" (``frames`` after it), "close" (with code and reason),
        "cut" (without a closing handshake).
    """

    on: int
    kind: str
    frames: Sequence[Frame] = ()
    by: int = 1
    fields: Mapping[str, Any] = field(default_factory=dict)
    code: int = 1000
    reason: str = ""


FINAL = results("What is the capital?", (0.3, 0.5), (0.5, 0.9), is_final=True, speech_final=True)
STT_FRAMES = [
    FINAL,
    FINAL | {"is_final": False, "speech_final": False},
    FINAL | {"from_finalize": True},
    {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 0.3},
    {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 1.1},
    {"type": "Metadata", "request_id": "r", "duration": 1.0, "channels": 1},
    {"type": "Error", "description": "d", "message": "m", "variant": "v"},
    {"type": "Warning", "description": "d", "code": "c"},
    {"type": "Finalized"},
]
TTS_FRAMES = [
    {"type": "Metadata", "request_id": "r", "model_name": "aura-2", "model_uuid": "u"},
    {"type": "Flushed", "sequence_id": 0},
    {"type": "Cleared", "sequence_id": 0},
    {"type": "Warning", "description": "d", "code": "c"},
    {"type": "Warning", "warn_code": "EXCESSIVE_FLUSH", "warn_msg": "m"},
    {"type": "Error", "err_code": "c", "err_msg": "m"},
    {"type": "Close"},
]

TURN = {
    "type": "TurnInfo",
    "request_id": "r",
    "sequence_id": 4,
    "event": "Update",
    "turn_index": 0,
    "audio_window_start": 0.0,
    "audio_window_end": 0.9,
    "transcript": "My number is four two",
    "words": [
        {"word": "My", "confidence": 1.0, "start": 0.3, "end": 0.4},
        {"word": "two", "confidence": 0.9, "start": 0.5, "end": 0.85},
    ],
    "end_of_turn_confidence": 0.5,
}
FLUX_STT_FRAMES = [
    TURN,
    TURN | {"event": "StartOfTurn"},
    TURN | {"event": "EagerEndOfTurn", "transcript": "What is the capital?"},
    TURN | {"event": "TurnResumed", "words": []},
    TURN | {"event": "EndOfTurn", "trigger": "model", "languages": ["en"]},
    TURN | {"event": "EndOfTurn", "trigger": "manual", "turn_index": 1, "audio_window_end": 2.5},
    TURN | {"event": "EndOfTurn", "trigger": "timeout", "words": [{"word": "My"}]},
    TURN | {"event": "TurnPaused"},
    TURN | {"transcript": "", "words": [], "turn_index": 1},
    {"type": "Connected", "request_id": "r", "sequence_id": 0},
    {"type": "ConfigureSuccess", "thresholds": {"eot_threshold": 0.8}, "keyterms": ["apple"]},
    {"type": "ConfigureFailure", "code": "INVALID_THRESHOLD", "description": "d"},
    {"type": "Warning", "code": "FORCE_END_TURN_NO_ACTIVE_TURN", "description": "d"},
    {"type": "Warning", "code": "c", "description": "d"},
    {"type": "Error", "code": "INTERNAL_SERVER_ERROR", "description": "d"},
    {"type": "Error", "code": "UNPARSABLE_CLIENT_MESSAGE", "description": "no ForceEndTurn"},
    {"type": "SpeakerChanged", "speaker": 1},
]
METADATA = {
    "speech_id": "dg_sp_000000000001",
    "audio_duration_ms": 900,
    "input_character_count": 14,
    "billable_character_count": 14,
    "controls_applied": {"breaks_applied": 0},
}
INTERRUPTED = {
    "type": "SpeechInterrupted",
    "audio_played_ms": 400,
    "text_spoken": "It is",
    "text_remaining": " Canberra.",
    "metadata": METADATA,
}
FLUX_TTS_FRAMES = [
    {"type": "Connected", "request_id": "r", "model_name": "flux", "model_uuids": ["u"]},
    {"type": "SpeechStarted", "speech_id": "dg_sp_000000000001"},
    {"type": "Flushed", "speech_id": "dg_sp_000000000001"},
    {"type": "SpeechMetadata"} | METADATA,
    {"type": "SpeechMetadata"} | METADATA | {"speech_id": "dg_sp_000000000002"},
    INTERRUPTED,
    INTERRUPTED,
    {"type": "ConfigureFailure", "code": "SPEED_OUT_OF_RANGE", "field": "speed", "value": 2.0},
    {"type": "SessionMetadata", "total_audio_duration_ms": 0},
    *(
        {"type": "Warning", "code": code, "description": "d"}
        for code in (
            "NO_ACTIVE_SPEECH",
            "NO_AUDIO_GENERATED",
            "INTERRUPT_IN_PROGRESS",
            "INVALID_INTERRUPT_OFFSET",
            "NO_SYNTHESIZABLE_TEXT",
            "SYNTHESIS_RETRYING",
        )
    ),
    {"type": "Error", "code": "NET-0003", "description": "d"},
]


def frames(known: Sequence[Mapping[str, Any]]) -> st.SearchStrategy[Frame]:
    """Messages on a WebSocket."""
    sendable = raw_texts.map(lambda text: text.encode(errors="replace").decode())
    odd = odd_objects(known)
    return odd | odd | sendable | blobs | damaged(known) | huge(known)


@st.composite
def damaged(draw: st.DrawFn, known: Sequence[Mapping[str, Any]]) -> PlainFrame:
    """Known messages with some bytes cut, repeated or replaced, as text or binary."""
    raw = json.dumps(draw(st.sampled_from(known))).encode()
    raw = draw(mutated_bytes(raw, st.sampled_from([b"\0", b"\xff", b'"', b"{", b",", b"-1e999"])))
    return raw if draw(st.booleans()) else raw.decode(errors="replace")


@st.composite
def huge(draw: st.DrawFn, known: Sequence[Mapping[str, Any]]) -> Huge:
    """Known messages with a long text or list, or more than a client takes."""
    frame = draw(st.sampled_from(known))
    name = draw(st.sampled_from(sorted(frame.keys() - {"type"}) or ["text"]))
    before = json.dumps(frame)[:-1] + f', "{name}": '  # of two equal names the last one counts
    word = '{"word": "a", "confidence": 1.0, "start": 0.3, "end": 0.4}'
    match draw(st.sampled_from(["text", "list", "number", "spaces", "too long"])):
        case "text":
            return Huge(before + '"', draw(st.sampled_from(["word ", "é.", "1 "])), 30_000, '"}')
        case "list":
            return Huge(before + "[", word + ", ", 5000, word + "]}")
        case "number":
            return Huge(before, "9", draw(st.sampled_from([400, 5000])), "}")
        case "spaces":
            return Huge(json.dumps(frame), " ", 10**6)
        case _:
            return Huge(before + '"', "x" * 1024, 17 * 1024, '"}')


@st.composite
def actions(draw: st.DrawFn, known: Sequence[Mapping[str, Any]]) -> Action:
    kinds = ["send", "add", "add", "change", "drop", "twice", "late", "close", "cut"]
    kind = draw(st.sampled_from(kinds))
    on = draw(st.integers(0, 3) | st.integers(0, 40))
    some = draw(st.lists(frames(known), min_size=1, max_size=3)) if kind in ("send", "add") else ()
    if kind == "late":
        return Action(on, kind, by=draw(st.integers(1, 12)))
    if kind == "change":
        return Action(on, kind, fields=draw(other_fields(known)))
    code = draw(st.sampled_from([1000, 1001, 1008, 1009, 1011, 1013, 3000, 4000, 4999]))
    reason = (
        draw(st.sampled_from(["", "NET-0001", "x" * 120]) | MEANINGFUL) if kind == "close" else ""
    )
    return Action(on, kind, some, code=code, reason=reason)


@st.composite
def other_fields(draw: st.DrawFn, known: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Fields of known messages, with their values or odd ones."""
    frame = draw(st.sampled_from(known))
    names = draw(st.lists(st.sampled_from(sorted(frame)), min_size=1, max_size=2, unique=True))
    return {name: draw(st.just(frame[name]) | json_values) for name in names}


@dataclass(frozen=True)
class Relayed:
    """Odd messages of Deepgram's services: those of the STT, and those of the TTS.

    lasting: whether they come again on each connection, not on the first one alone.
    """

    settings: tuple[str, ...]
    lasting: bool
    stt: Sequence[Action] = ()
    tts: Sequence[Action] = ()

    @property
    def profile(self) -> Profile:
        return load(*self.settings)

    def converse(self) -> Conversation:
        met: set[Service] = set()

        def find_actions(service: Service) -> Sequence[Action]:
            if service in met and not self.lasting:
                return ()
            met.add(service)
            return self.stt if service == "stt" else self.tts

        @asynccontextmanager
        async def through(endpoints: Endpoints) -> AsyncIterator[Endpoints]:
            async with relay(endpoints.deepgram, find_actions) as url:
                yield replace(endpoints, deepgram=url)

        return converse(
            self.profile,
            FLUX_SCRIPT if FLUX_STT in self.settings else SCRIPT,
            SPEECH,
            recorded=False,
            through=through,
            latest=LATEST,
        )


@asynccontextmanager
async def relay(
    url: str, find_actions: Callable[[Service], Sequence[Action]]
) -> AsyncIterator[str]:
    """Relay to Deepgram's stand-in; the actions change what its services send."""

    async def run(client: ServerConnection) -> None:
        assert client.request is not None
        path = client.request.path
        changes = find_actions("stt" if "/listen" in path else "tts")
        with suppress(ConnectionClosed, InvalidStatus):
            async with connect(f"{url}{path}", compression=None, max_queue=None) as far:
                back = asyncio.create_task(_change(far, client, changes))
                with suppress(ConnectionClosed):
                    async for message in client:
                        await far.send(message)
                await far.close()
                await asyncio.wait([back])
                back.exception()  # the client has gone

    async with serve_websockets(
        run, "127.0.0.1", 0, compression=None, max_queue=None, logger=RELAY
    ) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _change(far: Any, client: ServerConnection, changes: Sequence[Action]) -> None:
    """Pass on what ``far`` sends, as ``changes`` say."""
    late: list[tuple[int, PlainFrame]] = []
    number = 0
    async for message in far:
        sent: list[PlainFrame] = [message]
        for action in (one for one in changes if one.on == number):
            added = [one.spell() if isinstance(one, Huge) else one for one in action.frames]
            match action.kind:
                case "close":
                    await client.close(action.code, action.reason)
                    return
                case "cut":
                    client.transport.abort()
                    return
                case "change":
                    sent = [_change_fields(one, action.fields) for one in sent]
                case "late":
                    late += [(number + action.by, one) for one in sent]
                    sent = []
                case kind:
                    sent = {"add": sent + added, "send": added, "twice": sent * 2}.get(kind, [])
        for one in [*sent, *(frame for due, frame in late if due <= number)]:
            await client.send(one)
        late = [(due, frame) for due, frame in late if due > number]
        number += 1
    await client.close()


def _change_fields(message: PlainFrame, fields: Mapping[str, Any]) -> PlainFrame:
    """Change fields of a text; audio stays as it is."""
    return json.dumps(json.loads(message) | fields) if isinstance(message, str) else message


def relayed(
    service: str, known: Sequence[Mapping[str, Any]], modes: Sequence[str], *providers: str
) -> st.SearchStrategy[Relayed]:
    """Conversations with odd messages of one service.

    modes: who detects that a turn has ended.
    """
    return st.builds(
        Relayed,
        settings=st.tuples(
            st.sampled_from(modes).map("turn.detect={}".format),
            st.sampled_from(["off", "headphones"]).map("interrupt.policy={}".format),
            *map(st.just, providers),
        ),
        lasting=st.booleans(),
        **{service: st.lists(actions(known), min_size=1, max_size=4)},
    )


NOVA_MODES = ("endpointing", "vad")
FLUX_MODES = ("service", "vad")

TARGETS = (
    Target("STT frames", relayed("stt", STT_FRAMES, NOVA_MODES), check_conversation, 10),
    Target("TTS frames", relayed("tts", TTS_FRAMES, NOVA_MODES), check_conversation, 10),
    Target(
        "Flux STT frames",
        relayed("stt", FLUX_STT_FRAMES, (*FLUX_MODES, "endpointing"), FLUX_STT),
        check_conversation,
        10,
    ),
    Target(
        "Flux TTS frames",
        relayed("tts", FLUX_TTS_FRAMES, FLUX_MODES, FLUX_STT, *FLUX_TTS)
        | relayed("tts", FLUX_TTS_FRAMES, NOVA_MODES, *FLUX_TTS),
        check_conversation,
        10,
    ),
)
