"""An HTTP/1.1 server for one handler: h11's state machine over asyncio's streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import h11

from voicecli.units import Seconds

READ_SIZE = 65536
CLOSE_TIMEOUT: Seconds = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """A request with its body; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Exchange:
    """The connection to one client, and the answer under way on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)

    async def receive(self) -> Request | None:
        """The next request; None when the client wants no more.  Raises h11.RemoteProtocolError."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self._reader.read(READ_SIZE))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head:
                headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
                return Request(head.method.decode(), head.target.decode(), headers, body)
            else:
                return None

    async def respond(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        """A whole answer."""
        await self.start(status, {**headers, "content-length": str(len(body))})
        await self.write(body)
        await self.finish()

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin an answer; without a content-length it is sent in chunks."""
        await self._send(h11.Response(status_code=status, headers=list(headers.items())))

    async def write(self, data: bytes) -> None:
        """Go on with it."""
        await self._send(h11.Data(data=data))

    async def finish(self) -> None:
        """End it."""
        await self._send(h11.EndOfMessage())

    def next_cycle(self) -> bool:
        """Whether the connection may carry another request."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def gone(self) -> None:
        """Wait until the client has gone; what it sends before is kept for the next request."""
        with suppress(ConnectionError):
            while data := await self._reader.read(READ_SIZE):
                self._http.receive_data(data)

    def abort(self) -> None:
        """Cut the connection without a good-bye."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection once all is sent; cut it if the client will not take it."""
        self._writer.close()
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._writer.wait_closed()
        self.abort()

    async def _send(self, event: h11.Event) -> None:
        if data := self._http.send(event):
            self._writer.write(data)
            await self._writer.drain()


class HttpServer:
    """Serves on 127.0.0.1: an async context manager, like the WebSocket server beside it."""

    def __init__(
        self, answer: Callable[[Request, Exchange], Coroutine[Any, Any, None]], port: int
    ) -> None:
        self._answer = answer
        self._port = port
        self._conversations: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for conversation in self._conversations:
            conversation.cancel()
        if self._conversations:
            await asyncio.wait(self._conversations)
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio logs the cancelling of the one that it would make as an error.
        conversation = asyncio.get_running_loop().create_task(
            self._converse(Exchange(reader, writer)), name="http connection"
        )
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, exchange: Exchange) -> None:
        try:
            while request := await exchange.receive():
                await self._reply(request, exchange)
                if not exchange.next_cycle():
                    break
        except* (ConnectionError, h11.RemoteProtocolError):
            pass  # the client is gone, or speaks something else
        finally:
            await exchange.close()

    async def _reply(self, request: Request, exchange: Exchange) -> None:
        """Answer; stop when the client goes away."""
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(self._answer(request, exchange), name="answer")
            gone = tasks.create_task(exchange.gone(), name="client gone")
            await asyncio.wait([answer, gone], return_when=asyncio.FIRST_COMPLETED)
            answer.cancel()
            gone.cancel()
