"""A WebSocket to Deepgram, and what its refusals and closes mean.

Every failure leaves here as one ServiceError: what happened in a sentence, the service's own words,
its request id, what to do, and whether trying again may help.
Sources: https://developers.deepgram.com/docs/errors and, for closes,
https://developers.deepgram.com/docs/stt-troubleshooting-websocket-data-and-net-errors.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import (
    ConnectionClosed,
    ConnectionClosedOK,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    ProxyError,
    WebSocketException,
)
from websockets.http11 import Response
from websockets.protocol import State

from voicecli import __version__, clock
from voicecli.environment.network import Proxy, create_tls_context
from voicecli.errors import ServiceError
from voicecli.sanitize import sanitize_short
from voicecli.services.deepgram import CLOSE_TIMEOUT
from voicecli.services.endpoint import (
    CloseError,
    Endpoint,
    Refusal,
    check_key,
    check_url,
    create_connect_error,
    create_proxy_error,
)
from voicecli.services.provider import Handshake, ServiceAddress
from voicecli.services.recording import SocketTape
from voicecli.services.websocket import Connection, RecordedConnection
from voicecli.units import Seconds

PING_INTERVAL: Seconds = 20.0
PING_TIMEOUT: Seconds = 10.0
"""A peer that answers no ping for this long is dead; pings also keep idle TTS sockets open."""

LARGEST_MESSAGE = 16 * 2**20

# websockets writes the handshake's headers, the key among them, to its logger at DEBUG.  This one
# has no parent, and a level that nothing reaches.
_SILENT = logging.Logger("voicecli.deepgram.silent", logging.CRITICAL + 1)

_STATUSES = {
    400: Refusal("a setting is refused", "Check `{section}` in the profile."),
    401: Refusal("the key is refused", "Check {key_env}; https://console.deepgram.com makes keys."),
    402: Refusal("the project has no credit left", "Top it up at https://console.deepgram.com."),
    403: Refusal(
        "the key may not use this model, or no model has this name",
        "Check `{section}.model` in the profile, then what the key in {key_env} may do.",
    ),
    404: Refusal("there is no such service at {host}", "Check the URL."),
    429: Refusal(
        "too many connections at once",
        "End other sessions of the project, or wait.",
        temporary=True,
    ),
}
_SERVER_FAILED = Refusal("{host} failed", "Try again later.", temporary=True)
_NO_WEBSOCKET = Refusal(
    "{host} answered, but opened no WebSocket", "Check the URL, and any proxy in between."
)

_OUR_FAULT = "This is a fault of voicecli: please report it."
_CLOSES = {
    "DATA-0000": Refusal("the service made no sense of what was sent", _OUR_FAULT),
    "DATA-0002": Refusal("the text has markup that the service cannot speak"),
    "MESSAGE-0000": Refusal("the service takes no such message", _OUR_FAULT),
    "BIG-0000": Refusal("a message was too long", _OUR_FAULT),
    "DATA-0001": Refusal("too much text within a minute", "Wait a minute.", temporary=True),
    "NET-0000": Refusal("the service failed to answer in time", temporary=True),
    "NET-0001": Refusal("nothing from here reached the service in time", temporary=True),
    "NET-0002": Refusal("the service could not send", temporary=True),
    "NET-0003": Refusal("the connection reached its time limit", temporary=True),
    "NET-0004": Refusal("the service closed an idle connection", temporary=True),
    1003: Refusal("the service takes no such message", _OUR_FAULT),
    1006: Refusal("the connection was lost", "Check the network.", temporary=True),
    1008: Refusal("the service refuses what was sent"),
    1009: Refusal("a message was too long", _OUR_FAULT),
    1011: Refusal("the service failed", temporary=True),
    "ping": Refusal("the connection is dead", "Check the network.", temporary=True),
}
_CLOSED_HERE = {
    1002: Refusal("the service broke the WebSocket protocol", temporary=True),
    1007: Refusal("the service sent text that is not UTF-8", temporary=True),
    1009: Refusal("the service sent a message of more than 16 MB", temporary=True),
}
"""Closes by this side."""

_UNKNOWN_CLOSE = Refusal("the service closed the connection", temporary=True)

# "See https://dpgr.am/net0001" on the wire, NET-0001 in the documentation.
_CODE = re.compile(r"\b(data|net|message|big)-?(\d{4})", re.IGNORECASE)


class Socket:
    """An open WebSocket.

    took: seconds from the first packet to the open socket.
    request_id: the service's id of the connection, to quote to its support; may be empty.
    """

    def __init__(self, service: str, connection: Connection, took: Seconds) -> None:
        assert connection.response is not None
        self.took = took
        self.request_id = sanitize_short(connection.response.headers.get("dg-request-id", ""))
        self._service = service
        self._connection = connection

    @property
    def open(self) -> bool:
        """Whether it is open, as far as this side knows."""
        return self._connection.state is State.OPEN

    async def send(self, message: str | bytes) -> None:
        """Send a text or a binary frame; raises ServiceError when the connection is gone."""
        try:
            await self._connection.send(message)
        except ConnectionClosed as error:
            raise _close_error(self._service, error, self.request_id) from error

    async def receive(self) -> str | bytes:
        """Wait for the next frame; cancel-safe.  Raises CloseError after a normal close."""
        try:
            return await self._connection.recv()
        except ConnectionClosed as error:
            raise _close_error(self._service, error, self.request_id) from error

    async def say_goodbye(self, message: str) -> None:
        """Send ``message``, after which the service hangs up; wait for that, within CLOSE_TIMEOUT.

        Never fails.  What still arrives is dropped.
        """
        with suppress(ServiceError, TimeoutError):
            await self.send(message)
            async with asyncio.timeout(CLOSE_TIMEOUT):
                while True:
                    await self.receive()

    def abort(self) -> None:
        """Drop the connection at once, for a peer that has stopped listening."""
        self._connection.abort()


@asynccontextmanager
async def open_socket(
    service: str, address: ServiceAddress, handshake: Handshake
) -> AsyncGenerator[Socket, None]:
    """Connect to ``address``; leaving closes the connection.

    Raises ProfileError for the URL, CredentialsError without a usable key, UsageError for a proxy
    or certificates that cannot be used, RefusedError or ServiceError when it fails.
    """
    endpoint = check_url(service, address.url)
    check_key(service, endpoint, address.key, address.key_env)
    proxy = endpoint.find_proxy(websocket=True)
    tls = create_tls_context() if endpoint.secure else None
    options: dict[str, Any] = {}
    if proxy and proxy.secure:
        options["proxy_ssl"] = tls
    recorder = address.recorder
    tape = recorder.record_socket(service, handshake.path) if recorder else None
    started = clock.now()
    opening = connect(
        endpoint.websocket_url(handshake.path),
        additional_headers=handshake.headers,
        user_agent_header=f"voicecli/{__version__}",
        compression=None,  # PCM does not compress, and deflating costs time
        proxy=proxy.url if proxy else None,
        ssl=tls,
        create_connection=_choose_connection(tape),
        **options,
        open_timeout=handshake.timeout,
        ping_interval=PING_INTERVAL,
        ping_timeout=PING_TIMEOUT,
        close_timeout=CLOSE_TIMEOUT,
        max_size=LARGEST_MESSAGE,
        max_queue=None,  # a full queue would stop reading, pongs too, while nobody receives
        logger=_SILENT,
    )
    try:
        connection = await opening
        assert isinstance(connection, Connection)
    except InvalidStatus as error:
        raise _status_error(service, endpoint, address.key_env, error.response) from error
    except OSError as error:
        raise create_connect_error(service, endpoint, handshake.timeout, error, proxy) from error
    except WebSocketException as error:
        raise _handshake_error(service, endpoint, proxy, error) from error
    try:
        yield Socket(service, connection, clock.now() - started)
    finally:
        try:
            await connection.close()
        finally:
            connection.transport.abort()  # a second cancellation would leave it open


def _choose_connection(tape: SocketTape | None) -> Any:
    """Return what makes the connection: the class, or one that is recorded."""
    return Connection if tape is None else partial(RecordedConnection, tape=tape)


def _status_error(
    service: str, endpoint: Endpoint, key_env: str, response: Response
) -> ServiceError:
    """The error for an HTTP answer to a WebSocket handshake."""
    status, headers = response.status_code, response.headers
    meaning = _STATUSES.get(status, _SERVER_FAILED if status >= 500 else _NO_WEBSOCKET)
    return meaning.create_error(
        service,
        status,
        headers.get("dg-error") or _message_in(response.body),
        request_id=headers.get("dg-request-id"),
        retry_after=headers.get("retry-after"),
        section=service,
        key_env=key_env,
        host=endpoint.authority,
    )


def _message_in(body: bytes | bytearray | None) -> str:
    """The message in an error's body: the JSON's ``err_msg``, or else the text as it is."""
    text = bytes(body or b"").decode(errors="replace")
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return text
    message = parsed.get("err_msg") if isinstance(parsed, dict) else None
    return message if isinstance(message, str) else text


def _handshake_error(
    service: str, endpoint: Endpoint, proxy: Proxy | None, error: WebSocketException
) -> ServiceError:
    """The error for an answer to the handshake that is not HTTP, or a proxy's refusal."""
    host, reason = endpoint.authority, sanitize_short(str(error))
    if isinstance(error, ProxyError) and proxy:
        if isinstance(error, InvalidProxyStatus):
            answer = error.response
            reason = f"{answer.status_code} {answer.reason_phrase}"
            return create_proxy_error(service, endpoint, proxy, answer.status_code, reason)
        return create_proxy_error(service, endpoint, proxy, None, str(error.__cause__ or error))
    if isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError):
        cause = f"{host} hung up before it answered"
        return ServiceError(service, cause, hint="Check the network.", temporary=True)
    cause = f"{_NO_WEBSOCKET.cause.format(host=host)} ({reason})"
    return ServiceError(service, cause, hint=_NO_WEBSOCKET.hint)


