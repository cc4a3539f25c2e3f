"""The WebSocket server in Deepgram's place: handshakes, and who serves what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from uuid import UUID

from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as serve_websockets
from websockets.datastructures import Headers
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from voicecli.events import Service
from voicecli.standin.deepgram_stt import ListenSession
from voicecli.standin.deepgram_tts import SpeakQuery, SpeakSession, parse_speak_query
from voicecli.standin.engines.interfaces import Engines
from voicecli.standin.faults import Broken, Faults, Trouble
from voicecli.standin.query import ListenQuery, Query, QueryError, parse_listen_query

PATHS: dict[str, Service] = {"/v1/listen": "stt", "/v1/speak": "tts"}


class DeepgramServer:
    """Serves ``/v1/listen`` and ``/v1/speak`` with ``engines``."""

    def __init__(self, engines: Engines, faults: Faults, *, require_key: bool) -> None:
        self._engines = engines
        self._faults = faults
        self._require_key = require_key
        self._accepted: dict[UUID, tuple[ListenQuery | SpeakQuery, Trouble]] = {}

    def listen(self, port: int) -> Server:
        """The server on 127.0.0.1, to be used as an async context manager."""
        return serve_websockets(
            self._converse,
            "127.0.0.1",
            port,
            compression=None,
            process_request=self._answer,
            process_response=_sign,
            select_subprotocol=_select_subprotocol,
            ping_interval=None,  # the service answers pings, it sends none
            close_timeout=1.0,  # nobody waits longer for a client that is gone
        )

    def _answer(self, socket: ServerConnection, request: Request) -> Response | None:
        """The answer to a handshake that is refused; None to one that is accepted."""
        try:
            self._accepted[socket.id] = self._accept(request)
        except QueryError as refusal:
            return _refused(socket, refusal)
        return None

    def _accept(self, request: Request) -> tuple[ListenQuery | SpeakQuery, Trouble]:
        query = Query(request.path)
        if (service := PATHS.get(query.path)) is None:
            raise QueryError(404)
        trouble = self._faults.at(service, "connection")
        if refuse := trouble.find("refuse"):
            raise QueryError(refuse.status)
        _check_key(request.headers, required=self._require_key)
        return (parse_listen_query if service == "stt" else parse_speak_query)(query), trouble

    async def _converse(self, socket: ServerConnection) -> None:
        options, trouble = self._accepted.pop(socket.id)
        session: ListenSession | SpeakSession
        if isinstance(options, ListenQuery):
            session = ListenSession(socket, options, self._engines, self._faults, trouble)
        else:
            session = SpeakSession(socket, options, self._engines, self._faults)
        try:
            await trouble.bear(session.run())
        except* Broken as broken:
            if broken.subgroup(lambda error: isinstance(error, Broken) and error.half_open):
                socket.transport.pause_reading()
                await socket.wait_closed()
            else:
                socket.transport.abort()


def _check_key(headers: Headers, *, required: bool) -> None:
    """Raise Refusal unless there is a key in one of the forms that the service takes.

    Any key will do.  A ``Bearer`` must be a JSON web token, which has two dots; an API key has
    none.
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
    """The scheme of the browser's form, never its key."""
    return offered[0] if offered and offered[0].lower() in ("token", "bearer") else None


def _refused(socket: ServerConnection, refusal: QueryError) -> Response:
    body = {
        "err_code": refusal.code,
        "err_msg": refusal.message,
        "request_id": str(socket.id),
    }
    payload = json.dumps(body, separators=(",", ":")).encode()
    headers = Headers()
    headers["content-type"] = "application/json"
    headers["content-length"] = str(len(payload))
    headers["connection"] = "close"
    headers["dg-error"] = refusal.message
    return Response(refusal.status, HTTPStatus(refusal.status).phrase, headers, payload)


def _sign(socket: ServerConnection, _: Request, response: Response) -> None:
    """Good or bad, an answer carries the request's id."""
    response.headers["dg-request-id"] = str(socket.id)
