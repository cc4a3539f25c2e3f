"""The LLM of a cassette: answers are found by what is asked, not by the order of the requests.

The program may draft more replies than when the cassette was recorded, or fewer: whether it does
can depend on a millisecond.  What was asked several times is answered as it was each time.  So can
the last words that were heard of a reply that was interrupted: in the history of a request, up to
HEARD_TOLERANCE of them may be missing or more.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence

import h11

from voicecli import clock
from voicecli.cassette.difference import Differences, find_difference
from voicecli.cassette.format import parse_text
from voicecli.cassette.reader import Exchange
from voicecli.sanitize import redact_secrets
from voicecli.services.interfaces import CUT
from voicecli.standin.http import HttpConnection, HttpRequest
from voicecli.units import Seconds

CUT_GRACE: Seconds = 1.0
"""How long to wait, after the last of an answer that the program left, for it to leave again."""

HEARD_TOLERANCE = 2
"""Words: playback may stop a few milliseconds earlier or later: a word, or parts of two."""

BASE_PATH = "/v1"

Key = tuple[str, str, str]
"""Method, path and body of a request."""


def _make_key(method: str, path: str, body: object) -> Key:
    return method, path, json.dumps(body, sort_keys=True)


class ChatPlayer:
    """Answers HTTP requests."""

    def __init__(self, exchanges: Sequence[Exchange], differences: Differences) -> None:
        self._exchanges = exchanges
        self._differences = differences
        self._asked: Counter[Key] = Counter()
        self._known: dict[Key, list[Exchange]] = {}
        for one in exchanges:
            self._known.setdefault(_make_key(one.method, one.path, one.body), []).append(one)

    async def answer(self, request: HttpRequest, client: HttpConnection) -> None:
        """Answer a request as when it was recorded."""
        arrived = clock.now()
        path = redact_secrets(request.path.removeprefix(BASE_PATH))
        body = parse_text(redact_secrets(request.body.decode(errors="surrogateescape")))
        key = _make_key(request.method, path, body)
        if key not in self._known:
            key = self._find_similar(request.method, path, body) or key
        if known := self._known.get(key):
            exchange = known[min(self._asked[key], len(known) - 1)]
            self._asked[key] += 1
            await self._play(exchange, arrived, client)
        elif request.method == "GET":  # it warms the connection up, and asks for nothing
            await _refuse(client, 404, "not recorded")
        else:
            cause = self._describe(request.method, path, body)
            await _refuse(client, 409, self._differences.report("llm", cause).cause)

    def _find_similar(self, method: str, path: str, body: object) -> Key | None:
        """Find a request that differs only in how much was heard of interrupted replies."""
        for one in self._exchanges:
            aligned = _align_heard(one.body, body)
            same = (one.method, one.path) == (method, path) and aligned is not None
            if same and not find_difference(one.body, aligned):
                return _make_key(method, path, one.body)
        return None

    def _describe(self, method: str, path: str, body: object) -> str:
        """Say how a request differs from the recorded one that is most like it."""
        same = [one for one in self._exchanges if (one.method, one.path) == (method, path)]
        if not same:
            return f"no {method} {path} was recorded"
        nearest = max(same, key=lambda one: _count_common(one.body, body))
        return f"{find_difference(nearest.body, body)} ({nearest.place})"

    async def _play(self, exchange: Exchange, start: Seconds, client: HttpConnection) -> None:
        if exchange.status is not None:
            await clock.sleep_until(start + exchange.answered)
            await client.start(exchange.status, exchange.headers)
            for after, data in exchange.parts:
                await clock.sleep_until(start + after)
                await client.send(h11.Data(data=data))
        await clock.sleep_until(start + exchange.ended)
        match exchange.end:
            case "complete":
                await client.send(h11.EndOfMessage())
            case "left":
                await asyncio.sleep(CUT_GRACE)  # cancelled when the program leaves
                self._differences.report(
                    "llm",
                    f"the program left this answer after {exchange.ended:.2f} s, "
                    f"and waits for more of it ({exchange.place})",
                )
                client.abort()
            case _:
                client.abort()


def _align_heard(recorded: object, now: object) -> object:
    """Return the body ``now``, with interrupted replies as recorded where they differ by little."""
    if not (isinstance(recorded, dict) and isinstance(now, dict)):
        return None
    was, is_ = recorded.get("messages"), now.get("messages")
    if not (isinstance(was, list) and isinstance(is_, list) and len(was) == len(is_)):
        return None
    pairs = zip(was, is_, strict=True)
    return {
        **now,
        "messages": [one if _is_same_heard(one, other) else other for one, other in pairs],
    }


def _is_same_heard(recorded: object, now: object) -> bool:
    """Whether two messages are the same interrupted reply, give or take the last words heard."""
    match recorded, now:
        case (
            {"role": "assistant", "content": str(was)},
            {"role": "assistant", "content": str(is_)},
        ) if was.endswith(CUT) and is_.endswith(CUT):
            words = [text.removesuffix(CUT).split() for text in (was, is_)]
            shorter, longer = sorted(words, key=len)
            near = len(longer) - len(shorter) <= HEARD_TOLERANCE
            return near and longer[: len(shorter)] == shorter
    return False


def _count_common(recorded: object, now: object) -> int:
    """How many characters two bodies have in common before they differ."""
    one, other = json.dumps(recorded), json.dumps(now)
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)


async def _refuse(client: HttpConnection, status: int, message: str) -> None:
    body = {"error": {"message": message, "type": "cassette", "param": None, "code": None}}
    headers = {"content-type": "application/json"}
    await client.respond(status, headers, json.dumps(body).encode())
