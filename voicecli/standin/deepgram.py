"""The WebSocket server in Deepgram's place: handshakes, query strings, refusals.

Connections are served by ``deepgram_stt``, ``deepgram_flux_stt``, ``deepgram_tts`` and
``deepgram_flux_tts``, which read their query themselves.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from typing_extensions import override
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import Event
from websockets.typing import Subprotocol

from voicecli import clock
from voicecli.events import Service
from voicecli.standin.engines import Engines
from voicecli.standin.script import ActiveFaults, ConnectionBroken, FaultSchedule, HalfOpen

NO_CREDITS = (
    "Project does not have enough credits for an ASR request "
    "and does not have an overage agreement."
)
REFUSALS = {
    401: ("INVALID_AUTH", "Invalid credentials."),
    402: ("ASR_PAYMENT_REQUIRED", NO_CREDITS),
    403: ("INSUFFICIENT_PERMISSIONS", "Project does not have access to the requested model."),
    404: ("NOT_FOUND", "Not found."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
    500: ("INTERNAL_SERVER_ERROR", "Internal server error."),
    503: ("Service Unavailable", "Please try again later"),
}
"""``err_code`` and ``err_msg`` by status; those of 404 and 500 are not published and are ours."""


class QueryError(Exception):
    """A connection is refused before the upgrade: HTTP status, ``err_code``, ``err_msg``."""

    INVALID = "INVALID_QUERY_PARAMETER"

    def __init__(
        self,
        status: int,
        code: str = "",
        message: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        usual = REFUSALS.get(status, ("ERROR", f"Error {status}."))
        self.headers = headers or {}
        self.status, self.code, self.message = status, code or usual[0], message or usual[1]
        super().__init__(status, self.code, self.message)

    @classmethod
    def unreadable(cls, name: str, why: str) -> QueryError:
        """Refuse a parameter that cannot be read."""
        message = f"Failed to deserialize query parameters: {name}: {why}"
        return cls(400, cls.INVALID, message)


class Query:
    """The query string of a request, parsed as strictly as the service does.

    A malformed value raises QueryError.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self.path = parts.path
        self._values = parse_qs(parts.query, keep_blank_values=True)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def find_unknown(self, known: Collection[str]) -> str | None:
        """Return the name of a parameter that is not among ``known``; None if there is none."""
        return next((name for name in self._values if name not in known), None)

    def all(self, name: str) -> list[str]:
        """The values of a parameter that may be repeated."""
        return self._values.get(name, [])

    def text(self, name: str, default: str) -> str:
        """The value of a parameter; if it is repeated, the last one."""
        return self._values.get(name, [default])[-1]

    def flag(self, name: str) -> bool:
        """A boolean: ``true`` or ``false``, nothing else (Python's ``True`` is refused)."""
        why = "provided string was not `true` or `false`"
        return self._match(name, "false", "true|false", why) == "true"

    def integer(self, name: str, default: int) -> int:
        """A non-negative integer."""
        return int(self._match(name, str(default), r"\d{1,9}", "invalid digit found in string"))

    def decimal(self, name: str, default: float) -> float:
        """A decimal number."""
        pattern = r"-?\d{1,9}(\.\d{1,9})?"
        return float(self._match(name, str(default), pattern, "invalid float literal"))

    def _match(self, name: str, default: str, pattern: str, why: str) -> str:
        value = self.text(name, default)
        if not re.fullmatch(pattern, value):
            raise QueryError.unreadable(name, why)
        return value


Frame = dict[str, Any]
"""A text message, to be sent as JSON."""


