"""Whole turns over the three wires, on which a relay or a chat server sends odd frames."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import (
    asynccontextmanager,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.chat_server import HEAD, USAGE, Request, chunk, delta
from tests.support.conversations import Conversation, converse, profile
from tests.support.deepgram_frames import results
from tests.support.speech_like import alternate_speech
from tests.wild.fuzz_target import (
    KEYS,
    NUMBERS,
    Target,
    check_exit,
    json_values,
    limit_time,
    mutated,
    nested,
    texts,
)
from voicecli.cli.errors import print_error
from voicecli.cli.result import SessionResult
from voicecli.events import (
    Service,
)
from voicecli.report.turn_lines import TurnLines
from voicecli.standin import Endpoints
from voicecli.standin.script import Latency, LlmScript, Script, SttScript
from voicecli.terminal.plain import PlainLines
from voicecli.timeline import decode, encode

SPEECH, _ = alternate_speech(0.3, 0.6, 1.2, 0.5, 0.5)
SCRIPT = Script(
    stt=SttScript(hears=("What is the capital?", "How far is it?"), gap=0.3, interim=0.3),
    llm=LlmScript(ttft=Latency(0.2), says=("It is Canberra. A quiet town.", "Not far.")),
)
PROFILE = profile("limits.idle_s=6", "audio.block_ms=50")
LATEST = 1200.0
"""Seconds of the conversation's time by which it has ended; 5000 characters are spoken for 300."""

HELD = 40.0
"""Seconds for which a server holds a connection without a word."""

MIDNIGHT = datetime(2026, 11, 27)

# ── frames ───────────────────────────────────────────────────────────────────

Frame = str | bytes


