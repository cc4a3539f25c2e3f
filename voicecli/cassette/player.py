"""Serves a cassette on this machine, in the place of the services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from voicecli.cassette import listen, speech
from voicecli.cassette.chat import BASE_PATH, ChatPlayer
from voicecli.cassette.difference import Differences, find_difference
from voicecli.cassette.flux_speak import (
    FLUX_PATH,
    FluxPlayer,
    list_speeches,
    read_flux_track,
)
from voicecli.cassette.listen import ListenPlayer
from voicecli.cassette.reader import Cassette, SocketFile
from voicecli.cassette.speak import SpeakPlayer
from voicecli.cassette.speech import Speech
from voicecli.sanitize import redact_secrets
from voicecli.standin import Endpoints
from voicecli.standin.http import open_http_server


class _Player(Protocol):
    """Serves one connection."""

    async def run(self) -> None:
        """Serve until either side closes the connection."""


class _Sockets:
    """Answers the handshakes, each as the one that was recorded in its place."""

    def __init__(self, cassette: Cassette, differences: Differences) -> None:
        self._differences = differences
        self._files: dict[str, Sequence[SocketFile]] = {"stt": cassette.stt, "tts": cassette.tts}
        self._opened = dict.fromkeys(self._files, 0)
        self._listen = {id(file): listen.read_track(file) for file in cassette.stt}
        self._flux = {id(one): read_flux_track(one) for one in cassette.tts if _is_flux(one.path)}
        self._speak = {
            id(one): speech.read_track(one) for one in cassette.tts if id(one) not in self._flux
        }
        self._speech = Speech(list(self._speak.values()))
        self._speeches = list_speeches(self._flux.values())
        self._accepted: dict[Any, tuple[SocketFile, _Player]] = {}

    async def answer_handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        """Accept or refuse a connection."""
        path = redact_secrets(request.path)
        service = self._find_service(path)
        files = self._files[service]
        index = self._opened[service]
        self._opened[service] += 1
        if index >= len(files) and (service == "stt" or not files):
            cause = f"{index + 1} connections were opened, and {len(files)} recorded"
            return self._refuse(self._differences.report(service, cause).cause)
        file = files[min(index, len(files) - 1)]
        if found := find_difference(_read_path(file.path), _read_path(path)):
            return self._refuse(self._differences.report(service, f"{found} ({file.place})").cause)
        if file.refusal is not None:
            line = file.refusal
            return _respond(line.integer("refused"), line.headers(), line.body("body"))
        await asyncio.sleep(file.opened or 0.0)
        if service == "stt":
            player: _Player = ListenPlayer(self._listen[id(file)], socket, self._differences)
        elif (flux := self._flux.get(id(file))) is not None:
            player = FluxPlayer(flux, self._speeches, socket, self._differences)
        else:
            track = self._speak[id(file)]
            player = SpeakPlayer(track, self._speech, socket, self._differences)
        self._accepted[socket.id] = (file, player)
        return None

    def add_request_id(self, socket: ServerConnection, _: Request, response: Response) -> None:
        """Add the id of the recorded connection."""
        if (accepted := self._accepted.get(socket.id)) is not None:
            response.headers["dg-request-id"] = accepted[0].request_id

    async def run(self, socket: ServerConnection) -> None:
        """Serve a connection that was accepted."""
        _, player = self._accepted.pop(socket.id)
        await player.run()

    def _find_service(self, path: str) -> str:
        """Find which service a path belongs to: the one that was recorded there."""
        address = urlsplit(path).path
        for service, files in self._files.items():
            if any(urlsplit(file.path).path == address for file in files):
                return service
        return "stt" if "listen" in address else "tts"

    def _refuse(self, cause: str) -> Response:
        shown = cause.encode("ascii", "replace").decode()
        return _respond(400, {"dg-error": shown}, cause.encode())


def _is_flux(path: str) -> bool:
    """Whether a connection with this path is to Flux TTS."""
    return urlsplit(path).path == FLUX_PATH


def _read_path(path: str) -> dict[str, Any]:
    """Split a path into the parts that are compared."""
    parts = urlsplit(path)
    values: dict[str, list[str]] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        values.setdefault(name, []).append(value)
    single = {name: one[0] if len(one) == 1 else one for name, one in values.items()}
    return {"path": parts.path, **single}


def _respond(status: int, headers: dict[str, str], body: bytes) -> Response:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    kept = Headers(headers)
    kept["content-length"], kept["connection"] = str(len(body)), "close"
    return Response(status, phrase, kept, body)


@asynccontextmanager
async def serve_cassette(
    cassette: Cassette, differences: Differences
) -> AsyncGenerator[Endpoints, None]:
    """Serve ``cassette`` on 127.0.0.1, once; leaving closes every connection.

    differences: are told where a request differs from what was recorded.
    """
    sockets = _Sockets(cassette, differences)
    chat = ChatPlayer(cassette.llm, differences)
    async with (
        serve(
            sockets.run,
            "127.0.0.1",
            0,
            compression=None,
            process_request=sockets.answer_handshake,
            process_response=sockets.add_request_id,
            server_header=None,
            ping_interval=None,
            max_size=None,
            close_timeout=1.0,
        ) as server,
        open_http_server(chat.answer, 0) as port,
    ):
        speech_port = server.sockets[0].getsockname()[1]
        url = f"http://127.0.0.1:{port}{BASE_PATH}"
        yield Endpoints(f"ws://127.0.0.1:{speech_port}", url)