class ServedSocket(ServerConnection):
    """A WebSocket to a client.

    heard_at: when its last frame came, pings included.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.heard_at = clock.now()

    @override
    def process_event(self, event: Event) -> None:
        self.heard_at = clock.now()
        super().process_event(event)


@dataclass(eq=False)
class ServedConnection(ABC):
    """A connection to a service, and the ``active`` faults, which began with it."""

    service: ClassVar[Service]
    engines: Engines
    faults: FaultSchedule
    socket: ServedSocket
    query: Query
    active: ActiveFaults

    @abstractmethod
    def __post_init__(self) -> None:
        """Parse the query; raise QueryError where the service refuses it."""

    @abstractmethod
    async def run(self) -> None:
        """Serve the connection until either side closes it."""

    async def send(self, message: Frame | bytes, faults: ActiveFaults | None = None) -> None:
        """Send a message, with ``faults`` or else those of the connection."""
        faults = faults or self.active
        await faults.wait_out_stall()
        frame = message if isinstance(message, bytes) else faults.corrupt(json.dumps(message))
        with suppress(ConnectionClosed):  # which the receiving side sees, too
            await self.socket.send(frame)


@asynccontextmanager
async def open_deepgram_server(
    routes: Mapping[str, type[ServedConnection]],
    engines: Engines,
    faults: FaultSchedule,
    port: int,
    *,
    require_key: bool,
) -> AsyncGenerator[int, None]:
    """Serve ``routes``, by path, on 127.0.0.1; yield the port, which the system chooses for 0."""
    accepted: dict[UUID, ServedConnection] = {}

    def answer_handshake(socket: ServerConnection, request: Request) -> Response | None:
        assert isinstance(socket, ServedSocket)
        try:
            query = Query(request.path)
            if query.path not in routes:
                raise QueryError(404)
            connect = routes[query.path]
            active = faults.begin(connect.service, "connection")
            if refuse := active.find("refuse"):
                raise QueryError(refuse.status, headers=refuse.headers)
            _check_key(request.headers, required=require_key)
            accepted[socket.id] = connect(engines, faults, socket, query, active)
        except QueryError as error:
            return _refuse(socket, error)
        return None

    async def run(socket: ServerConnection) -> None:
        connection = accepted.pop(socket.id)
        try:
            await connection.active.run(connection.run())
        except* HalfOpen:
            socket.transport.pause_reading()
            await socket.wait_closed()
        except* ConnectionBroken:
            socket.transport.abort()

    async with serve(
        run,
        "127.0.0.1",
        port,
        compression=None,
        create_connection=ServedSocket,
        process_request=answer_handshake,
        process_response=_add_request_id,
        select_subprotocol=_select_subprotocol,
        ping_interval=None,  # the service answers pings, it sends none
        close_timeout=1.0,  # the longest wait for a client that is gone
    ) as server:
        yield server.sockets[0].getsockname()[1]


def parse_message(message: str) -> Any:
    """Parse a text message; None when it is not JSON."""
    with suppress(ValueError):
        return json.loads(message)
    return None


def _check_key(headers: Headers, *, required: bool) -> None:
    """Raise QueryError unless there is a key, any key, in a form that the service accepts.

    A ``Bearer`` must be a JSON web token, which has two dots; an API key has none.
    """
    given = headers.get("Authorization")
    if given is None:  # a browser cannot send the header, and sends two sub-protocols
        given = headers.get("Sec-WebSocket-Protocol", "").replace(",", " ")
    if not given.strip() and not required:
        return
    match given.split():
        case [scheme, _] if scheme.lower() == "token":
            return
        case [scheme, token] if scheme.lower() == "bearer" and token.count(".") == 2:
            return
    raise QueryError(401)


def _select_subprotocol(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Select the scheme of a browser's key, never the key itself."""
    return offered[0] if offered and offered[0].lower() in ("token", "bearer") else None


def _refuse(socket: ServerConnection, error: QueryError) -> Response:
    body = {"err_code": error.code, "err_msg": error.message, "request_id": str(socket.id)}
    payload = json.dumps(body, separators=(",", ":")).encode()
    headers = Headers({"content-type": "application/json", "content-length": str(len(payload))})
    headers.update({"connection": "close", "dg-error": error.message, **error.headers})
    return Response(error.status, HTTPStatus(error.status).phrase, headers, payload)


def _add_request_id(socket: ServerConnection, _: Request, response: Response) -> None:
    """Add the request's id, which the service also sends with a refusal."""
    response.headers["dg-request-id"] = str(socket.id)
