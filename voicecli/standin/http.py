"""An HTTP/1.1 server for one handler: h11's state machine over asyncio's streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import h11

from voicecli.units import Seconds

READ_SIZE = 65536
CLOSE_TIMEOUT: Seconds = 1.0  # for a client to take the rest of an answer


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request with its body; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class HttpConnection:
    """The connection to one client, and the request being answered on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER)

    async def receive(self) -> HttpRequest | None:
        """Return the next request, None at the end; raise h11.RemoteProtocolError."""
        head: h11.Request | None = None
        body = b""
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self.send(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(await self._reader.read(READ_SIZE))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and head:
                headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
                return HttpRequest(head.method.decode(), head.target.decode(), headers, body)
            else:
                return None

    async def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole answer."""
        await self.start(status, {**headers, "content-length": str(len(body))})
        await self.send(h11.Data(data=body), h11.EndOfMessage())

    async def start(self, status: int, headers: Mapping[str, str]) -> None:
        """Start an answer; without a content-length it is sent in chunks."""
        await self.send(h11.Response(status_code=status, headers=list(headers.items())))

    async def send(self, *events: h11.Event) -> None:
        """Send parts of an answer."""
        for event in events:
            if data := self._http.send(event):
                self._writer.write(data)
        await self._writer.drain()

    def start_next_cycle(self) -> bool:
        """Prepare for another request; return whether the connection may carry one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def wait_gone(self) -> None:
        """Wait until the client hangs up; keep what it sends before that for the next request."""
        with suppress(ConnectionError):
            while data := await self._reader.read(READ_SIZE):
                self._http.receive_data(data)

    def abort(self) -> None:
        """Cut the connection."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection once all is sent; cut it after CLOSE_TIMEOUT."""
        self._writer.close()
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await self._writer.wait_closed()
        self.abort()


Answer = Callable[[HttpRequest, HttpConnection], Coroutine[Any, Any, None]]


@asynccontextmanager
async def open_http_server(answer: Answer, port: int) -> AsyncGenerator[int, None]:
    """Serve on 127.0.0.1; yield the port.  Leaving cuts every connection.

    answer: answers a request on its connection; it is cancelled when the client hangs up.
    port: 0 lets the system choose.
    """
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: asyncio would log the cancellation of its own task as an error.
        client = HttpConnection(reader, writer)
        task = asyncio.get_running_loop().create_task(_serve(client, answer), name="http client")
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        if connections:
            await asyncio.wait(connections)
        await server.wait_closed()


async def _serve(client: HttpConnection, answer: Answer) -> None:
    try:
        while request := await client.receive():
            async with asyncio.TaskGroup() as tasks:
                answering = tasks.create_task(answer(request, client), name="answer")
                gone = tasks.create_task(client.wait_gone(), name="client gone")
                await asyncio.wait([answering, gone], return_when=asyncio.FIRST_COMPLETED)
                answering.cancel()
                gone.cancel()
            if not client.start_next_cycle():
                break
    except* (ConnectionError, h11.RemoteProtocolError):
        pass  # the client is gone, or does not speak HTTP
    finally:
        await client.close()
