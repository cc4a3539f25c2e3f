"""The STT of a cassette: transcripts are sent when the audio they followed has been received.

How the audio is cut into messages, and when it is sent, does not matter.  What it sounds like does,
to within LEVEL_TOLERANCE of what was recorded about there, and so do the messages to the service
in between, to within POSITION_TOLERANCE of audio.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from voicecli import clock
from voicecli.cassette.difference import Differences, find_difference
from voicecli.cassette.format import Line, format_text, parse_text
from voicecli.cassette.levels import LevelMeter
from voicecli.cassette.reader import SocketFile
from voicecli.sanitize import redact_secrets
from voicecli.units import SAMPLE_SIZE, Seconds

LEVEL_TOLERANCE = 3.0
"""Decibels: converting the sample rate differently changes less, another recording more."""

QUIET_DBFS = -50.0
"""Softer audio counts as this loud: its level is noise."""

POSITION_TOLERANCE: Seconds = 0.25
"""Audio by which a message may come earlier or later: the program's timers have jitter."""

ROUNDING: Seconds = 1e-5
"""More than the rounding of positions in the file."""

NO_REQUESTS = ("KeepAlive",)
"""Messages that are sent by the clock and ask for nothing."""

LAST_REQUEST = "CloseStream"


@dataclass(frozen=True, slots=True)
class Request:
    """A text message that the program sent after ``audio`` seconds of audio."""

    message: Any
    audio: Seconds
    at: Seconds
    place: str

    @property
    def type(self) -> str:
        """What it asks for."""
        return str(self.message.get("type") if isinstance(self.message, dict) else self.message)


@dataclass(frozen=True, slots=True)
class Answer:
    """A message of the service, or the close of the connection.

    audio, since: it came that many seconds after that much audio had been sent.
    request: the number of the request that it answers, then ``since`` counts from that; None for
        what the audio alone brought about.
    close: code and reason, if it closes the connection.
    """

    audio: Seconds
    since: Seconds
    request: int | None
    text: str = ""
    close: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class ListenTrack:
    """What one connection to the STT carried.

    levels: of the audio, in windows of equal length, with their places.
    """

    rate: int
    requests: Sequence[Request]
    answers: Sequence[Answer]
    levels: Sequence[tuple[float, str]]
    end: str


def read_track(file: SocketFile) -> ListenTrack:
    """Read the track of a connection; raises InputError."""
    requests: list[Request] = []
    answers: list[Answer] = []
    levels: list[tuple[float, str]] = []
    for line in file.lines:
        if "level" in line:
            levels.append((line.number("level"), line.place))
        elif "sent" in line:
            request = Request(line.values["sent"], line.number("audio"), line.at, line.place)
            if request.type not in NO_REQUESTS:
                requests.append(request)
        elif "got" in line or line.values.get("by") == "service":
            answers.append(_read_answer(line, requests))
    end = file.lines[-1].place if file.lines else file.place
    return ListenTrack(file.rate, requests, answers, levels, end)


def _read_answer(line: Line, requests: Sequence[Request]) -> Answer:
    audio, since, number = line.number("audio"), line.number("since"), None
    message = line.values.get("got")
    said = message if isinstance(message, Mapping) else {}
    asked = _find_request(said)
    for index, request in enumerate(requests):
        if request.type == asked:
            number, since = index, line.at - request.at
    if "got" in line:
        return Answer(audio, since, number, text=format_text(message))
    close = (line.integer("closed"), line.text("reason"))
    return Answer(audio, since, number, close=close)


def _find_request(said: Mapping[str, Any]) -> str:
    """The type of the request that a message answers, if it answers one."""
    match said:
        case {"from_finalize": True}:
            return "Finalize"
        case {"trigger": "manual"} | {"code": "FORCE_END_TURN_NO_ACTIVE_TURN"}:
            return "ForceEndTurn"
        case {"type": "ConfigureSuccess" | "ConfigureFailure"}:
            return "Configure"
    return LAST_REQUEST


