"""What is said on a connection to a service, without I/O: an HTTP request, or a WebSocket.  Pure.

The protocols are those of h11 and websockets, which the rest of the program uses, too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import h11
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from voicecli.services.endpoint import Endpoint

# websockets writes the handshake's headers, the key among them, to its logger at DEBUG.
_SILENT = logging.Logger("voicecli.probe.silent", logging.CRITICAL + 1)


class ExchangeError(Exception):
    """The other side hung up, or what it says is not the protocol."""


class HttpExchange:
    """``GET`` once, and once more on the same connection.

    status: of the first response; answered: whether what was sent last is.
    spoke: whether there was a message; a response is none.
    """

    spoke = False

    def __init__(
        self, endpoint: Endpoint, path: str, headers: Mapping[str, str], say: str = ""
    ) -> None:
        self._host = endpoint.authority
        self._path = f"{endpoint.path}{path}"
        self._headers = headers
        self._connection = h11.Connection(h11.CLIENT)
        self.status: int | None = None
        self.answered = False

    def request(self) -> bytes:
        """What to send first."""
        request = h11.Request(
            method="GET",
            target=self._path,
            headers=[("Host", self._host), *self._headers.items()],
        )
        sent = self._connection.send(request)
        end = self._connection.send(h11.EndOfMessage())
        return (sent or b"") + (end or b"")

    def again(self) -> bytes:
        """The same request; b"" where the server does not keep the connection."""
        if (
            self._connection.our_state is not h11.DONE
            or self._connection.their_state is not h11.DONE
        ):
            return b""
        self._connection.start_next_cycle()
        return self.request()

    def message(self) -> bytes | None:
        """The response was one."""
        return None

    def receive(self, data: bytes) -> bytes:
        """Take what came; a response is answered when all of it is there."""
        try:
            self._connection.receive_data(data)
            while (event := self._connection.next_event()) is not h11.NEED_DATA:
                if isinstance(event, h11.Response) and self.status is None:
                    self.status = event.status_code
                if isinstance(event, h11.EndOfMessage):
                    self.answered = True
                if (
                    isinstance(event, h11.ConnectionClosed | h11.EndOfMessage)
                    or event is h11.PAUSED
                ):
                    break
        except h11.RemoteProtocolError as error:
            raise ExchangeError("the answer is not HTTP" if data else "it hung up") from error
        if not data and not self.answered:
            raise ExchangeError("it hung up")
        return b""


class WebSocketExchange:
    """The upgrade, a ping, and the first message.

    say: what to send for that message; "" where it comes unasked.
    status: of the answer to the upgrade; answered: whether what was sent last is.
    spoke: whether the first message has come.
    """

    def __init__(
        self, endpoint: Endpoint, path: str, headers: Mapping[str, str], say: str = ""
    ) -> None:
        self._protocol = ClientProtocol(parse_uri(endpoint.websocket(path)), logger=_SILENT)
        self._headers = headers
        self._say = say
        self._awaits: Opcode | None = None
        self.spoke = False
        self.status: int | None = None
        self.answered = False

    def request(self) -> bytes:
        """What to send first."""
        request = self._protocol.connect()
        for name, value in self._headers.items():
            request.headers[name] = value
        self._protocol.send_request(request)
        return self._sent()

    def again(self) -> bytes:
        """A ping; b"" where the upgrade was refused."""
        if self._protocol.state is not State.OPEN:
            return b""
        self._awaits = Opcode.PONG
        self._protocol.send_ping(b"probe")
        return self._sent()

    def message(self) -> bytes | None:
        """What to send for the first message; None where there can be none, or it has come."""
        if self._protocol.state is not State.OPEN or self.spoke:
            return None
        self._awaits = Opcode.TEXT
        if self._say:
            self._protocol.send_text(self._say.encode())
        return self._sent()

    def receive(self, data: bytes) -> bytes:
        """Take what came."""
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Response):
                self.status, self.answered = event.status_code, True
            elif isinstance(event, Frame):
                self.spoke = self.spoke or event.opcode is Opcode.TEXT
                self.answered = self.answered or event.opcode is self._awaits
        if not self.answered:
            self._check(data)
        return self._sent()

    def _check(self, data: bytes) -> None:
        """Raise ExchangeError where no answer can come any more."""
        failure = self._protocol.handshake_exc
        if isinstance(failure, InvalidStatus):
            self.status, self.answered = failure.response.status_code, True
        elif failure is not None and not isinstance(failure.__cause__, EOFError):
            raise ExchangeError("the answer is no WebSocket's")
        elif not data or self._protocol.state is State.CLOSED:
            raise ExchangeError("it hung up")

    def _sent(self) -> bytes:
        return b"".join(self._protocol.data_to_send())