def create_frame_error(service: str, code: str, description: str, request_id: str) -> ServiceError:
    """The error for a frame of the type Error, after which the service closes the connection."""
    meaning = _CLOSES.get(code.upper(), _CLOSES[1011])
    words = ": ".join(filter(None, (sanitize_short(code), sanitize_short(description))))
    return ServiceError(
        service,
        f"{meaning.cause} ({words or 'it does not say why'})",
        hint=meaning.hint,
        request_id=request_id or None,
        temporary=meaning.temporary,
    )


def _close_error(service: str, error: ConnectionClosed, request_id: str) -> ServiceError:
    """The error for a connection that was closed."""
    close = error.rcvd or error.sent  # sent alone: this side gave up
    code, reason = (int(close.code), close.reason) if close else (1006, "")
    found = _CODE.search(reason)
    by_reason = f"{found[1].upper()}-{found[2]}" if found else ""
    if error.rcvd is None and "ping timeout" in reason:
        by_reason = "ping"
    meaning = _CLOSES.get(by_reason) or _CLOSES.get(code, _UNKNOWN_CLOSE)
    if error.rcvd is None:
        meaning = _CLOSED_HERE.get(code, meaning)
    kind = CloseError if isinstance(error, ConnectionClosedOK) else ServiceError
    return meaning.create_error(service, code, reason, request_id=request_id, kind=kind)
