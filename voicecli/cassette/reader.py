"""Reads a cassette into what the player needs; errors name FILE:LINE."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from voicecli.cassette.format import FILE_NAME, Line, read_lines
from voicecli.errors import InputError
from voicecli.units import Seconds


@dataclass(frozen=True, slots=True)
class SocketFile:
    """What one WebSocket carried.

    path: of the handshake, with the query.
    rate: of the audio, in hertz.
    place: FILE:LINE of the header.
    opened: seconds that the handshake took; None if it was refused.
    request_id: the service's id of the connection.
    refusal: the line that says how it was refused; None if it was not.
    lines: what followed the handshake.
    """

    file: Path
    path: str
    rate: int
    place: str
    opened: Seconds | None
    request_id: str
    refusal: Line | None
    lines: tuple[Line, ...]


@dataclass(slots=True)
class Exchange:
    """A request to the LLM and its answer.

    place: FILE:LINE of the request.
    at: when it was sent; the answer's times are seconds since then.
    status: of the answer; None if none came.
    parts: of the body, each with its time.
    end: how the answer ended, and when; "left" if the recording ended before it did.
    """

    place: str
    at: Seconds
    method: str
    path: str
    body: object
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    answered: Seconds = 0.0
    parts: list[tuple[Seconds, bytes]] = field(default_factory=list)
    end: str = "left"
    ended: Seconds = 0.0


@dataclass(frozen=True, slots=True)
class Cassette:
    """What the services said in a session.

    stt, tts: the WebSockets, in the order in which they were opened.
    llm: the requests, in the order in which they were sent.
    """

    folder: Path
    stt: tuple[SocketFile, ...]
    tts: tuple[SocketFile, ...]
    llm: tuple[Exchange, ...]


def load_cassette(folder: Path) -> Cassette:
    """Read the cassette in ``folder``; raises InputError."""
    hint = "Name a folder that --record-services has written."
    try:
        files = [file for file in folder.iterdir() if FILE_NAME.fullmatch(file.name)]
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}", hint=hint) from error
    if not files:
        raise InputError(f"{folder} holds no cassette", hint=hint)
    files.sort(key=lambda file: (len(file.name), file.name))  # stt-2 before stt-10
    sockets = {
        service: tuple(_load_socket(file) for file in files if file.name.startswith(service))
        for service in ("stt", "tts")
    }
    chats = [one for file in files if file.name == "llm.jsonl" for one in _load_exchanges(file)]
    return Cassette(folder, sockets["stt"], sockets["tts"], tuple(chats))


def _load_socket(file: Path) -> SocketFile:
    header, *lines = read_lines(file)
    rate = header.integer("rate")
    if not 0 < rate < 1_000_000:
        raise header.fail(f"`rate` is {rate}")
    path, opened, request_id, refusal = header.text("path"), None, "", None
    if lines and "refused" in lines[0]:
        refusal = lines[0]
    elif lines:
        opened, request_id = lines[0].number("opened"), lines[0].text("request_id")
    return SocketFile(file, path, rate, header.place, opened, request_id, refusal, tuple(lines[1:]))


def _load_exchanges(file: Path) -> list[Exchange]:
    _, *lines = read_lines(file)
    found: dict[int, Exchange] = {}
    for line in lines:
        if "request" in line:
            number = line.integer("request")
            if number in found:
                raise line.fail(f"a second request {number}")
            body = line.values.get("body")
            found[number] = Exchange(
                line.place, line.at, line.text("method"), line.text("path"), body
            )
            continue
        exchange = found.get(line.integer("answer"))
        if exchange is None:
            raise line.fail("an answer without its request")
        after = line.at - exchange.at
        exchange.ended = after
        if "status" in line:
            exchange.status, exchange.headers = line.integer("status"), line.headers()
            exchange.answered = after
        elif "data" in line:
            exchange.parts.append((after, line.body("data")))
        else:
            exchange.end = line.text("end")
    return list(found.values())
