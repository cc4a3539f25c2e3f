"""The LLM of a cassette: answers are found by what is asked, not by the order of the requests.

The program may draft more replies than when the cassette was recorded, or fewer: whether it does
can depend on a millisecond.  What was asked several times is answered as it was each time.
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
from voicecli.standin.http import HttpConnection, HttpRequest
from voicecli.units import Seconds

CUT_GRACE: Seconds = 1.0
"""How long to wait, after the last of an answer that the program left, for it to leave again."""

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
        if known := self._known.get(key):
            exchange = known[min(self._asked[key], len(known) - 1)]
            self._asked[key] += 1
            await self._play(exchange, arrived, client)
        elif request.method == "GET":  # it warms the connection up, and asks for nothing
            await _refuse(client, 404, "not recorded")
        else:
            cause = self._describe(request.method, path, body)
            await _refuse(client, 409, self._differences.report("llm", cause).cause)

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


def _count_common(recorded: object, now: object) -> int:
    """How many characters two bodies have in common before they differ."""
    one, other = json.dumps(recorded), json.dumps(now)
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)


async def _refuse(client: HttpConnection, status: int, message: str) -> None:
    body = {"error": {"message": message, "type": "cassette", "param": None, "code": None}}
    headers = {"content-type": "application/json"}
    await client.respond(status, headers, json.dumps(body).encode())