class ListenPlayer:
    """Serves one connection."""

    def __init__(
        self, track: ListenTrack, socket: ServerConnection, differences: Differences
    ) -> None:
        self._track = track
        self._socket = socket
        self._differences = differences
        self._meter = LevelMeter(track.rate)
        self._windows = self._taken = 0
        self._opened = clock.now()
        self._ends: list[Seconds] = []
        self._arrivals: list[Seconds] = []
        self._request_at: list[Seconds] = []
        self._finished = False
        self._progress = asyncio.Event()

    async def run(self) -> None:
        """Serve until either side closes the connection."""
        async with asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(self._answer(), name="cassette transcripts")
            with suppress(ConnectionClosed):
                async for message in self._socket:
                    if cause := self._find_difference(message):
                        error = self._differences.report("stt", cause)
                        await self._socket.close(1008, cut_reason(error.cause))
                    self._progress.set()
            answering.cancel()

    @property
    def _audio(self) -> Seconds:
        return self._ends[-1] if self._ends else 0.0

    def _find_difference(self, message: str | bytes) -> str:
        """Take a message; say how it differs from what was recorded, "" if it does not."""
        if isinstance(message, bytes):
            return self._take_audio(message)
        parsed = parse_text(redact_secrets(message))
        kind = parsed.get("type") if isinstance(parsed, dict) else parsed
        if kind in NO_REQUESTS:
            return ""
        if kind == LAST_REQUEST:
            return self._finish()
        expected = self._expected
        if expected is None or abs(expected.audio - self._audio) > POSITION_TOLERANCE:
            where = f"; the next one is in {expected.place}" if expected else ""
            return f"{kind} after {self._audio:.2f} s of audio was not recorded{where}"
        self._request_at.append(clock.now())
        if found := find_difference(expected.message, parsed):
            return f"{found} ({expected.place})"
        return ""

    def _finish(self) -> str:
        """Take the end of the audio: what was recorded after it follows."""
        self._finished = True
        while (expected := self._expected) is not None:
            self._request_at.append(clock.now())
            if expected.type == LAST_REQUEST:
                break
        return ""

    @property
    def _expected(self) -> Request | None:
        """The request that should come next."""
        taken = len(self._request_at)
        return self._track.requests[taken] if taken < len(self._track.requests) else None

    def _take_audio(self, pcm: bytes) -> str:
        self._taken += len(pcm)
        self._ends.append(self._taken / SAMPLE_SIZE / self._track.rate)
        self._arrivals.append(clock.now())
        for level, end in self._meter.feed(pcm):
            if found := self._compare_level(level, end):
                return found
        expected = self._expected
        if expected is None or expected.type == LAST_REQUEST:
            return ""
        if self._audio > expected.audio + POSITION_TOLERANCE:
            return f"no {expected.type} after {expected.audio:.2f} s of audio ({expected.place})"
        return ""

    def _compare_level(self, level: float, end: Seconds) -> str:
        """Compare the level of the next window of audio with those recorded around it."""
        levels, index = self._track.levels, self._windows
        self._windows += 1
        near = [max(one, QUIET_DBFS) for one, _ in levels[max(0, index - 1) : index + 2]]
        near += [QUIET_DBFS] * (index + 1 >= len(levels))  # nothing more was sent
        if min(near) - LEVEL_TOLERANCE <= max(level, QUIET_DBFS) <= max(near) + LEVEL_TOLERANCE:
            return ""
        if index >= len(levels):
            return f"the audio was over by {end:.1f} s, and goes on ({self._track.end})"
        recorded, place = levels[index]
        was, now = f"was {recorded:.0f} dBFS", f"is {level:.0f} dBFS"
        return f"the audio until {end:.1f} s {was}, and {now} ({place})"

    async def _answer(self) -> None:
        """Send the recorded messages, each when it is due."""
        for answer in self._track.answers:
            while (due := self._find_due(answer)) is None:
                self._progress.clear()
                await self._progress.wait()
            await clock.sleep_until(due)
            with suppress(ConnectionClosed):
                if answer.close is not None:
                    await self._close(*answer.close)
                elif not self._is_outdated(answer):
                    await self._socket.send(answer.text)
        if self._finished:
            await self._socket.close()

    async def _close(self, code: int, reason: str) -> None:
        if code == 1006:
            self._socket.transport.abort()
        else:
            # 1005 stands for a close without a code, and must not be sent
            await self._socket.close(1000 if code == 1005 else code, reason)

    def _is_outdated(self, answer: Answer) -> bool:
        """Whether it belongs to audio that was recorded and has not been sent this time."""
        return self._finished and answer.request is None and answer.audio > self._audio + ROUNDING

    def _find_due(self, answer: Answer) -> Seconds | None:
        """When to send ``answer``; None while what it answers has not come."""
        if answer.request is not None:
            known = answer.request < len(self._request_at)
            return self._request_at[answer.request] + answer.since if known else None
        if self._finished and answer.audio > self._audio + ROUNDING:
            return clock.now()
        if answer.audio <= ROUNDING:
            return self._opened + answer.since
        index = bisect_left(self._ends, answer.audio - ROUNDING)
        if index == len(self._ends):
            return None
        return self._arrivals[index] - (self._ends[index] - answer.audio) + answer.since


def cut_reason(text: str) -> str:
    """Cut ``text`` to what the reason of a close holds: 123 bytes."""
    return text.encode()[:123].decode(errors="ignore")