@dataclass(frozen=True)
class Action:
    """What becomes of the ``on``-th message of a service.

    kind: "drop", "twice", "late" (after the next one), "send" (``frames`` in its place), "add"
        (``frames`` after it), "close" (with code and reason), "cut" (without a closing handshake).
    """

    on: int
    kind: str
    frames: Sequence[Frame] = ()
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
LLM_CHUNKS = [
    delta(role="assistant", content=""),
    delta(content="Hello there. "),
    delta(content="How are you?"),
    delta("stop"),
    delta("length", content="Cut"),
    delta("content_filter"),
    delta(refusal="I cannot."),
    delta(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": "{}"}}]),
    delta(reasoning_content="Hm."),
    chunk(choices=[]),
    USAGE,
    {"error": {"message": "No memory", "type": "server_error", "code": 500}},
    {"error": "out of memory"},
    {"detail": [{"msg": "bad", "loc": ["body"]}]},
]

MEANINGFUL = st.sampled_from(
    [
        *KEYS.values(),
        f"key {KEYS['OPENAI_API_KEY']} refused",
        "<think>",
        "</think>",
        "```",
        "1. ",
        "Hi.",
    ]
)


def odd_objects(known: Sequence[Mapping[str, Any]]) -> st.SearchStrategy[str]:
    """Messages of JSON: known ones with something changed, and others."""
    changed = st.sampled_from(known).flatmap(mutated)
    twice = changed.flatmap(mutated)
    times = st.sampled_from(known).flatmap(_other_leaves)
    return (changed | twice | times | json_values | st.sampled_from(known)).map(json.dumps)


@st.composite
def _other_leaves(draw: st.DrawFn, value: Any) -> Any:
    """Other values of the same types: another number for a number, another text for a text."""
    match value:
        case dict():
            return {
                key: one if key == "type" else draw(_other_leaves(one))
                for key, one in value.items()
            }
        case list():
            return [draw(_other_leaves(one)) for one in value]
        case bool():
            return draw(st.booleans())
        case int() | float():
            return draw(st.just(value) | st.just(value) | st.sampled_from(NUMBERS))
        case _:
            return draw(st.just(value) | st.just(value) | texts | MEANINGFUL)


raw_texts = texts | nested() | MEANINGFUL
blobs = st.binary(max_size=5) | st.sampled_from([b"", b"\0", bytes(3001), bytes(200_000)])


def frames(known: Sequence[Mapping[str, Any]]) -> st.SearchStrategy[Frame]:
    """Messages on a WebSocket."""
    sendable = raw_texts.map(lambda text: text.encode(errors="replace").decode())
    return odd_objects(known) | odd_objects(known) | sendable | blobs


@st.composite
def actions(draw: st.DrawFn, known: Sequence[Mapping[str, Any]]) -> Action:
    kind = draw(st.sampled_from(["send", "add", "add", "drop", "twice", "late", "close", "cut"]))
    on = draw(st.integers(0, 3) | st.integers(0, 40))
    some = draw(st.lists(frames(known), min_size=1, max_size=3)) if kind in ("send", "add") else ()
    code = draw(st.sampled_from([1000, 1001, 1008, 1009, 1011, 1013, 3000, 4000, 4999]))
    reason = (
        draw(st.sampled_from(["", "NET-0001", "x" * 120]) | MEANINGFUL) if kind == "close" else ""
    )
    return Action(on, kind, some, code, reason)


@dataclass(frozen=True)
class Relayed:
    """Odd messages of Deepgram's services: those of the STT, and those of the TTS.

    lasting: whether they come again on each connection, not on the first one alone.
    """

    detect: str
    lasting: bool
    stt: Sequence[Action] = ()
    tts: Sequence[Action] = ()

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
            replace(PROFILE, turn=replace(PROFILE.turn, detect=self.detect)),
            SCRIPT,
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
        changes = find_actions("stt" if path.startswith("/v1/listen") else "tts")
        with suppress(ConnectionClosed, InvalidStatus):
            async with connect(f"{url}{path}", compression=None, max_queue=None) as far:
                back = asyncio.create_task(_change(far, client, changes))
                with suppress(ConnectionClosed):
                    async for message in client:
                        await far.send(message)
                await far.close()
                await asyncio.wait([back])
                back.exception()  # the client has gone

    async with serve_websockets(run, "127.0.0.1", 0, compression=None, max_queue=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def _change(far: Any, client: ServerConnection, changes: Sequence[Action]) -> None:
    """Pass on what ``far`` sends, as ``changes`` say."""
    kept: list[Frame] = []
    number = 0
    async for message in far:
        sent: list[Frame] = [message]
        for action in (one for one in changes if one.on == number):
            if action.kind == "close":
                await client.close(action.code, action.reason)
                return
            if action.kind == "cut":
                client.transport.abort()
                return
            if action.kind == "late":
                kept += sent
            sent = {
                "add": [*sent, *action.frames],
                "send": list(action.frames),
                "twice": sent * 2,
            }.get(action.kind, [])
        if sent:
            sent, kept = [*sent, *kept], []
        for one in sent:
            await client.send(one)
        number += 1
    await client.close()


def relayed(service: str) -> st.SearchStrategy[Relayed]:
    known = STT_FRAMES if service == "stt" else TTS_FRAMES
    return st.builds(
        Relayed,
        detect=st.sampled_from(["endpointing", "vad"]),
        lasting=st.booleans(),
        **{service: st.lists(actions(known), min_size=1, max_size=4)},
    )


# ── the chat server ──────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Chat:
    """What a chat server answers each request: a status, headers, and parts of the body."""

    status: str
    headers: Sequence[tuple[str, str]]
    parts: Sequence[bytes]
    ends: str
    pause: float

    def converse(self) -> Conversation:
        return converse(PROFILE, SCRIPT, SPEECH, recorded=False, chat=self._answer, latest=LATEST)

    async def _answer(self, request: Request) -> None:
        if self.status == "200 OK" and not self.headers:
            await request.write(HEAD)
        else:
            lines = [f"HTTP/1.1 {self.status}", *map(": ".join, self.headers)]
            await request.write("\r\n".join([*lines, "", ""]).encode(errors="surrogatepass"))
        chunked = not self.headers
        for part in self.parts:
            await asyncio.sleep(self.pause)
            await request.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked and part else part)
        if chunked and self.ends == "whole":
            await request.write(b"0\r\n\r\n")
        elif self.ends != "open":
            request.hang_up()
        else:
            with suppress(asyncio.CancelledError):  # of which asyncio's server makes an error
                await asyncio.sleep(HELD)
            request.hang_up()


def _event(text: str) -> bytes:
    return f"data: {text}\n\n".encode(errors="surrogatepass")


STATUSES = (
    *["200 OK"] * 8,
    *("204 No Content", "302 Found", "400 Bad Request", "401 Unauthorized", "404 Not Found"),
    *(
        "429 Too Many Requests",
        "500 Internal Server Error",
        "503 Unavailable",
        "999 ?",
        "100 Continue",
    ),
)
HEADERS = (
    ("Content-Type", "text/html"),
    ("Content-Type", "application/json"),
    ("Content-Type", "text/event-stream; charset=latin-1"),
    ("Content-Encoding", "gzip"),
    ("Retry-After", "nan"),
    ("Retry-After", "-5"),
    ("Retry-After", "1e300"),
    ("Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ("retry-after-ms", "inf"),
    ("Location", "http://["),
    ("x-request-id", "x" * 500),
    ("x-request-id", KEYS["OPENAI_API_KEY"]),
    ("Content-Length", "7"),
    ("X-Odd", "é"),
)


def chats() -> st.SearchStrategy[Chat]:
    event = odd_objects(LLM_CHUNKS).map(_event)
    proper = st.sampled_from(LLM_CHUNKS).map(json.dumps).map(_event)
    raw = raw_texts.map(lambda text: text.encode(errors="surrogatepass"))
    part = proper | event | event | raw | raw_texts.map(_event) | blobs | st.just(_event("[DONE]"))
    tokens = st.lists(MEANINGFUL | texts, max_size=8).map(
        lambda words: [
            *[_event(json.dumps(delta(content=word))) for word in words],
            _event("[DONE]"),
        ]
    )
    return st.builds(
        Chat,
        status=st.sampled_from(STATUSES),
        headers=st.just(()) | st.just(()) | st.lists(st.sampled_from(HEADERS), max_size=3),
        parts=st.lists(part, max_size=6) | tokens,
        ends=st.sampled_from(["whole", "whole", "broken", "open"]),
        pause=st.sampled_from([0.0, 0.05, 0.5]),
    )


# ── the check ────────────────────────────────────────────────────────────────


@dataclass
class _Errors(logging.Handler):
    """Keeps what asyncio and others log as an error: a task's exception that nobody took."""

    texts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        if not record.name.startswith("websockets.server"):  # the relay's
            self.texts.append(self.format(record))

    __hash__ = logging.Handler.__hash__


@contextmanager
def _keep_errors() -> Iterator[list[str]]:
    handler = _Errors()
    logging.getLogger().addHandler(handler)
    try:
        yield handler.texts
    finally:
        logging.getLogger().removeHandler(handler)


def check_conversation(example: Relayed | Chat) -> None:
    """Hold the conversation with the keys in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, key in KEYS.items():
            patch.setenv(name, key)
        _check_conversation(example)


def _check_conversation(example: Relayed | Chat) -> None:
    """Check that it ends in time, and that what it leaves can be kept and reported."""
    printed = io.StringIO()
    with limit_time(), _keep_errors() as logged, redirect_stderr(printed), redirect_stdout(printed):
        talk = example.converse()
        code = print_error(talk.error, debug=False) if talk.error is not None else 0
        lines = [encode(entry) for entry in talk.timeline]
        assert [encode(decode(line)) for line in lines] == lines
        result = SessionResult(talk.timeline, None, PROFILE)
        print(result.as_json())
        result.print_lines()
        for follow in (TurnLines(print), PlainLines(print, MIDNIGHT, PROFILE.budgets)):
            for entry in talk.timeline:
                follow(entry)
        print(*lines, sep="\n")
    assert not isinstance(talk.error, TimeoutError), f"hangs: {talk.timeline[-5:]}"
    if code == 70 and talk.error is not None:
        raise talk.error
    check_exit(code, printed.getvalue())
    assert not logged, logged


TARGETS = (
    Target("STT frames", relayed("stt"), check_conversation, 10),
    Target("TTS frames", relayed("tts"), check_conversation, 10),
    Target("LLM answers", chats(), check_conversation, 10),
)
