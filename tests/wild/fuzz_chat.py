"""Whole turns with a chat server that answers oddly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from tests.support.chat_server import HEAD, USAGE, Request, chunk, delta
from tests.support.conversations import Conversation, converse
from tests.wild.fuzz_conversation import LATEST, PROFILE, SCRIPT, SPEECH, check_conversation
from tests.wild.fuzz_target import KEYS, MEANINGFUL, Target, blobs, odd_objects, raw_texts, texts
from voicecli.profile import Profile

HELD = 40.0
"""Seconds for which a server holds a connection without a word."""

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


@dataclass(frozen=True)
class Chat:
    """What a chat server answers each request: a status, headers, and parts of the body."""

    status: str
    headers: Sequence[tuple[str, str]]
    parts: Sequence[bytes]
    ends: str
    pause: float

    @property
    def profile(self) -> Profile:
        return PROFILE

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


TARGETS = (Target("LLM answers", chats(), check_conversation, 10),)
