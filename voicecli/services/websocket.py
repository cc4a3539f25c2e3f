"""A WebSocket connection that fails quietly where the library prints a traceback, and is recorded.

The reports of a recorded connection are made where messages enter and leave the library: what waits
in its queue until the adapter reads it has arrived.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import override
from websockets.asyncio.client import ClientConnection
from websockets.frames import DATA_OPCODES, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import Event

from voicecli.services.recording import SocketTape, keep_headers

SWITCHING_PROTOCOLS = 101


class Connection(ClientConnection):
    """The library's connection, also where TLS through a proxy fails.

    Until ``connection_made``, which comes after TLS, the library's own (17.0) has no attribute that
    its ``connection_lost`` needs; asyncio would log the AttributeError.
    """

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "recv_messages"):
            super().connection_lost(exc)

    def abort(self) -> None:
        """Drop the connection at once, for a peer that has stopped listening."""
        self.transport.abort()


class RecordedConnection(Connection):
    """A connection that reports its messages to ``tape``."""

    def __init__(self, *args: Any, tape: SocketTape, **options: Any) -> None:
        super().__init__(*args, **options)
        self._tape = tape
        self._is_text = self._aborted = False
        self._parts: list[bytes] = []

    @override
    def process_event(self, event: Event) -> None:
        super().process_event(event)
        if isinstance(event, Response):
            headers = keep_headers(event.headers)
            if event.status_code == SWITCHING_PROTOCOLS:
                self._tape.opened(headers)
            else:
                self._tape.refused(event.status_code, headers, bytes(event.body or b""))
        elif isinstance(event, Frame) and event.opcode in DATA_OPCODES:
            if event.opcode is not Opcode.CONT:
                self._is_text = event.opcode is Opcode.TEXT
            self._parts.append(bytes(event.data))
            if event.fin:
                message, self._parts = b"".join(self._parts), []
                self._tape.received(message.decode(errors="replace") if self._is_text else message)

    @override
    async def send(self, message: Any, *, text: bool | None = None) -> None:
        self._tape.sent(message)
        await super().send(message, text=text)

    @override
    def abort(self) -> None:
        self._aborted = True
        super().abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        theirs, ours = self.protocol.close_rcvd, self.protocol.close_sent
        close = theirs or ours
        lost = ours is None and not self._aborted
        by_service = lost if theirs is None else bool(self.protocol.close_rcvd_then_sent)
        if self.response is not None and self.response.status_code == SWITCHING_PROTOCOLS:
            code, reason = (int(close.code), close.reason) if close else (1006, "")
            self._tape.closed(code, reason, by_service=by_service)
