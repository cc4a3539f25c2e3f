"""A chat server on loopback that answers byte by byte, and what the adapter makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from voicecli import clock
from voicecli.errors import ServiceError
from voicecli.events import Warned
from voicecli.services.interfaces import Message, Piece, Truncated, Usage
from voicecli.services.openai.chat import ChatCompletions, open_chat
from voicecli.services.openai.settings import ChatSettings
from voicecli.services.provider import ServiceAddress

KEY = "sk-test-0123456789"
ASKED = (Message("system", "Be brief."), Message("user", "Hello?"))
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nx-request-id: req-1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def address(url: str, key: str = KEY, key_env: str = "OPENAI_API_KEY") -> ServiceAddress:
    return ServiceAddress(url=url, key=key, key_env=key_env)


class Request:
    """A request as it arrived, and the connection to answer it on."""

    def __init__(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        self.line, *lines = head.strip().split("\r\n")
        self.headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        self.body: dict[str, Any] = json.loads(body or b"{}")
        self._writer = writer

    async def write(self, raw: bytes) -> None:
        self._writer.write(raw)
        await self._writer.drain()

    async def event(self, data: object) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        await self._chunk(f"data: {text}\n\n".encode())

    async def _chunk(self, data: bytes) -> None:
        await self.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def done(self) -> None:
        await self.event("[DONE]")
        await self.write(b"0\r\n\r\n")

    def hang_up(self) -> None:
        self._writer.close()


Answer = Callable[[Request], Awaitable[None]]


class Server:
    """An HTTP/1.1 server on loopback that answers every request as it is told."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.gone_at: list[float] = []
        self._answer = answer
        self._tasks: list[asyncio.Task[None] | None] = []

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.current_task())
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(
                    head.lower().partition("content-length: ")[2].partition("\r\n")[0] or 0
                )
                request = Request(head, await reader.readexactly(length), writer)
                self.requests.append(request)
                await self._answer(request)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone_at.append(clock.now())
        except asyncio.CancelledError:
            pass  # the loop ends; asyncio before 3.12 would log an error
        finally:
            writer.close()

    @asynccontextmanager
    async def listen(self) -> AsyncGenerator[str, None]:
        """Yield its URL; at the end, wait until the clients have left."""
        async with await asyncio.start_server(self._converse, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            await asyncio.gather(*filter(None, self._tasks))

    @asynccontextmanager
    async def chat(self, key: str = KEY, **settings: Any) -> AsyncGenerator[ChatCompletions, None]:
        async with (
            self.listen() as url,
            open_chat(ChatSettings(**settings), address(url, key)) as chat,
        ):
            yield chat


def chunk(**changes: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1694268190,
        "model": "gpt-4o-mini",
        "choices": [],
    } | changes


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return chunk(choices=[{"index": 0, "delta": fields, "finish_reason": finish}])


USAGE = chunk(usage={"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15})


def streaming(*events: object, pause: float = 0.0) -> Answer:
    async def answer(request: Request) -> None:
        await request.write(HEAD)
        for event in events:
            await asyncio.sleep(pause)
            await request.event(event)
        await request.done()

    return answer


def refusing(status: str, body: object, **headers: str) -> Answer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def answer(request: Request) -> None:
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(raw)}", "x-request-id: req-9"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines.append("Content-Type: application/json")
        await request.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)

    return answer


async def heard(
    chat: ChatCompletions, into: list[Piece] | None = None, pause: float = 0.0
) -> list[Piece]:
    """All of a reply; ``into`` keeps what there was when it fails, ``pause`` is taken per piece."""
    pieces: list[Piece] = [] if into is None else into
    async with aclosing(chat.reply(ASKED)) as reply:
        async for piece in reply:
            pieces.append(piece)
            await asyncio.sleep(pause)
    return pieces


def reply_to(answer: Answer, **options: Any) -> tuple[list[Piece], Server]:
    server = Server(answer)

    async def main() -> list[Piece]:
        async with server.chat(**options) as chat:
            return await heard(chat)

    return clock.run(main(), virtual=True), server


def failure_of(answer: Answer, **options: Any) -> tuple[ServiceError, list[Piece], float]:
    """The error a reply ends with, what was heard before it, and when it was raised."""
    server = Server(answer)

    async def main() -> tuple[ServiceError, list[Piece], float]:
        pieces: list[Piece] = []
        async with server.chat(**options) as chat:
            with pytest.raises(ServiceError) as caught:
                await heard(chat, into=pieces)
            return caught.value, pieces, clock.now()

    return clock.run(main(), virtual=True)


def sending(raw: str | bytes, *, status: str = "200 OK", **headers: str) -> Answer:
    """Answer with ``raw`` as the body, and close the connection after it."""
    body = raw if isinstance(raw, bytes) else raw.encode(errors="surrogateescape")
    head = {"Content_Type": "text/event-stream", "Content_Length": str(len(body))} | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in head.items() if value]

    async def answer(request: Request) -> None:
        await request.write("\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body)
        request.hang_up()

    return answer


@dataclass
class Outcome:
    """What a reply brought: its text and what came with it, or the error that ended it."""

    said: str = ""
    usage: Usage | None = None
    truncated: str = ""
    warnings: list[str] = field(default_factory=list)
    error: ServiceError | None = None
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        parts = [f'says "{self.said}"'] if self.said else []
        parts += [f"cut: {self.truncated}"] if self.truncated else []
        parts += [f"warns: {text}" for text in self.warnings]
        if self.error is not None:
            again = ", temporary" if self.error.temporary else ""
            parts.append(f"error {self.error.exit_code}{again}: {self.error}")
        return "; ".join(parts) or "empty"


def ask(answer: Answer, *, times: int = 1, key: str = KEY, **settings: Any) -> list[Outcome]:
    """Ask for a reply ``times`` times in one session, and return what became of each."""
    server = Server(answer)

    async def main() -> list[Outcome]:
        async with server.chat(key, **settings) as chat:
            return [await _listen(chat, server) for _ in range(times)]

    return clock.run(main(), virtual=True)


async def _listen(chat: ChatCompletions, server: Server) -> Outcome:
    outcome, before = Outcome(), len(server.requests)
    try:
        async with aclosing(chat.reply(ASKED)) as reply:
            async for piece in reply:
                match piece:
                    case str():
                        outcome.said += piece
                    case Usage():
                        outcome.usage = piece
                    case Warned():
                        outcome.warnings.append(piece.text)
                    case Truncated():
                        outcome.truncated = piece.reason
    except ServiceError as error:
        outcome.error = error
    outcome.bodies = [request.body for request in server.requests[before:]]
    return outcome
